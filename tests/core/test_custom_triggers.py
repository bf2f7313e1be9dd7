"""Triggers that a team adds in the policy: a condition in CEL over the event and its customer (docs/policy.md)."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from referral_stream.core import conditions
from referral_stream.core import events as ev
from referral_stream.core.conditions import CUSTOMER, EVENT_TYPES, Condition, ValueKind
from referral_stream.core.customer import Customer
from referral_stream.core.effects import Decision
from referral_stream.core.events import Event
from referral_stream.core.policy import Policy, Trigger
from referral_stream.core.rules.condition_values import customer_values, event_values
from tests.builders import (
    POLICY,
    ByHand,
    a_customer,
    a_policy,
    acknowledged,
    arriving,
    at,
    blocking,
    csat,
    fact,
    first_success,
    granted,
    nps,
    replay,
    state,
    ticket_opened,
    ticket_solved,
)  # fmt: skip
from tests.contracts.examples import FACT_DATA
from tests.rules import rule

SEEN = [data.model_validate(FACT_DATA[data.type]) for data in EVENT_TYPES.values()]
POWER_USER = {
    "on": ["workflow.completed"],
    "when": "event.data.name == 'export' && customer.interactions >= 3 && customer.score >= 60",
    "window_hours": 24,
    "template": "power_user",
}


def a_policy_with(*, name: str = "power_user", **trigger: Any) -> Policy:
    """The policy of the tests with this trigger; what is not given is that of POWER_USER."""
    return a_policy(triggers={name: {**POWER_USER, **trigger}})


def export(when: str = "Mon 12:00", workflow: str | None = "export", **more: Any) -> Event:
    return fact(ev.WorkflowCompleted(name=workflow), when, **more)


# ---- what becomes of one


@rule("3.11")
def test_an_event_that_meets_the_condition_is_a_reason_to_ask() -> None:
    """It settles at once, and waits five minutes for rivals as every reason does."""
    story = replay(a_customer(), export(), policy=a_policy_with())
    assert story.asked == [("power_user", "Mon 12:05")]
    assert (story.ask.template, story.ask.mode, story.ask.subject) == ("power_user", "direct", export().id)


@rule("3.11")
@pytest.mark.parametrize(
    "event",
    [
        export(workflow="import"),
        export(workflow=None),
        fact(ev.AchievementUnlocked(name="export"), "Mon 12:00"),
    ],
    ids=["another name", "no name", "another type"],
)
def test_an_event_that_does_not_meet_it_opens_nothing(event: Event) -> None:
    assert replay(a_customer(), event, policy=a_policy_with()).effects() == []


def test_the_same_event_without_the_trigger_opens_nothing() -> None:
    assert replay(a_customer(), export()).effects() == []


@pytest.mark.parametrize(("interactions", "opened"), [(1, 0), (2, 1)])
def test_the_customer_is_seen_with_the_event_applied(interactions: int, opened: int) -> None:
    calls = [fact(ev.InteractionRecorded(kind="call"), "Mon 11:00", id=str(n)) for n in range(interactions)]
    policy = a_policy_with(on=["interaction.recorded"], when="customer.interactions == 2")
    story = replay(calls, policy=policy)
    assert len({decision.opportunity_id for decision in story.decisions()}) == opened


@pytest.mark.parametrize(("mode", "asked"), [(None, "direct"), ("value_first", "value_first")])
def test_the_ask_is_in_the_mode_that_the_policy_names(mode: str | None, asked: str) -> None:
    more = {} if mode is None else {"mode": mode}
    assert replay(a_customer(), export(), policy=a_policy_with(**more)).ask.mode == asked


def test_all_gates_stand_before_it() -> None:
    story = replay(a_customer(), ticket_opened("Mon 09:00"), export(), policy=a_policy_with(), until="Mon 18:00")
    assert story.asks == []
    decision = story.decisions()[-1]
    assert (decision.outcome, blocking(decision)) == ("deferred", {"trouble": "ticket.solved"})


def test_a_disabled_one_is_recorded_and_never_asked_about() -> None:
    story = replay(a_customer(), export(), policy=a_policy_with(enabled=False))
    assert (story.outcomes(), story.asks) == ([("suppressed", "Mon 12:00")], [])


def test_late_and_historical_events_are_recorded_as_such() -> None:
    story = replay(
        a_customer(),
        arriving(export("Mon 12:00", id="late"), "Tue 12:00"),
        export("Tue 13:00", id="old", historical=True),
        policy=a_policy_with(),
    )
    assert [decision.outcome for decision in story.decisions()] == ["expired_on_arrival", "historical"]


# ---- the subject


def test_without_a_subject_each_event_is_one() -> None:
    story = replay(a_customer(), export("Mon 12:00", id="one"), export("Wed 12:00", id="two"), policy=a_policy_with())
    assert [decision.subject for decision in story.decisions() if decision.outcome != "pending"] == ["one", "two"]


def test_the_same_subject_opens_once_for_good() -> None:
    policy = a_policy_with(when="true", subject="event.data.name")
    again = [export("Mon 12:00"), export("Wed 12:00"), export("Thu 12:00", workflow="import")]
    story = replay(a_customer(), again, policy=policy)
    assert sorted({decision.subject for decision in story.decisions()}) == ["export", "import"]


@pytest.mark.parametrize("name", [None, ""])
def test_without_a_subject_to_name_nothing_opens(name: str | None) -> None:
    policy = a_policy_with(when="true", subject="event.data.name")
    assert replay(a_customer(), export(workflow=name), policy=policy).effects() == []


# ---- beside the built-in ones


def test_one_event_may_open_a_built_in_trigger_and_own_ones_and_the_best_speaks() -> None:
    policy = a_policy(
        triggers={
            name: {"on": ["nps.responded"], "when": "event.data.score == 10", "window_hours": 24, "priority": priority}
            for name, priority in {"b_delighted": 41, "a_delighted": 39}.items()
        }
    )
    promoter = nps(10, "Mon 12:00")
    story = replay(a_customer(), promoter, policy=policy)
    assert [decision.trigger for decision in story.decisions()][:3] == ["nps_promoter", "a_delighted", "b_delighted"]
    assert story.asked == [("b_delighted", "Mon 12:05")]
    assert (story.outcomes("nps_promoter")[-1], story.outcomes("a_delighted")[-1]) == (("superseded", "Mon 12:05"),) * 2


def test_the_survey_that_it_hangs_on_is_no_other_advocacy_ask() -> None:
    policy = a_policy_with(on=["nps.responded"], when="event.data.score >= 7", subject="event.data.response_id")
    survey = fact(ev.AdvocacyAsked(kind="survey", by="us"), "Mon 10:00")
    assert replay(a_customer(), survey, nps(8, "Mon 12:00"), policy=policy).asked == [("power_user", "Mon 12:05")]


@pytest.mark.parametrize(("corrected", "outcome"), [(6, "cancelled"), (7, "asked")])
def test_a_survey_answer_corrected_below_its_condition_takes_it_back(corrected: int, outcome: str) -> None:
    policy = a_policy_with(on=["nps.responded"], when="event.data.score >= 7", subject="event.data.response_id")
    story = replay(a_customer(), nps(8, "Mon 12:00"), nps(corrected, "Mon 12:03"), policy=policy, until="Mon 13:00")
    assert story.outcomes("power_user")[-1][0] == outcome


@pytest.mark.parametrize(("corrected", "cancelled"), [(2, ["the survey answer was corrected"]), (4, [])])
def test_a_survey_answer_corrected_below_its_condition_after_the_ask_cancels_it(
    corrected: int, cancelled: list[str]
) -> None:
    policy = a_policy_with(on=["csat.responded"], when="event.data.score >= 3.0", subject="event.data.response_id")
    story = replay(a_customer(), csat(3, when="Mon 12:00"), csat(corrected, when="Mon 12:10"), policy=policy)
    assert story.asked == [("power_user", "Mon 12:05")]
    assert [each.reason for each in story.cancelled] == cancelled


def test_what_was_opened_under_a_trigger_that_is_gone_is_never_asked_about() -> None:
    """The policy changed while it lived: what is no trigger any more counts as disabled."""
    ana = ByHand(policy=a_policy_with())
    ana.at("Mon 12:00", export())
    ana.policy = POLICY
    (decision,) = ana.at("Mon 12:05")
    assert isinstance(decision, Decision)
    assert (decision.trigger, decision.outcome, blocking(decision)["paused"]) == ("power_user", "suppressed", "never")


# ---- the hash


def test_the_hash_covers_every_part_of_it() -> None:
    variants = [
        a_policy_with(),
        a_policy_with(when="customer.score >= 61"),
        a_policy_with(subject="event.data.name"),
        a_policy_with(on=["workflow.completed", "achievement.unlocked"]),
        a_policy_with(name="another"),
        POLICY,
    ]
    assert len({policy.hash for policy in variants}) == len(variants)


def test_the_order_in_which_types_and_triggers_are_written_says_nothing() -> None:
    types = ["workflow.completed", "achievement.unlocked"]
    assert a_policy_with(on=types).hash == a_policy_with(on=[*reversed(types), types[0]]).hash

    one, two = {**POWER_USER, "when": "true"}, {**POWER_USER, "when": "true", "priority": 1}
    policies = [a_policy(triggers={"one": one, "two": two}), a_policy(triggers={"two": two, "one": one})]
    stories = [replay(a_customer(), export(), policy=policy).effects() for policy in policies]
    assert policies[0].hash == policies[1].hash
    assert stories[0] == stories[1] != []


# ---- what is refused when the policy is read


@pytest.mark.parametrize(
    ("expressions", "problem"),
    [
        ({"when": "customer.scroe >= 60"}, "unknown name 'customer.scroe'; did you mean 'customer.score'"),
        ({"when": "event.data.nmae == 'x'"}, "did you mean 'event.data.name'"),
        ({"when": "event.data == 'x'"}, "did you mean 'event.data.name'"),
        ({"when": "today() > 3"}, "unknown name or function 'today'; names begin with event. or customer."),
        ({"when": "event.time.getHours('Europe/Berlin') > 3"}, "unknown name or function 'getHours'"),
        ({"when": "event.time.getFullYear() > 2025"}, "unknown name or function 'getFullYear'"),
        ({"when": "customer.score == 'high'"}, r"no matching overload .* '\(int, string\)'"),
        ({"when": "customer.nps == 'high'"}, "no matching overload"),
        ({"when": "customer.score >= 60.5"}, "no matching overload"),
        ({"when": "customer.champion > 1"}, "no matching overload"),
        ({"when": "customer.score"}, "must be true or false, is int"),
        ({"when": "customer.score >"}, "Syntax error"),
        ({"when": ""}, "Syntax error"),
        ({"when": "(" * 100 + "true" + ")" * 100}, "recursion limit"),
        ({"when": "true", "subject": "customer.score"}, "must be text .* is int"),
        ({"when": "true", "subject": "event.idd"}, "did you mean 'event.id'"),
        ({"when": "true" + " " * conditions.LONGEST}, "at most 1000 characters"),
        ({"when": "true", "on": []}, "needs both on and when"),
        ({"when": "true", "on": ["workflow.complete"]}, "did you mean 'workflow.completed'"),
        ({"when": "true", "on": ["customer.erasure_requested"]}, "no event type 'customer.erasure_requested'"),
        ({"when": "true", "on": ["control.paused"]}, "no event type 'control.paused'"),
        ({"when": "event.data.comment == ''", "on": ["complaint.made"]}, "unknown name 'event.data.comment'"),
        ({"when": "event.data.email_hmac == ''", "on": ["customer.profile_changed"]}, "event.data.email_hmac"),
        ({"when": "event.data.contact.name == ''", "on": ["referral.given"]}, "event.data.contact.name"),
    ],
)
def test_what_cannot_work_is_refused(expressions: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        Trigger.model_validate({**POWER_USER, **expressions})


def test_every_fault_of_both_expressions_is_told() -> None:
    when, subject = "customer.a == 1 && customer.b == 1", "customer.c"
    assert [fault.key for fault in conditions.faults(["nps.responded"], when, subject)] == ["when", "when", "subject"]


def test_faults_of_every_kind_are_told_side_by_side() -> None:
    told = [
        str(fault) for fault in conditions.faults(["nps.responded"], "foo == 1 && bar() && customer.b == 1", "event.id")
    ]
    assert len(told) == 3
    assert "'foo'" in told[0]
    assert "bar" in told[1]
    assert "customer.b" in told[2]


# ---- what happens when it runs


def met(when: str, *events: Event, on: tuple[str, ...] = ("workflow.completed",)) -> bool:
    """Whether the condition is met by the last of the events."""
    condition = Condition(on, when, "'subject'")
    customer = customer_values(state(*events), events[-1].time, POLICY)
    return condition.subject_of({**event_values(events[-1], condition.fields), **customer}) == "subject"


@pytest.mark.parametrize(
    ("when", "is_met"),
    [
        ("event.source == 'tests' && event.type == 'workflow.completed' && event.id == 'it'", True),
        ("event.time == timestamp('2026-06-15T10:00:00Z')", True),
        ("event.time - timestamp('2026-06-15T00:00:00Z') < duration('9h')", False),
        ("event.data.name in ['export', 'import']", True),
        ("event.data.name.matches('^ex.*t$')", True),
        ("customer.score == 70 && customer.champion && customer.onboarded && customer.positive_feedback", True),
        ("customer.tenure_days == 400", True),
        ("customer.first_success || customer.testimonial", False),
        ("customer.usage_above_average", True),
        ("customer.open_tickets + customer.times_asked + customer.referrals == 0", True),
        ("customer.days_since_asked == null && customer.nps == null && customer.segment == null", True),
        ("customer.nps >= 9", False),  # null: an error, not met
        ("!(customer.nps >= 9)", False),  # an error stays one
        ("customer.nps == null || customer.nps >= 9", True),
        ("customer.nps >= 9 || true", True),  # CEL: what decides alone decides
        ("customer.score / customer.times_asked > 1", False),
        ("customer.score + 9223372036854775807 > 0", False),
        ("[1, 2, 3].exists(n, n * 2 == customer.interactions + 1)", True),
    ],
)
def test_an_expression_sees_the_event_and_the_customer(when: str, is_met: bool) -> None:
    assert met(when, *a_customer(), export(id="it")) is is_met


@rule("1.13")
def test_asks_tickets_referrals_and_profile_are_seen() -> None:
    ana = ByHand()
    ana.at("Mon 09:00", ev.ProfileChanged(segment="enterprise", locale="de-AT"))
    ana.at("Mon 12:00", first_success("Mon 12:00"))
    request = ana.requested("Mon 12:07")
    ana.at("Mon 12:07", granted(request.command_id))
    ana.at("Mon 13:00", nps(8, "Mon 13:00"), ticket_opened("Mon 13:00"), ticket_opened("Mon 13:00", "another"))
    ana.at("Mon 14:00", ticket_solved("Mon 14:00", "another"))
    ana.at("Tue 13:00", ev.ReferralGiven(referral_id="ref-1", contact=ev.Contact(ref="x", consented=False)))

    seen = customer_values(ana.customer, at("Wed 12:06"), POLICY)
    expected = {
        "customer.segment": "enterprise", "customer.locale": "de-AT", "customer.first_success": True, "customer.nps": 8,
        "customer.open_tickets": 1, "customer.times_asked": 1, "customer.days_since_asked": 1, "customer.referrals": 1,
    }  # fmt: skip
    assert {name: seen[name] for name in expected} == expected


@pytest.mark.parametrize(("status", "times"), [("accepted", 1), ("failed", 0)])
def test_only_asks_that_count_are_seen(status: str, times: int) -> None:
    ana = ByHand()
    ana.at("Mon 12:00", first_success("Mon 12:00"))
    command = ana.requested("Mon 12:07").command_id
    ana.at("Mon 12:07", granted(command))
    ana.at("Mon 12:10", acknowledged(status, "Mon 12:10", command))

    seen = customer_values(ana.customer, at("Wed 12:07"), POLICY)

    assert (seen["customer.times_asked"], seen["customer.days_since_asked"]) == (times, 2 if times else None)


def test_text_that_the_library_would_cut_short_meets_nothing() -> None:
    """It takes what is before a zero character for the whole."""
    assert not met("event.data.name == 'export'", export(workflow="export\0not"))
    assert Condition(["workflow.completed"], "true", "event.id").subject_of({"event.id": "it\0not"}) is None


def test_an_expression_without_end_is_cut_off() -> None:
    many = f"[{', '.join('1' * 60)}]"
    body = "true"
    for n in range(3):
        body = f"{many}.all(x{n}, {body})"
    assert not met(body, export())
    assert met(f"{many}.all(x, true)", export())


@given(st.text(st.characters(exclude_categories=())))
def test_no_text_of_an_event_makes_it_raise(text: str) -> None:
    """Texts from JSON may hold anything, half of a surrogate pair included."""
    condition = Condition(["workflow.completed"], "event.data.name == 'x' || event.data.name.size() > 1", "event.id")
    values = {
        "event.id": text, "event.source": text, "event.type": text, "event.time": datetime.now(UTC),
        "event.data.name": text, **customer_values(Customer(id="ana"), 0, POLICY),
    }  # fmt: skip
    assert condition.subject_of(values) in (None, text)


# ---- the names


def test_every_name_of_the_customer_has_a_value_of_its_type() -> None:
    types: dict[ValueKind, type] = {"string": str, "int": int, "bool": bool}
    unknown = customer_values(Customer(id="ana"), 0, POLICY)
    assert list(unknown) == list(CUSTOMER)
    for name, value in unknown.items():
        assert type(value) is types[CUSTOMER[name].kind] if not CUSTOMER[name].nullable else value is None


def test_every_type_that_producers_send_can_be_named_but_those_that_are_no_reason() -> None:
    left_out = {data.type for data in ev.FACTS} - set(EVENT_TYPES)
    assert left_out == {
        "customer.erasure_requested",
        "customer.aliased",
        "customer.overfull_cleared",
        "control.paused",
        "control.resumed",
    }


def test_every_field_that_can_be_named_has_a_value_the_library_takes(subtests: pytest.Subtests) -> None:
    literal = {"string": "''", "int": "0", "double": "0.0", "bool": "false"}
    for data in SEEN:
        with subtests.test(data.type):
            names = {name: known.kind for name, known in conditions.names_for([data.type]).items() if "data" in name}
            for name, kind in names.items():
                either = f"{name} == {literal[kind]} || {name} != {literal[kind]}"
                assert met(either, fact(data, "Mon 12:00"), on=(data.type,))


def test_a_field_that_only_one_of_several_types_has_is_null_in_the_others() -> None:
    on = ("nps.responded", "workflow.completed")
    assert met("event.data.score == null && event.data.name == 'export'", export(), on=on)
    assert met("event.data.name == null && event.data.score == 9", nps(9), on=on)


def test_a_field_of_two_kinds_may_be_compared_with_both() -> None:
    on = ("nps.responded", "csat.responded")
    assert met("event.data.score >= 4", csat(4.5), on=on)
    assert met("event.data.score >= 4.5", nps(9), on=on)


# ---- the price


def test_a_policy_without_conditions_does_not_load_the_library() -> None:
    program = """if True:
        import sys
        from referral_stream.core.policy import Policy
        import referral_stream.core.step
        from referral_stream.policy_file.reading import build_policy
        build_policy({"caps": {"customer_days": 100}}).conditions
        loaded = ["cel_expr_python" in sys.modules]
        trigger = {"on": ["nps.responded"], "when": "true", "window_hours": 1}
        build_policy({"triggers": {"mine": trigger}})
        print(*loaded, "cel_expr_python" in sys.modules)
    """
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "True"]


def test_a_missing_library_is_a_fault_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cel_expr_python", None)
    conditions._environments.cache_clear()
    (fault,) = conditions.faults(["nps.responded"], "true", "event.id")
    assert fault.message.endswith("python -m pip install 'cel-expr-python>=0.1.3,<0.2'")


def test_a_condition_is_compiled_once_for_a_policy() -> None:
    policy = a_policy_with(on=["workflow.completed", "nps.responded"], when="customer.score > 1")
    compiled = [named for event in ("workflow.completed", "nps.responded") for named in policy.conditions[event]]
    assert [name for name, _ in compiled] == ["power_user", "power_user"]
    assert all(one is other for (_, one), (_, other) in pairwise(compiled))
    assert policy.conditions is policy.conditions


def test_a_condition_looks_at_the_names_in_it_and_no_others() -> None:
    many = " && ".join(["event.data.milestone != 'x'"] * 60)  # more than the library complains of at once
    when = f"['a'].exists(n, n != event . type) && {many} && event.source != 'x'"
    condition = Condition(["milestone.reached"], when, "event.id + string(event.data.first_success)")
    assert condition.fields == ("first_success", "milestone")
    values = {
        "event.id": "1",
        "event.type": "t",
        "event.source": "s",
        "event.data.first_success": True,
        "event.data.milestone": "m",
    }
    assert condition.subject_of(values) == "1true"


def test_kinds_are_those_that_the_library_knows() -> None:
    from cel_expr_python import cel  # type: ignore[import-untyped]

    assert all(hasattr(cel.Type, kind.upper()) for kind in get_args(ValueKind))
