"""The console with the rights in Redis that its page names, and no others."""

from __future__ import annotations

import re
from pathlib import Path

import redis

from referral_stream.console.policies import keep
from referral_stream.ops.rights import CONSOLE_REDIS_COMMANDS, READER_REDIS_COMMANDS
from tests.console.conftest import browser, logged_in
from tests.console.world import OPERATORS, console_over
from tests.services.redis import RedisServer

PAGE = Path(__file__).parents[2] / "docs" / "console.md"


def test_the_page_lists_them() -> None:
    (listed,) = re.findall(r"`~GROUP_PREFIX:console:\* ([^`]+)`", PAGE.read_text("utf-8"))
    assert listed.split() == [f"+{command.lower()}" for command in CONSOLE_REDIS_COMMANDS]


async def test_every_page_works_with_them(redis_server: RedisServer, week: str, tmp_path: Path, prefix: str) -> None:
    granted = {*CONSOLE_REDIS_COMMANDS, *READER_REDIS_COMMANDS}
    with redis.Redis.from_url(redis_server.url) as admin:
        admin.execute_command(
            "ACL", "SETUSER", prefix, "reset", "on", ">a-password", f"~{prefix}:console:*", f"%R~{week}:{{read}}:*",
            *(f"+{command.lower()}" for command in sorted(granted)),
        )  # fmt: skip
        admin.execute_command("ACL", "LOG", "RESET")
        url = redis_server.url.replace("//", f"//{prefix}:a-password@")
        console = console_over(url, tmp_path, prefix=prefix, models=week, console_trusted_proxies="10.1.0.0/16")
        await keep(console.store, console.policy, 0)
        async with browser(console) as client:
            await logged_in(client, OPERATORS)
            for path in ("/", "/customer?id=cus-ana", "/decisions", "/works", "/policy", "/controls", "/api/works"):
                answer = await client.get(path)
                assert answer.status_code == 200, (path, answer.text)
            form = {"verb": "pause", "scope": "all", "why": "an incident"}
            preview = (await client.post("/controls/preview", data=form)).text
            word = preview.partition('name="word" value="')[2].partition('"')[0]
            assert (await client.post("/controls/confirm", data={"word": word})).status_code == 303
            await client.post("/logout")
        async with browser(console, address="10.1.2.3") as client:
            assert (await client.get("/api/now", headers={"X-Forwarded-User": "ada"})).status_code == 200
        await console.comparer.aclose()
        await console.reader.aclose()
        refused = {entry[5] for entry in admin.execute_command("ACL", "LOG") if entry[9] == prefix.encode()}
        admin.execute_command("ACL", "DELUSER", prefix)
    assert refused <= {b"client|setinfo"}  # the client library does without
