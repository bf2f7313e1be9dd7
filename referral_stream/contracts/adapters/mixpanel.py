"""Mixpanel: cohorts that it syncs to a webhook. Its events come to none.

Being in a cohort is no activity; a cohort whose name says that its members opted out is the opt-out of each of them,
and leaving it lifts nothing. What is exported of a member's properties is read for opt-outs too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    is_one_of,
    made_id,
    object_at,
    profile,
    text_at,
)
from referral_stream.contracts.adapters.states import opted_out, with_opt_out
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Skipped, Webhook

ACTIONS = ("members", "add_members", _LEFT := "remove_members")
_DEVICE = "$device:"
"""What the id begins with of somebody whom Mixpanel does not know yet."""


def recognises(payload: Payload) -> bool:
    """One of its actions, with a member, or with a list that has none."""
    if not is_one_of(payload.get("action"), ACTIONS):
        return False
    return isinstance(payload.get("member"), dict) or _members(payload) == []


def split(body: Any) -> Sequence[Any]:
    """The members, each with what was done and the cohort; the body itself where it has none, as most syncs do."""
    if not isinstance(body, dict) or not (members := _members(body)):
        return (body,)
    return [{"action": body.get("action"), "cohort": _cohort(body), "member": member} for member in members]


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One member; customer paths begin inside it (``mixpanel_distinct_id``)."""
    member, cohort = _known(object_at(payload, "member")), object_at(payload, "cohort")
    action, name = str(payload.get("action")), text_at(cohort, "mixpanel_cohort_name")
    facts: Facts = () if action == _LEFT else unlisted(name) or opted_out({"tag": name})
    address = member.get("email") or member.get("$email")
    own = {field.removeprefix("$"): value for field, value in member.items()}
    return about_whom(
        member,
        reading,
        (*with_opt_out(facts, own), *profile(**reading.address_hmacs(address))),
        (("email", address), ("mixpanel_distinct", member.get("mixpanel_distinct_id"))),
        kind=action,
        id=made_id(
            id_at(cohort, "mixpanel_cohort_id"), id_at(cohort, "mixpanel_session_id"), action,
            id_at(member, "mixpanel_distinct_id"),
        ),
        time=None,
    )  # fmt: skip


def _known(member: Payload) -> Payload:
    """The member without the id of a device: it says who nobody is."""
    given = member.get("mixpanel_distinct_id")
    is_device = isinstance(given, str) and given.startswith(_DEVICE)
    return {name: value for name, value in member.items() if name != "mixpanel_distinct_id"} if is_device else member


def _members(body: Payload) -> list[Any] | None:
    """The members, which some relays take out of the parameters; None where there is no list of them."""
    places = (at(body, "parameters.members"), body.get("members"))
    return next((found for found in places if isinstance(found, list)), None)


def _cohort(body: Payload) -> Payload:
    return {name: value for name, value in object_at(body, "parameters").items() if name != "members"}


ADAPTER = Adapter(
    name="mixpanel",
    marks=("action",),
    recognises=recognises,
    customer_paths=("mixpanel_distinct_id",),
    read=read,
    split=split,
    browser=True,
)
