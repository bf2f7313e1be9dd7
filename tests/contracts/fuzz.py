"""Whatever arrives, ``adapt`` answers: good webhooks and CloudEvents, damaged with a plan, by the million.

``python -m tests.contracts.fuzz --inputs 1000000 --seed 7``. An input follows from (seed, number) alone, so one that
fails is made again with ``--only NUMBER``. Exit code 1 at the first failure.
"""

from __future__ import annotations

import argparse
import base64
import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from copy import deepcopy
from random import Random
from typing import Any, NamedTuple

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.codec import decode_event, encode_event
from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.inbound.attributes import MAX_ID
from referral_stream.contracts.outcomes import Accepted, Refused, Skipped
from referral_stream.contracts.records import Headers, RawRecord
from tests.contracts.building import KEY, NOW, bodies, cloud_event, record
from tests.contracts.examples import FACT_DATA

SLICE = 2_000
"""Inputs between two progress lines of one process: a second or so."""

_DEEP = "@deep@"
"""Where in the text the deep nesting goes; the serialiser itself would not get that far."""
_SCALES = ("nps", "csat/5", "csat/1", "comment", "ignore")


class Outcome(NamedTuple):
    """What became of one input, in a word or two, and how long it took."""

    word: str
    nanoseconds: int


class Material(NamedTuple):
    """What the inputs are made of: whole bodies, and every value and key found in them."""

    bodies: tuple[Any, ...]
    values: tuple[Any, ...]
    keys: tuple[str, ...]


def gathered() -> Material:
    """The committed samples of every vendor and one CloudEvent of every type."""
    whole = [body for vendor in BY_NAME for body in bodies(vendor)]
    whole += [cloud_event(kind, data) for kind, data in FACT_DATA.items()]
    found = [pair for body in whole for pair in _walked(body)]
    values = [value for _, value in found]
    return Material(tuple(whole), tuple(values), tuple(dict.fromkeys(key for key, _ in found if key)))


def _walked(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    yield key, value
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _walked(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _walked(inner)


NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 0.0, -0.0, 9.5, 1e308, -1e308, 1e-320, float("nan"), float("inf"), -float("inf"),
    2**31, 2**53, 2**63 - 1, 2**63, -(2**63) - 1, 2**64, 10**30, -(10**400), 253_402_300_800_000, 99_999_999_999,
    100_000_000_000, 10**14, 10**17, 10**20, "", " ", "\x00", "0", "9", "10", "11", "-1", "1e400", "NaN", "٣", "²",
    "9" * 400, "\ud800", "a\udfffb", "\U0010ffff", "x" * 600, "é" * 5_000, "@", "a@b", "2026-06-16T07:30:00Z",
    "2026-13-45T99:99:99Z", "9999-12-31T23:59:59.999999999+23:59", "0001-01-01T00:00:00Z", "1781595000",
    "nps.responded", "promoter", "1.0", [], {}, [[]], [{}], [None], {"": None}, {"id": {"id": {}}},
    [1, "2", None, {"value": []}], _DEEP,
)  # fmt: skip
"""Values that somebody's code did not expect."""


def mutated(body: Any, rng: Random, material: Material) -> Any:
    """A copy of the body with one to six of its places damaged."""
    root = [deepcopy(body)]
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        places = [(parent, key) for parent in _containers(root) for key in _keys(parent)]
        parent, key = rng.choice(places)
        rng.choice(_DAMAGES)(parent, key, rng, material)
    return root[0] if root else None


def _containers(value: Any) -> Iterator[Any]:
    if isinstance(value, (dict, list)):
        yield value
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _containers(inner)


def _keys(parent: Any) -> list[Any]:
    return list(parent) if isinstance(parent, dict) else list(range(len(parent)))


def _dropped(parent: Any, key: Any, _: Random, __: Material) -> None:
    if isinstance(parent, dict) or len(parent) > 1:
        del parent[key]


def _replaced(parent: Any, key: Any, rng: Random, _: Material) -> None:
    parent[key] = deepcopy(rng.choice(NASTY))


def _exchanged(parent: Any, key: Any, rng: Random, material: Material) -> None:
    """A value from elsewhere, perhaps from another vendor: right in its place, wrong in this one."""
    parent[key] = deepcopy(rng.choice(material.values))


def _retyped(parent: Any, key: Any, rng: Random, _: Material) -> None:
    value = parent[key]
    parent[key] = rng.choice(
        (
            lambda: [value],
            lambda: {"id": value},
            lambda: str(value)[:2_000],
            lambda: bool(value),
            lambda: [value, 1, value],
        )
    )()


def _renamed(parent: Any, key: Any, rng: Random, material: Material) -> None:
    if isinstance(parent, dict):
        parent[rng.choice(material.keys)] = parent.pop(key)


def _added(parent: Any, _: Any, rng: Random, material: Material) -> None:
    value = deepcopy(rng.choice(material.values)) if rng.random() < 0.5 else deepcopy(rng.choice(NASTY))
    if isinstance(parent, dict):
        parent[rng.choice(material.keys)] = value
    else:
        parent.insert(rng.randrange(len(parent) + 1), value)


def _nested(parent: Any, key: Any, rng: Random, _: Material) -> None:
    for _level in range(rng.choice((1, 3, 40))):
        parent[key] = {rng.choice(("id", "data", "object", "value")): parent[key]}


def _shifted(parent: Any, key: Any, rng: Random, _: Material) -> None:
    """A number made another unit, sign or kind of number."""
    value = parent[key]
    if type(value) is int and abs(value) < 2**60:
        parent[key] = rng.choice((value * 1_000, value * 1_000_000, -value, float(value), value + 1, str(value)))


_DAMAGES: tuple[Callable[[Any, Any, Random, Material], None], ...] = (
    _dropped, _dropped, _replaced, _replaced, _replaced, _exchanged, _exchanged, _retyped, _renamed, _added, _nested,
    _shifted,
)  # fmt: skip


def written(body: Any, rng: Random) -> bytes:
    """The body as text: seldom truncated, flipped or doubled, as broken producers do."""
    text = json.dumps(body, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    if _DEEP.encode() in text:
        depth = rng.choice((3, 60, 900, 1_100, 20_000))
        opening, closing = rng.choice(((b"[", b"]"), (b'{"id":', b"}")))
        text = text.replace(f'"{_DEEP}"'.encode(), opening * depth + b"1" + closing * depth)
    if rng.random() < 0.02:
        place = rng.randrange(len(text) + 1)
        flip = bytes([rng.randrange(256)])
        text = rng.choice((text[:place], text[:place] + flip + text[place + 1 :], text + text, b"\xef\xbb\xbf" + text))
    return text


_HEADERS = (
    ("referral-source", tuple(name.encode() for name in BY_NAME)),
    ("Referral-Source", (b"STRIPE ", b"\xff", b"")),
    ("content-type", (b"application/cloudevents+json", b"application/json", b"\x80")),
    ("ce_specversion", (b"1.0", b"0.3")),
    ("ce_type", tuple(kind.encode() for kind in FACT_DATA)),
    ("ce_subject", (b"cus-1", b"")),
    ("ce_time", (b"2026-06-16T07:30:00Z", b"soon")),
    ("historical", (b"true", b"1", b"no")),
    ("traceparent", (b"00-" + b"a" * 32 + b"-" + b"b" * 16 + b"-01", b"x")),
)


def _headers(rng: Random) -> Headers:
    if rng.random() < 0.7:
        return ()
    return tuple((name, rng.choice(values)) for name, values in rng.sample(_HEADERS, rng.randint(1, 4)))


def _boundary(rng: Random, material: Material) -> Boundary:
    """A deployment: mostly the default one, else one with paths, questions and adapters of its own."""
    if rng.random() < 0.7:
        return _DEFAULT
    names = tuple(BY_NAME)
    return Boundary(
        email_key=KEY,
        adapters={"nps": rng.choice(names)},
        customer_paths={
            name: (".".join(rng.choices(material.keys, k=2)), rng.choice(material.keys))
            for name in rng.sample(names, 3)
        },
        questions={
            name: {rng.choice(material.keys): rng.choice(_SCALES), "12123": rng.choice(_SCALES)}
            for name in rng.sample(names, 5)
        },
        max_record_bytes=rng.choice((1_000_000, 200)),
    )


_DEFAULT = Boundary(email_key=KEY)


def made(seed: int, number: int, material: Material) -> tuple[RawRecord, Boundary]:
    """Input ``number`` of the run with that seed."""
    rng = Random(f"{seed}:{number}")
    body = mutated(rng.choice(material.bodies), rng, material)
    raw = record(
        written(body, rng),
        headers=_headers(rng),
        timestamp=rng.choice((NOW, -1, 0, NOW + 10**9)),
        offset=number,
    )
    return raw, _boundary(rng, material)


def held(raw: RawRecord, boundary: Boundary) -> Outcome:
    """Adapts one record and checks the answer. Raises AssertionError, or whatever ``adapt`` let through."""
    start = time.perf_counter_ns()
    adapted = adapt(raw, NOW, boundary)
    elapsed = time.perf_counter_ns() - start
    match adapted:
        case Accepted(events=events, letters=letters):
            assert events or letters, "accepted without an event"
            assert len({event.id for event in events}) == len(events), "two events with one id"
            for event in events:
                assert 0 <= event.time <= NOW, f"event time {event.time}"
                assert 0 < len(event.id) <= 2 * MAX_ID, f"an id of {len(event.id)} characters"
                assert getattr(event.data, "comment", None) is None, "a comment got through"
                assert decode_event(encode_event(event)) == event, "not read back as it was written"
            return Outcome("accepted", elapsed)
        case Skipped(reason=reason):
            return Outcome(f"skipped {reason}", elapsed)
        case Refused(cause=cause, detail=detail):
            assert detail or cause, "refused without a reason"
            return Outcome(f"refused {cause}", elapsed)


class Failed(Exception):
    """One input that broke the rule, with all it takes to see it again."""


def tried(
    seed: int, first: int, inputs: int, check: Callable[[RawRecord, Boundary], Outcome] = held
) -> tuple[Counter[str], int]:
    """Outcomes of a run of inputs, and the slowest in nanoseconds. Raises Failed."""
    material = gathered()
    outcomes: Counter[str] = Counter()
    slowest = 0
    for number in range(first, first + inputs):
        raw, boundary = made(seed, number, material)
        try:
            outcome = check(raw, boundary)
        except Exception as error:  # noqa: BLE001 (any of them is what we are looking for)
            value = base64.b64encode(raw.value or b"").decode()
            where = f"--seed {seed} --only {number}"
            raise Failed(f"{where}: {type(error).__name__}: {error}\n{raw.headers}\n{value}") from None
        outcomes[outcome.word] += 1
        slowest = max(slowest, outcome.nanoseconds)
    return outcomes, slowest


def run(inputs: int, seed: int, processes: int) -> str:
    """All inputs, with a progress line; returns the result line. Raises Failed."""
    began = time.monotonic()
    outcomes: Counter[str] = Counter()
    slowest = 0
    with ProcessPoolExecutor(processes) as pool:
        firsts = range(0, inputs, SLICE)
        jobs = [pool.submit(tried, seed, first, min(SLICE, inputs - first)) for first in firsts]
        try:
            for job in as_completed(jobs):
                found, slow = job.result()
                outcomes += found
                slowest = max(slowest, slow)
                done = outcomes.total()
                rate = done / (time.monotonic() - began)
                sys.stderr.write(f"\r{done:,} of {inputs:,} ({done / inputs:.0%}), {rate:,.0f}/s, no failure ")
                sys.stderr.flush()
        except Failed:
            pool.shutdown(cancel_futures=True)
            raise
    sys.stderr.write("\n")
    words = ", ".join(f"{count:,} {word}" for word, count in outcomes.most_common())
    return (
        f"{inputs:,} inputs, seed {seed}: 0 exceptions in {time.monotonic() - began:.0f} s on {processes} processes; "
        f"slowest {slowest / 1e6:.1f} ms; {words}"
    )


def main() -> int:
    """The command line; the result line goes to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--only", type=int, metavar="NUMBER", help="make this one input again and show what happens")
    given = parser.parse_args()
    if given.only is not None:
        raw, boundary = made(given.seed, given.only, gathered())
        sys.stdout.write(f"{raw.headers}\n{raw.value!r}\n{boundary}\n{adapt(raw, NOW, boundary)}\n")
        return 0
    try:
        sys.stdout.write(run(given.inputs, given.seed, given.processes) + "\n")
    except Failed as failure:
        sys.stderr.write(f"\n{failure}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
