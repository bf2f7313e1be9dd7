"""What lies behind a customer who may be asked. Whatever needs such a customer takes the history from here."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from random import Random
from typing import Any, Final, NamedTuple, TypeAlias

from referral_stream.core.events import CHANNELS
from referral_stream.core.instants import DAY

Body: TypeAlias = dict[str, Any]

BERLIN: Final = "Europe/Berlin"
CONSENT: Final[Body] = {"purpose": "referral_ask", "channel": "all", "granted": True}
FIRST_SUCCESS: Final[Body] = {"milestone": "first report", "first_success": True}


class Fact(NamedTuple):
    """Something that happened to a customer: the type and body of an event, and how long ago it was (ms)."""

    type: str
    body: Body
    age: int


_TENURE: Final = 400
_Dated: TypeAlias = tuple[int, str, Body]
_SIGNALS: Final[dict[str, tuple[_Dated, ...]]] = {
    "usage": ((300, "usage.compared", {"above_average": True}),),
    "champion": ((290, "champion.changed", {"champion": True}),),
    "feedback": ((280, "feedback.shared", {"positive": True}),),
    "calls": tuple((270 + n, "interaction.recorded", {"kind": "call"}) for n in range(5)),
    "goal": ((250, "goal.achieved", {"goal": "go live"}),),
    "first_success": ((245, "milestone.reached", FIRST_SUCCESS),),
    "testimonial": ((240, "testimonial.given", {}),),
    "advice": ((2, "advice.asked", {}),),
}
"""What raises a score or shows that value was realised: how many days ago for a customer of 400 days.

Before the consent, so that none of it was an occasion to ask, except for the advice, which is what they did lately.
"""


def profile(*, zone: str | None, channels: Collection[str], **more: Any) -> Body:
    """The body of ``customer.profile_changed``: reachable on these channels and on no other."""
    named = {} if zone is None else {"time_zone": zone}
    return named | {"channels": {channel: channel in channels for channel in CHANNELS}} | more


def history(
    *signals: str,
    tenure_days: int = _TENURE,
    zone: str | None = BERLIN,
    channels: Collection[str] = ("email",),
    consent: str = "all",
    without: Collection[str] = (),
    **more: Any,
) -> list[Fact]:
    """Signed up, reachable, onboarded and consenting, with these signals; the oldest fact first.

    Propensity is 20 points (tenure, recent activity) with the signal ``advice``. ``testimonial`` adds 30, as it is
    feedback, too; ``first_success`` 20, ``usage`` and ``champion`` 15, ``calls`` and ``feedback`` 10, ``goal`` none.
    ``consent`` is the channel of the consent, ``more`` goes into the profile, facts of the types in ``without`` are
    left out. A customer of fewer days has the same history in less time.
    """
    dated: list[_Dated] = [
        (400, "customer.signed_up", {}),
        (399, "customer.profile_changed", profile(zone=zone, channels=channels, **more)),
        (398, "onboarding.completed", {}),
        (200, "customer.consent_changed", CONSENT | {"channel": consent}),
        *(fact for signal in signals for fact in _SIGNALS[signal]),
    ]
    dated.sort(key=lambda fact: -fact[0])
    return [Fact(kind, body, tenure_days * DAY * days // _TENURE) for days, kind, body in dated if kind not in without]


def random_history(random: Random, *, zone: str, channels: tuple[str, ...], company: bool) -> Iterator[Fact]:
    """One that passes the gates most of the time; in ``company``, accounts and addresses are shared more often.

    Drawn as it is consumed: draws of the consumer's own between two facts are part of what a seed means.
    """

    def ago(days: float, kind: str, body: Body | None = None) -> Fact:
        return Fact(kind, body or {}, int(days * DAY))

    missing = random.choice(("signed_up", "onboarding", "consent", "value", "")) if random.random() < 0.07 else ""
    if missing != "signed_up":
        days = random.choice((400, 200, 61, 40, 30)) if random.random() < 0.9 else random.choice((29.9, 25, 5))
        yield ago(days, "customer.signed_up", {"trial": True} if random.random() < 0.03 else {})
    told = profile(zone=None, channels=channels)
    if channels == ("email",) and random.random() < 0.3:
        told = {}
    if random.random() < 0.9:
        told["time_zone"] = zone
    if random.random() < (0.6 if company else 0.1):
        told["account_id"] = random.choice(("acme", "acme", "umbrella"))
    if random.random() < (0.4 if company else 0.1):
        told["email_hmac"] = random.choice(("aa" * 32, "bb" * 32))
    if random.random() < 0.06:
        told["requires_approval"] = True
    if random.random() < 0.6:
        told["champion"] = True
    if random.random() < 0.3:
        told["segment"] = random.choice(("smb", "enterprise"))
    yield ago(29, "customer.profile_changed", told)
    if missing != "onboarding":
        yield ago(28.5, "onboarding.completed")
    if missing != "consent":
        yield ago(
            28, "customer.consent_changed", CONSENT | {"channel": random.choice(("all", "all", "all", *channels))}
        )
    if missing != "value":
        yield ago(27, "milestone.reached", FIRST_SUCCESS)
    if random.random() < 0.75:
        yield ago(20, "usage.compared", {"above_average": True})
    for number in range(random.choice((0, 5, 5, 5))):
        yield ago(26 - number, "interaction.recorded", {"kind": "call"})
    if random.random() < 0.6:
        yield ago(15, "feedback.shared", {"positive": True})
    if random.random() < 0.3:
        yield ago(26.5, "testimonial.given")
    if random.random() < 0.4:
        yield ago(26.25, "subscription.started", {"subscription_id": "s1"})
    if random.random() < 0.12:
        steady = random.choice((1, 5, 10))
        for day in range(28, 0, -1):
            yield ago(day, "usage.recorded", {"count": steady if day > 8 else random.choice((0, steady))})
    yield ago(2, "dashboard.viewed", {"metrics_positive": False})
