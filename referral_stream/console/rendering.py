"""From values to what a page shows: instants, amounts, names, and the environment of the templates."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from litestar import Request
from markupsafe import Markup

from referral_stream.core.instants import DAY, HOUR, MINUTE, SECOND, parse_instant, to_datetime
from referral_stream.core.zones import is_zone, zone
from referral_stream.metrics.figures import title_of
from referral_stream.words.decisions import happening, outcome_words, saw_words
from referral_stream.words.phrases import phrases

ZONE_COOKIE, MINE_COOKIE = "zone", "tz"
ZONES: Final = {"customer": "Customer’s", "utc": "UTC", "mine": "Mine"}

_TONES: Final = {
    "asked": "good", "soft": "good", "pending": "", "deferred": "warn", "suppressed": "bad", "expired": "bad",
    "expired_on_arrival": "", "cancelled": "bad", "superseded": "", "holdout": "", "shadow": "", "historical": "",
    "duplicate": "",
}  # fmt: skip


class Clockwork:
    """Which zone a page shows times in: the customer's, UTC, or that of the reader's own machine."""

    def __init__(self, choice: str, mine: str | None) -> None:
        self.choice = choice if choice in ZONES else "customer"
        self.mine = mine if mine and is_zone(mine) else "UTC"

    @classmethod
    def of(cls, request: Request[Any, Any, Any]) -> Clockwork:
        """As the visitor's cookies say."""
        return cls(request.cookies.get(ZONE_COOKIE, ""), request.cookies.get(MINE_COOKIE))

    def name(self, customers: str | None = None) -> str:
        """The zone for something of a customer whose zone is given; without one UTC stands in for it."""
        match self.choice:
            case "mine":
                return self.mine
            case "customer":
                return customers or "UTC"
            case _:
                return "UTC"

    def local(self, customers: str | None = None) -> tzinfo:
        name = self.name(customers)
        return zone(name) if is_zone(name) else UTC


def instant_of(value: int | str) -> int:
    """Epoch ms of an instant as a message or a value has it."""
    return value if isinstance(value, int) else parse_instant(value)[0]


def clock(value: int | str | None, local: tzinfo = UTC, now: int | None = None) -> Markup:
    """A ``<time>``: day and time for people, to the second in UTC for machines and on hovering."""
    if value is None:
        return Markup("–")
    at = to_datetime(instant_of(value))
    here = at.astimezone(local)
    text = _day_and_time(here)
    if now is not None and abs(now - instant_of(value)) > 300 * DAY:
        text = f"{text.rpartition(' ')[0]} {here.year} {here:%H:%M}"
    exact = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return Markup('<time datetime="{}" title="{} · {}">{}</time>').format(
        exact, here.strftime("%H:%M:%S %Z"), exact, text
    )


def _day_and_time(at: datetime) -> str:
    calendar = phrases().tables["calendar"]
    return f"{calendar['weekdays'][at.weekday()]} {at.day} {calendar['months'][at.month - 1]} {at:%H:%M}"


def duration(milliseconds: int) -> str:
    """``3 h``, ``2 days``; never negative."""
    for unit, name in ((DAY, "day"), (HOUR, "h"), (MINUTE, "min"), (SECOND, "s")):
        if milliseconds >= unit or unit == SECOND:
            count = max(0, milliseconds) // unit
            plural = "s" if name == "day" and count != 1 else ""
            return f"{count} {name}{plural}"
    return "0 s"


def away(value: int | str, now: int) -> str:
    """``in 3 h``, ``2 days ago``, ``now``: a wait that is over is never negative."""
    difference = instant_of(value) - now
    if abs(difference) < SECOND:
        return "now"
    return f"in {duration(difference)}" if difference > 0 else f"{duration(-difference)} ago"


def amount(minor: int | None, currency: str | None) -> str:
    """Minor units with their currency, as the messages carry them: which have decimals is for the payer to say."""
    return "" if minor is None else f"{number(minor)} minor units of {currency or 'XXX'}"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def words(name: str) -> str:
    """``too_early`` → ``too early``."""
    return name.replace("_", " ")


def tone(outcome: str) -> str:
    return _TONES.get(outcome, "")


def environment(static: Path, vendored: Mapping[str, Any]) -> Environment:
    """The templates' environment: everything is escaped, and a name that nobody gave is an error."""
    templates = files("referral_stream.console") / "templates"
    env = Environment(
        loader=FunctionLoader(lambda name: (templates / name).read_text(encoding="utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    env.filters |= {
        "amount": amount, "away": away, "clock": clock, "duration": duration, "happening": happening,
        "instant": instant_of, "limit": lambda text: phrases().limit(text), "number": number,
        "outcome": outcome_words, "saw": saw_words, "tone": tone, "words": words, "figure_title": title_of,
    }  # fmt: skip
    env.globals |= {"asset": _assets(static, vendored), "zones": ZONES}
    return env


def _assets(static: Path, vendored: Mapping[str, Any]) -> Callable[[str], Markup]:
    """``src`` or ``href`` of a file with its integrity: what has been changed on the way is not run."""
    known: dict[str, Markup] = {}
    for file in sorted(static.rglob("*")):
        if file.suffix in (".js", ".css"):
            name = file.relative_to(static).as_posix()
            digest = hashlib.sha384(file.read_bytes()).digest()
            pinned = vendored.get(file.name, {}).get("integrity") if name.startswith("vendor/") else None
            integrity = pinned or f"sha384-{base64.b64encode(digest).decode()}"
            where = "href" if file.suffix == ".css" else "src"
            known[name] = Markup('{}="/static/{}?{}" integrity="{}"').format(where, name, digest.hex()[:10], integrity)
    return known.__getitem__
