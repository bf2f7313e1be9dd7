"""The engine's and the oracle's account of a world, in one form, and the smallest log on which they differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import orjson

from referral_stream.contracts.inbound.adapt import Boundary, adapt
from referral_stream.contracts.log import parse_line
from referral_stream.contracts.outcomes import Accepted
from referral_stream.core.effects import AskCancelled, AskRequested, Decision
from referral_stream.core.instants import rfc3339
from referral_stream.core.policy import Policy
from referral_stream.replay.virtual_run import Arrival, FactReplay, Happened
from tests.oracle.naive import decide
from tests.oracle.records import clock_of
from tests.oracle.world import Result

Record = dict[str, Any]
ASKING = ("asked", "soft", "holdout", "shadow")
BOUNDARY = Boundary(email_key=b"a fixed key for tests")


class Account(NamedTuple):
    """What was decided about a world. Instants as on the wire; every list in a canonical order.

    ``histories``: per opportunity its decisions in order; repeats (``duplicate``) are listed apart, as their place
    among the decisions of one instant is free. ``next_eligible_at`` is that of asks: a decision of an instant at which
    more happened may state it as it was or as it became.
    """

    asks: list[Any]
    cancelled: list[Any]
    histories: dict[str, list[Any]]
    repeats: list[Any]


def arrivals(records: Iterable[Record], clock: Iterable[int] = ()) -> Iterator[Arrival]:
    """The log through the real boundary. Without a ``clock`` it is the highest timestamp so far.

    Read record by record: what is asked meanwhile may answer in the rest of it.
    """
    now, given = 0, iter(clock)
    for number, record in enumerate(records, 1):
        raw = parse_line(orjson.dumps(record), file="world", number=number)
        now = next(given, max(now, raw.timestamp))
        adapted = adapt(raw, now, BOUNDARY)
        if isinstance(adapted, Accepted):
            for event in adapted.events:
                yield Arrival(now, event)


def by_engine(records: list[Record], policy: Policy) -> Account:
    return account_of_engine(played(records, policy))


def played(records: list[Record], policy: Policy) -> list[Happened]:
    """All that a fact replay makes of the log."""
    clock = [round(now.timestamp() * 1000) for now in clock_of(records)]
    return [item for items in FactReplay(policy).run(arrivals(records, clock)) for item in items]


def account_of_engine(happened: list[Happened]) -> Account:
    effects = [item.effect for item in happened]
    decisions = [effect for effect in effects if isinstance(effect, Decision)]
    histories: dict[str, list[Any]] = {}
    for d in decisions:
        if d.outcome != "duplicate":
            blocking = [(r.gate, r.answer, r.until) for r in d.reasons if r.answer != "pass"]
            histories.setdefault(d.opportunity_id, []).append(
                (
                    d.trigger, d.subject, d.outcome, rfc3339(d.decided_at), blocking,
                    (rfc3339(d.window.opens), rfc3339(d.window.deadline)), (d.time_zone.name, d.time_zone.source),
                    (d.score.value, d.score.raw, d.score.parts),
                    rfc3339(d.next_eligible_at) if d.outcome in ASKING and d.next_eligible_at else None,
                )
            )  # fmt: skip
    return Account(
        asks=sorted(
            (a.customer_id, a.trigger, a.subject, a.command_id, a.mode, list(a.channels), rfc3339(a.not_before),
             rfc3339(a.expires_at), (a.score.value, a.score.raw, a.score.parts), a.account_id or "")
            for a in effects if isinstance(a, AskRequested)
        ),
        cancelled=sorted((c.command_id, rfc3339(c.cancelled_at)) for c in effects if isinstance(c, AskCancelled)),
        histories=histories,
        repeats=sorted((d.opportunity_id, rfc3339(d.decided_at)) for d in decisions if d.outcome == "duplicate"),
    )  # fmt: skip


def by_oracle(records: list[Record], overrides: dict[str, Any]) -> Account:
    return account_of_oracle(decide(records, policy=overrides))


def account_of_oracle(result: Result) -> Account:
    asks, cancelled = [], []
    for row in result.asks:
        a = row["data"]
        if row["type"] == "referral.ask.cancelled":
            cancelled.append((a["command_id"], row["time"]))
        else:
            score = a["score"]["value"], a["score"]["raw"], a["score"]["parts"]
            asks.append(
                (a["customer_id"], a["trigger"], a["subject"], a["command_id"], a["mode"], a["channels"],
                 a["not_before"], a["expires_at"], score, a.get("account_id", ""))
            )  # fmt: skip
    decisions = sorted((row["data"] for row in result.decisions), key=lambda d: d["n"])
    histories: dict[str, list[Any]] = {}
    for d in decisions:
        if d["outcome"] != "duplicate":
            blocking = [(r["gate"], r["answer"], r.get("until")) for r in d["reasons"] if r["answer"] != "pass"]
            histories.setdefault(d["opportunity_id"], []).append(
                (
                    d["trigger"], d["subject"], d["outcome"], d["decided_at"], blocking,
                    (d["window"]["opens"], d["window"]["deadline"]), (d["time_zone"]["name"], d["time_zone"]["source"]),
                    (d["score"]["value"], d["score"]["raw"], d["score"]["parts"]),
                    d.get("next_eligible_at") if d["outcome"] in ASKING else None,
                )
            )  # fmt: skip
    return Account(
        asks=sorted(asks),
        cancelled=sorted(cancelled),
        histories=histories,
        repeats=sorted((d["opportunity_id"], d["decided_at"]) for d in decisions if d["outcome"] == "duplicate"),
    )


def differences(engine: Account, oracle: Account) -> list[str]:
    """One line per point on which the accounts differ, the engine's word first."""
    found = []
    for name in ("asks", "cancelled", "repeats"):
        ours, theirs = getattr(engine, name), getattr(oracle, name)
        found += [f"{name}: only the engine: {item}" for item in ours if item not in theirs]
        found += [f"{name}: only the oracle: {item}" for item in theirs if item not in ours]
    for opportunity in sorted({*engine.histories, *oracle.histories}):
        ours, theirs = engine.histories.get(opportunity, []), oracle.histories.get(opportunity, [])
        for n in range(max(len(ours), len(theirs))):
            mine, other = (h[n] if n < len(h) else None for h in (ours, theirs))
            if mine is None or other is None:
                found.append(f"decision {n + 1} of {opportunity}: engine {mine}, oracle {other}")
            elif mine != other:
                about = " ".join(mine[:4])
                points = [f"engine {a}, oracle {b}" for a, b in zip(mine, other, strict=True) if a != b]
                found.append(f"decision {n + 1} of {opportunity} ({about}): {'; '.join(points)}")
            if mine != other:
                break
    return found


def smallest(records: list[Record], differs: Callable[[list[Record]], bool]) -> list[Record]:
    """A log from which no record can be dropped without the difference going away."""
    size = max(1, len(records) // 2)
    while True:
        place, dropped = 0, False
        while place < len(records):
            fewer = records[:place] + records[place + size :]
            if differs(fewer):
                records, dropped = fewer, True
            else:
                place += size
        if not dropped and size == 1:
            return records
        size = max(1, size // 2)
