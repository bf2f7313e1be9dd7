"""What the role says about itself: when a restart helps, when it does its work, and the numbers."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import ClientSession
from prometheus_client import generate_latest

from referral_stream.core.instants import MINUTE
from referral_stream.rewards.answers import Backoff, TellingOutcome
from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.payer import Payer
from referral_stream.rewards.progress import GroupProgress
from referral_stream.rewards.reading import RewardsReader
from referral_stream.rewards.settlements import Settlements
from referral_stream.rewards.signing import Signer
from referral_stream.rewards.status import STUCK_SECONDS, RewardsStatus
from referral_stream.rewards.telling import Telling
from referral_stream.runtime.settings import PREFIX, read_rewards_settings
from tests.rewards.paying import AT, SECRET, an_order
from tests.services.process import free_port


class Role:
    """The parts, of which nothing is started; the test holds the clock."""

    def __init__(self) -> None:
        self.now, self.port = AT, free_port()
        given = {"REWARDS_URL": "http://127.0.0.1:1/", "REWARDS_SECRET": SECRET, "STATUS_PORT": str(self.port)}
        settings = read_rewards_settings({f"{PREFIX}{name}": value for name, value in given.items()})
        client = settings.kafka_client()
        self.backlog = RewardsBacklog(10)
        self.settlements = Settlements(client, "responses", lambda: self.now)
        payer = Payer("http://127.0.0.1:1/", tls=ssl.create_default_context(), timeout_seconds=1)
        signer, backoff = Signer([SECRET]), Backoff(lambda: 0.0)
        self.telling = Telling(self.backlog, payer, self.settlements, signer, backoff, most=1, now=lambda: self.now)
        self.reader = RewardsReader(settings, client, "referral-rewards", self.backlog, self.telling, lambda: self.now)
        self.status = RewardsStatus(settings, self.backlog, self.telling, self.reader, lambda: self.now)

    def text(self) -> str:
        class Registry:
            collect = staticmethod(self.status.collect)

        return generate_latest(Registry()).decode()


@pytest.fixture
async def role() -> AsyncIterator[Role]:
    role = Role()
    yield role
    await role.reader.consumer.stop()
    await role.settlements.producer.stop()


async def test_ready_names_the_first_thing_that_is_missing(role: Role) -> None:
    assert role.status.lacks() == "joining its group"
    role.reader.assignments = 1
    assert role.status.lacks() == ""
    role.telling.trouble = "failing"
    assert role.status.lacks() == "", "it answers: one customer's trouble is not the role's"
    role.telling.trouble = "unreachable"
    assert role.status.lacks() == "the payer does not answer"
    role.status.brokers_answer = False
    assert role.status.lacks() == "the broker does not answer"
    role.status.stopping = True
    assert role.status.lacks() == "stopping"
    role.status.failure = "KeyError"
    assert role.status.lacks() == "failed: KeyError"


async def test_a_restart_is_wanted_only_where_it_helps(role: Role) -> None:
    assert role.status.trouble() == "", "not started"
    role.reader.looked_at = role.now
    role.now += round(STUCK_SECONDS) * 1_000
    assert role.status.trouble() == ""
    role.now += 1_000
    assert role.status.trouble().startswith("stuck: ")
    role.status.brokers_answer = False
    assert role.status.trouble() == ""
    role.status.failure = "KeyError"
    assert role.status.trouble() == "failed: KeyError"


async def test_the_numbers_say_what_waits_and_since_when(role: Role) -> None:
    text = role.text()
    for sample in (
        "referral_stream_rewards_waiting 0.0",
        "referral_stream_rewards_oldest_seconds 0.0",
        'referral_stream_rewards_told_total{kind="granted",outcome="refused"} 0.0',
        'referral_stream_rewards_attempts_total{answer="401"} 0.0',
        "referral_stream_rewards_unreadable_total 0.0",
        'referral_stream_ready{role="rewards"} 0.0',
    ):
        assert sample in text, sample
    assert "referral_stream_build_info" not in text, "an alert asks by it whether the other roles run"
    role.backlog.open(3, GroupProgress(0, 0))
    role.backlog.read(3, 0, an_order("ana", partition=3), AT)
    role.telling.told["reversed", TellingOutcome.DONE] += 2
    role.now += 5 * MINUTE
    text = role.text()
    for sample in (
        "referral_stream_rewards_waiting 1.0",
        "referral_stream_rewards_oldest_seconds 300.0",
        'referral_stream_lag_records{partition="3",role="rewards",topic="referral-rewards"} 1.0',
        'referral_stream_partitions{role="rewards",topic="referral-rewards"} 1.0',
        'referral_stream_rewards_told_total{kind="reversed",outcome="done"} 2.0',
    ):
        assert sample in text, sample
    assert "ana" not in text


async def test_the_pages_are_plain(role: Role) -> None:
    async with role.status, ClientSession(f"http://127.0.0.1:{role.port}") as client:
        for path, status, said in (
            ("/live", 200, '"live": true'),
            ("/ready", 503, "joining"),
            ("/metrics", 200, "# HELP"),
        ):
            async with client.get(path) as answer:
                assert answer.status == status
                assert said in await answer.text()
                assert answer.headers["Cache-Control"] == "no-store"
                assert "Server" not in answer.headers
        async with client.post("/live") as refused:
            assert refused.status == 405
