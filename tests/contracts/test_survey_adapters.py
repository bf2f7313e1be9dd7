"""Surveys and forms: PostHog, Typeform, Formbricks, SurveyMonkey, Survicate."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.adapters.surveys import Scale, scale_of
from referral_stream.contracts.addresses import address_hmacs, email_hmac
from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.outcomes import Accepted
from referral_stream.core.policy import Identity
from tests.contracts.building import (
    BOUNDARY,
    KEY,
    NOW,
    Said,
    accepted,
    facts,
    instant,
    only,
    read,
    refused,
    said,
    sample,
    skipped,
)
from tests.rules import rule

ANA = email_hmac("ana@customer.example", KEY)
HASHES = address_hmacs("ana@customer.example", KEY)
PROFILE = ("customer.profile_changed", HASHES)


def asking(adapter: str, **scales: str) -> Boundary:
    """A deployment that says which scale its questions have."""
    return Boundary(email_key=KEY, questions={adapter: scales})


def nps(response: str, score: int, theme: str | None = None) -> tuple[str, dict[str, Any]]:
    """An expected NPS answer."""
    data: dict[str, Any] = {"response_id": response, "score": score}
    return ("nps.responded", data if theme is None else data | {"theme": theme})


def csat(response: str, score: float, scale_max: float, theme: str | None = None) -> tuple[str, dict[str, Any]]:
    """An expected CSAT answer."""
    data: dict[str, Any] = {"response_id": response, "score": score, "scale_max": scale_max}
    return ("csat.responded", data if theme is None else data | {"theme": theme})


@pytest.mark.parametrize(
    ("text", "scale"), [("nps", Scale("nps")), ("csat/7", Scale("csat", 7)), ("ignore", Scale("ignore"))]
)
def test_a_scale_is_written_in_a_word(text: str, scale: Scale) -> None:
    assert scale_of(text) == scale


@pytest.mark.parametrize("text", ["", "NPS", "csat", "csat/0", "csat/five", "csat/5 ", "csat/12345"])
def test_a_deployment_with_an_unknown_scale_cannot_be_made(text: str) -> None:
    with pytest.raises(ValueError, match="a question is nps, csat/5"):
        asking("typeform", q=text)


def test_a_deployment_with_questions_of_an_unknown_adapter_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no adapter 'typefrom'"):
        asking("typefrom", q="nps")


# -------------------------------------------------------------------------------------------------------------- PostHog


def survey_sent(**properties: Any) -> dict[str, Any]:
    """A survey's answers by customer u1."""
    return {
        "api_key": "phc",
        "event": "survey sent",
        "distinct_id": "u1",
        "uuid": "e1",
        "timestamp": "2026-06-16T07:00:00Z",
        "properties": {"$survey_id": "s1", **{f"${name}": value for name, value in properties.items()}},
    }


QUESTIONS = [{"id": "q-a", "question": "How likely are you to recommend us?"}, {"id": "q-b", "question": "Why?"}]
TEAM = {"id": "q-c", "question": "How many people are in your team?"}


@pytest.mark.parametrize(
    ("payload", "boundary", "expected"),
    [
        (survey_sent(survey_response=9), asking("posthog", s1="nps"), [nps("e1", 9)]),
        (survey_sent(survey_response=9, survey_name="NPS of the quarter"), BOUNDARY, [nps("e1", 9)]),
        (survey_sent(survey_response="0", survey_questions=QUESTIONS), BOUNDARY, [nps("e1", 0)]),
        (
            survey_sent(survey_response=10, survey_submission_id="sub", survey_questions=QUESTIONS),
            BOUNDARY,
            [nps("sub", 10)],
        ),
        (
            survey_sent(**{"survey_response_q-c": 10, "survey_response_q-a": 2}, survey_questions=[TEAM, *QUESTIONS]),
            BOUNDARY,
            [nps("e1", 2)],
        ),
        (  # in the page's own order: the named one counts wherever it stands
            survey_sent(survey_response=10, survey_response_1=2, survey_questions=[TEAM, QUESTIONS[0]]),
            BOUNDARY,
            [nps("e1", 2)],
        ),
        (  # two that call themselves NPS: the lower
            survey_sent(
                survey_response=10, survey_response_1="3", survey_questions=[QUESTIONS[0], QUESTIONS[0] | {"id": "q-d"}]
            ),
            BOUNDARY,
            [nps("e1", 3)],
        ),
        (  # the deployment's word counts before the wording
            survey_sent(survey_response=10, survey_response_1=4, survey_questions=[QUESTIONS[0], TEAM]),
            asking("posthog", **{"q-c": "nps"}),
            [nps("e1", 4)],
        ),
        (
            survey_sent(survey_response=9, **{"survey_response_q-a": 9}, survey_questions=QUESTIONS),
            BOUNDARY,
            [nps("e1", 9)],
        ),
        (
            survey_sent(survey_response=9, survey_response_1="so easy to use"),
            asking("posthog", s1="nps"),
            [nps("e1", 9, "ease_of_use")],
        ),
        (survey_sent(survey_response=4), asking("posthog", s1="csat/5"), [csat("e1:0", 4, 5)]),
        (
            survey_sent(survey_response=4, survey_response_1=10, survey_questions=QUESTIONS),
            asking("posthog", **{"q-a": "csat/5", "q-b": "nps"}),
            [csat("e1:q-a", 4, 5), nps("e1", 10)],
        ),
        (
            survey_sent(survey_response=4, **{"survey_response_q-a": 4}, survey_questions=QUESTIONS),
            asking("posthog", **{"q-a": "csat/5"}),
            [csat("e1:q-a", 4, 5)],
        ),
    ],
)
def test_posthog_surveys(payload: dict[str, Any], boundary: Boundary, expected: Said) -> None:
    assert said(payload, boundary) == expected


@rule("I1.10")
@pytest.mark.parametrize("response", ["Awesome!", 11, 9, 0, "10", -1, 9.5, None, True, ["Great"], {}])
def test_a_posthog_answer_without_a_named_score_is_skipped_with_the_reason(response: Any) -> None:
    assert skipped(read(survey_sent(survey_response=response))).reason == "no_score"
    assert skipped(read(survey_sent(survey_response=response, survey_questions=[TEAM]))).reason == "no_score"


def test_of_several_numbers_none_counts_where_only_the_survey_is_named() -> None:
    payload = survey_sent(survey_response=10, survey_response_1=2)
    assert skipped(read(payload, boundary=asking("posthog", s1="nps"))).reason == "no_score"
    assert skipped(read(payload | {"properties": payload["properties"] | {"$survey_name": "NPS"}})).reason == "no_score"


def test_a_question_that_is_to_be_ignored_is() -> None:
    adapted = read(survey_sent(survey_response=9), boundary=asking("posthog", s1="ignore"))
    assert skipped(adapted).reason == "no_score"


def test_a_posthog_answer_without_any_id_is_named_by_who_answered_what_and_when() -> None:
    payload = survey_sent(survey_response=9, survey_name="NPS")
    del payload["uuid"]
    assert only(read(payload)).data.response_id == "s1:u1:2026-06-16T07:00:00Z"


RECOGNISED = ("customer.suppressed", {"reason": "recognised"})


def capture(event: str, **fields: Any) -> dict[str, Any]:
    """A PostHog event of customer u1."""
    return {"api_key": "phc", "event": event, "distinct_id": "u1", "timestamp": "2026-06-16T07:00:00Z", **fields}


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (capture("report_exported"), []),
        (capture("x" * 300), []),
        (capture("newsletter_unsubscribed"), [("customer.suppressed", {"reason": "recognised"})]),
        (capture("$workflows_email_bounced"), [("customer.suppressed", {"reason": "recognised"})]),
        (capture("$workflows_email_opened"), []),
        (capture("$set", **{"$set": {"unsubscribed": True}}), [RECOGNISED]),
        (capture("x", person={"properties": {"do_not_contact": "yes"}}), [RECOGNISED]),
        (capture("x", person={"properties": {"$is_bounce": True, "unsubscribed": False}}), []),
        (capture("onboarding_completed"), [("onboarding.completed", {})]),
        (
            capture("milestone-reached", properties={"milestone": "first-report", "first_success": True}),
            [("milestone.reached", {"milestone": "first-report", "first_success": True})],
        ),
        (capture("Goal Achieved"), []),
        (capture("Goal Achieved", properties={"goal": "g"}), [("goal.achieved", {"goal": "g"})]),
        (capture("$pageview"), []),
        (capture("$autocapture"), []),
        (capture("survey shown"), [("advocacy.asked", {"kind": "survey", "by": "posthog"})]),
        (capture("survey dismissed"), []),
        (capture("survey abandoned", properties={"$survey_response": 10}), []),
        (capture(""), []),
        (capture("$identify", properties={"$set": {"email": " ANA@customer.example"}}), [PROFILE]),
        (capture("$set", **{"$set": {"email": "ana@customer.example"}}), [PROFILE]),
        (capture("$identify", properties={"$set": {"email": "nobody"}}), []),
        (
            capture("$groupidentify", properties={"$group_type": "company", "$group_key": "a1", "$group_set": {}}),
            [("customer.profile_changed", {"account_id": "a1"})],
        ),
        (
            capture(
                "$groupidentify",
                distinct_id="$company_a1",
                properties={"$group_type": "company", "$group_key": "a1"},
            ),
            [],
        ),
    ],
)
def test_posthog(payload: dict[str, Any], expected: Said) -> None:
    assert said(payload) == expected


ALIASES = [
    capture("$create_alias", properties={"alias": "old"}),
    capture("$merge_dangerously", properties={"alias": "old"}),
    capture("$identify", properties={"$anon_distinct_id": "old"}),
]


@rule("I3.29")
@pytest.mark.parametrize("payload", ALIASES)
def test_what_any_browser_says_of_two_ids_is_believed_where_the_deployment_says_so(payload: dict[str, Any]) -> None:
    trusting = Boundary(email_key=KEY, identity=Identity(trust_browser_aliases=True))
    assert said(payload, trusting) == [("customer.aliased", {"alias": "old"})]
    untrusting = read(payload)
    if payload["event"] == "$identify":  # it still teaches whose browser it is
        assert [event.type for event in accepted(untrusting)] == ["customer.linked"]
    else:
        assert skipped(untrusting).reason == "untrusted_alias"


def test_mixpanels_events_are_not_posthogs() -> None:
    mixpanel: dict[str, Any]
    mixpanel = {"event": "Unsubscribed", "properties": {"time": 1, "distinct_id": "u1", "token": "t", "mp_lib": "web"}}
    assert refused(read(mixpanel)).cause == "unrecognised"
    del mixpanel["properties"]["token"], mixpanel["properties"]["mp_lib"]
    assert refused(read(mixpanel)).cause == "unrecognised"


@pytest.mark.parametrize(
    ("groups", "account"),
    [
        ({"company": "a1"}, "a1"),
        ({"project": "p1", "organization": "a1"}, "a1"),
        ({"tenant": 7}, "7"),
        ({"project": "p1", "team": "t1"}, None),
        ({"tenant": ["x"]}, None),
        ({}, None),
        ("a1", None),
    ],
)
def test_the_account_is_among_the_groups(groups: Any, account: str | None) -> None:
    assert only(read(capture("onboarding_completed", properties={"$groups": groups}))).account == account


@pytest.mark.parametrize(
    "fields",
    [
        {"distinct_id": None},
        {"distinct_id": "anonymous"},
        {"distinct_id": "[object Object]"},
        {"properties": {"$is_identified": False}},
        {"distinct_id": {"no": "id"}},
    ],
)
def test_nobody_in_particular_is_no_posthog_customer(fields: dict[str, Any]) -> None:
    assert skipped(read(capture("onboarding_completed", **fields))).reason == "no_customer"


@pytest.mark.parametrize(
    ("time", "flags"),
    [
        ("2026-06-16T07:00:00Z", ()),
        ("2026-06-16T07:00:00.913767", ("time_naive",)),
        (NOW - 1_000, ()),
        (NOW // 1_000, ()),
        ("[optional timestamp in ISO 8601 format]", ("time_unreadable",)),
        (None, ("time_unreadable",)),
        ("", ("time_unreadable",)),
    ],
)
def test_a_posthog_time_that_is_none_counts_as_missing(time: Any, flags: tuple[str, ...]) -> None:
    assert only(read(capture("onboarding_completed", timestamp=time))).flags == flags


def test_a_batch_is_several_customers_events_each_with_its_own_id() -> None:
    events = accepted(read(sample("posthog.batch")))
    assert [(event.subject, event.id, event.historical) for event in events] == [
        ("cus-ana", "0197-ana-5", True),
        ("cus-bob", "0197-bob-1", True),
    ]


def test_browsers_send_a_bare_array() -> None:
    said_by = {"token": "phc", "distinct_id": "u1", "$lib": "web"}
    events = [{"event": "onboarding_completed", "uuid": f"e{n}", "properties": said_by} for n in (1, 2)]
    assert [(event.source, event.id) for event in accepted(read(events))] == [("posthog", "e1"), ("posthog", "e2")]


def test_events_of_a_batch_without_ids_are_told_apart_by_their_place() -> None:
    batch = {"api_key": "phc", "batch": [capture("onboarding_completed"), capture("workflow_completed")]}
    ids = [event.id for event in accepted(read(batch))]
    assert len(set(ids)) == 2
    assert ids == [event.id for event in accepted(read(batch))]


def test_an_event_that_is_twice_in_one_batch_counts_once() -> None:
    twice = capture("onboarding_completed", uuid="e1")
    assert only(read({"api_key": "phc", "batch": [twice, twice]})).id == "e1"


def test_a_batch_without_known_events_is_skipped_an_empty_one_unrecognised() -> None:
    assert skipped(read({"api_key": "phc", "batch": [capture("$pageview")]})).reason == "irrelevant"
    assert refused(read({"api_key": "phc", "batch": []})).cause == "unrecognised"


def test_posthogs_webhook_and_its_older_hook_are_read_alike() -> None:
    (event,) = facts(sample("posthog.webhook"))
    assert (event.type, event.subject, event.id) == ("onboarding.completed", "cus-ana", "0197-ana-4")
    data = {"event": "onboarding_completed", "distinctId": "u1", "uuid": "e"}
    hook = {"hook": {"id": "h", "event": "action_performed"}, "data": data}
    assert only(read(hook)).subject == "u1"


# ------------------------------------------------------------------------------------------------------------- Typeform


def form(*answers: dict[str, Any], fields: tuple[dict[str, Any], ...] = (), **response: Any) -> dict[str, Any]:
    """A Typeform response of customer u1."""
    body = {
        "token": "t1",
        "submitted_at": "2026-06-16T07:00:00Z",
        "hidden": {"user_id": "u1"},
        "definition": {"fields": list(fields)},
        "answers": list(answers),
        **response,
    }
    return {"event_id": "e1", "event_type": "form_response", "form_response": body}


def number(value: Any, ref: str = "r1", kind: str = "opinion_scale") -> dict[str, Any]:
    """An answer on a scale."""
    return {"type": "number", "number": value, "field": {"id": f"id-{ref}", "ref": ref, "type": kind}}


def words(text: str, ref: str = "w1", kind: str = "long_text") -> dict[str, Any]:
    """An answer in words."""
    return {"type": "text", "text": text, "field": {"id": f"id-{ref}", "ref": ref, "type": kind}}


def field(ref: str, title: str = "", **properties: Any) -> dict[str, Any]:
    """A question as the form defines it."""
    return {"id": f"id-{ref}", "ref": ref, "title": title, "type": "opinion_scale", "properties": properties}


def choice(label: str, ref: str = "c1") -> dict[str, Any]:
    """A choice that was picked."""
    asked = {"id": f"id-{ref}", "ref": ref, "type": "multiple_choice"}
    return {"type": "choice", "choice": {"id": "x", "label": label}, "field": asked}


NAMED = "how_likely_nps"


@rule("I1.10")
@pytest.mark.parametrize(
    ("payload", "boundary", "expected"),
    [
        (form(number(9, NAMED)), BOUNDARY, [nps("t1", 9)]),
        (form(number("9", NAMED)), BOUNDARY, [nps("t1", 9)]),
        (form(number(9, kind="nps"), number(3, "r2")), BOUNDARY, [nps("t1", 9)]),
        (form(number(9, "company_nps"), number(3, "r2")), BOUNDARY, [nps("t1", 9)]),
        (form(number(2, "r1"), number(9, "weiterempfehlung")), BOUNDARY, [nps("t1", 9)]),
        (form(number(9, "nps_a"), number(3, "nps_b")), BOUNDARY, [nps("t1", 3)]),
        (form(number(3, "nps_a"), number(9, "r2")), asking("typeform", r2="nps"), [nps("t1", 9)]),
        (form(number(9, NAMED), fields=(field(NAMED, steps=11),)), BOUNDARY, [nps("t1", 9)]),
        (
            form(number(9, NAMED), fields=(field(NAMED, labels={"left": "Not likely", "right": "Very likely"}),)),
            BOUNDARY,
            [nps("t1", 9)],
        ),
        (form(number(9, NAMED), words("Great reporting")), BOUNDARY, [nps("t1", 9, "features")]),
        (
            form(number(4), number(9, "r2")),
            asking("typeform", r1="csat/5", r2="nps"),
            [csat("t1:r1", 4, 5), nps("t1", 9)],
        ),
        (form(number(4)), asking("typeform", **{"id-r1": "csat/5"}), [csat("t1:r1", 4, 5)]),
        (form(choice("4")), asking("typeform", c1="csat/5"), [csat("t1:c1", 4, 5)]),
        (
            form(number(9, NAMED), words("fast support", "why", "short_text")),
            asking("typeform", why="comment"),
            [nps("t1", 9, "support")],
        ),
        (
            form(number(4, "csat_support", "rating"), fields=(field("csat_support", steps=5),)),
            BOUNDARY,
            [csat("t1:csat_support", 4, 5)],
        ),
        (
            form(number(9, NAMED), hidden={"user_id": "u1", "email": "ana@customer.example"}),
            BOUNDARY,
            [nps("t1", 9), PROFILE],
        ),
    ],
)
def test_typeform(payload: dict[str, Any], boundary: Boundary, expected: Said) -> None:
    assert said(payload, boundary) == expected


@rule("I1.10")
@pytest.mark.parametrize(
    "payload",
    [
        form(),
        form(number(10), fields=(field("r1", "How likely are you to cancel your plan?"),)),
        form(number(10), fields=(field("r1", "How likely are you to recommend us?"),)),
        form(number(3), number(4, "r2")),
        form(number(5, NAMED), fields=(field(NAMED, steps=5),)),
        form(number(9, NAMED), fields=(field(NAMED, steps=11, start_at_one=True),)),
        form(number(9, NAMED), fields=(field(NAMED, start_at_one=True),)),
        form(number(10, NAMED), fields=(field(NAMED, labels={"left": "Very likely", "right": "Not at all likely"}),)),
        form(number(9, NAMED, "nps"), fields=(field(NAMED, labels={"left": "Gern", "right": "Auf keinen Fall, nie"}),)),
        form(number(5, kind="rating"), fields=(field("r1", "How hard was it?", steps=5),)),
        form(number(4, "csat", "rating")),
        form(words("9", NAMED)),
        form(number(None, NAMED)),
        form(answers=None),
    ],
    ids=[
        "no answer",
        "an only scale",
        "a title",
        "two scales alike",
        "not from 0 to 10",
        "from 1 to 11",
        "from 1",
        "reversed",
        "reversed NPS",
        "stars for something",
        "stars of unknown number",
        "words",
        "nothing",
        "no list",
    ],
)
def test_a_form_whose_scale_nobody_named_is_skipped_with_the_reason(payload: dict[str, Any]) -> None:
    assert skipped(read(payload)).reason == "no_score"


def left(payload: dict[str, Any]) -> dict[str, Any]:
    """The same form, left without being sent."""
    return payload | {"event_type": "form_response_partial"}


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([number(6, kind="nps")], [nps("t1", 6)]),
        ([number(8, kind="nps")], [nps("t1", 8)]),
        ([number(9, kind="nps"), number(2, "csat", "rating")], [csat("t1:csat", 2, 5)]),
    ],
)
def test_of_a_form_that_was_left_counts_what_speaks_against_asking(answers: Any, expected: Said) -> None:
    assert said(left(form(*answers, fields=(field("csat", steps=5),)))) == expected
    assert skipped(read(left(form(number(9, kind="nps"))))).reason == "no_score"


def test_a_form_without_hidden_fields_names_nobody() -> None:
    assert skipped(read(form(number(9, NAMED), hidden={}))).reason == "no_customer"


MAIL = {"type": "email", "email": "Ana@customer.example", "field": {"id": "m", "ref": "m", "type": "email"}}


@rule("I4.2", "I2.7")
def test_an_address_that_was_typed_is_linked_or_says_who_is_meant() -> None:
    _, linked = accepted(read(form(number(9, NAMED), MAIL)))
    assert (linked.type, linked.subject, linked.data.kind, linked.data.value) == ("customer.linked", "u1", "email", ANA)
    nobody = only(read(form(number(2, NAMED), MAIL, hidden={})))
    assert (nobody.subject, nobody.link) == ("", ("email", ANA))


def test_an_impossible_score_is_refused() -> None:
    assert refused(read(form(number(11, NAMED)))).detail.startswith("score: ")


# ---------------------------------------------------------------------------------- Formbricks, SurveyMonkey, Survicate


def response(event: str = "responseFinished", answers: Any = None, **data: Any) -> dict[str, Any]:
    """A Formbricks response of customer u1."""
    body = {"id": "r1", "updatedAt": "2026-06-16T07:00:00Z", "contact": {"userId": "u1"}, "data": answers, **data}
    return {"webhookId": "w", "event": event, "data": body}


@pytest.mark.parametrize(
    ("answers", "boundary", "expected"),
    [
        ({"nps": 9}, BOUNDARY, [nps("r1", 9)]),
        ({"nps_score": 0, "why": "saves us hours every week"}, BOUNDARY, [nps("r1", 0, "time_saved")]),
        ({"q7": 9}, asking("formbricks", q7="nps"), [nps("r1", 9)]),
        ({"q7": 4, "nps": 9}, asking("formbricks", q7="csat/5"), [csat("r1:q7", 4, 5), nps("r1", 9)]),
        ({"nps": "3"}, BOUNDARY, [nps("r1", 3)]),
        ({"nps_a": 9, "nps_b": 2}, BOUNDARY, [nps("r1", 2)]),
    ],
)
def test_formbricks(answers: Any, boundary: Boundary, expected: Said) -> None:
    assert said(response(answers=answers), boundary) == expected


@pytest.mark.parametrize("answers", [None, {}, {"q7": 9}, {"nps": "clicked"}, {"snaps": 9}, []])
def test_a_formbricks_response_without_a_score_is_skipped_with_the_reason(answers: Any) -> None:
    assert skipped(read(response(answers=answers))).reason == "no_score"


def test_a_formbricks_response_is_revised_as_it_goes_on() -> None:
    first = only(read(response("responseUpdated", {"nps": 6}, updatedAt="2026-06-16T06:59:00Z")))
    last = only(read(response("responseFinished", {"nps": 9})))
    assert first.data.response_id == last.data.response_id
    assert first.id != last.id
    assert first.time < last.time


def test_formbricks_may_come_in_an_array() -> None:
    assert only(read([response(answers={"nps": 9})])).source == "formbricks"


def test_a_formbricks_response_of_nobody_is_skipped() -> None:
    assert skipped(read(response(answers={"nps": 9}, contact=None))).reason == "no_customer"


@pytest.mark.parametrize("name", ["response_completed", "response_updated", "survey_created", "collector_deleted"])
def test_a_surveymonkey_callback_carries_no_score(name: str) -> None:
    skip = skipped(read({"event_type": name, "object_id": "1"}))
    assert (skip.reason, skip.detail) == ("no_score", f"{name}: a callback carries no answers")


def test_a_fetched_surveymonkey_response_is_read_by_the_deployments_questions() -> None:
    boundary = asking("surveymonkey", **{"q-nps": "nps", "q-why": "comment"})
    event, _ = accepted(read(sample("surveymonkey.response_details"), boundary=boundary))
    assert (event.subject, event.time) == ("cus-ana", instant("2026-06-16T07:30:00Z"))
    assert (event.data.response_id, event.data.score, event.data.theme) == ("456", 9, "time_saved")
    assert skipped(read(sample("surveymonkey.response_details"))).reason == "no_score"
    unfinished = sample("surveymonkey.response_details") | {"response_status": "partial"}
    assert skipped(read(unfinished, boundary=boundary)).reason == "no_score"
    unfinished["pages"][0]["questions"][0]["answers"][0]["simple_text"] = "2"
    assert accepted(read(unfinished, boundary=boundary))[0].data.score == 2
    preview = sample("surveymonkey.response_details") | {"collection_mode": "survey_preview"}
    assert skipped(read(preview, boundary=boundary)).reason == "test_mode"


@rule("I2.7", "I4.2")
@pytest.mark.parametrize(
    ("payload", "link"),
    [
        (
            {"id": "1", "survey_id": "2", "recipient_id": "88", "email_address": "Ana@customer.example"},
            ("email", ANA),
        ),
        ({"id": "1", "survey_id": "2", "recipient_id": "88", "email_address": ""}, ("surveymonkey_recipient", "88")),
    ],
)
def test_a_surveymonkey_recipient_says_who_is_meant(payload: dict[str, Any], link: tuple[str, str]) -> None:
    pages = [{"questions": [{"id": "q", "answers": [{"text": "3"}]}]}]
    event = only(read(payload | {"pages": pages, "date_created": "2026-06-16T07:00:00Z"}, boundary=ASKED))
    assert (event.subject, event.link) == ("", link)


def test_a_surveymonkey_survey_that_was_open_to_all_names_nobody() -> None:
    body: dict[str, Any] = {"id": "1", "survey_id": "2", "recipient_id": "0", "date_created": "2026-06-16T07:00:00Z"}
    body["pages"] = [{"questions": [{"id": "q", "answers": [{"text": "3"}]}]}]
    assert refused(read(body, boundary=ASKED)).cause == "unusable_id"
    body["pages"] = [{"questions": [{"id": "q", "answers": [{"text": "10"}]}]}]
    assert skipped(read(body, boundary=ASKED)).reason == "no_score"
    body["response_status"] = "completed"
    assert skipped(read(body, boundary=ASKED)).reason == "no_customer"


ASKED = asking("surveymonkey", q="nps")


def answered(choice: Any, kind: str = "questionAnswered", **event: Any) -> dict[str, Any]:
    """A Survicate answer of customer u1."""
    body = {
        "responseUuid": "r1",
        "timestamp": "2026-06-16T07:00:00+00:00",
        "respondent": {"attributes": {"user_id": "u1"}},
        "question": {"id": 5, "body": "?"},
        "choice": choice,
        **event,
    }
    return {"messageId": "m1", "event": {kind: body}}


@pytest.mark.parametrize(
    ("payload", "boundary", "expected"),
    [
        (answered({"id": 9, "body": "promoter", "comment": None}), BOUNDARY, [nps("r1", 9)]),
        (answered({"id": 3, "body": "promoter"}), BOUNDARY, [nps("r1", 3)]),
        (answered({"id": 0, "body": "Detractor", "comment": "slow support"}), BOUNDARY, [nps("r1", 0, "other")]),
        (answered({"id": 777, "body": "4"}), asking("survicate", **{"5": "csat/5"}), [csat("r1:5", 4, 5)]),
        (answered({"id": 777, "body": "9"}), asking("survicate", **{"5": "nps"}), [nps("r1", 9)]),
        (answered(None, text="4"), asking("survicate", **{"5": "csat/5"}), [csat("r1:5", 4, 5)]),
        (
            answered(
                None,
                "surveyCompleted",
                answers=[
                    {"question": {"id": 5}, "choice": {"id": 21, "body": "Great"}},
                    {"question": {"id": 6}, "choice": {"id": 10, "body": "promoter"}},
                ],
            ),
            BOUNDARY,
            [nps("r1", 10)],
        ),
    ],
)
def test_survicate(payload: dict[str, Any], boundary: Boundary, expected: Said) -> None:
    assert said(payload, boundary) == expected


@pytest.mark.parametrize(
    "choice", [{"id": 21573, "body": "Great"}, {"id": 9, "body": "9"}, {"id": 11, "body": "promoter"}, None]
)
def test_a_survicate_answer_in_words_is_skipped_with_the_reason(choice: Any) -> None:
    assert skipped(read(answered(choice))).reason == "no_score"


def test_a_survicate_response_without_an_id_is_who_answered_which_survey() -> None:
    payload = answered(PROMOTER, responseUuid=None, survey={"id": "s1"}, respondent={"id": "r7"})
    assert only(read(payload)).data.response_id == "s1:r7"


PROMOTER = {"id": 9, "body": "promoter"}


@rule("I2.7", "I4.2")
@pytest.mark.parametrize(
    ("respondent", "subject", "link", "linked"),
    [
        (
            {"id": "r7", "uuid": "x", "attributes": {"user_id": "u1"}},
            "u1",
            None,
            ["survicate_uuid:x", "survicate_respondent:r7"],
        ),
        ({"id": "r7", "uuid": "x", "attributes": []}, "", ("survicate_uuid", "x"), []),
        ({"id": "r7", "attributes": {"email": "Ana@customer.example"}}, "", ("email", ANA), []),
    ],
)
def test_survicates_own_respondent_is_linked_to_the_customer_or_says_who_is_meant(
    respondent: dict[str, Any], subject: str, link: tuple[str, str] | None, linked: list[str]
) -> None:
    first, *others = accepted(read(answered(PROMOTER, respondent=respondent)))
    assert (first.subject, first.link) == (subject, link)
    assert [f"{event.data.kind}:{event.data.value}" for event in others] == linked


LEFT = ("customer.suppressed", {"reason": "recognised"})


@rule("I1.10")
@pytest.mark.parametrize("is_out", [True, False])
@pytest.mark.parametrize(
    "vendor", ["typeform", "formbricks", "survicate", "surveymonkey", "delighted", "helpscout", "stripe"]
)
def test_an_opt_out_held_as_state_is_read_at_every_sight(vendor: str, *, is_out: bool) -> None:
    state = {"email_opt_out": "true" if is_out else "false"}
    pages = [{"questions": [{"id": "q", "answers": [{"text": "3"}]}]}]
    response_of = {"id": "1", "survey_id": "2", "pages": pages, "date_created": "2026-06-16T07:00:00Z"}
    people = {"id": 9, "firstName": "A", "photoType": "unknown", "updatedAt": "2026-06-16T07:00:00Z"}
    delighted = {"id": "1", "survey_type": "ces", "score": 1, "created_at": NOW // 1_000}
    invoice = {"object": "invoice", "id": "in_1", "customer": "u1", "metadata": state}
    payload = {
        "typeform": form(words("hello"), hidden={"user_id": "u1", **state}),
        "formbricks": response(answers={"x": "y"}, contactAttributes=state),
        "survicate": answered({"id": 1, "body": "Great"}, respondent={"attributes": {"user_id": "u1", **state}}),
        "surveymonkey": response_of | {"custom_variables": {"user_id": "u1", **state}},
        "delighted": {
            "event_type": "survey_response.created",
            "event_id": "e",
            "event_data": delighted | {"person_properties": {"customer_id": "u1", **state}},
        },
        "helpscout": people | {"properties": state},
        "stripe": {
            "id": "e",
            "object": "event",
            "type": "invoice.created",
            "created": NOW // 1_000,
            "livemode": True,
            "data": {"object": invoice},
        },
    }[vendor]
    adapted = read(payload)
    events = adapted.events if isinstance(adapted, Accepted) else ()
    suppressed = [(e.type, e.data.model_dump(exclude_none=True)) for e in events if e.type == "customer.suppressed"]
    assert suppressed == ([LEFT] if is_out else [])
