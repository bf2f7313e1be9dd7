"""What a replay shows at the end: counts, who was asked, what held the others back, and oddities of the log."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from referral_stream.cli.render.terminal import many, rows, say
from referral_stream.contracts.topics import SOURCES
from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, to_datetime
from referral_stream.core.policy import Policy
from referral_stream.core.suggestions import nearest
from referral_stream.core.zones import zone
from referral_stream.replay.files import Summary
from referral_stream.replay.overview import LISTED, Overview
from referral_stream.replay.reading import Counts
from referral_stream.replay.remarks import meant_type
from referral_stream.words.decisions import clock_words, in_local_time, outcome_words

_WEEKS_SHOWN = 16
_WARNINGS_SHOWN = 5


def show_summary(summary: Summary, policy: Policy, output: Path) -> None:
    """Print what was read and decided, and where the files are."""
    kind = "exact replay" if summary.exact else "fact replay"
    say(
        f"{kind}: {many(summary.records, 'record')}, {many(summary.events, 'event')}, "
        f"{many(summary.customers, 'customer')}, policy {policy.name} {policy.hash}"
    )
    for title, amount, detail in _totals(summary):
        say(f"{title:<15}{amount:>8,}  {detail}".rstrip(), indent=25)
    for line in _overview(summary.overview):
        say(line, indent=4)
    for warning in [*_pauses(summary.overview), *warnings(summary)]:
        say(f"warning: {warning}", indent=9)
    say(f"written to {output}")


def warnings(counts: Counts) -> Iterator[str]:
    """The oddities of a log, one sentence each."""
    remarks = counts.remarks
    if not counts.records:
        left = f": none of {many(counts.bad_lines, 'line')} is one" if counts.bad_lines else ""
        yield f"there is no record in this log{left}"
    if remarks.widest is not None:
        jump = remarks.widest
        how_many = f"{remarks.late:,} lines are older than a line before them"
        yield (
            f"{how_many}; line {jump.line:,} is {_duration(jump.by)} older than line {jump.after:,}. A record counts "
            "from when it arrived, so decisions are late or missing: use --sort"
        )
    if remarks.first_clock_jump is not None:
        jump = remarks.first_clock_jump
        yield (
            f"line {jump.line:,} is {_duration(jump.by)} newer than line {jump.after:,}, and the next line is not "
            f"(records like it: {remarks.clock_jumps:,}). Its clock is taken to be wrong: it counts from when line "
            f"{jump.after:,} arrived"
        )
    if remarks.offsets_back is not None:
        back = remarks.offsets_back
        yield (
            f"line {back.line:,} has an offset no higher than line {back.after:,} of the same partition: records of a "
            "partition must stand in their order: use --sort"
        )
    for name, seen in list(remarks.unknown_types.items())[:_WARNINGS_SHOWN]:
        near = meant_type(name)
        hint = f"; did you mean {near}?" if near else ""
        yield f"unknown type {name!r}: {seen.count:,} skipped, the first on line {seen.line:,}{hint}"
    for name, seen in list(remarks.unknown_topics.items())[:_WARNINGS_SHOWN]:
        near = nearest(name, SOURCES)
        hint = f"did you mean {near}?" if near else f"there are {', '.join(SOURCES)}"
        yield (
            f"{name!r} is not an input topic, and no worker would read it (records: {seen.count:,}, the first on line "
            f"{seen.line:,}); {hint}"
        )
    for letter in remarks.unusable[:_WARNINGS_SHOWN]:
        yield f"line {letter.line:,} cannot be used: {letter.error}"
    if sum(counts.refused.values()) > _WARNINGS_SHOWN:
        yield "more lines cannot be used: dead-letters.jsonl has them all"


def _totals(summary: Summary) -> Iterator[tuple[str, int, str]]:
    for title, counts in (
        ("asks", summary.asks),
        ("decisions", summary.outcomes),
        ("skipped", summary.skipped),
        ("dead letters", summary.refused),
    ):
        yield title, sum(counts.values()), _listed(counts)
    if summary.reasons_asked:
        yield "reasons asked", summary.reasons_asked, "what do you like most, ahead of the ask"
    if summary.cancelled:
        yield "cancelled", summary.cancelled, "commands withdrawn"
    if summary.followups:
        kinds = Counter({kind.replace("_", " "): count for kind, count in summary.followups.items()})
        taken_back = f"; withdrawn {summary.withdrawn:,}" if summary.withdrawn else ""
        yield "follow-ups", sum(kinds.values()), f"{_listed(kinds)}{taken_back}"
    if summary.rewards:
        yield "rewards", summary.rewards["granted"], _listed(summary.rewards)
    if summary.recorded:
        yield "records", summary.recorded, "customers who were ever considered"
    if summary.still_quarantined:
        yield "still on hold", summary.still_quarantined, "an event that was replayed failed again"
    if summary.bad_lines:
        yield "bad lines", summary.bad_lines, "left out, see dead-letters.jsonl"


def _overview(overview: Overview) -> Iterator[str]:
    triggers = overview.by_trigger()
    if not triggers:
        return
    yield ""
    heading = ("trigger", "opportunities", "asked", "not asked", "because of")
    table = [heading]
    for name, counts in triggers.items():
        not_asked = counts.opportunities - counts.asked
        table.append(
            (
                name,
                f"{counts.opportunities:,}",
                f"{counts.asked:,}",
                f"{not_asked:,}",
                _listed(_in_words(counts.against)),
            )
        )
    yield from rows(table, right=frozenset({1, 2, 3}))
    if not overview.asks_by_week:
        return
    yield ""
    yield from _by_week(overview)
    yield ""
    asks = overview.first_asks()
    yield from rows(
        [
            ("asked on", "customer", "account", "trigger", "how"),
            *(
                (_local(ask.at, ask.zone), ask.customer_id, ask.account_id or "–", ask.trigger,
                 " ".join(filter(None, (ask.mode, ask.channel))))
                for ask in asks
            ),
        ]
    )  # fmt: skip
    total = sum(overview.asks_by_week.values())
    if total > LISTED:
        yield f"… and {total - len(asks):,} more: --csv writes a table of them all"


def _local(at: int, name: str) -> str:
    """In the zone of the customer, with its offset."""
    return f"{clock_words(at, zone(name))} {to_datetime(at).astimezone(zone(name)).isoformat()[-6:]}"


def _by_week(overview: Overview) -> Iterator[str]:
    weeks = sorted(overview.asks_by_week.items())
    if len(weeks) <= _WEEKS_SHOWN:
        yield "asks by week, from its Monday: " + ", ".join(f"{monday:%-d %b %Y}: {count:,}" for monday, count in weeks)
        return
    months: Counter[str] = Counter()
    for monday, count in weeks:
        months[f"{monday:%b %Y}"] += count
    yield "asks by month: " + ", ".join(f"{month}: {count:,}" for month, count in months.items())


def _pauses(overview: Overview) -> Iterator[str]:
    stopped = dict(overview.stopped_by_switches)
    for at, pause in overview.pauses:
        switch = f"trigger {pause.name}"
        yield (
            f"the burst breaker paused the trigger {pause.name} on {_utc(at)} ({_plain_times(pause.why)}), for "
            f"breaker.pause_hours: {overview.held_back(switch):,} opportunities were held back. To go on sooner: a "
            "control.resumed event for the trigger, a higher breaker.floor in the policy, or the header historical on "
            "a backfill"
        )
        stopped.pop(switch, None)
    for switch, count in sorted(stopped.items()):
        yield f"paused ({switch}): {count:,} opportunities were stopped; a control.resumed event would let them go on"


def _plain_times(why: str) -> str:
    return in_local_time(why, zone("UTC"))


def _utc(at: int) -> str:
    return f"{clock_words(at, zone('UTC'))} {to_datetime(at).year} UTC"


def _in_words(counts: Counter[str]) -> Counter[str]:
    return Counter({outcome_words(name).replace("_", " "): count for name, count in counts.items()})


def _listed(counts: Counter[str]) -> str:
    return ", ".join(
        f"{name} {count:,}" for name, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    )


def _duration(ms: int) -> str:
    for unit, name in ((DAY, "days"), (HOUR, "hours"), (MINUTE, "minutes"), (SECOND, "seconds")):
        if ms >= 2 * unit or unit == SECOND:
            return f"{ms // unit:,} {name}"
    return f"{ms} ms"
