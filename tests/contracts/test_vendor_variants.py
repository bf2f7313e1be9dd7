"""One kind of fault, put to every vendor: an id, a time, a score or an opt-out in another spelling than documented.

What a row expects is who is held back for it, or that nobody is asked for it: ``TYPE WHO [SCORE]`` per event but the
links, ``refused CAUSE``, or ``skipped REASON``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from referral_stream.contracts.addresses import address_hmacs, email_hmac, normal_address
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.mapping.parsing import build_mappings
from referral_stream.contracts.outcomes import Accepted, Adapted, Refused
from tests.contracts.building import KEY, NOW, cloud_event, facts, instant, read, sample, taught
from tests.rules import rule

WHEN = "2026-06-16T07:00:00Z"
SECONDS = instant(WHEN) // 1_000
ADDRESS = "ana@firm.com"
BY_ADDRESS = f"email:{email_hmac(ADDRESS, KEY)}"
QUESTIONS = Boundary(email_key=KEY, questions={"surveymonkey": {"q1": "nps"}})


def told(adapted: Adapted) -> list[str]:
    """What a record becomes, a line each."""
    if isinstance(adapted, Accepted):
        events = [
            " ".join(
                str(part)
                for part in (event.type, event.subject or event.link, getattr(event.data, "score", None))
                if part is not None
            )
            for event in adapted.events
            if event.type not in ("customer.linked", "customer.profile_changed")
        ]
        return events + [f"refused {letter.refused.cause}" for letter in adapted.letters]
    return [f"refused {adapted.cause}"] if isinstance(adapted, Refused) else [f"skipped {adapted.reason}"]


# ----------------------------------------------------------------------------------------------- payloads, one a vendor


def segment(name: str = "Unsubscribed", properties: Any = None, **more: Any) -> dict[str, Any]:
    call = {"type": "track", "event": name, "userId": "ana", "messageId": "m", "timestamp": WHEN}
    return call | {"properties": properties or {}} | more


def identify(**traits: Any) -> dict[str, Any]:
    return {"type": "identify", "userId": "ana", "messageId": "m", "timestamp": WHEN, "traits": traits}


def dittofeed(properties: Any, name: str = "DFSubscriptionChange", **more: Any) -> dict[str, Any]:
    return segment(name, properties, **more)


def posthog(event: str = "unsubscribed", properties: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "api_key": "k",
        "event": event,
        "distinct_id": "ana",
        "uuid": "u",
        "timestamp": WHEN,
        "properties": properties or {},
    } | more


def answered(**properties: Any) -> dict[str, Any]:
    return posthog("survey sent", {"$survey_id": "s", "$survey_submission_id": "r", **properties})


def stripe(kind: str, resource: dict[str, Any], **more: Any) -> dict[str, Any]:
    envelope = {"id": "evt_1", "object": "event", "created": SECONDS, "livemode": True, "type": kind}
    return envelope | {"data": {"object": resource}} | more


def dispute(**more: Any) -> dict[str, Any]:
    return {"id": "dp_1", "object": "dispute", "charge": "ch_1", "payment_intent": "pi_1", **more}


def hubspot(kind: str = "contact.propertyChange", **more: Any) -> list[dict[str, Any]]:
    change = {"eventId": 1, "portalId": 2, "occurredAt": SECONDS * 1_000, "subscriptionType": kind, "objectId": 501}
    return [change | more]


def property_changed(name: str, value: Any, **more: Any) -> list[dict[str, Any]]:
    return hubspot(propertyName=name, propertyValue=value, **more)


def submission(**properties: Any) -> dict[str, Any]:
    own = {"hs_object_id": "9", "hs_survey_type": "NPS", "hs_contact_id": "501", "hs_submission_timestamp": WHEN}
    return {"id": "9", "properties": own | properties}


def intercom(topic: str, item: Any, **more: Any) -> dict[str, Any]:
    return {
        "type": "notification_event",
        "id": "n",
        "topic": topic,
        "created_at": SECONDS,
        "data": {"item": item},
    } | more


def contact(**more: Any) -> dict[str, Any]:
    return {"type": "contact", "id": "ic-ana", "external_id": "ana", "email": ADDRESS, "role": "user"} | more


def conversation(**more: Any) -> dict[str, Any]:
    return {"type": "conversation", "id": "c9", "open": True, "contacts": {"contacts": [{"id": "ic-ana"}]}} | more


def zendesk(kind: str, detail: dict[str, Any], event: Any = None, **more: Any) -> dict[str, Any]:
    return {
        "type": f"zen:event-type:{kind}",
        "id": "01H",
        "time": WHEN,
        "detail": detail,
        "event": event or {},
    } | more


def ticket(**more: Any) -> dict[str, Any]:
    return {"id": "77", "requester_id": "777", "status": "OPEN"} | more


def user(**more: Any) -> dict[str, Any]:
    return {"id": "777", "role": "end-user", "email": ADDRESS, "external_id": "ana"} | more


def bus(kind: str, **more: Any) -> dict[str, Any]:
    return {"detail": {"user_event": {"meta": {"occurred_at": WHEN}, "type": kind, "user": {"id": 777}} | more}}


def delighted(kind: str = "survey_response.created", **more: Any) -> dict[str, Any]:
    person = {"id": "5975", "email": ADDRESS}
    response = {"id": "r", "survey_type": "nps", "score": 3, "created_at": SECONDS, "updated_at": SECONDS}
    told = response | {"person": person, "person_properties": {"customer_id": "ana"}} | more
    return {"event_type": kind, "event_id": "e", "event_data": told}


def typeform(number: Any, labels: Any = None, *, reference: str = "nps", kind: str = "nps", **more: Any) -> Any:
    field = {"id": "q1", "ref": reference, "type": kind}
    properties = {} if labels is None else {"labels": {"left": labels[0], "right": labels[1]}}
    response = {"token": "tok", "submitted_at": WHEN, "hidden": {"customer_id": "ana"}, **more}
    response.setdefault("definition", {"fields": [field | {"properties": properties}]})
    answers = [{"type": "number", "number": number, "field": field}]
    return {"event_id": "e", "event_type": "form_response", "form_response": response | {"answers": answers}}


def formbricks(answers: dict[str, Any], **more: Any) -> dict[str, Any]:
    response = {
        "id": "r",
        "updatedAt": WHEN,
        "data": answers,
        "contact": {"id": "c", "userId": "ana"},
        "finished": True,
    }
    return {"event": "responseFinished", "data": response | more}


def survicate(choice: Any = None, attributes: Any = None, **more: Any) -> dict[str, Any]:
    respondent = {"uuid": "u", "attributes": {"user_id": "ana"} if attributes is None else attributes}
    event = {"responseUuid": "r", "respondent": respondent, "question": {"id": "q"}, "timestamp": WHEN}
    return {"messageId": "m", "event": {"questionAnswered": event | {"choice": choice or DETRACTOR} | more}}


DETRACTOR = {"id": 3, "body": "Detractor"}


def surveymonkey(text: Any = "3", **more: Any) -> dict[str, Any]:
    response: dict[str, Any] = {"id": "r", "survey_id": "s", "response_status": "completed", "date_modified": WHEN}
    response |= {"custom_variables": {"customer_id": "ana"}}
    return response | {"pages": [{"questions": [{"id": "q1", "answers": [{"simple_text": text}]}]}]} | more


def helpscout(**more: Any) -> dict[str, Any]:
    person = {"id": 55, "email": ADDRESS}
    return {"id": 9, "ticketId": 1, "rating": "Bad", "customer": person, "modifiedAt": WHEN} | more


def helpscout_conversation(**more: Any) -> dict[str, Any]:
    person = {"id": 55, "email": ADDRESS}
    return {"id": 7, "status": "active", "mailboxId": 1, "primaryCustomer": person, "createdAt": WHEN} | more


def helpscout_customer(**more: Any) -> dict[str, Any]:
    return {"id": 55, "firstName": "A", "photoType": "x", "updatedAt": WHEN} | more


def helpscout_survey(**response: Any) -> dict[str, Any]:
    return {"message": {"id": "m"}, "response": {"timestamp": WHEN, **response}, "_embedded": {"customer": {"id": 55}}}


# ------------------------------------------------------------------------------------------------------------------ ids


@rule("I2.3", "I2.5", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (segment(userId="undefined", anonymousId="a1"), "customer.suppressed segment_anonymous:a1"),
        (segment(userId=0, anonymousId="a1"), "customer.suppressed segment_anonymous:a1"),
        (segment(userId=42.5, anonymousId="a1"), "customer.suppressed segment_anonymous:a1"),
        (segment(userId="null", anonymousId="xxxx"), "refused unusable_id"),
        (
            dittofeed({"action": "Unsubscribe"}, userId="[object Object]", anonymousId="a1"),
            "customer.suppressed segment_anonymous:a1",
        ),
        (posthog(distinct_id="$posthog_cookieless", person={"id": "p"}), "customer.suppressed posthog_person:p"),
        (stripe("charge.dispute.created", dispute(charge="undefined")), "charge.disputed stripe_payment_intent:pi_1"),
        (
            stripe("invoice.payment_failed", {"id": "in_1", "object": "invoice", "customer_email": ADDRESS}),
            f"invoice.payment_failed {BY_ADDRESS}",
        ),
        (
            stripe("checkout.session.expired", {
                "object": "checkout.session", "customer": "null", "customer_email": ADDRESS,
                "consent": {"promotions": "opt_out"},
            }),
            f"customer.consent_changed {BY_ADDRESS}",
        ),
        (intercom("contact.unsubscribed", contact(id="undefined")), "customer.suppressed intercom_external:ana"),
        (
            intercom("contact.deleted", contact(id=None, external_id="null")),
            f"customer.erasure_requested {BY_ADDRESS}",
        ),
        (zendesk("user.deleted", user(id="undefined")), "customer.erasure_requested zendesk_external_id:ana"),
        (zendesk("user.deleted", user(id=0, external_id="")), f"customer.erasure_requested {BY_ADDRESS}"),
        (
            delighted("unsubscribe.created", person={"id": "nil", "email": ADDRESS}, person_properties=None),
            f"customer.suppressed {BY_ADDRESS}",
        ),
        (
            delighted("unsubscribe.created", person="5975", person_properties=None),
            "customer.suppressed delighted_person:5975",
        ),
        (formbricks({"nps": 2}, contact="c1"), "nps.responded formbricks_contact:c1 2"),
        (
            formbricks({"nps": 2}, contact={"id": "c1", "userId": "undefined"}),
            "nps.responded formbricks_contact:c1 2",
        ),
        (survicate(attributes=[{"name": "user_id", "value": "ana"}]), "nps.responded ana 3"),
        (survicate(attributes=[]), "nps.responded survicate_uuid:u 3"),
        (helpscout_conversation(primaryCustomer={"id": 0, "email": ADDRESS}), f"ticket.opened {BY_ADDRESS}"),
        (
            {"id": "undefined", "properties": {"hs_object_id": "501", "email": ADDRESS, "hs_email_optout": "true"}},
            "customer.suppressed 501",
        ),
    ],
)  # fmt: skip
def test_a_placeholder_gives_way_to_whatever_else_names_somebody(payload: Any, expected: str) -> None:
    assert told(read(payload)) == [expected]


@rule("I2.2", "I2.5")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (segment(userId={"id": "ana"}, anonymousId="a1"), "customer.suppressed segment_anonymous:a1"),
        (segment(userId={"id": "ana"}), "refused unusable_id"),
        (segment("Signed In", userId={"id": "ana"}), "skipped no_customer"),
        (posthog(distinct_id={"id": "ana"}), "refused unusable_id"),
        (
            dittofeed({"action": "Unsubscribe"}, userId={"id": "ana"}, anonymousId="a1"),
            "customer.suppressed segment_anonymous:a1",
        ),
        (intercom("contact.unsubscribed", contact(id={"id": "x"})), "customer.suppressed intercom_external:ana"),
        (zendesk("user.deleted", user(id={"id": "777"})), "customer.erasure_requested zendesk_external_id:ana"),
        (
            helpscout(customer={"id": {"id": 55}, "email": ADDRESS}, ticketId={"id": 1}),
            f"csat.responded {BY_ADDRESS} 1.0",
        ),
        (survicate(attributes={"user_id": {"id": "ana"}}), "nps.responded survicate_uuid:u 3"),
        (cloud_event("customer.suppressed", {}, subject={"id": "ana"}), "refused unusable_id"),
    ],
)
def test_an_object_is_no_id_even_if_it_has_one(payload: Any, expected: str) -> None:
    assert told(read(payload)) == [expected]


@rule("I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            stripe("invoice.payment_failed", {"id": "in_1", "customer": {"id": "cus_1", "object": "customer"}}),
            "invoice.payment_failed cus_1",
        ),
        (
            stripe("charge.dispute.created", dispute(charge={"id": "ch_9", "object": "charge"})),
            "charge.disputed stripe_charge:ch_9",
        ),
        (
            delighted("unsubscribe.created", person={"id": "5975"}, person_properties=None),
            "customer.suppressed delighted_person:5975",
        ),
    ],
)
def test_an_object_that_the_vendor_puts_in_the_place_of_its_id_stands_for_it(payload: Any, expected: str) -> None:
    assert told(read(payload)) == [expected]


@rule("I2.3", "I2.7")
@pytest.mark.parametrize(
    "payload",
    [
        intercom("contact.user.updated", contact(external_id="null")),
        zendesk("user.created", user(external_id="None")),
        stripe(
            "charge.succeeded", {"id": "undefined", "object": "charge", "customer": "cus_1", "payment_intent": "nil"}
        ),
        segment("Email Opened", anonymousId="undefined"),
        delighted(person={"id": "undefined"}),
        survicate(respondent={"uuid": "null", "attributes": {"user_id": "ana"}}),
    ],
)
def test_a_placeholder_is_linked_to_nobody_and_spoils_nothing(payload: Any) -> None:
    assert taught(payload) == []
    assert "refused" not in " ".join(told(read(payload)))


@rule("I2.7")
@pytest.mark.parametrize(
    ("vendor", "path", "also", "kind"),
    [
        ("typeform.form_response", "form_response.hidden", {"customer_id": "c1", "user_id": "u1"}, "user_id"),
        ("survicate.question_answered", "event.questionAnswered.respondent.attributes",
         {"user_id": "c1", "customer_id": "u1"}, "customer_id"),
        ("customerio.email_spammed", "data", {"customer_id": "u1", "identifiers": {"id": "c1"}}, "customer_id"),
        ("sendgrid.spamreport", "", {"customer_id": "c1", "user_id": "u1"}, "user_id"),
        ("asknicely.answer.of_a_known_template", "person", {"customer_id_c": "c1", "user_id_c": "u1"}, "user_id_c"),
    ],
)  # fmt: skip
def test_an_id_at_another_of_the_customers_paths_is_linked(vendor: str, path: str, also: Any, kind: str) -> None:
    given = Boundary(email_key=KEY, questions={"asknicely": {"Default": "nps"}})
    payload = sample(vendor)
    inner = payload[0] if isinstance(payload, list) else payload
    for name in path.split(".") if path else ():
        inner = inner[name]
    inner.update(also)
    assert {event.subject for event in facts(payload, given)} == {"c1"}
    assert (kind, "u1") in taught(payload, given)


TWO = {"contacts": [{"type": "contact", "id": "ic-ana"}, {"type": "contact", "id": "ic-bea", "external_id": "bea"}]}


@rule("I1.3", "I2.7")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (
            intercom("conversation.user.created", conversation(contacts=TWO)),
            ["ticket.opened ic-ana", "ticket.opened ic-bea"],
        ),
        (
            intercom("conversation.user.replied", conversation(contacts=None, customers=TWO["contacts"])),
            ["ticket.reopened ic-ana", "ticket.reopened ic-bea"],
        ),
        (
            intercom("ticket.created", {"type": "ticket", "ticket": conversation(type="ticket", contacts=TWO)}),
            ["ticket.opened ic-ana", "ticket.opened ic-bea"],
        ),
        (
            intercom("conversation.admin.closed", conversation(contacts={"data": TWO["contacts"]}, open=False)),
            ["ticket.solved ic-ana", "ticket.solved ic-bea"],
        ),
        (
            intercom("conversation.rating.added", conversation(contacts=TWO, conversation_rating={"rating": 1})),
            ["ticket.rated ic-ana", "csat.responded ic-ana 1.0", "ticket.rated ic-bea", "csat.responded ic-bea 1.0"],
        ),
        (
            intercom("conversation.rating.added", conversation(contacts=TWO, conversation_rating={"rating": 5})),
            [],
        ),
        *(
            (
                intercom(
                    "conversation.rating.added",
                    conversation(contacts=TWO, conversation_rating={"rating": score, "contact": {"id": "ic-bea"}}),
                ),
                ["ticket.rated ic-bea", f"csat.responded ic-bea {score}.0"],
            )
            for score in (1, 5)
        ),
        (
            intercom("conversation.rating.added", conversation(ai_agent={"rating": 1, "rating_remark": "bad"})),
            ["ticket.rated ic-ana", "csat.responded ic-ana 1.0"],
        ),
        (intercom("conversation.rating.added", conversation(ai_agent={"rating": 5})), ["skipped irrelevant"]),
        (
            intercom(
                "conversation.user.created",
                conversation(contacts=[*TWO["contacts"], TWO["contacts"][0], {"id": "b", "type": "bot"}]),
            ),
            ["ticket.opened ic-ana", "ticket.opened ic-bea"],
        ),
        (
            intercom(
                "conversation.user.created",
                conversation(
                    contacts={"contacts": [{"id": "ic-ana"}, {"id": "ic-bea", "unsubscribed_from_emails": True}]}
                ),
            ),
            ["ticket.opened ic-ana", "customer.suppressed ic-bea", "ticket.opened ic-bea"],
        ),
        (
            intercom(
                "conversation.contact.attached",
                {"contact": {"id": "ic-cleo", "type": "contact"}, "conversation": conversation(contacts=TWO)},
            ),
            ["ticket.opened ic-cleo"],
        ),
        (
            intercom("conversation.user.created", conversation(contacts=TWO, user={"id": "ic-dora", "type": "user"})),
            ["ticket.opened ic-dora", "ticket.opened ic-ana", "ticket.opened ic-bea"],
        ),
    ],
)
def test_trouble_of_a_conversation_is_that_of_all_its_contacts_and_praise_of_none_of_several(
    payload: Any, expected: list[str]
) -> None:
    assert told(read(payload)) == expected


@rule("I1.3", "I1.11")
@pytest.mark.parametrize(
    ("event", "body", "expected"),
    [
        (b"customer.deleted", {"id": 55}, "customer.erasure_requested 55"),
        (b" Customer.Deleted", {"id": 55}, "customer.erasure_requested 55"),
        (b"convo.deleted", {"id": 7}, "ticket.solved helpscout_conversation:7"),
        (b"customer.deleted", {"id": 0}, "refused unusable_id"),
        (b"customer.deleted", {}, "refused unusable_id"),  # it protects, and names nobody (identity 2)
        (b"customer.updated", {"id": 55}, "refused unrecognised"),
        (b"tag.deleted", {"id": 55}, "skipped irrelevant"),
        (b"beacon.chat.created", {"id": "c"}, "skipped irrelevant"),
        (b"convo.status", helpscout_conversation(), "ticket.opened 55"),
        (b"", {"id": 55}, "refused unrecognised"),
    ],
)
def test_what_help_scout_deleted_is_known_by_the_name_in_its_header(event: bytes, body: Any, expected: str) -> None:
    headers = (("referral-source", b"helpscout"), ("referral-event", event))
    assert told(read(body, headers=headers)) == [expected]
    assert told(read(body, headers=headers[:1])) == ([expected] if "status" in body else ["refused unrecognised"])


@rule("I4.7")
def test_an_open_conversation_of_help_scout_s_is_linked_to_its_customer_for_when_it_is_deleted() -> None:
    assert ("helpscout_conversation", "7") in taught(helpscout_conversation())
    assert ("helpscout_conversation", "7") not in taught(helpscout_conversation(status="closed"))


@rule("I1.3", "I2.8")
def test_events_that_are_all_called_undefined_are_not_one() -> None:
    people = [segment("Unsubscribed", userId=who, messageId="m1") for who in ("ana", "bea")]
    assert told(read({"batch": people})) == ["customer.suppressed ana", "customer.suppressed bea"]
    twice = [segment(name, messageId="undefined") for name in ("Email Opened", "Unsubscribed")]
    adapted = read({"batch": twice})
    assert isinstance(adapted, Accepted)
    assert len({event.id for event in adapted.events}) == 2
    first, second = (read(cloud_event("customer.suppressed", {}, id="null"), offset=n) for n in (1, 2))
    assert isinstance(first, Accepted)
    assert isinstance(second, Accepted)
    assert first.events[0].id != second.events[0].id


@rule("I1.3", "I5.1")
def test_a_batch_of_two_tools_is_read_by_both_unless_it_is_one_vendors_alone() -> None:
    batch = {"batch": [segment(userId="bea"), dittofeed({}, "DFEmailBounced")]}
    assert told(read(batch)) == ["customer.suppressed bea", "customer.suppressed ana"]
    alone = read(batch, headers=(("referral-source", b"segment"),))
    assert told(alone) == ["customer.suppressed bea", "refused unrecognised"]


@rule("I3.4")
@pytest.mark.parametrize(
    ("merged", "aliases"),
    [
        ([502], ["502"]), (["502", 502.0], ["502"]), (502, ["502"]), ([{"id": 502}], []), ([None, True, 1.5], []),
        ([501], []),
    ],
)  # fmt: skip
def test_contacts_are_merged_however_their_numbers_are_written(merged: Any, aliases: list[str]) -> None:
    adapted = read(hubspot("contact.merge", primaryObjectId=501, mergedObjectIds=merged))
    found = [event.data.alias for event in adapted.events] if isinstance(adapted, Accepted) else []
    assert found == aliases


# ---------------------------------------------------------------------------------------------------------------- times

AT: dict[str, Callable[[Any, bool], Any]] = {
    "segment": lambda time, good: segment("NPS Response Sent", {"score": 10 if good else 2}, timestamp=time),
    "posthog": lambda time, good: posthog(
        "survey sent", {"$survey_id": "s", "$survey_name": "NPS", "$survey_response": 10 if good else 2}, timestamp=time
    ),
    "hubspot": lambda time, good: property_changed(
        "hs_feedback_last_nps_rating", "10" if good else "2", occurredAt=time
    ),
    "intercom": lambda time, good: intercom(
        "content_stat.survey",
        {"contact": contact(), "content_stat": {
            "id": "r", "stat_type": "answer", "answer": {"question_text": "Recommend?", "response": 10 if good else 2},
        }},
        created_at=time,
    ),
    "zendesk": lambda time, good: zendesk(
        "ticket.csat_received", ticket(id=None if not good else "77"),
        {"satisfaction_score": {"score": 5 if good else 2}}, time=time,
    ),
    "delighted": lambda time, good: delighted(score=10 if good else 2, updated_at=time, created_at=None),
    "typeform": lambda time, good: typeform(10 if good else 2, submitted_at=time),
    "formbricks": lambda time, good: formbricks({"nps": 10 if good else 2}, updatedAt=time),
    "survicate": lambda time, good: survicate(
        {"id": 10, "body": "Promoter"} if good else {"id": 2, "body": "Detractor"}, timestamp=time
    ),
    "surveymonkey": lambda time, good: surveymonkey("10" if good else "2", date_modified=time),
    "helpscout": lambda time, good: helpscout(rating="Great" if good else "Bad", modifiedAt=time),
}  # fmt: skip
"""Vendor → a score, favourable or not, stated at a time."""
SCORED = ("nps.responded", "csat.responded")


@rule("I1.7", "I1.8")
@pytest.mark.parametrize("vendor", AT)
@pytest.mark.parametrize(
    "time", [SECONDS, SECONDS * 1_000, SECONDS * 1_000_000, float(SECONDS), SECONDS * 1_000.0, str(SECONDS), WHEN]
)
def test_a_time_is_read_by_its_size_whichever_vendor_sends_it(vendor: str, time: Any) -> None:
    for good in (True, False):
        adapted = read(AT[vendor](time, good), boundary=QUESTIONS)
        assert isinstance(adapted, Accepted)
        scored = [event for event in adapted.events if event.type in SCORED]
        assert [(event.time, event.flags) for event in scored] == [(instant(WHEN), ())]


@rule("I1.6", "I1.7", "I1.8")
@pytest.mark.parametrize("vendor", AT)
@pytest.mark.parametrize(
    "time",
    [0, 1, "0001-01-01T00:00:00Z", "1970-01-01T00:00:00Z", "2026-06-16 07:00:00 UTC",
     "Tue, 16 Jun 2026 07:00:00 GMT", "yesterday", True, {"seconds": SECONDS}],
)  # fmt: skip
def test_of_an_unreadable_time_only_what_protects_is_taken(vendor: str, time: Any) -> None:
    for good in (True, False):
        adapted = read(AT[vendor](time, good), boundary=QUESTIONS, timestamp=NOW - 5_000)
        events = adapted.events if isinstance(adapted, Accepted) else ()
        scored = [(event.time, event.flags) for event in events if event.type in SCORED]
        assert scored == ([] if good else [(NOW - 5_000, ("time_unreadable",))])


# --------------------------------------------------------------------------------------------------------------- scores


@rule("I1.10", "11.20")
@pytest.mark.parametrize("text", ["3", "3.0", " 3 ", "3.00", 3, 3.0])
@pytest.mark.parametrize(
    "payload",
    [
        lambda score: segment("NPS Response Sent", {"score": score}),
        lambda score: answered(**{"$survey_name": "NPS", "$survey_response": score}),
        lambda score: property_changed("hs_feedback_last_nps_rating", score),
        lambda score: submission(hs_value="", hs_response_value=score),
        lambda score: delighted(score=score),
        lambda score: delighted(survey_type="NPS", score=score),
        typeform,
        lambda score: formbricks({"nps": score}),
        lambda score: survicate({"id": score, "body": "Detractor"}),
        surveymonkey,
        lambda score: helpscout_survey(category="Detractor", value=score),
    ],
)
def test_a_low_score_is_one_in_every_spelling(payload: Any, text: Any) -> None:
    (line,) = told(read(payload(text), boundary=QUESTIONS))
    assert line.startswith("nps.responded")
    assert line.endswith(" 3")


@rule("I1.10")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (segment("Survey", {"answers": [{"metric": "nps", "score": 10}, {"metric": "nps", "score": 2}]}), "ana 2"),
        (segment("Survey", {"survey_type": "nps", "nps_score": 2, "score": 10}), "ana 2"),
        (segment("Survey", {"survey_type": "nps", "score": 10, "rating": 2}), None),
        (segment("Survey", {"question_type": "NPS", "score": 2}), "ana 2"),
        (
            answered(**{
                "$survey_questions": [{"id": "a", "question": "How likely are you to recommend us?", "response": 2}],
            }),
            "ana 2",
        ),
        (answered(**{"$survey_name": "NPS", "$survey_response": 10, "$survey_completed": False}), None),
        (answered(**{"$survey_name": "NPS", "$survey_response": 2, "$survey_completed": False}), "ana 2"),
        (formbricks({"nps": 10}, finished=False), None),
        (formbricks({"nps": 2}, finished=False), "ana 2"),
        (formbricks({"would_not_recommend": 10}), None),
        (typeform(10, reference="why_not_recommend", kind="opinion_scale"), None),
        (typeform(5, kind="opinion_scale", definition={"fields": [{"id": "q1", "properties": {"steps": "6"}}]}), None),
    ],
)  # fmt: skip
def test_of_several_numbers_the_one_that_is_named_counts(payload: Any, expected: str | None) -> None:
    lines = told(read(payload))
    assert lines == [f"nps.responded {expected}"] if expected else lines[0].startswith("skipped")


@rule("I1.10")
@pytest.mark.parametrize(
    ("question", "counts"),
    [
        ("How likely are you to recommend us to a friend?", True),
        ("What is the likelihood that you recommend us?", True),
        ("Wie wahrscheinlich ist es, dass Sie uns weiterempfehlen?", True),
        ("How likely or unlikely are you to recommend us?", True),
        ("How likely are you to recommend us? 0 = not likely, 10 = very likely", True),
        ("Would you recommend us (0: not at all likely)?", True),
        ("How unlikely are you to recommend us?", False),
        ("Would you not recommend us?", False),
        ("Why wouldn't you recommend us?", False),
        ("What would you recommend we change?", False),
        ("Würden Sie uns nicht weiterempfehlen?", False),
    ],
)
def test_a_question_that_is_turned_round_is_no_score(question: str, counts: bool) -> None:
    asked = answered(**{"$survey_questions": [{"id": "a", "question": question}], "$survey_response_a": 10})
    stat = {"id": "r", "stat_type": "answer", "answer": {"question_text": question, "response": "10"}}
    written = intercom("content_stat.survey", {"contact": contact(), "content_stat": stat})
    for payload in (asked, written):
        assert any(line.startswith("nps.responded") for line in told(read(payload))) is counts


@rule("I1.10")
@pytest.mark.parametrize(
    ("labels", "counts"),
    [
        (("Not likely", "Very likely"), True), (("Peu probable", "Très probable"), True),
        (("Auf keinen Fall", "Auf jeden Fall"), True), (("", ""), True),
        (("Very likely", "Not likely"), False), (("Très probable", "Peu probable"), False),
        (("Auf jeden Fall", "Auf keinen Fall"), False), (("Muy probable", "Poco probable"), False),
        (("Zeker", "Zeker niet"), False), (("Excellent", "Terrible"), False), (("Most", "Least likely"), False),
    ],
)  # fmt: skip
def test_a_scale_that_ends_badly_counts_nothing(labels: tuple[str, str], counts: bool) -> None:
    assert told(read(typeform(10, labels))) == (["nps.responded ana 10"] if counts else ["skipped no_score"])


@rule("I1.4", "I1.5")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (zendesk("ticket.csat_received", ticket(id=None), {"satisfaction_score": {"score": 2}}), "777 2.0"),
        (zendesk("ticket.csat_received", ticket(id=None), {"satisfaction_score": {"score": 5}}), None),
        (intercom("conversation.rating.added", conversation(id=None, conversation_rating={"rating": 1})), "ic-ana 1.0"),
        (intercom("conversation.rating.added", conversation(id=None, conversation_rating={"rating": 5})), None),
    ],
)
def test_a_bad_rating_of_an_unknown_ticket_is_kept(payload: Any, expected: str | None) -> None:
    assert told(read(payload)) == [f"csat.responded {expected}" if expected else "refused invalid"]


# ------------------------------------------------------------------------------------------------------------- opt-outs


@rule("I1.9", "I1.11")
@pytest.mark.parametrize(
    "payload",
    [
        *(identify(**{name: value}) for name, value in [
            ("do_not_email", True), ("donotbulkemail", True), ("emailoptout", "1"), ("DoNotContact", "Yes"),
            ("accepts_marketing", False), ("marketing_consent", "no"), ("emailOptIn", 0), ("email_opt_in", "0"),
            ("tags", ["vip", "unsubscribed"]), ("tags", "DNC"), ("email_status", "complained"), ("complained", True),
            ("suppressions", ["email"]), ("email_marketing_consent", {"state": "unsubscribed"}),
            ("custom", [{"name": "Opted out", "value": True}]), ("no_marketing", True), ("tags", ["No-Email"]),
            ("tags", ["vip", "do_not_email"]), ("label", "DoNotContact"),
        ]),
        posthog("pageview", {"$set": {"email_permission": False}}),
        dittofeed({"subscriptionChange": "Unsubscribe"}), dittofeed({"action": "UNSUBSCRIBED"}),
        *(property_changed(name, value) for name, value in [
            ("hs_email_is_ineligible", "true"), ("hs_email_quarantined_reason", "SUSPENSION"),
            ("hs_email_customer_quarantined_reason", "x"), ("hs_email_hard_bounce_reason", "550"),
        ]),
        hubspot("contact.communicationPreferenceChange", subscriptionStatus="UNSUBSCRIBED"),
        *(intercom("contact.user.updated", contact(**{name: value})) for name, value in [
            ("unsubscribed_from_emails", "true"), ("has_hard_bounced", 1),
            ("opted_out_subscription_types", {"data": [], "total_count": 1}),
            ("opted_out_subscription_types", [{"id": 1}]),
        ]),
        zendesk("user.custom_field_changed", user(), {"current": True, "field": {"title": "Do not contact"}}),
        zendesk("user.tags_changed", user(), {"added": {"tags": ["unsubscribed"]}}),
        bus("Custom Field Changed", custom_field={"title": "Opted out"}, current="yes"),
        formbricks({"nps": 3, "unsubscribed": "true"}),
        survicate(attributes=[{"name": "user_id", "value": "ana"}, {"name": "unsubscribed", "value": "yes"}]),
        helpscout_customer(properties=[{"slug": "do-not-contact", "value": "Yes"}]),
        helpscout_customer(_embedded={"properties": [{"slug": "x", "name": "Opted out", "value": "true"}]}),
        stripe("customer.updated", {"id": "cus_1", "object": "customer", "metadata": {"do_not_email": "true"}}),
        zendesk("user.custom_field_changed", user(), {"current": "do_not_contact", "field": {"title": "Mail"}}),
        helpscout_conversation(customFields=[{"id": 8, "name": "Mail", "value": "8518", "text": "Do not contact"}]),
        helpscout_conversation(customFields=[{"id": 8, "name": "Do not contact", "value": "8518", "label": "Yes"}]),
        intercom("conversation.user.created", conversation(custom_attributes={"Do not contact": True})),
        intercom("ticket.created", {"type": "ticket", "ticket": conversation(ticket_attributes={"Opted out": "yes"})}),
    ],
)  # fmt: skip
def test_an_opt_out_that_a_record_holds_is_read_in_every_spelling(payload: Any) -> None:
    assert any(line.startswith("customer.suppressed") for line in told(read(payload)))


@rule("I1.9")
@pytest.mark.parametrize(
    "payload",
    [
        *(identify(**{name: value}) for name, value in [
            ("do_not_track", True), ("adopt_outcome", "good"), ("unsubscribe_url", "https://x"),
            ("analytics_consent", 0),
            ("subscribed", False), ("tags", ["vip"]), ("accepts_marketing", None), ("emailOptIn", None),
            ("opt_out", "N"), ("complaints", 0), ("cookie_consent", False), ("status", "active"),
        ]),
        property_changed("hs_email_is_ineligible", "false"), property_changed("hs_email_optout", "false"),
        intercom("contact.user.updated", contact(opted_out_subscription_types={"data": [], "total_count": 0})),
        intercom("contact.user.updated", contact(unsubscribed_from_emails="false")),
        zendesk("user.custom_field_changed", user(), {"current": False, "field": {"title": "Do not contact"}}),
        zendesk("user.tags_changed", user(), {"removed": {"tags": ["unsubscribed"]}}),
        zendesk("ticket.comment_added", ticket(), {"current": "do_not_contact"}),
        helpscout_conversation(customFields=[{"id": 8, "name": "Do not contact", "value": "8518", "text": "No"}]),
        dittofeed({"action": "Subscribe"}),
    ],
)  # fmt: skip
def test_what_only_resembles_an_opt_out_is_none(payload: Any) -> None:
    assert not any(line.startswith("customer.suppressed") for line in told(read(payload)))


@rule("I1.10")
@pytest.mark.parametrize(
    ("properties", "machine"),
    [
        ({"machine_open": "true"}, True), ({"sg": {"machine_open": True}}, True), ({"apple_mpp": 1}, True),
        ({"user_agent": "Mozilla/5.0 (via ggpht.com GoogleImageProxy)"}, True), ({"useragent": "YahooMailProxy"}, True),
        ({"client_type": "bot"}, True), ({"open_type": "machine"}, True),
        ({"machine_open": "false"}, False), ({"user_agent": "Mozilla/5.0 (X11) Firefox/115.0"}, False), ({}, False),
    ],
)  # fmt: skip
def test_mail_that_a_program_opened_is_no_moment(properties: Any, machine: bool) -> None:
    stat = {"stat_type": "open", "content_type": "email", **properties}
    for payload in (
        segment("Email Opened", properties),
        segment("Email Link Clicked", properties),
        dittofeed(properties, "DFEmailOpened"),
        intercom("content_stat.email", {"contact": contact(), "content_stat": stat}),
    ):
        assert any(line.startswith("email") for line in told(read(payload))) is not machine


# ---------------------------------------------------------------------------------------- tickets, accounts, test modes


@rule("I1.9", "I4.2")
@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (zendesk("ticket.status_changed", ticket(), {"current": "OPEN"}), ["ticket.reopened 777"]),
        (
            zendesk("ticket.csat_received", ticket(), {"satisfaction_score": {"score": "badwithcomment"}}),
            ["ticket.rated 777"],
        ),
        (zendesk("user.deleted", user(role="end_user")), ["customer.erasure_requested 777"]),
        (bus("User Deleted"), ["customer.erasure_requested 777"]),
        (helpscout_conversation(status="Active"), ["ticket.opened 55"]),
        (
            hubspot("ticket.propertyChange", objectId=77, propertyName="hs_pipeline_stage", propertyValue=4),
            ["ticket.solved hubspot_ticket:77"],
        ),
        (
            hubspot(
                "ticket.associationChange", fromObjectId=77, toObjectId=501,
                associationType="TICKET_TO_CONTACT_UNLABELED",
            ),
            ["ticket.opened 501"],
        ),
        (
            hubspot(
                "ticket.associationChange", fromObjectId=77, toObjectId=501, associationType="TICKET_TO_CONTACT",
                associationRemoved="true",
            ),
            ["skipped irrelevant"],
        ),
        (stripe("charge.dispute.created", dispute(livemode=False)), ["skipped test_mode"]),
        (stripe("charge.dispute.created", dispute(), livemode=False), ["skipped test_mode"]),
        (property_changed("lifecyclestage", "Customer"), ["customer.signed_up 501"]),
    ],
)  # fmt: skip
def test_what_happened_is_read_in_every_spelling(payload: Any, expected: list[str]) -> None:
    assert told(read(payload)) == expected


@rule("I1.9")
def test_a_sign_up_without_a_readable_time_is_none_of_1970() -> None:
    for since in (0, "0", "never", True):
        adapted = read(intercom("contact.user.created", contact(signed_up_at=since, created_at="1500000000")))
        assert isinstance(adapted, Accepted)
        assert adapted.events[0].time == instant("2017-07-14T02:40:00Z")


# ------------------------------------------------------------------------------------------------------------ addresses


@rule("I2.9")
@pytest.mark.parametrize(
    "written",
    [
        "Ana <ana@firm.com>", '"Ana B." <Ana+news@FIRM.com>', "<ana@firm.com>", "mailto:ana@firm.com",
        "MAILTO:Ana@firm.com?subject=stop", "\u200bana@firm.com", "ana@firm.com\ufeff", "ana\u00ad@firm.com",
        "ana@\uff46\uff49\uff52\uff4d.com", "ana@firm.com.",
    ],
)  # fmt: skip
def test_an_address_is_one_in_every_way_to_write_it(written: str) -> None:
    assert normal_address(written) == ADDRESS
    event = cloud_event("customer.suppressed", {}, subject=None, link=f"email:{written}")
    assert told(read(event)) == [f"customer.suppressed {BY_ADDRESS}"]


@rule("I2.9")
@pytest.mark.parametrize("written", ["Ana <>", "<noreply@firm.com>", "mailto:", "mailto:?to=ana", "Ana <ana>"])
def test_what_surrounds_no_address_is_none(written: str) -> None:
    assert normal_address(written) is None


@rule("I2.9")
@pytest.mark.parametrize(
    "written",
    [
        "ana@firm.com, bea@firm.com", "ana@firm.com;bea@firm.com", "ana@firm.com bea@firm.com", "Ana <a@x.eu>, b@x.eu",
        "ana@firm.com,", "ana@firm.com (work)", "ana@firm.com\nbea@firm.com",
    ],
)  # fmt: skip
def test_several_addresses_in_one_field_are_nobody_and_an_opt_out_of_them_is_a_dead_letter(written: str) -> None:
    assert normal_address(written) is None
    event = cloud_event("customer.suppressed", {}, subject=None, link=f"email:{written}")
    assert told(read(event)) == ["refused unusable_id"]
    assert told(read(delighted("unsubscribe.created", person={"email": written}, person_properties=None))) == [
        "refused unusable_id"
    ]


# ---------------------------------------------------------------------------------------------------------- CloudEvents


@rule("I1.3", "I1.5", "11.20")
@pytest.mark.parametrize(
    ("kind", "data", "kept"),
    [
        ("nps.responded", {"response_id": "r", "score": "3"}, {"response_id": "r", "score": 3}),
        ("nps.responded", {"response_id": "r", "score": "3.0"}, {"response_id": "r", "score": 3}),
        ("nps.responded", {"response_id": "r", "score": "9"}, None),
        ("nps.responded", {"response_id": "r", "score": "many"}, None),
        ("nps.responded", {"response_id": "undefined", "score": 3}, {"response_id": "evt-1", "score": 3}),
        (
            "csat.responded",
            {"response_id": "r", "score": "1", "scale_max": "5"},
            {"response_id": "r", "score": 1.0, "scale_max": 5.0},
        ),
        ("csat.responded", {"response_id": "r", "score": "5", "scale_max": "5"}, None),
        ("review.posted", {"rating": "1", "scale_max": 5}, {"rating": 1.0, "scale_max": 5.0}),
        ("review.posted", {"rating": "5", "scale_max": 5}, None),
        ("ticket.rated", {"ticket_id": "t", "rating": "NEGATIVE"}, {"ticket_id": "t", "rating": "negative"}),
        ("ticket.rated", {"ticket_id": "t", "rating": "Positive"}, None),
        ("ticket.rated", {"ticket_id": "t", "rating": "bad"}, {"ticket_id": "t", "rating": "negative"}),
        ("ticket.rated", {"ticket_id": "t"}, {"ticket_id": "t", "rating": "negative"}),
        ("ask.answered", {"command_id": "c", "answer": "STOP"}, {"command_id": "c", "answer": "stop"}),
        ("ask.answered", {"command_id": "c", "answer": "rather not"}, {"command_id": "c", "answer": "unclear"}),
        ("ask.answered", {"command_id": "c"}, None),
        ("feedback.shared", {"positive": "false"}, {"positive": False}),
        ("feedback.shared", {"positive": 0}, {"positive": False}),
        ("feedback.shared", {}, {"positive": False}),
        ("interaction.recorded", {"kind": "call", "positive": "no"}, {"kind": "call", "positive": False}),
        ("interaction.recorded", {"kind": "call", "positive": "yes"}, {"kind": "call"}),
        ("usage.compared", {"above_average": "no"}, {"above_average": False}),
        ("champion.changed", {"champion": "no"}, {"champion": False}),
        ("customer.signed_up", {"trial": "yes"}, {"trial": True}),
        ("customer.profile_changed", {"requires_approval": "yes"}, {"requires_approval": True}),
        ("customer.profile_changed", {"champion": "yes"}, {}),
        (
            "customer.profile_changed",
            {"channels": {"email": "false", "in_app": "true", "phone": True}},
            {"channels": {"email": False, "phone": True}},
        ),
        ("customer.profile_changed", {"account_id": "undefined"}, {}),
        ("customer.profile_changed", {"email_hmac": ADDRESS}, address_hmacs(ADDRESS, KEY)),
        (
            "customer.consent_changed",
            {"purpose": "Referral_Ask", "channel": "EMAIL", "granted": False},
            {"purpose": "referral_ask", "channel": "email", "granted": False},
        ),
        (
            "customer.consent_changed",
            {"purpose": "all", "granted": False},
            {"purpose": "referral_ask", "channel": "all", "granted": False},
        ),
        (
            "customer.consent_changed",
            {"purpose": "marketing", "channel": "email", "granted": False},
            {"purpose": "marketing", "channel": "email", "granted": False},
        ),
        ("customer.consent_changed", {"purpose": "referral_ask", "channel": "EMAIL", "granted": True}, None),
    ],
)
def test_a_word_against_asking_is_read_in_every_spelling(kind: str, data: Any, kept: dict[str, Any] | None) -> None:
    adapted = read(cloud_event(kind, data))
    if kept is None:
        assert told(adapted) == ["refused invalid"]
    else:
        assert isinstance(adapted, Accepted)
        assert adapted.events[0].data.model_dump(exclude_none=True, exclude_unset=True) == kept


@rule("I1.3", "I1.5")
@pytest.mark.parametrize("fault", [{"dataschema": 5}, {"specversion": None}, {"specversion": 1}, {"id": 1.5}])
def test_an_envelope_that_is_not_as_it_should_be_loses_only_what_speaks_for_asking(fault: dict[str, Any]) -> None:
    assert told(read(cloud_event("customer.suppressed", {}, **fault))) == ["customer.suppressed cus-1"]
    assert told(read(cloud_event("compliment.given", {}, **fault))) == ["refused invalid"]


# ------------------------------------------------------------------------------------------------------------- mappings


def mapped(adapter: str, kind: str, payload: Any) -> list[str]:
    """What the payload becomes where a mapping says that it is of this type, and whom it is about."""
    rule_ = {"when": {"adapter": adapter, "who": {"exists": True}}, "type": kind, "subject": "$.who"}
    return told(read(payload, boundary=Boundary(email_key=KEY, mappings=build_mappings({"mapping": [rule_]}))))


@rule("I2.3", "I2.6")
@pytest.mark.parametrize(
    ("adapter", "payload", "protective", "favourable"),
    [
        ("json", {"who": "ana"}, "customer.suppressed ana", "compliment.given ana"),
        ("json", {"who": "undefined"}, "refused unusable_id", "skipped no_customer"),
        ("json", {"who": ["ana"]}, "refused unusable_id", "skipped no_customer"),
        ("json", {"who": 42.0}, "customer.suppressed 42", "compliment.given 42"),
        ("segment", segment("Left", who="null"), "customer.suppressed ana", "compliment.given ana"),
        (
            "segment", segment("Left", who=0, userId=None, anonymousId="a1"),
            "customer.suppressed segment_anonymous:a1", "compliment.given segment_anonymous:a1",
        ),
        (
            "cloudevents", cloud_event("com.acme.left", subject="undefined", link="order:1", who="nil"),
            "customer.suppressed order:1", "compliment.given order:1",
        ),
        (
            "cloudevents", cloud_event("com.acme.left", subject=None, link=f"email:{ADDRESS}", who=1.5),
            f"customer.suppressed {BY_ADDRESS}", f"compliment.given {BY_ADDRESS}",
        ),
        (
            "cloudevents", cloud_event("com.acme.left", subject=None, who="nil"),
            "refused unusable_id", "skipped no_customer",
        ),
        (
            "cloudevents", cloud_event("com.acme.left", who="ana", time=SECONDS),
            "customer.suppressed ana", "refused invalid",
        ),
    ],
)  # fmt: skip
def test_what_a_mapping_makes_protective_is_never_skipped(
    adapter: str, payload: Any, protective: str, favourable: str
) -> None:
    assert mapped(adapter, "customer.suppressed", payload) == [protective]
    assert mapped(adapter, "compliment.given", payload) == [favourable]


# ---------------------------------------------------------------------------------------------------------------- bytes

OPT_OUTS = (
    b'{"specversion":"1.0","id":"e","source":"s","type":"customer.suppressed","subject":"ana","data":%s}',
    b'{"type":"track","event":"Unsubscribed","userId":"ana","messageId":"m","properties":%s}',
)
DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "two byte order marks": lambda body: b"\xef\xbb\xbf" * 2 + body % b"{}",
    "a byte order mark on the second line": lambda body: b"\r\n\xef\xbb\xbf" + body % b"{}",
    "UTF-16": lambda body: (body % b"{}").decode().encode("utf-16"),
    "UTF-16 without its mark": lambda body: (body % b"{}").decode().encode("utf-16-be"),
    "UTF-32": lambda body: (body % b"{}").decode().encode("utf-32"),
    "Latin-1": lambda body: body % b'{"note":"J\xfcrgen"}',
    "a number of 5,000 digits": lambda body: body % (b'{"note":' + b"9" * 5_000 + b"}"),
    "a number beyond all": lambda body: body % b'{"note":1e999}',
    "a line end in a text": lambda body: body % b'{"note":"a\nb\x00"}',
    "a zero byte at the end": lambda body: body % b"{}" + b"\x00",
}


@rule("I1.3")
@pytest.mark.parametrize("body", OPT_OUTS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_bytes_that_a_careless_program_wrote_do_not_lose_an_opt_out(damage: str, body: bytes) -> None:
    assert told(read(DAMAGE[damage](body))) == ["customer.suppressed ana"]
