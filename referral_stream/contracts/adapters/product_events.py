"""Events that products name themselves: what a name means to us, whichever tool reported it.

A name that nobody listed says nothing of what happened: our own mail, an audience entered and a nightly job are tracked
like a click. So it is no usage; a mapping says which names are.
"""

from __future__ import annotations

import re
from typing import Any

from referral_stream.contracts.adapters.reading import Facts, at
from referral_stream.contracts.adapters.states import is_test, opted_out
from referral_stream.contracts.adapters.surveys import unsent
from referral_stream.contracts.opt_outs import REASON, unlisted
from referral_stream.contracts.outcomes import LEAVING, Fact

MAX_FEATURE = 200
"""Characters of an event's name that are kept: a name built from data must not grow without end."""

_NAMED: dict[str, tuple[str, tuple[str, ...], tuple[str, ...]]] = {
    "onboarding completed": ("onboarding.completed", (), ()),
    "milestone reached": ("milestone.reached", ("milestone",), ("first_success",)),
    "goal achieved": ("goal.achieved", ("goal",), ()),
    "workflow completed": ("workflow.completed", (), ("name",)),
    "achievement unlocked": ("achievement.unlocked", (), ("name",)),
    "dashboard viewed": ("dashboard.viewed", ("metrics_positive",), ("name",)),
    "task started": ("task.started", ("task_id",), ()),
    "task ended": ("task.ended", ("task_id",), ()),
    "frustration shown": ("frustration.shown", (), ("reference",)),
    "cancellation considered": ("cancellation.considered", (), ("subscription_id",)),
    "cancellation scheduled": ("cancellation.scheduled", (), ("subscription_id",)),
}
"""Name → (type, the properties it needs, those it may have)."""


def happened(name: str, properties: Any) -> Facts:
    """The fact of a custom event: one of our names with the properties it needs, an opt-out by its words, else none."""
    words = plain(name)
    found = _NAMED.get(words)
    if found is not None:
        kind, needed, optional = found
        data = {key: value for key in (*needed, *optional) if (value := at(properties, key)) is not None}
        if data.keys() >= set(needed):
            return (Fact(kind, data),)
    return left(name)


def left(name: str | None) -> Facts:
    """The opt-out that the name of a custom event says, else nothing."""
    return unlisted(name) or (_LEFT if name and _says_so(plain(name)) else ())


def _says_so(name: str) -> bool:
    """Whether a person, and no tool, says by a custom event that they want to be left in peace, or forgotten."""
    if name in _NAMES_OF_LEAVING:
        return True
    words = set(name.split())
    return not (words.isdisjoint(_ERASE) or words.isdisjoint(_ASKED) or words.isdisjoint(_ERASED))


_LEFT: Facts = (Fact("customer.suppressed", {"reason": REASON}, guessed=True),)
_NAMES_OF_LEAVING = frozenset({
    "email marked as junk", "marked as junk", "do not email", "consent revoked", "consent withdrawn",
    "subscription abuse", "delete person",
})  # fmt: skip
"""In no form that the words of an opt-out have; the last is Customer.io's call that deletes somebody."""
_ERASE = frozenset({"delete", "deletion", "erase", "erasure"})
_ERASED = frozenset({"account", "data", "gdpr", "me", "personal", "privacy", "profile", "user"})
_ASKED = frozenset({"me", "my", "request", "requested", "requests"})


def by_people(facts: Facts, *agents: Any, about: tuple[Any, ...] = ()) -> Facts:
    """The facts; of what a program did that calls itself one (crawlers, monitors of a site), or of a trial, only what
    protects. ``about``: the records that may say that it was a trial.
    """
    if not facts or not (any(map(_is_program, agents)) or any(map(is_test, about))):
        return facts
    return tuple(
        fact for fact in facts if fact.type not in _DONE and not (fact.type in _SCORED and not unsent((fact,)))
    )


def _is_program(agent: Any) -> bool:
    if not isinstance(agent, str):
        return False
    if agent.isascii():  # what nearly every browser is called is quickly seen to be none
        lower = agent.lower()
        for word in _PROGRAM_WORDS:
            if word in lower:
                break
        else:
            return False
    return _PROGRAM.search(agent[:500]) is not None


_PROGRAM_WORDS = ("bot", "crawler", "spider", "headless", "pingdom", "statuscake", "lighthouse")
_PROGRAM = re.compile(r"\bbot\b|[a-z]bot\b|crawler|spider|headless|pingdom|statuscake|lighthouse", re.IGNORECASE)
_DONE = frozenset({
    "usage.recorded", "email.opened", "email.clicked", "interaction.recorded", "onboarding.completed",
    "milestone.reached", "goal.achieved", "workflow.completed", "achievement.unlocked", "dashboard.viewed",
})  # fmt: skip
_SCORED = frozenset({"nps.responded", "csat.responded"})


def readers(facts: Facts, properties: Any) -> list[tuple[str, Any]]:
    """The addresses in an event's properties, as links: those of its person where the event is an opt-out.

    What else happens to an address may be about another person (an invitation).
    """
    if not isinstance(properties, dict):
        return []
    found = [("email", each) for name in _READERS if isinstance(each := properties.get(name), str) and "@" in each]
    if not found:
        return []
    return found if any(fact.type in LEAVING for fact in facts) or opted_out({"record": properties}) else []


_READERS = ("email", "email_address", "emailAddress", "Email", "$email", "$email_to", "recipient")


def used(name: str) -> Facts:
    """Usage of what a listed name says."""
    return (Fact("usage.recorded", {"feature": name[:MAX_FEATURE]}),)


def plain(name: str) -> str:
    """A name without the difference between the styles in which products write it."""
    return name.casefold().replace("_", " ").replace("-", " ").strip()
