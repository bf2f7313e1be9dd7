"""The operator's verbs against the demo's broker, which cannot do everything: one line, and no traceback."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from referral_stream.cli import main
from referral_stream.local.broker import PARTITIONS, EmbeddedBroker


@pytest.mark.parametrize(
    ("verb", "said"),
    [
        (("topics", "create"), "Error: this broker names no controller, so no topics can be created on it\n"),
        (("topics", "check"), "Error: this is the demo's own broker, which cannot tell how topics"),
        (("doctor",), "warning  Kafka: this is the demo's own broker, which cannot tell"),
        (("deadletters", "list"), "no dead letters\n"),
    ],
    ids=str,
)
def test_what_the_broker_cannot_do_is_one_line(verb: tuple[str, ...], said: str) -> None:
    with EmbeddedBroker() as broker:
        environment = {
            "REFERRAL_STREAM_KAFKA_BROKERS": broker.bootstrap,
            "REFERRAL_STREAM_PARTITIONS": str(PARTITIONS),
            "REFERRAL_STREAM_REDIS_URL": "redis://127.0.0.1:1/0",
        }
        done = CliRunner().invoke(main, verb, env=environment)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    assert said in done.output


@pytest.mark.parametrize(
    ("clock", "refused"),
    [
        ({}, True),
        (
            {
                "REFERRAL_STREAM_CLOCK_START": "2026-09-18T08:00:00Z",
                "REFERRAL_STREAM_CLOCK_STARTED_AT": "2026-12-01T08:00:00Z",
            },
            False,
        ),
    ],
)
def test_its_customers_are_not_explained_by_the_clock_of_this_machine(
    clock: dict[str, str], refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Shown(Exception):
        """The story went on to be told."""

    async def story(*_: object, **__: object) -> str:
        return "a story"

    def told(_: object, *__: object, **___: object) -> str:
        raise Shown

    monkeypatch.setattr("referral_stream.ops.explain.explain_live", story)
    monkeypatch.setattr("referral_stream.cli.render.explanation.as_text", told)
    with EmbeddedBroker() as broker:
        environment = {"REFERRAL_STREAM_KAFKA_BROKERS": broker.bootstrap, **clock}
        done = CliRunner().invoke(main, ["explain", "cus-deniz"], env=environment)
    if refused:
        assert done.exit_code == 1
        assert "its customers live by the demo's clock" in " ".join(done.output.split())
    else:
        assert isinstance(done.exception, Shown), done.output
