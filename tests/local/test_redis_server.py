from __future__ import annotations

import stat
from pathlib import Path

import pytest
import redis
import redis.asyncio

from referral_stream.local import redis_server
from referral_stream.local.errors import ServiceFailed, ServiceMissing
from referral_stream.local.redis_server import EmbeddedRedis
from tests.local.orphans import lives, start_then_be_killed
from tests.services.process import wait_until


async def test_the_url_is_one_that_redis_py_takes() -> None:
    with EmbeddedRedis() as server:
        client = redis.asyncio.from_url(server.url)
        assert await client.set("asked", "yes")
        assert await client.get("asked") == b"yes"
        await client.aclose()


def test_a_script_runs_by_its_digest_and_writes_atomically() -> None:
    with EmbeddedRedis() as server, redis.from_url(server.url) as client:
        digest = client.script_load("return redis.call('SET', KEYS[1], ARGV[1], 'NX') and 1 or 0")
        assert [client.evalsha(digest, 1, "reserved", who) for who in ("ana", "ben")] == [1, 0]
        assert client.get("reserved") == b"ana"


def test_it_listens_on_no_network_and_only_this_user_reaches_its_socket() -> None:
    with EmbeddedRedis() as server, redis.from_url(server.url) as client:
        assert client.config_get("port") == {"port": "0"}
        assert stat.S_IMODE(server.socket.parent.stat().st_mode) == stat.S_IRWXU


def test_it_writes_nothing_down() -> None:
    with EmbeddedRedis() as server, redis.from_url(server.url) as client:
        client.set("asked", "yes")
        assert client.config_get("save") == {"save": ""}
        assert client.config_get("appendonly") == {"appendonly": "no"}


def test_a_stopped_server_leaves_neither_process_nor_file() -> None:
    server = EmbeddedRedis()
    server.start()
    pid, folder = server.pid, server.socket.parent
    server.stop()
    server.stop()
    assert not lives(pid)
    assert not folder.exists()


def test_a_server_does_not_outlive_a_parent_that_is_killed() -> None:
    said = start_then_be_killed(
        "from referral_stream.local.redis_server import EmbeddedRedis\n"
        "server = EmbeddedRedis(); server.start(); print(f'pid={server.pid}'); print(f'folder={server.socket.parent}')"
    )
    wait_until(lambda: not lives(int(said["pid"])), "the orphaned server has ended", seconds=10)
    wait_until(lambda: not Path(said["folder"]).exists(), "its folder is gone", seconds=10)


def test_a_program_that_does_not_start_is_reported_with_its_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "redis-server"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setattr(redis_server, "_WHEEL", "a-wheel-that-is-not-installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceFailed, match=str(program)):
        EmbeddedRedis().start()


def test_without_any_program_the_message_says_how_to_get_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_WHEEL", "a-wheel-that-is-not-installed")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ServiceMissing, match="pip install"):
        EmbeddedRedis().start()


def test_servers_side_by_side_share_nothing() -> None:
    with (
        EmbeddedRedis() as one,
        EmbeddedRedis() as other,
        redis.from_url(one.url) as here,
        redis.from_url(other.url) as there,
    ):
        here.set("asked", "yes")
        assert there.get("asked") is None
