"""Surveys in older shapes, and as other tools pass them on: bad answers and opt-outs are heard there, too."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.outcomes import Accepted
from tests.contracts.building import KEY, facts, read, sample, taught
from tests.rules import rule

AT = "2026-06-16T07:00:00Z"
GIVEN = Boundary(email_key=KEY)


def satismeter(event: str = "Survey completed", user: str = "u1", **properties: Any) -> dict[str, Any]:
    """As RudderStack and Segment hand it on."""
    return {
        "type": "track", "event": event, "userId": user, "anonymousId": "637", "messageId": "m", "timestamp": AT,
        "context": {"traits": {"email": "bob@firm.com"}}, "properties": properties,
    }  # fmt: skip


def nps(value: Any, **answer: Any) -> dict[str, Any]:
    return {"id": "q", "metric": "nps", "value": value, **answer}


def track(name: str) -> dict[str, Any]:
    return {"type": "track", "event": name, "userId": "u1", "messageId": "m", "timestamp": AT, "properties": {}}


def typeform(answer: dict[str, Any], ref: str, kind: str = "yes_no", **of_field: Any) -> dict[str, Any]:
    """Of 2018: what questions are called stands in the definition alone."""
    asked = {"id": "q", "type": kind}
    definition = {"fields": [{**asked, "ref": ref, "title": "?", **of_field}]}
    response = {"token": "t", "submitted_at": AT, "hidden": {"user_id": "u1"}, "definition": definition}
    answers = [{**answer, "field": asked}]
    return {"event_id": "e", "event_type": "form_response", "form_response": {**response, "answers": answers}}


def with_variable(key: str, value: str) -> dict[str, Any]:
    payload = typeform({"type": "text", "text": "Ana"}, "q7", "short_text")
    payload["form_response"]["variables"] = [{"key": key, "type": "text", "text": value}]
    return payload


def survicate(asked: str = "Unsubscribe me", **answer: Any) -> dict[str, Any]:
    payload: dict[str, Any] = sample("survicate.question_answered")
    said = {"choice": {"body": "Yes"}} | answer
    payload["event"]["questionAnswered"] |= {"question": {"id": 1, "body": asked}, **said}
    return payload


def qualtrics(label: Any) -> dict[str, Any]:
    payload: dict[str, Any] = sample("qualtrics.response")
    values = {"QID1": 1, "externalDataReference": "c1", "finished": 1, "status": 0}
    payload["result"] |= {"values": values, "labels": {"QID1": label}}
    return payload


def surveymonkey(said: str = "Yes", **more: Any) -> dict[str, Any]:
    question = {"id": "1", "variable_id": "unsubscribe", "answers": [{"simple_text": said}], **more}
    return {
        "id": "r", "survey_id": "s", "response_status": "completed", "custom_variables": {"user_id": "u1"},
        "date_modified": AT, "pages": [{"questions": [question]}],
    }  # fmt: skip


def delighted(value: Any = None, asked: str = "unsubscribe") -> dict[str, Any]:
    payload: dict[str, Any] = sample("delighted.survey_response_created")
    said = {"free_response": "Yes"} if value is None else value
    payload["event_data"]["additional_answers"] = [{"question": {"id": asked}, "value": said}]
    return payload


def answered(name: str, value: str = "Yes", **more: Any) -> dict[str, Any]:
    payload: dict[str, Any] = sample("satismeter.completed")
    payload["response"]["answers"] = [{"id": "1", "name": name, "type": "single-choice", "value": value, **more}]
    return payload


def formbricks(**data: Any) -> dict[str, Any]:
    response = {"data": {"email": "ana@firm.com", **data}}
    return {"webhookId": "w", "event": "responseFinished", "data": {"surveyId": "s", "response": response}}


def asknicely(score: str) -> dict[str, Any]:
    payload: dict[str, Any] = sample("asknicely.answer")
    payload["question"] |= {"score": score}
    return payload


def freshdesk(**more: Any) -> dict[str, Any]:
    return {"freshdesk_webhook": {"ticket_id": 11, "ticket_status": "Open", **more}}


LEFT = "customer.suppressed"


@rule("I1.10", "I1.11")
@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (satismeter(answers=[nps(10)], surveyDismissed=True), None), (satismeter(answers=[nps(10)]), "nps.responded"),
        (satismeter("Survey dismissed", answers=[nps(10)]), None),
        (satismeter(answers=[nps(2)], surveyPending=True), "nps.responded"),
        (satismeter(answers=[nps(10, label="How unlikely are you to recommend us?")]), None),
        (satismeter(answers=[{"metric": "csat", "value": 1}]), "frustration.shown"),
        (satismeter(answers=[{"metric": "csat", "value": 4}]), None),
        (track("unsub"), LEFT), (track("Un subscribe from all email"), LEFT), (track("Subscription abuse"), LEFT),
        (track("Email Dropped"), LEFT), (track("Subscription started"), None),
        (typeform({"type": "boolean", "boolean": True}, "unsubscribe"), LEFT),
        (typeform({"type": "boolean", "boolean": False}, "unsubscribe"), None),
        (typeform({"type": "number", "number": 1}, "nps", "opinion_scale"), "nps.responded"),
        (typeform({"type": "number", "number": 1}, "satisfaction", "rating", properties={"steps": 5}),
         "csat.responded"),
        (typeform({"type": "choices", "choices": {"labels": ["News", "Unsubscribe from all"]}}, "email_preferences",
                  "multiple_choice"), LEFT),
        (answered("unsubscribe"), LEFT), (surveymonkey(), LEFT), (survicate(), LEFT), (delighted(), LEFT),
        (typeform({"type": "boolean", "boolean": True}, "q7", title="Do not contact me"), LEFT),
        (typeform({"type": "boolean", "boolean": False}, "q7", title="Do not contact me"), None),
        (typeform({"type": "choice", "choice": {"label": "Please unsubscribe me"}}, "q7", "multiple_choice"), LEFT),
        (typeform({"type": "choice", "choice": {"other": "do not contact me"}}, "q7", "multiple_choice"), LEFT),
        (typeform({"type": "text", "text": "yes please"}, "do_not_contact", "short_text"), LEFT),
        (typeform({"type": "text", "text": "Ana"}, "q7", "short_text"), None),
        (typeform({"type": "number", "number": 1}, "csat", "opinion_scale"), "frustration.shown"),
        (typeform({"type": "number", "number": 1}, "nps", "opinion_scale", properties={"steps": 5}),
         "frustration.shown"),
        (typeform({"type": "number", "number": 1}, "satisfaction", "rating"), "frustration.shown"),
        (typeform({"type": "number", "number": 4}, "satisfaction", "rating"), None),
        (typeform({"type": "number", "number": 1}, "size", "rating"), None),
        (with_variable("do_not_contact", "yes"), LEFT), (with_variable("score", "yes"), None),
        (survicate(choice=None, choices=[{"body": "News"}, {"body": "Do not contact me"}]), LEFT),
        (survicate("How are you?", choice={"body": "Fine"}), None),
        (surveymonkey(variable_id=None, heading="Do not contact me"), LEFT),
        (surveymonkey("Do not contact me", variable_id=None), LEFT), (surveymonkey(variable_id=None), None),
        (delighted({"select_one": {"id": "1", "text": "Do not contact me"}}, "mail"), LEFT),
        (delighted({"select_many": [{"id": "1", "text": "Unsubscribe"}]}, "mail"), LEFT),
        (answered("mail", "Do not contact me"), LEFT), (answered("mail", label="Unsubscribe me"), LEFT),
        (qualtrics("Do not contact me"), LEFT), (qualtrics(["News", "Unsubscribe"]), LEFT), (qualtrics("News"), None),
        (formbricks(q7="Do not contact me"), LEFT), (formbricks(q7=["News", "Unsubscribe me"]), LEFT),
        (formbricks(csat=1), "frustration.shown"), (formbricks(csat=5), None),
        (formbricks(unsubscribe="accepted"), LEFT), (formbricks(nps=2), "nps.responded"),
        (asknicely("0"), "frustration.shown"), (asknicely("7"), None),
        (freshdesk(unique_external_id="ext1"), "ticket.opened"),
        (freshdesk(ticket_requester_unique_external_id="ext1", ticket_do_not_contact="true"), LEFT),
    ],
)  # fmt: skip
def test_what_is_said_is_heard_and_no_more(payload: dict[str, Any], said: str | None) -> None:
    adapted = read(payload, boundary=GIVEN)
    events = adapted.events if isinstance(adapted, Accepted) else ()
    kinds = {event.type for event in events} - {"customer.linked", "customer.profile_changed"}
    assert kinds >= {said} if said else kinds == set()


@rule("I2.3")
def test_everybody_whom_a_site_did_not_name_is_not_one_customer() -> None:
    payload = satismeter(user="No response", answers=[nps(1)])
    (event,) = [event for event in facts(payload, GIVEN) if event.type == "nps.responded"]
    assert (event.subject, event.link is not None and event.link.kind) == ("", "email")
    assert taught(payload, GIVEN) == []
