"""HubSpot: webhooks (arrays of changes), and CRM records as workflows and exports send them.

A contact's change names the contact. A ticket's does not say whom it concerns: it reaches the contact with whom HubSpot
associates it. A deal's is skipped unless the deployment puts the contact's id somewhere and says where. Property values
are always text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import replace

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    expandable,
    id_at,
    list_at,
    listed,
    object_at,
    profile,
    since_at,
    text_at,
    time_at,
    whole_number,
)
from referral_stream.contracts.adapters.states import is_true, opted_out
from referral_stream.contracts.adapters.surveys import (
    COMMENT,
    IGNORE,
    LOWEST,
    NPS,
    Response,
    configured,
    displeased,
    score_of,
)
from referral_stream.contracts.identifiers import usable_id
from referral_stream.contracts.opt_outs import unlisted
from referral_stream.contracts.outcomes import Fact, Skipped, Webhook
from referral_stream.core import zones
from referral_stream.core.events import PROMOTER
from referral_stream.core.instants import parse_instant

_OBJECTS = {"0-1": "contact", "0-2": "company", "0-3": "deal", "0-5": "ticket", "0-19": "feedback_submission"}
"""Object types as the generic subscriptions (``object.*``) number them."""
_TICKET_CLOSED = "4"
_TICKET_STAGES = frozenset({"1", "2", "3"})
"""New, waiting on the contact, waiting on us: the open stages of HubSpot's own pipeline."""
_PRIORITIES = frozenset({"low", "medium", "high", "urgent"})


def recognises(payload: Payload) -> bool:
    """A change with its subscription, or a CRM record with HubSpot's own properties."""
    if isinstance(payload.get("subscriptionType"), str):
        return "objectId" in payload or "fromObjectId" in payload or "primaryObjectId" in payload
    properties = payload.get("properties")
    if not isinstance(properties, dict):
        return False
    return "vid" in payload or any(name in _OWN or name.startswith("hs_email_optout") for name in properties)


_OWN = ("hs_object_id", "hs_survey_type")


def split(body: Any) -> Sequence[Any]:
    """The changes of an array, the records of a page of them, or one alone."""
    is_page = isinstance(body, dict) and "properties" not in body and isinstance(body.get("results"), list)
    return body["results"] if is_page else listed(body)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One change or record; customer paths may begin with ``contactId``, which stands wherever a contact is known."""
    return _change(payload, reading) if "subscriptionType" in payload else _record(payload, reading)


def _change(payload: Payload, reading: Reading) -> Webhook | Skipped:
    subscription = str(payload["subscriptionType"])
    kind, _, change = subscription.partition(".")
    if kind == "object":
        kind = _object(payload, change)
    if change == "associationChange":
        sides = _sides(payload)
    elif change == "merge":
        sides = {kind: id_at(payload, "newObjectId", "primaryObjectId", "objectId")}
    else:
        sides = {kind: id_at(payload, "objectId")}
    ticket = None if is_true(payload.get("associationRemoved")) else sides.get("ticket")
    if change == "merge" and kind == "ticket":
        ticket = id_at(payload, "primaryObjectId")  # whose it is, is known of the old one
    contact = sides.get("contact") or id_at(payload, "contactId")
    facts = _changed(kind, change, payload, sides, reading)
    if _is_old(payload):
        facts = tuple(fact for fact in facts if not _is_good_news(fact))
    return about_whom(
        payload | {"contactId": contact},
        reading,
        facts,
        [("hubspot_contact", contact), ("hubspot_ticket", ticket), *_more_addresses(kind, payload)],
        kind=subscription[:200],
        id=_change_id(payload),
        time=time_at(payload, "occurredAt"),
    )


def _object(payload: Payload, change: str) -> str:
    """The kind of an object, by the number or name of its type; without one, what only contacts have is a contact's."""
    stated = payload.get("objectTypeId") or payload.get("objectType")
    if stated is not None:
        return _OBJECTS.get(str(stated)) or _NAMED.get(str(stated).casefold().removesuffix("s"), "object")
    own = str(payload.get("propertyName")).startswith("hs_email_")
    return "contact" if own or change == "privacyDeletion" else "object"


_NAMED = {name: name for name in _OBJECTS.values()}


def _more_addresses(kind: str, payload: Payload) -> list[tuple[str, str]]:
    """The other addresses of a contact, where they are what changed."""
    is_it = kind == "contact" and payload.get("propertyName") == "hs_additional_emails"
    return [("email", address) for address in str(payload.get("propertyValue") or "").split(";")] if is_it else []


def _sides(payload: Payload) -> dict[str, str | None]:
    """The two objects of an association, each by its kind: ``TICKET_TO_CONTACT``, or the types' numbers."""
    first, _, second = str(payload.get("associationType")).casefold().partition("_to_")
    second = second.partition("_")[0]  # a label may follow
    first = _OBJECTS.get(str(payload.get("fromObjectTypeId")), first)
    second = _OBJECTS.get(str(payload.get("toObjectTypeId")), second)
    return {first: id_at(payload, "fromObjectId"), second: id_at(payload, "toObjectId")}


def _change_id(payload: Payload) -> str | None:
    """HubSpot's event ids are not unique; with what changed, on which object and when, they are."""
    event = id_at(payload, "eventId")
    if event is None:
        return None
    parts = [part for name in _IDENTIFYING if name in payload and (part := id_at(payload, name))]
    return ":".join((event, *parts))[:512]


_IDENTIFYING = ("objectId", "fromObjectId", "toObjectId", "primaryObjectId", "propertyName", "occurredAt")


def _changed(kind: str, change: str, payload: Payload, sides: dict[str, str | None], reading: Reading) -> Facts:
    match kind, change:
        case _, "associationChange":
            return _associated(payload, sides)
        case "contact", "propertyChange":
            name, value = text_at(payload, "propertyName"), payload.get("propertyValue")
            return () if name is None else _contact_property(name, value, payload, reading)
        case "contact", "privacyDeletion":
            return (Fact("customer.erasure_requested", {}),)
        case "contact", "merge":
            return _merged(payload)
        case "deal", "propertyChange":
            return _won(payload)
        case "ticket", "creation" | "restore":
            return (Fact("ticket.opened", {"ticket_id": sides.get("ticket")}),)
        case "ticket", "deletion":
            return (Fact("ticket.solved", {"ticket_id": sides.get("ticket")}),)
        case "ticket", "merge":
            return _tickets_merged(payload)
        case "ticket", "propertyChange":
            return _ticket_property(payload)
        case "contact", _:
            return opted_out(payload) or unlisted(str(payload["subscriptionType"]))
        case _:
            return unlisted(str(payload["subscriptionType"]))


def _is_old(payload: Payload) -> bool:
    """Whether a value was only carried over, or is HubSpot's own test: nobody has just done it."""
    source = str(payload.get("changeSource")).upper()
    return source in _CARRIED_OVER or source.startswith(("MERGE", "RESTORE"))


_CARRIED_OVER = frozenset({
    "ACCEPTANCE_TEST", "BATCH_UPDATE", "CLONE_OBJECTS", "CRM_UI_BULK_ACTION", "DATA_ENRICHMENT", "DATASET", "IMPORT",
    "INTERNAL_PROCESSING", "MIGRATION", "PIPELINE_SETTINGS", "PORTAL_OBJECT_SYNC", "PROPERTY_RESTORE",
    "PROPERTY_SETTINGS", "RECYCLING_BIN", "WAL_INCREMENTAL",
})  # fmt: skip
"""Sources of a change by which old values get into a contact or deal."""


def _is_good_news(fact: Fact) -> bool:
    if fact.type == "nps.responded":
        return bool(fact.data["score"] >= PROMOTER)
    return fact.type == "subscription.expanded"


def _won(payload: Payload) -> Facts:
    """Won, in every pipeline; ``closedwon`` is the stage of HubSpot's own."""
    name, value = payload.get("propertyName"), payload.get("propertyValue")
    is_won = (name == "dealstage" and value == "closedwon") or (name == "hs_is_closed_won" and is_true(value))
    return (Fact("subscription.expanded", {"deal_id": id_at(payload, "objectId")}),) if is_won else ()


def _contact_property(name: str, value: Any, payload: Payload, reading: Reading) -> Facts:
    """What a contact's property means, whether it changed or is part of the record."""
    match name:
        case "email":
            return profile(**reading.address_hmacs(value))
        case "hs_timezone":
            return profile(time_zone=_zone(value))
        case "hs_language" if isinstance(value, str) and value:
            return profile(locale=value[:64])
        case "lifecyclestage" if str(value).casefold() == "customer":
            return (Fact("customer.signed_up", {}),)
        case _ if name.startswith("hs_email_optout"):  # from all mail, or (with its number) from one type of it
            return (Fact("customer.suppressed", {"reason": "unsubscribe"}),) if is_true(value) else ()
        case _ if name.startswith(_UNDELIVERABLE) and is_true(value):
            return (Fact("customer.suppressed", {"reason": "bounce"}),)
        case "hs_merged_object_ids":
            contact = id_at(payload, "objectId", "contactId")
            return _aliases(str(value or "").split(";"), contact)
        case "hs_calculated_merged_vids":
            vids = (each.partition(":")[0] for each in str(value or "").split(";"))
            return _aliases(vids, id_at(payload, "objectId", "contactId"))
        case _ if name in _NPS and (score := whole_number(value)) is not None:
            return _last_nps(score, payload)
        case _ if name in _RATINGS:
            when = time_at(payload, "occurredAt", f"properties.{name.replace('rating', 'date')}")
            return tuple(replace(fact, time=when) for fact in displeased(value))
        case _:
            return opted_out({name: value})


_NPS = ("hs_feedback_last_nps_rating", "hs_feedback_last_nps_rating_number")
_RATINGS = frozenset({
    "hs_feedback_last_csat_survey_rating", "hs_feedback_last_ces_survey_rating", "hs_feedback_last_ces_rating",
    "hs_last_csat_rating",
})  # fmt: skip
"""The last answer to a survey whose scale is the team's own."""


def _last_nps(score: int, payload: Payload) -> Facts:
    """The last answer that a contact (or, about a ticket, somebody) gave.

    A record holds it for years, so a good one counts only with the date of the answer.
    """
    own = id_at(payload, "objectId", "contactId")
    answered = time_at(payload, "occurredAt", f"properties.{_ANSWERED}")
    when = answered or time_at(payload, "updatedAt")
    response = None if own is None or when is None else f"nps:{own}:{when}"[:512]
    fact = Fact("nps.responded", {"response_id": response, "score": score}, answered)
    return () if answered is None and _is_good_news(fact) else (fact,)


_ANSWERED = "hs_feedback_last_survey_date"


_UNDELIVERABLE = (
    "hs_email_hard_bounce_reason", "hs_email_bad_address", "hs_email_quarantined", "hs_email_customer_quarantined",
    "hs_email_is_ineligible",
)  # fmt: skip
"""Begin the names of what HubSpot writes to nobody for: no mailbox, a quarantine, or whatever makes them ineligible."""


def _zone(value: Any) -> str | None:
    """``europe_slash_berlin`` → ``Europe/Berlin``; None if the database does not know it."""
    if not isinstance(value, str):
        return None
    wanted = value.replace("_slash_", "/").casefold()
    return next((name for name in zones.names() if name.casefold() == wanted), None)


def _merged(payload: Payload) -> Facts:
    """The contact that remains stands for those merged into it."""
    remaining = id_at(payload, "newObjectId", "primaryObjectId", "objectId")
    return _aliases(_gone(payload), remaining)


def _gone(payload: Payload) -> list[Any]:
    merged = payload.get("mergedObjectIds")
    merged = re.split(r"[;,]", merged) if isinstance(merged, str) else merged
    return [payload.get("primaryObjectId"), *(merged if isinstance(merged, list) else [merged])]


def _aliases(gone: Iterable[Any], remaining: str | None) -> Facts:
    aliases = dict.fromkeys(filter(None, map(usable_id, gone)))
    return tuple(Fact("customer.aliased", {"alias": alias}) for alias in aliases if alias != remaining)


def _tickets_merged(payload: Payload) -> Facts:
    """The ticket that remains stands for those merged into it, which nobody closes any more."""
    remaining = id_at(payload, "newObjectId", "primaryObjectId")
    solved = [ticket for ticket in dict.fromkeys(filter(None, map(usable_id, _gone(payload)))) if ticket != remaining]
    opened = () if remaining is None else (Fact("ticket.opened", {"ticket_id": remaining}),)
    return (*opened, *(Fact("ticket.solved", {"ticket_id": ticket}) for ticket in solved))


def _associated(payload: Payload, sides: dict[str, str | None]) -> Facts:
    """A contact's company, or a contact's ticket. Whether the ticket is open is not said: unless something newer is
    known of it, it is.
    """
    if is_true(payload.get("associationRemoved")) or "contact" not in sides:
        return ()
    if "ticket" in sides:
        return (Fact("ticket.opened", {"ticket_id": sides["ticket"]}, _SOMETIME),)
    is_primary = is_true(payload.get("isPrimaryAssociation", True))
    return profile(account_id=sides["company"]) if is_primary and "company" in sides else ()


_SOMETIME = parse_instant("2000-01-01T00:00:00Z")[0]
"""Before everything that is known of a ticket: what says when it was opened or solved is newer."""


def _ticket_property(payload: Payload) -> Facts:
    """Closed is stage 4 of HubSpot's own pipeline, and a closing date in every pipeline.

    What a ticket says of surveys is the contact's own answer as well, so only a bad one counts here.
    """
    ticket = {"ticket_id": id_at(payload, "objectId")}
    value = payload.get("propertyValue")
    match payload.get("propertyName"):
        case "hs_pipeline_stage" if str(value) == _TICKET_CLOSED:
            return (Fact("ticket.solved", ticket),)
        case "hs_pipeline_stage" if str(value) in _TICKET_STAGES:
            return (Fact("ticket.reopened", ticket),)
        case "closed_date":
            return (Fact("ticket.reopened" if since_at(payload, "propertyValue") is None else "ticket.solved", ticket),)
        case "hs_ticket_reopened_at" if is_true(value):
            return (Fact("ticket.reopened", ticket),)
        case str(name) if name in _NPS and (score := whole_number(value)) is not None:
            return tuple(fact for fact in _last_nps(score, payload) if not _is_good_news(fact))
        case str(name) if name in _RATINGS and displeased(value):
            return (Fact("ticket.rated", ticket | {"rating": "negative"}),)
        case "hs_ticket_priority" if priority := _priority(value):
            return (Fact("ticket.opened", ticket | priority),)
        case _:
            return ()


def _record(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """A CRM record: a survey's submission, or a contact. Old workflows wrap every value in an object."""
    wrapped = object_at(payload, "properties")
    values = {name: value.get("value") if isinstance(value, dict) else value for name, value in wrapped.items()}
    flat = payload | {"properties": values}
    is_submission = "hs_survey_type" in values
    if not is_submission and not _is_contact(payload, values):
        return _of_a_thing(flat, values, reading)
    facts = _submitted(flat, values, reading) if is_submission else ()
    if is_submission and not facts:
        return Skipped("no_score", "feedback submission")
    own = id_at(flat, "vid", "id", "objectId", "properties.hs_object_id")
    contact = (
        id_at(values, "hs_contact_id") or id_at(payload, *expandable("associations.contacts.results.0"), "contactId")
        if is_submission
        else own
    )
    if not is_submission:
        known = flat | {"contactId": own, "objectId": None}
        facts = tuple(fact for name, value in values.items() for fact in _contact_property(name, value, known, reading))
        facts = (*facts, *_aliases(list_at(payload, "merged-vids"), own))
    revised = time_at(flat, "updatedAt", "properties.hs_lastmodifieddate", "properties.lastmodifieddate")
    submitted = time_at(flat, "properties.hs_submission_timestamp", "properties.hs_createdate", "createdAt")
    submitted = submitted if is_submission else None
    return about_whom(
        flat | {"contactId": contact},
        reading,
        _once(facts),
        [
            ("hubspot_contact", contact),
            ("email", None if is_submission else values.get("email")),
            *(("email", address) for address in str(values.get("hs_additional_emails") or "").split(";")),
            *(("email", address) for address in _identities(payload)),
            ("email", values.get("hs_respondent_email")),
        ],
        kind="feedback submission" if is_submission else "contact",
        id=f"record:{own}:{revised or submitted}"[:512] if own is not None and (revised or submitted) else None,
        time=submitted or revised,  # records are also touched for HubSpot's own reasons, long after the answer
    )


def _of_a_thing(payload: Payload, values: Payload, reading: Reading) -> Webhook | Skipped:
    """A ticket that names its contact, or a payment by its payer's address; other records are about nobody."""
    own = id_at(payload, "id", "objectId", "properties.hs_object_id")
    contact = id_at(payload, "associations.contacts.results.0.id") if _is_ticket(payload, values) else None
    payment = _PAYMENTS.get(str(values.get("hs_latest_status")).casefold()) if "hs_customer_email" in values else None
    if contact is None and payment is None:
        return Skipped("irrelevant", "record")
    fact = Fact(payment[0], {payment[1]: own}) if payment is not None else _ticket(own, values)
    revised = time_at(payload, "updatedAt", "properties.hs_lastmodifieddate")
    return about_whom(
        payload | {"contactId": contact},
        reading,
        (fact,),
        [
            ("hubspot_contact", contact),
            ("hubspot_ticket", None if contact is None else own),
            ("email", values.get("hs_customer_email")),
        ],
        kind="ticket" if payment is None else "payment",
        id=f"record:{own}:{revised}"[:512] if own is not None and revised else None,
        time=revised,
    )


_PAYMENTS = {
    "refunded": ("charge.refunded", "charge_id"),
    "partially_refunded": ("charge.refunded", "charge_id"),
    "disputed": ("charge.disputed", "charge_id"),
    "failed": ("invoice.payment_failed", "invoice_id"),
}
"""Status of a payment → the trouble that it is, and what its id stands for; a payment that came is no news."""


def _is_ticket(payload: Payload, values: Payload) -> bool:
    stated = str(payload.get("objectTypeId") or payload.get("objectType"))
    association = text_at(payload, "associations.contacts.results.0.type") or ""
    is_one = _OBJECTS.get(stated, stated.casefold()) == "ticket" or association.startswith("ticket_to_")
    return is_one or any(name.startswith("hs_ticket_") for name in values)


def _ticket(own: str | None, values: Payload) -> Fact:
    """A ticket as it is now: open, unless it is closed in HubSpot's own pipeline, or has been in any other."""
    ticket = {"ticket_id": own}
    if str(values.get("hs_pipeline_stage")) == _TICKET_CLOSED or since_at(values, "closed_date") is not None:
        return Fact("ticket.solved", ticket)
    return Fact("ticket.opened", ticket | _priority(values.get("hs_ticket_priority")))


def _priority(value: Any) -> dict[str, str]:
    """A priority of HubSpot's in our words; nothing of any other."""
    priority = value.casefold() if isinstance(value, str) else ""
    return {"priority": "normal" if priority == "medium" else priority} if priority in _PRIORITIES else {}


def _identities(payload: Payload) -> list[Any]:
    """The addresses in a record of the older API, which keeps all of them in one place."""
    return [
        identity.get("value")
        for profile in list_at(payload, "identity-profiles")[:50]
        for identity in list_at(profile, "identities")[:50]
        if isinstance(identity, dict) and identity.get("type") == "EMAIL"
    ]


def _is_contact(payload: Payload, values: Payload) -> bool:
    """Companies, deals and tickets are numbered like contacts, and look like them except for their properties."""
    stated = payload.get("objectTypeId") or payload.get("objectType")
    if stated is not None:
        return _OBJECTS.get(str(stated), str(stated).casefold()) == "contact"
    return "vid" in payload or any(name in _CONTACTS or name.startswith("hs_email_") for name in values)


_CONTACTS = frozenset({"email", "firstname", "lastname", "hs_feedback_last_nps_rating"})
"""Properties that only contacts have."""


def _once(facts: Facts) -> Facts:
    """The facts, each once, with everything about the profile merged into one."""
    known: dict[str, Any] = {}
    others: list[Fact] = []
    for fact in facts:
        if fact.type == "customer.profile_changed":
            known |= fact.data
        elif fact not in others:
            others.append(fact)
    left = [fact for fact in others if fact.type == "customer.suppressed"][1:]  # one is enough, for whichever reason
    return (*(fact for fact in others if fact not in left), *profile(**known))


def _submitted(payload: Payload, values: Payload, reading: Reading) -> Facts:
    """NPS by its type; the scale of a satisfaction survey is the team's own, so the deployment says it per survey."""
    response = Response(id_at(payload, "id") or id_at(values, "hs_object_id"))
    survey = id_at(values, "hs_survey_id")
    by_type = NPS if str(values.get("hs_survey_type")).casefold() == "nps" else IGNORE
    scale = configured(reading.questions, survey) or by_type
    score = next(
        (found for name in ("hs_value", "hs_response_value") if score_of(found := values.get(name)) is not None), None
    )
    response.add(None, COMMENT, values.get("hs_content"))
    response.add(survey, scale, score)
    if (facts := response.facts()) or scale is not by_type:
        return facts
    is_bad = str(values.get("hs_response_group")).casefold() in _BAD_GROUPS
    return displeased(LOWEST[0] if is_bad else score, response.id)


_BAD_GROUPS = frozenset({"detractor", "unhappy", "difficult", "dissatisfied", "unsatisfied", "negative"})
"""What HubSpot files a bad answer under; that it is good, only the number says."""


ADAPTER = Adapter(
    name="hubspot",
    marks=("subscriptionType", "properties", "results"),
    recognises=recognises,
    customer_paths=("contactId",),
    read=read,
    split=split,
    has_questions=True,
)
