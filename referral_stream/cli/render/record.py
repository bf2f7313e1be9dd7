"""One customer's record as lines for people, 80 columns wide where it can be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

from referral_stream.cli.render.terminal import rows
from referral_stream.replay.record_search import RecordData
from referral_stream.words.afterwards import money
from referral_stream.words.decisions import day_and_time, happening

_ASKS_SHOWN = 12
"""The newest asks, one by one; the others are counted."""


def as_lines(record: RecordData) -> Iterator[str]:
    """Who it is, when they may be asked again, their referrals, asks, follow-ups and occasions by month."""
    yield from _head(record)
    history = record["referral_history"]
    yield ""
    yield from _history(history)
    if contacts := record.get("referred_contacts"):
        yield from _titled("referrals", _contacts(contacts))
    if asks := record.get("asks"):
        more = len(asks) - _ASKS_SHOWN
        yield from _titled("asks", _asks(asks[-_ASKS_SHOWN:]))
        if more > 0:
            yield f"… and {more} before: --format json has them all"
    if followups := record.get("followups"):
        yield from _titled("follow-ups", _followups(followups))
    if months := record.get("months"):
        yield from _titled("occasions to ask", _months(months))


def _head(record: RecordData) -> Iterator[str]:
    yield f"{record['customer_id']}, as of {_instant(record['recorded_at'])}"
    if others := record.get("ids"):
        yield f"other ids: {', '.join(others)}"
    known = [
        f"{name} {value}"
        for name, value in (
            ("account", record.get("account_id")),
            ("segment", record.get("segment")),
            ("signed up", record["signed_up_at"][:10] if "signed_up_at" in record else None),
            ("policy", f"{record['policy']['name']} {record['policy']['hash']}"),
        )
        if value
    ]
    yield ", ".join(known)


def _history(history: Mapping[str, Any]) -> Iterator[str]:
    times = history["times_asked"]
    last = f", last on {history['last_ask_date']}" if "last_ask_date" in history else ""
    yield f"asked: {'never' if times == 0 else 'once' if times == 1 else f'{times:,} times'}{last}"
    if "next_ask_eligible" in history:
        yield f"by asks and answers, the next is possible from: {history['next_ask_eligible']}"
    elif times:
        yield "by asks and answers, the next is possible from: no date is known"
    yield f"referrals: {history['referrals_given']:,} given, {history['referrals_converted']:,} converted"
    yield f"propensity: {history['propensity_score']}"


def _titled(title: str, table: list[str]) -> Iterator[str]:
    yield ""
    yield f"{title}:"
    yield from (f"  {line}" for line in table)


def _contacts(contacts: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for contact in contacts:
        who = ", ".join(filter(None, (contact.get("name"), contact.get("company"))))
        told = [
            who,
            contact["status"],
            f"reward {contact['reward']}" if "reward" in contact else "",
            money(contact["deal_value_minor"], contact.get("currency", "XXX")) if "deal_value_minor" in contact else "",
            "cared for late" if contact.get("care_late") else "",
            "" if contact["consented"] else "not to be contacted",
        ]
        lines.append((contact["referred_date"], contact["referral_id"], ", ".join(filter(None, told))))
    return rows(lines)


def _asks(asks: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for ask in asks:
        told = [
            ask["kind"] if ask["kind"] != "asked" else "",
            f"wording {ask['arm']}" if "arm" in ask else "",
            f"answered {ask['answer']}" if "answer" in ask else "sent" if "sent_at" in ask else "",
            f"referrals {ask['referrals']}" if ask["referrals"] else "",
            f"converted {ask['converted']}" if ask["converted"] else "",
            "failed" if ask.get("failed") else "",
            "taken back" if ask.get("cancelled") else "",
            "sent despite a signal" if ask.get("despite_signal") else "",
            "trouble within 14 days" if ask.get("regret") else "",
        ]
        channel = ask["channel"].replace("_", " ")
        lines.append((ask["asked_at"][:10], happening(ask["trigger"]), channel, ", ".join(filter(None, told))))
    return rows(lines)


def _followups(followups: Mapping[str, Mapping[str, int]]) -> list[str]:
    return rows([(kind.replace("_", " "), _counted(counts)) for kind, counts in sorted(followups.items())])


def _months(months: Iterable[Mapping[str, Any]]) -> list[str]:
    lines = []
    for month in months:
        counts = {name: number for name, number in month.items() if isinstance(number, int)}
        blocked = {f"blocked by {gate}": number for gate, number in month.get("blocked", {}).items()}
        lines.append((month["month"], happening(month["trigger"]), _counted(counts | blocked)))
    return rows(lines)


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {number:,}" for name, number in counts.items())


def _instant(text: str) -> str:
    moment = datetime.fromisoformat(text)
    return f"{day_and_time(moment)} {moment.year} UTC"
