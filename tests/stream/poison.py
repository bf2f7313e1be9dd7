"""Records that nobody should send, by kind: for any topic that we read, and under any key."""

from __future__ import annotations

import json
from collections.abc import Iterator
from random import Random
from typing import Final

from referral_stream.contracts.records import Headers
from tests.contracts.examples import FACT_DATA
from tests.stream.records import Consumed

INT64: Final = 2**63

HEADERS: Final = (
    "historical", "content-type", "ce_specversion", "ce_type", "ce_id", "ce_source", "ce_subject", "ce_time",
    "ce_dataschema", "ce_link", "ce_accountid", "ce_timezone", "ce_traceparent", "ce_datacontenttype", "traceparent",
    "now", "attempt", "element", "events", "referral-source", "referral-endpoint", "error", "stage", "source-topic",
    "source-partition", "source-offset", "source-timestamp", "occurred-at", "dead-letter-id", "replayed",
    "payload-omitted", "not-applied", "source", "Now", "NOW", "original-error", "\ufffd", "",
)  # fmt: skip
"""Every header that we read or write, on whatever topic; and some names of others."""

VALUES: Final[tuple[bytes | None, ...]] = (
    None, b"", b"\xff\xfe\x00", b"x" * 100_000, b"9" * 400, b"-1", b"1", b"true", b"0" * 30 + b"1", b"1e9",
    "٣".encode(), b"9223372036854775807", b"9223372036854775808", b"7 held fault", b"7 kept state_too_large", b"7 held",
    b"application/cloudevents+json", b"application/cloudevents-batch+json", b"stripe", b"customer.erasure_requested",
)  # fmt: skip

KEYS: Final[tuple[bytes | None, ...]] = (
    None, b"", b"\x00position", b"\xff\xfe", b"~", b"~~", b"~email:", b"~email:" + b"0" * 64, b"~x:y", b"~~x", b"cus-9",
    b"k" * 400_000, "ü".encode() * 300, b"\xed\xa0\x80", b"cus\x00", b"cus\n\x1b[2J",
)  # fmt: skip

TIMES: Final = (0, -1, 1, -INT64, INT64 - 1, 253_402_300_799_999, 253_402_300_800_000, 1_781_596_800_000)


EXTENSIONS: Final = (
    "link", "dataschema", "accountid", "timezone", "traceparent", "via", "flags", "origin", "historical",
)  # fmt: skip
SOUND: Final[dict[str, object]] = {
    "specversion": "1.0", "id": "p", "source": "s", "subject": "cus-9", "time": "2026-06-16T08:00:00Z",
}  # fmt: skip


def deep(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return (opening * levels + closing * levels).encode()


def bodies(rng: Random) -> Iterator[bytes | None]:
    """Bodies that are no event, or a strange one; the same for the same dice."""
    yield from (None, b"", b" ", b"null", b"true", b"0", b"\xff", b"\x00" * 50, b'"', b"{", b"[", b"\xef\xbb\xbf{}")
    yield from (b'{"a":1,"a":2}', b'{"type":NaN}', b'{"type":"\\ud800"}', b"1" * 5_000, b'{"id":' + b"9" * 400 + b"}")
    for levels in (253, 254, 255, 256, 1_023, 1_024, 1_025, 5_000, 100_000):
        yield deep(levels)
        yield b'{"specversion":"1.0","type":"nps.responded","data":' + deep(levels, '{"a":[', "]}") + b"}"
    for kind, data in FACT_DATA.items():
        event: dict[str, object] = SOUND | {"type": kind, "data": data}
        yield from (json.dumps(each).encode() for each in _spoilt(event, rng))
    for of in ("[]", '{"batch":[]}', '{"events":[]}'):
        events = [{"specversion": "1.0", "id": str(n), "source": "s", "type": "usage.recorded"} for n in range(500)]
        yield of.replace("[]", json.dumps(events)).encode()
    yield json.dumps({"type": "x" * 200_000, "id": "y" * 200_000}).encode()


ODD: Final[tuple[object, ...]] = (
    None, True, 0, -1, 10**30, -(10**400), 1e308, float("nan"), float("inf"), "", "x" * 70_000, "\ud800", "\x00", "@",
    "9999-12-31T23:59:59.999Z", "0001-01-01T00:00:00Z", "2026-06-16T08:00:00+23:59", [], {}, [[]], {"": None},
    INT64, INT64 - 1, -INT64, "undefined", "~email:x", "a:b", "٣", ["x"] * 500,
)  # fmt: skip


def _spoilt(event: dict[str, object], rng: Random) -> Iterator[dict[str, object]]:
    """The event with one attribute or field that is odd; five times."""
    for _ in range(5):
        value = rng.choice(ODD)
        yield event | {rng.choice([*event, *EXTENSIONS]): value}
        data = event["data"]
        if isinstance(data, dict) and data:
            yield event | {"data": data | {rng.choice(list(data)): rng.choice(ODD)}}


def headers(rng: Random) -> Headers:
    """Up to four headers, some of them twice."""
    found = [(rng.choice(HEADERS), rng.choice(VALUES)) for _ in range(rng.randrange(4))]
    return tuple(found + found[:1] * rng.randrange(2))


def records(topic: str, seed: int, *, stamp: bool = False) -> list[Consumed]:
    """A record for each header with each value, and one for each body, with odd keys and times.

    ``stamp``: mostly with a sound arrival stamp, so that what follows it is looked at.
    """
    rng = Random(seed)
    now: Headers = (("now", b"1781596800000"),) if stamp else ()
    sound = json.dumps(SOUND | {"type": "goal.achieved", "data": {"goal": "g"}}).encode()
    found: list[tuple[bytes | None, bytes | None, Headers, int]] = []
    for name in HEADERS:
        for value in VALUES:
            body = None if rng.random() < 0.2 else sound
            found.append((b"cus-9", body, (*now, (name, value)), 1_781_596_800_000))
    for body in bodies(rng):
        more = headers(rng)
        stamped = (*now, *more) if rng.random() < 0.5 else (*more, *now)
        found.append((rng.choice(KEYS), body, stamped, rng.choice(TIMES)))
    found += [(key, sound, now, at) for key in KEYS for at in TIMES]
    return [
        Consumed(topic, 0, offset, at, key, value, headers) for offset, (key, value, headers, at) in enumerate(found)
    ]
