"""The harm budget: which trigger is to be paused because its asks do harm, and by which evidence (after §7).

Nothing is done here: whoever keeps the records asks :func:`pauses` when they have changed, and sends what it returns.
It looks at every record, some 15 µs for each: once a minute will do.
Only a person resumes; from then on only new asks count, or the old ones would pause the trigger again at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from referral_stream.core.events import ControlPaused, Event
from referral_stream.core.ids import derived_id
from referral_stream.core.policy import Policy
from referral_stream.metrics.comparing import Comparison, harm, observe
from referral_stream.metrics.observed import period_of
from referral_stream.metrics.records import Records

HARM_BUDGET = "harm_budget"
"""Who paused a trigger when its asks did harm: a key, since no sentence goes past ingest (identity §5)."""

SOURCE = "referral-stream/harm-budget"

_KEY_CHARS = 64
_MOST_ODDS = 999_999


class Pause(NamedTuple):
    """A trigger to pause, and the comparison that says why."""

    trigger: str
    found: Comparison
    resumed_at: int

    @property
    def control(self) -> ControlPaused:
        return ControlPaused(scope="trigger", name=self.trigger, by=HARM_BUDGET, why=_key(self.found))

    @property
    def why(self) -> str:
        """For people."""
        return _why(self.found)

    def event(self) -> Event:
        """The control event. Its id is made of the trigger and its last resumption: sent again, it counts once."""
        return Event(
            id=derived_id(SOURCE, self.trigger, self.resumed_at),
            source=SOURCE,
            type=ControlPaused.type,
            subject="",
            time=self.found.as_of,
            data=self.control,
        )


def pauses(records: Records, policy: Policy, resumed: Mapping[str, int] | None = None) -> list[Pause]:
    """The triggers to pause, by name. ``resumed``: trigger → when a person last resumed it (epoch ms).

    One that is paused already is among them: whoever sends knows the switches. None where the budget is off
    (``harm.pause_at`` is "none"), nobody is held out, the split is broken, or the asked have less trouble than the
    held out.
    """
    at = policy.harm.pause_at
    if at is None:
        return []
    seen = observe(records, policy, period_of(records))
    found = []
    for trigger in sorted({ask.trigger for ask in seen.asks if ask.emitted}):
        since = (resumed or {}).get(trigger, 0)
        compared = harm(seen, trigger, since)._replace(odds=at)
        if compared.verdict == "effect" and _is_worse(compared):
            found.append(Pause(trigger, compared, since))
    return found


def _is_worse(found: Comparison) -> bool:
    """Whether trouble is more frequent among the asked than among the held out."""
    asked, held_out = found.arms
    return asked.successes * held_out.units > held_out.successes * asked.units


def _key(found: Comparison) -> str:
    """The evidence as a key: ``evidence_4918:asked_60_of_400:held_out_20_of_400``."""
    asked, held_out = found.arms
    odds = 0.0 if found.evidence is None else min(found.evidence.value, _MOST_ODDS)
    told = f"asked_{asked.successes}_of_{asked.units}:held_out_{held_out.successes}_of_{held_out.units}"
    evidence = f"evidence_{odds:.0f}"
    whole = f"{evidence}:{told}"
    return whole if len(whole) <= _KEY_CHARS else evidence  # never a count without its last digits


def _why(found: Comparison) -> str:
    asked, held_out = found.arms
    return (
        f"{found.sentence} Trouble within 14 days: {asked.successes:,} of {asked.units:,} accounts asked, "
        f"{held_out.successes:,} of {held_out.units:,} held out."
    )
