"""What Redis refuses with: each answer has a sentence that says what helps, and some mean that another server would."""

from __future__ import annotations

import pytest
from redis._parsers.base import BaseParser
from redis.exceptions import MaxConnectionsError, RedisError

from referral_stream.ledger.redis_answers import ANSWERS, code_of, meaning

SAID = {
    "READONLY": "READONLY You can't write against a read only replica.",
    "LOADING": "LOADING Redis is loading the dataset in memory",
    "MASTERDOWN": "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
    "MOVED": "MOVED 3999 127.0.0.1:6381",
    "ASK": "ASK 3999 127.0.0.1:6381",
    "CLUSTERDOWN": "CLUSTERDOWN Hash slot not served",
    "TRYAGAIN": "TRYAGAIN Multiple keys request during rehashing of slot",
    "CROSSSLOT": "CROSSSLOT Keys in request don't hash to the same slot",
    "NOREPLICAS": "NOREPLICAS Not enough good replicas to write.",
    "NOAUTH": "NOAUTH Authentication required.",
    "WRONGPASS": "WRONGPASS invalid username-password pair or user is disabled.",
    "NOPERM": "NOPERM this user has no permissions to run the 'info' command",
    "OOM": "OOM command not allowed when used memory > 'maxmemory'.",
    "MISCONF": "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk.",
    "BUSY": "BUSY Redis is busy running a script. You can only call SCRIPT KILL or SHUTDOWN NOSAVE.",
    "UNKILLABLE": "UNKILLABLE Sorry the script already executed write commands against the dataset.",
    "NOSCRIPT": "NOSCRIPT No matching script. Please use EVAL.",
}
"""Literally, as Redis 7 says it."""
ELSEWHERE = {
    "READONLY", "LOADING", "MASTERDOWN", "MOVED", "ASK", "CLUSTERDOWN", "TRYAGAIN", "CROSSSLOT", "NOAUTH", "WRONGPASS",
    "NOPERM",
}  # fmt: skip


def test_every_answer_that_we_know_is_recognised_and_says_what_helps() -> None:
    assert SAID.keys() == ANSWERS.keys()
    for code, words in SAID.items():
        error = BaseParser.parse_error(words)  # type: ignore[no-untyped-call]
        assert code_of(error) in {code, "AuthenticationError"}, code
        assert meaning(error).elsewhere == (code in ELSEWHERE), code
        assert len(meaning(error).says) > 20, code


def test_an_answer_that_comes_out_of_a_script_is_recognised_too() -> None:
    said = "ERR Error running script (call to f_1): @user_script:9: -READONLY You can't write"
    error = BaseParser.parse_error(said)  # type: ignore[no-untyped-call]
    assert code_of(error) == "READONLY"


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (TimeoutError(), "no answer in time"),
        (ConnectionRefusedError(), "is it running"),
        (MaxConnectionsError("Too many connections"), "too many connections"),
        (RedisError("nobody knows"), "refused the call"),
    ],
)
def test_failures_without_an_answer_say_what_to_look_at(error: Exception, says: str) -> None:
    assert says in meaning(error).says
