"""A whole history with one tool's words in it: its opt-out, its trouble and its good news end rightly."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from tests.contracts.building import accepted, bodies, read
from tests.contracts.test_vendor_histories import FRIDAY, HAPPY, PROMOTER, WHEN, asked, fact, told
from tests.replay.logs import BOUNDARY
from tests.rules import rule

ANSWERED = "2026-09-10T12:00:00Z"


@dataclass(frozen=True)
class Histories:
    """What a vendor says of customer 501, each a payload; ``questions`` is what the deployment says.

    ``praise``: from a promoter, alone enough to ask. ``trouble``: a word against asking. ``opt_outs``: whoever says it
    is never asked. ``nothing``: it changes nothing.
    """

    praise: Any = None
    trouble: Any = None
    opt_outs: tuple[Any, ...] = ()
    nothing: tuple[Any, ...] = ()
    questions: dict[str, str] = field(default_factory=dict)


def wootric(score: int, mode: str = "NPS", event: str = "created", **more: Any) -> dict[str, Any]:
    """An answer by customer 501."""
    response = {"id": 7, "external_id": "501", "score": score, "created_at": ANSWERED, "updated_at": ANSWERED}
    return {"response": response | more, "event_name": event, "survey_mode": mode, "account_token": "NPS-x"}


def asknicely(score: int, template: str = "Default", **person: Any) -> dict[str, Any]:
    """An answer by customer 501."""
    question = {"id": "7", "score": str(score), "survey_template": template, "responded": ANSWERED}
    return {"count": 1, "person": {"id": "9", "customer_id_c": "501"} | person, "question": question}


def qualtrics(score: int, **values: Any) -> dict[str, Any]:
    """A fetched response of customer 501."""
    told = {"QID1": score, "QID1_NPS_GROUP": 3, "finished": 1, "status": 0, "endDate": ANSWERED}
    return {"result": {"responseId": "R_7", "values": told | {"externalDataReference": "501"} | values}}


def qualtrics_event(topic: str) -> dict[str, Any]:
    """An event about a recipient who is nobody's customer yet."""
    return {"Topic": f"acme.{topic}.SV_1", "HMAC": "00", "MSG": '{"RecipientID":"501","ResponseID":"R_8"}'}


def satismeter(rating: int, category: str | None, event: str = "completed", **traits: Any) -> dict[str, Any]:
    """A response by customer 501."""
    response = {"id": "7", "rating": rating, "category": category, "created": ANSWERED, "completed": True}
    return {"event": event, "response": response | {"user": {"userId": "501", "traits": traits}}}


def rudderstack(kind: str = "track", traits: Any = None, **more: Any) -> dict[str, Any]:
    """A call about customer 501."""
    call = {"type": kind, "userId": "501", "anonymousId": "a-1", "messageId": "m", "originalTimestamp": ANSWERED}
    return call | {"context": {"traits": traits or {}}} | more


def survey_completed(value: int, metric: str) -> dict[str, Any]:
    """What RudderStack makes of SatisMeter's webhook."""
    properties = {"answers": [{"id": "a", "metric": metric, "value": value}], "response_id": "7"}
    return rudderstack(event="Survey completed", properties=properties)


def amplitude(event: str, user: Any = None, **properties: Any) -> dict[str, Any]:
    """An event of customer 501."""
    when = "2026-09-08 08:00:00.000000"
    told = {"event_properties": properties, "user_properties": user or {}}
    return {"event_type": event, "user_id": "501", "uuid": event, "event_time": when} | told


def amplitude_cohort(name: str, entered: bool = True) -> dict[str, Any]:
    """A cohort that customer 501 entered or left."""
    members = [{"user_id": "502"}, {"user_id": "501"}]
    return {"cohort_name": name, "cohort_id": "c", "in_cohort": entered, "message_id": "m", "users": members}


def mixpanel(name: str, action: str = "add_members", properties: Any = None) -> dict[str, Any]:
    """A cohort that customer 501 entered or left."""
    members = [{"mixpanel_distinct_id": "502"}, {"mixpanel_distinct_id": "501"} | (properties or {})]
    return {
        "action": action,
        "parameters": {"mixpanel_cohort_name": name, "mixpanel_cohort_id": "1", "members": members},
    }


VENDORS: dict[str, Histories] = {
    "mixpanel": Histories(
        opt_outs=(
            mixpanel("Opted out"),
            mixpanel("Unsubscribed", "members"),
            mixpanel("Users", properties={"$unsubscribed": True}),
            mixpanel("Users", "remove_members", {"do_not_contact": "yes"}),
        ),
        nothing=(mixpanel("Promoters", properties={"score": 10}), mixpanel("Opted out", "remove_members")),
    ),
    "amplitude": Histories(
        opt_outs=(
            amplitude("Newsletter Unsubscribed"),
            amplitude("Report Exported", {"unsubscribed": True}),
            amplitude("$identify", {"$set": {"email_opt_in": False}}),
            amplitude_cohort("Opted out"),
        ),
        nothing=(
            amplitude("Report Exported", score=10),
            amplitude("[Guides-Surveys] Survey Submitted", score=10),
            amplitude_cohort("Promoters"),
            amplitude_cohort("Opted out", entered=False),
        ),
    ),
    "rudderstack": Histories(
        praise=survey_completed(9, "nps"),
        trouble=survey_completed(1, "nps"),
        opt_outs=(
            rudderstack("identify", {"unsubscribed": True}),
            rudderstack(event="Email Unsubscribed"),
            rudderstack(traits={"email_opt_in": False}, event="Order Completed"),
        ),
        nothing=(
            rudderstack(event="Order Completed", properties={"score": 10}),
            survey_completed(10, "csat"),
            rudderstack("merge"),
        ),
    ),
    "satismeter": Histories(
        praise=satismeter(9, "promoter"),
        trouble=satismeter(1, "detractor", "dismissed"),
        opt_outs=(satismeter(9, "promoter", email_opt_out=True), satismeter(9, "promoter", "unsubscribed")),
        nothing=(satismeter(10, None), satismeter(1, None), satismeter(10, "promoter", "opened")),
    ),
    "qualtrics": Histories(
        praise=qualtrics(9),
        trouble=qualtrics(1, status=8),
        opt_outs=(qualtrics(9, email_opt_in="false"), qualtrics(9, finished=0, unsubscribed="yes")),
        nothing=(
            qualtrics(10, status=1),
            qualtrics(10, finished=0),
            qualtrics(1, status=2),
            qualtrics_event("surveyengine.completedResponse"),
            qualtrics_event("surveyengine.partialResponse"),
        ),
    ),
    "asknicely": Histories(
        praise=asknicely(9),
        trouble=asknicely(1),
        opt_outs=(asknicely(9, unsubscribed_c="1"), asknicely(3, "Other", do_not_contact_c="yes")),
        nothing=(asknicely(10, "Other"), asknicely(2, "Other")),
        questions={"Default": "nps"},
    ),
    "wootric": Histories(
        praise=wootric(9),
        trouble=wootric(1),
        opt_outs=(wootric(9, end_user_properties={"unsubscribed": "true"}), wootric(9, event="unsubscribed")),
        nothing=(wootric(10, "CSAT"), wootric(2, "CES"), wootric(1, "")),
    ),
}

OPT_OUTS = [(vendor, payload) for vendor, each in VENDORS.items() for payload in each.opt_outs]
NOTHING = [(vendor, payload) for vendor, each in VENDORS.items() for payload in each.nothing]
SCORING = [vendor for vendor, each in VENDORS.items() if each.praise is not None]


def boundary(vendor: str) -> Boundary:
    """The deployment's."""
    return Boundary(email_key=BOUNDARY.email_key, questions={vendor: VENDORS[vendor].questions})


@rule("I1.10")
@pytest.mark.parametrize("vendor", SCORING)
def test_good_news_asks(vendor: str, tmp_path: Path) -> None:
    assert asked([*HAPPY, told(vendor, VENDORS[vendor].praise, ANSWERED)], tmp_path, boundary(vendor)) != []


@rule("I1.10")
@pytest.mark.parametrize("vendor", SCORING)
def test_trouble_holds_back(vendor: str, tmp_path: Path) -> None:
    praise = fact("compliment.given", ANSWERED, {})
    trouble = told(vendor, VENDORS[vendor].trouble)
    assert asked([*HAPPY, praise], tmp_path / "without", boundary(vendor)) == FRIDAY
    assert asked([*HAPPY, trouble, praise], tmp_path, boundary(vendor)) == []


@rule("I1.10")
@pytest.mark.parametrize(("vendor", "payload"), OPT_OUTS)
def test_a_promoter_who_left_is_not_asked(vendor: str, payload: Any, tmp_path: Path) -> None:
    promoter = VENDORS[vendor].praise
    good = PROMOTER if promoter is None else told(vendor, promoter, ANSWERED)
    assert asked([*HAPPY, told(vendor, payload, WHEN), good], tmp_path, boundary(vendor)) == []


@rule("I1.10")
@pytest.mark.parametrize(("vendor", "payload"), NOTHING)
def test_what_says_nothing_changes_nothing(vendor: str, payload: Any, tmp_path: Path) -> None:
    line = told(vendor, payload, WHEN)
    assert asked([*HAPPY, line], tmp_path / "alone", boundary(vendor)) == []
    assert asked([*HAPPY, line, PROMOTER], tmp_path, boundary(vendor)) == FRIDAY


def test_whom_a_site_does_not_name_satismeter_calls_no_response() -> None:
    """And not all of them are one customer of that name."""
    payload: dict[str, Any] = deepcopy(bodies("satismeter")[0])
    payload["response"]["user"]["userId"] = "No response"
    events = accepted(read(payload, topic="nps"))
    assert {(event.subject, event.link.kind if event.link else None) for event in events} == {("", "email")}
