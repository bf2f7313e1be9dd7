"""The ledger's rules, boundary by boundary."""

from __future__ import annotations

import pytest

from referral_stream.core.events import (
    ControlPaused,
    ReservationDenied,
    ReservationGranted,
    ReservationUnavailable,
)
from referral_stream.core.instants import DAY, HOUR, SECOND, rfc3339
from referral_stream.core.ledger.breaker import BREAKER
from referral_stream.core.ledger.caps import LedgerOperation, MemoryLedger, arbitrated
from referral_stream.core.ledger.switches import Page
from referral_stream.core.policy import Breaker, Policy
from tests.ledger.builders import (
    T0,
    a_confirmation,
    a_pause,
    a_release,
    a_request,
    a_resumption,
    an_amendment,
    an_opening,
)
from tests.rules import rule

GRANTED = ReservationGranted(command_id="command-2")


@pytest.fixture
def caps() -> MemoryLedger:
    return MemoryLedger(Policy())


def overasked(asked_at: int, command_id: str = "command-2") -> ReservationDenied:
    return ReservationDenied(
        command_id=command_id, gate="overasking", until=asked_at + 90 * DAY, saw=f"asked {rfc3339(asked_at)}"
    )


def paused(command_id: str = "command-1", saw: str = "paused: all") -> ReservationDenied:
    return ReservationDenied(command_id=command_id, gate="paused", until_event="control.resumed", saw=saw)


# ---- the customer and the address


@rule("4.41")
@pytest.mark.parametrize(
    ("later", "granted"), [(0, False), (90 * DAY - 1, False), (90 * DAY, True), (90 * DAY + 1, True)]
)
@pytest.mark.parametrize(("customer", "email"), [("ana", None), ("ben", "same")])
def test_a_person_is_asked_once_in_90_days_and_again_when_they_end(
    caps: MemoryLedger, customer: str, email: str | None, later: int, granted: bool
) -> None:
    caps.request(a_request(customer="ana", email="same", due=T0))

    answer = caps.request(a_request("command-2", customer=customer, email=email, due=T0 + later))

    assert answer == (GRANTED if granted else overasked(T0))


def test_other_people_are_nobodys_business(caps: MemoryLedger) -> None:
    caps.request(a_request(customer="ana", email="hers", account="acme"))

    assert caps.request(a_request("command-2", customer="ben", email="his", account="other")) == GRANTED


@rule("4.26")
def test_the_wait_is_that_of_the_newest_ask_to_the_customer_or_the_address(caps: MemoryLedger) -> None:
    caps.request(a_request("of ana", customer="ana", due=T0))
    caps.request(a_request("of the address", customer="ben", email="shared", due=T0 + 5 * DAY))

    assert caps.request(a_request("command-2", customer="ana", email="shared", due=T0 + 9 * DAY)) == overasked(
        T0 + 5 * DAY
    )


# ---- the account


@rule("4.28")
@pytest.mark.parametrize(("later", "granted"), [(0, False), (14 * DAY - 1, False), (14 * DAY, True)])
def test_an_account_is_asked_once_in_14_days(caps: MemoryLedger, later: int, granted: bool) -> None:
    caps.request(a_request(customer="ana", account="acme", due=T0))

    answer = caps.request(a_request("command-2", customer="ben", account="acme", due=T0 + later))

    denied = ReservationDenied(
        command_id="command-2", gate="account", until=T0 + 14 * DAY, saw=f"account asked {rfc3339(T0)}"
    )
    assert answer == (GRANTED if granted else denied)


def three_asks(caps: MemoryLedger, *days: int) -> None:
    for day in days:
        request = a_request(f"ask {day}", customer=f"customer {day}", account="acme", due=T0 + day * DAY)
        assert isinstance(caps.request(request), ReservationGranted)


@rule("4.29")
@pytest.mark.parametrize(("later", "granted"), [(45 * DAY, False), (90 * DAY - 1, False), (90 * DAY, True)])
def test_an_account_is_asked_three_times_in_90_days(caps: MemoryLedger, later: int, granted: bool) -> None:
    three_asks(caps, 0, 14, 28)

    answer = caps.request(a_request("command-2", customer="dan", account="acme", due=T0 + later))

    denied = ReservationDenied(
        command_id="command-2", gate="account", until=T0 + 90 * DAY, saw=f"3 asks to the account since {rfc3339(T0)}"
    )
    assert answer == (GRANTED if granted else denied)


@pytest.mark.parametrize(
    ("days", "asked_on", "until"),
    [((0, 14, 28), 30, 90), ((0, 14, 80), 85, 94), ((0, 60, 76), 80, 90)],
    ids=["the quota ends later", "the gap ends later", "both end on one day"],
)
def test_when_both_account_rules_refuse_the_later_end_counts(
    caps: MemoryLedger, days: tuple[int, ...], asked_on: int, until: int
) -> None:
    three_asks(caps, *days)

    answer = caps.request(a_request("command-2", customer="dan", account="acme", due=T0 + asked_on * DAY))

    newest = T0 + days[-1] * DAY
    saw = f"account asked {rfc3339(newest)}; 3 asks to the account since {rfc3339(T0)}"
    assert answer == ReservationDenied(command_id="command-2", gate="account", until=T0 + until * DAY, saw=saw)


def test_the_numbers_are_the_policys() -> None:
    policy = Policy.model_validate({"caps": {"customer_days": 2, "account_gap_days": 0, "account_asks": 1}})
    caps = MemoryLedger(policy)
    caps.request(a_request(customer="ana"))

    assert caps.request(a_request("command-2", customer="ana", due=T0 + 2 * DAY)) == GRANTED


# ---- one command, one reservation


@rule("9.12")
def test_the_same_request_is_granted_again_while_its_reservation_holds(caps: MemoryLedger) -> None:
    first = caps.request(a_request())

    assert [first, caps.request(a_request())] == [ReservationGranted(command_id="command-1")] * 2


def test_a_repeated_request_moves_its_reservation_to_the_later_ask(caps: MemoryLedger) -> None:
    caps.request(a_request(due=T0))
    caps.request(a_request(due=T0 + 60 * SECOND))
    caps.request(a_request(due=T0))

    assert caps.request(a_request("command-2", due=T0 + DAY)) == overasked(T0 + 60 * SECOND)


def test_a_confirmed_ask_does_not_move(caps: MemoryLedger) -> None:
    caps.request(a_request(due=T0))
    caps.confirm(a_confirmation())
    caps.request(a_request(due=T0 + 60 * SECOND))

    assert caps.request(a_request("command-2", due=T0 + DAY)) == overasked(T0)


def test_what_was_confirmed_is_granted_again(caps: MemoryLedger) -> None:
    """The same command: its worker has sent it already, and nothing is counted anew."""
    caps.request(a_request())
    caps.confirm(a_confirmation())
    assert caps.request(a_request()) == ReservationGranted(command_id="command-1")


def test_an_account_remembers_its_asks_for_its_own_period() -> None:
    policy = Policy.model_validate(
        {"caps": {"customer_days": 1, "account_gap_days": 1, "account_asks": 2, "account_days": 10}}
    )
    caps = MemoryLedger(policy)
    for day, customer in ((0, "ana"), (5, "ben")):
        caps.request(a_request(f"of {customer}", customer=customer, account="acme", due=T0 + day * DAY))

    answer = caps.request(a_request("command-2", customer="cem", account="acme", due=T0 + 7 * DAY))

    assert isinstance(answer, ReservationDenied)
    assert (answer.gate, answer.until) == ("account", T0 + 10 * DAY)


def test_a_denied_command_may_try_again(caps: MemoryLedger) -> None:
    caps.request(a_request("command-1", due=T0))
    caps.request(a_request("command-2", due=T0 + DAY))

    assert caps.request(a_request("command-2", due=T0 + 90 * DAY)) == GRANTED


@pytest.mark.parametrize(("past", "answered"), [(0, ReservationGranted), (1, ReservationUnavailable)])
def test_a_request_past_its_validity_is_unavailable(caps: MemoryLedger, past: int, answered: type) -> None:
    request = a_request().model_copy(update={"valid_until": T0, "now": T0 + past})

    assert isinstance(caps.request(request), answered)


def test_an_expired_request_reserves_nothing(caps: MemoryLedger) -> None:
    caps.request(a_request().model_copy(update={"valid_until": T0 - 1}))

    assert caps.request(a_request("command-2")) == GRANTED


# ---- release and confirmation


def test_a_released_reservation_never_counted(caps: MemoryLedger) -> None:
    caps.request(a_request(account="acme", email="same"))
    caps.release(a_release(account="acme"))

    assert caps.request(a_request("command-2", customer="ben", account="acme", email="same")) == GRANTED


@rule("4.42")
def test_what_was_confirmed_is_not_released(caps: MemoryLedger) -> None:
    caps.request(a_request())
    caps.confirm(a_confirmation())
    caps.release(a_release(now=T0 + HOUR))

    assert caps.request(a_request("command-2", due=T0 + DAY)) == overasked(T0)


def test_a_confirmation_after_the_release_makes_it_count_again(caps: MemoryLedger) -> None:
    caps.request(a_request(email="same"))
    caps.release(a_release(now=T0 + 1))
    caps.confirm(a_confirmation(now=T0 + HOUR))

    assert caps.request(a_request("command-2", customer="ben", email="same", due=T0 + DAY)) == overasked(T0)


def test_a_confirmation_of_the_unknown_counts_from_its_own_instant(caps: MemoryLedger) -> None:
    caps.confirm(a_confirmation(account="acme", now=T0 + HOUR))

    assert caps.request(a_request("command-2", due=T0 + DAY)) == overasked(T0 + HOUR)
    assert isinstance(
        caps.request(a_request("command-3", customer="ben", account="acme", due=T0 + DAY)), ReservationDenied
    )


def test_releasing_the_unknown_does_nothing(caps: MemoryLedger) -> None:
    caps.release(a_release("command-2", now=T0 + DAY))

    assert caps.request(a_request("command-2")) == GRANTED


@pytest.mark.parametrize(
    ("requested_at", "answered"),
    [(T0 + 9, ReservationUnavailable), (T0 + 10, ReservationUnavailable), (T0 + 11, ReservationGranted)],
)
def test_a_request_from_before_its_commands_release_is_a_redelivery(
    caps: MemoryLedger, requested_at: int, answered: type
) -> None:
    caps.request(a_request(due=T0))
    caps.release(a_release(now=T0 + 10))

    assert isinstance(caps.request(a_request(due=T0, now=requested_at)), answered)


@pytest.mark.parametrize(("released_at", "counts"), [(T0 + 4, True), (T0 + 5, False)])
def test_a_release_from_before_the_reservation_is_a_redelivery(
    caps: MemoryLedger, released_at: int, counts: bool
) -> None:
    caps.request(a_request(due=T0, now=T0 + 5))
    caps.release(a_release(now=released_at))

    assert caps.request(a_request("command-2", due=T0 + DAY)) == (overasked(T0) if counts else GRANTED)


# ---- switches


@rule("4.8", "9.8")
@pytest.mark.parametrize(
    ("scope", "name", "saw"),
    [("all", None, "all"), ("trigger", "nps_promoter", "trigger nps_promoter"), ("segment", "smb", "segment smb")],
)
def test_each_switch_stops_what_it_names(caps: MemoryLedger, scope: str, name: str | None, saw: str) -> None:
    caps.apply(a_pause(scope, name))  # type: ignore[arg-type]  # the table's literals

    assert caps.request(a_request(segment="smb")) == paused(saw=f"paused: {saw}")


@pytest.mark.parametrize(("scope", "name"), [("trigger", "renewal"), ("segment", "enterprise")])
def test_a_switch_stops_nothing_else(caps: MemoryLedger, scope: str, name: str) -> None:
    caps.apply(a_pause(scope, name))  # type: ignore[arg-type]  # the table's literals

    assert caps.request(a_request("command-2", segment="smb")) == GRANTED


@rule("11.7")
def test_a_paused_segment_also_holds_those_whose_segment_is_unknown(caps: MemoryLedger) -> None:
    caps.pause("segment", "smb", T0)
    caps.pause("segment", "enterprise", T0)

    assert caps.request(a_request()) == paused(saw="paused: segment enterprise, segment smb")
    caps.resume("segment", "enterprise", T0 + 1)
    assert caps.request(a_request()) == paused(saw="paused: segment smb")


def test_the_denial_names_every_switch_that_stops_the_request(caps: MemoryLedger) -> None:
    caps.pause("segment", "smb", T0)
    caps.pause("all", None, T0)

    assert caps.request(a_request(segment="smb")) == paused(saw="paused: all, segment smb")


def test_the_order_is_paused_then_overasking_then_account(caps: MemoryLedger) -> None:
    caps.request(a_request(account="acme"))
    again = a_request("command-2", account="acme", due=T0 + DAY)
    caps.pause("all", None, T0)

    answers = [caps.request(again)]
    caps.resume("all", None, T0 + 1)
    answers.append(caps.request(again))

    assert [each.gate for each in answers if isinstance(each, ReservationDenied)] == ["paused", "overasking"]


@rule("11.5")
@pytest.mark.parametrize("confirmed", [False, True])
def test_a_reservation_that_holds_is_stopped_by_a_later_pause_and_goes_on_counting(
    caps: MemoryLedger, confirmed: bool
) -> None:
    caps.request(a_request())
    if confirmed:
        caps.confirm(a_confirmation())
    caps.pause("all", None, T0 + 1)

    assert caps.request(a_request()) == paused()
    caps.resume("all", None, T0 + 2)
    assert caps.request(a_request("command-2", due=T0 + DAY)) == overasked(T0)
    assert caps.request(a_request()) == ReservationGranted(command_id="command-1")


@rule("9.7", "11.6")
@pytest.mark.parametrize(
    ("paused_at", "resumed_at", "stopped"), [(0, 0, True), (0, 1, False), (1, 0, True)], ids=["a tie", "newer", "older"]
)
@pytest.mark.parametrize("pause_first", [True, False])
def test_the_newest_word_about_a_switch_wins_and_at_a_tie_the_pause(
    caps: MemoryLedger, paused_at: int, resumed_at: int, stopped: bool, pause_first: bool
) -> None:
    words = [a_pause(now=T0 + paused_at), a_resumption(now=T0 + resumed_at)]
    for word in words if pause_first else words[::-1]:
        caps.apply(word)

    assert caps.stopped(a_request()) is stopped


# ---- who is told of a switch


def of_pause(caps: MemoryLedger, *switch: str, at: int = T0 + 1) -> list[str]:
    """Pauses, and says who is told."""
    pause = a_pause(*switch, now=at)  # type: ignore[arg-type]  # literals
    return list(caps.told(pause.data, at)) if caps.apply(pause) else []


def of_end(caps: MemoryLedger, *switch: str, at: int = T0 + HOUR) -> list[str]:
    """Resumes, and says who is told."""
    end = a_resumption(*switch, now=at)  # type: ignore[arg-type]  # literals
    return list(caps.told(end.data, at)) if caps.apply(end) else []


@rule("11.3")
@pytest.mark.parametrize(
    ("switch", "told"),
    [
        ((), ["ana", "ben", "çem"]),
        (("trigger", "nps_promoter"), ["ana", "çem"]),
        (("trigger", "renewal"), ["ben"]),
        (("segment", "smb"), ["ana", "çem"]),
        (("segment", "enterprise"), ["ben", "çem"]),
        (("segment", "mission_driven"), ["çem"]),
    ],
)
def test_a_pause_is_told_to_whom_it_concerns_by_customer_id(
    caps: MemoryLedger, switch: tuple[str, ...], told: list[str]
) -> None:
    caps.request(a_request("1", customer="çem"))
    caps.request(a_request("2", customer="ben", segment="enterprise", trigger="renewal"))
    caps.request(a_request("3", customer="ana", segment="smb"))

    assert of_pause(caps, *switch) == told
    assert of_end(caps, *switch) == told


@rule("11.3")
@pytest.mark.parametrize(("later", "told"), [(8 * DAY - 1, ["ana"]), (8 * DAY, [])])
def test_a_reservation_due_eight_days_ago_has_no_command_left(caps: MemoryLedger, later: int, told: list[str]) -> None:
    caps.request(a_request(due=T0))
    assert of_pause(caps, at=T0 + later) == told


@rule("11.3")
@pytest.mark.parametrize("report", [a_confirmation(), a_release(now=T0 + 1)])
def test_of_a_command_that_was_reported_on_nobody_is_told(caps: MemoryLedger, report: LedgerOperation) -> None:
    caps.request(a_request())
    caps.apply(report)
    assert of_pause(caps, at=T0 + 2) == []


def test_a_pause_that_a_newer_word_has_overtaken_is_told_to_nobody(caps: MemoryLedger) -> None:
    caps.request(a_request())
    caps.resume("all", None, T0 + 1)
    assert of_pause(caps, at=T0) == []


def test_a_pause_that_is_delivered_again_is_told_again(caps: MemoryLedger) -> None:
    caps.request(a_request())
    assert [of_pause(caps), of_pause(caps)] == [["ana"], ["ana"]]


def test_a_resumption_names_those_that_were_refused_in_order_and_once(caps: MemoryLedger) -> None:
    caps.pause("all", None, T0)
    for command, customer in [("1", "zoe"), ("2", "ana"), ("3", "zoe")]:
        caps.request(a_request(command, customer=customer))

    assert of_end(caps) == ["ana", "zoe"]
    assert isinstance(caps.request(a_request("1", customer="zoe")), ReservationGranted)


def test_a_page_forgets_those_of_the_page_before(caps: MemoryLedger) -> None:
    """So that what was told is not told again after a crash, and nobody is forgotten who was not."""
    caps.pause("all", None, T0)
    for customer in ("ana", "ben", "cem"):
        caps.request(a_request(customer, customer=customer))
    end = a_resumption(now=T0 + 1).data
    caps.resume("all", None, T0 + 1)

    first = caps.page(end, T0 + 1, size=2)
    assert first == Page(("ana", "ben"), "ben")
    assert caps.page(end, T0 + 1, size=2) == first
    assert caps.page(end, T0 + 1, "ben", size=2) == Page(("cem",), "cem")
    assert caps.page(end, T0 + 1, size=2) == Page(("cem",), "cem")
    assert caps.page(end, T0 + 1, "cem", size=2) == Page((), None)
    assert of_end(caps, at=T0 + 2) == []


def test_who_is_refused_again_while_the_end_is_told_is_not_forgotten(caps: MemoryLedger) -> None:
    caps.pause("all", None, T0)
    caps.request(a_request())
    caps.resume("all", None, T0 + 1)
    assert caps.page(a_resumption().data, T0 + 1) == Page(("ana",), "ana")
    caps.pause("all", None, T0 + 2)
    caps.request(a_request(now=T0 + 2))

    assert caps.page(a_resumption().data, T0 + 3, "ana") == Page((), None)
    assert of_end(caps) == ["ana"]


def test_who_is_refused_for_two_switches_waits_for_the_wider_one_first(caps: MemoryLedger) -> None:
    caps.pause("all", None, T0)
    caps.pause("trigger", "nps_promoter", T0)
    caps.request(a_request())

    assert of_end(caps, "trigger", "nps_promoter", at=T0 + 1) == []
    assert of_end(caps, at=T0 + 1) == ["ana"]


def test_resuming_what_was_never_paused_names_nobody(caps: MemoryLedger) -> None:
    assert of_end(caps) == []


# ---- learned later


@rule("11.16")
@pytest.mark.parametrize(
    ("learned", "asked"),
    [({"account": "acme"}, {"account": "acme"}), ({"email": "hers"}, {"email": "hers"})],
    ids=["account", "address"],
)
def test_what_is_learned_after_the_ask_counts_from_then(
    caps: MemoryLedger, learned: dict[str, str], asked: dict[str, str]
) -> None:
    caps.request(a_request(account="old", email="other"))
    caps.amend(an_amendment(**learned, now=T0 + DAY))

    for known in (asked, {"account": "old"}, {"email": "other"}):
        answer = caps.request(a_request("command-2", customer="ben", **known, due=T0 + 2 * DAY))  # type: ignore[arg-type]
        assert isinstance(answer, ReservationDenied), "it adds: what was known before goes on counting"
        assert answer.until == T0 + (14 if "account" in known else 90) * DAY


def test_a_reservation_that_was_given_back_counts_for_nobody_learned_later(caps: MemoryLedger) -> None:
    caps.request(a_request())
    caps.release(a_release(now=T0 + 1))
    caps.amend(an_amendment(account="acme"))
    assert caps.request(a_request("command-2", customer="ben", account="acme")) == GRANTED


def test_a_release_also_frees_what_was_learned_later(caps: MemoryLedger) -> None:
    caps.request(a_request())
    caps.amend(an_amendment(account="acme"))
    caps.release(a_release(now=T0 + 1))
    assert caps.request(a_request("command-2", customer="ben", account="acme")) == GRANTED


def test_an_amendment_of_the_unknown_does_nothing(caps: MemoryLedger) -> None:
    caps.amend(an_amendment(account="acme"))
    assert caps.request(a_request("command-2", customer="ben", account="acme")) == GRANTED


# ---- shadow mode


@rule("11.23")
@pytest.mark.parametrize("same", [{"customer": "ana"}, {"email": "same"}, {"account": "acme"}])
@pytest.mark.parametrize(("first", "second", "granted"), [
    (True, True, False), (False, True, False), (True, False, True), (False, False, False),
])  # fmt: skip
def test_asks_of_shadow_mode_count_in_shadow_mode_alone(
    caps: MemoryLedger, same: dict[str, str], first: bool, second: bool, granted: bool
) -> None:
    caps.request(a_request("command-1", **{"customer": "one", **same}, shadow=first))  # type: ignore[arg-type]
    answer = caps.request(a_request("command-2", **{"customer": "two", **same}, shadow=second))  # type: ignore[arg-type]
    assert (answer == GRANTED) is granted


@rule("11.23")
def test_switches_stop_shadow_mode_too(caps: MemoryLedger) -> None:
    caps.pause("all", None, T0)
    assert caps.request(a_request(shadow=True)) == paused()


# ---- arbitration


@rule("10.35")
def test_the_best_contact_is_answered_first() -> None:
    requests = [
        a_request("lower priority", customer="ana", score=90, priority=10),
        a_request("last name", customer="zoe", score=90, priority=40),
        a_request("lower score", customer="ana", score=89, priority=99),
        a_request("first", customer="ben", score=90, priority=40),
    ]

    assert [each.command_id for each in arbitrated(requests)] == ["first", "last name", "lower priority", "lower score"]


@rule("4.30", "10.36")
def test_of_one_round_only_the_best_contact_of_an_account_is_granted(caps: MemoryLedger) -> None:
    requests = [
        a_request("weaker", customer="ana", account="acme", score=70),
        a_request("better", customer="ben", account="acme", score=95),
        a_request("elsewhere", customer="cem", account="other", score=50),
    ]

    answers = caps.answer_round(requests)

    assert [(request.command_id, type(answer)) for request, answer in answers] == [
        ("better", ReservationGranted),
        ("weaker", ReservationDenied),
        ("elsewhere", ReservationGranted),
    ]


# ---- the burst breaker


def open_many(caps: MemoryLedger, count: int, *, hour: int = 0, trigger: str = "nps_promoter") -> list[ControlPaused]:
    """Openings of one hour, ``hour`` hours after T0; the pauses they caused."""
    openings = [an_opening(f"{trigger} {hour} {n}", trigger=trigger, now=T0 + hour * HOUR + n) for n in range(count)]
    return [pause for each in openings if (pause := caps.opened(each))]


@rule("9.4")
def test_the_first_opening_above_the_floor_pauses_its_trigger(caps: MemoryLedger) -> None:
    assert open_many(caps, 50) == []

    pause = caps.opened(an_opening("one more", now=T0 + HOUR - 1))

    why = f"51 openings since {rfc3339(T0)}, more than 50"
    assert pause == ControlPaused(scope="trigger", name="nps_promoter", by=BREAKER, why=why)
    assert caps.stopped(a_request(trigger="nps_promoter"))
    assert not caps.stopped(a_request(trigger="renewal"))


def test_the_next_hour_counts_afresh(caps: MemoryLedger) -> None:
    open_many(caps, 50)

    assert caps.opened(an_opening("one more", now=T0 + HOUR)) is None


@rule("9.7")
def test_an_opening_counts_once(caps: MemoryLedger) -> None:
    open_many(caps, 50)

    assert open_many(caps, 50) == []


@rule("9.4")
@pytest.mark.parametrize(
    ("usual_hours", "limit"),
    [(11, 50), (12, 50), (13, 100)],
    ids=["most hours empty", "median 10 is 5 x 10 = 50", "median 20"],
)
def test_the_limit_is_five_times_the_median_of_24_hours_and_at_least_the_floor(
    caps: MemoryLedger, usual_hours: int, limit: int
) -> None:
    for hour in range(usual_hours):
        open_many(caps, 20, hour=hour)

    pauses = open_many(caps, limit + 1, hour=24)

    assert [pause.why for pause in pauses] == [f"{limit + 1} openings since {rfc3339(T0 + DAY)}, more than {limit}"]


@rule("9.4")
def test_only_the_24_hours_before_are_compared(caps: MemoryLedger) -> None:
    for hour in range(24):
        open_many(caps, 20, hour=hour)

    # All 24 hours before hour 24 hold 20; of those before hour 37 only 12 are not empty: the median is 10.
    assert open_many(caps, 100, hour=24) == []
    assert len(open_many(caps, 51, hour=37)) == 1


@pytest.mark.parametrize(("usual_hours", "pauses"), [(11, 1), (12, 0)])
def test_the_median_is_that_of_24_hours_and_not_of_25(caps: MemoryLedger, usual_hours: int, pauses: int) -> None:
    """Half of 24 hours hold 40, so that the median is 20 and the limit 100; of 25 hours it would be nothing."""
    for hour in range(24 - usual_hours, 24):
        open_many(caps, 40, hour=hour)
    assert len(open_many(caps, 100, hour=24)) == pauses


def test_resuming_what_was_not_paused_forgives_nothing(caps: MemoryLedger) -> None:
    open_many(caps, 50)
    caps.resume("trigger", "nps_promoter", T0 + 100)
    assert caps.opened(an_opening("one more", now=T0 + 200)) is not None


PAUSED_AT = T0 + 50  # by the 51st opening


def tripped(caps: MemoryLedger) -> ControlPaused:
    (pause,) = open_many(caps, 51)
    return pause


@rule("9.8", "I5.8", "I5.9")
@pytest.mark.parametrize(("later", "stopped"), [(0, True), (6 * HOUR - 1, True), (6 * HOUR, False)])
def test_the_breakers_pause_ends_six_hours_after_the_opening_that_set_it(
    caps: MemoryLedger, later: int, stopped: bool
) -> None:
    tripped(caps)
    answer = caps.request(a_request(due=PAUSED_AT + later))

    until = ReservationDenied(
        command_id="command-1", gate="paused", until=PAUSED_AT + 6 * HOUR, saw="paused: trigger nps_promoter"
    )
    assert answer == (until if stopped else ReservationGranted(command_id="command-1"))


def test_how_long_the_breaker_pauses_is_the_policys() -> None:
    caps = MemoryLedger(Policy(breaker=Breaker(pause_hours=1)))
    tripped(caps)
    assert isinstance(caps.request(a_request(due=PAUSED_AT + HOUR)), ReservationGranted)


@rule("I5.9")
def test_openings_during_the_breakers_pause_do_not_make_it_longer(caps: MemoryLedger) -> None:
    tripped(caps)
    assert open_many(caps, 200, hour=5) == []
    assert isinstance(caps.request(a_request(due=PAUSED_AT + 6 * HOUR)), ReservationGranted)


@rule("I5.8")
@pytest.mark.parametrize("before", [True, False])
def test_a_persons_pause_replaces_the_breakers(caps: MemoryLedger, before: bool) -> None:
    if before:
        caps.pause("trigger", "nps_promoter", T0)
    open_many(caps, 51)
    caps.pause("trigger", "nps_promoter", T0 if before else PAUSED_AT + 1)

    assert caps.request(a_request(due=PAUSED_AT + 7 * HOUR)) == paused(saw="paused: trigger nps_promoter")


def test_a_persons_pause_that_arrives_late_outlasts_the_breakers(caps: MemoryLedger) -> None:
    tripped(caps)
    caps.pause("trigger", "nps_promoter", PAUSED_AT - 1)
    assert caps.request(a_request(due=PAUSED_AT + 7 * HOUR)) == paused(saw="paused: trigger nps_promoter")


@rule("9.5")
@pytest.mark.parametrize(("resumed_at", "stopped"), [(-1, True), (0, True), (1, False)])
def test_a_person_may_end_the_breakers_pause(caps: MemoryLedger, resumed_at: int, stopped: bool) -> None:
    tripped(caps)
    caps.resume("trigger", "nps_promoter", PAUSED_AT + resumed_at)
    assert caps.stopped(a_request(due=PAUSED_AT + 2)) is stopped


def test_with_a_persons_pause_beside_the_breakers_the_end_is_an_event(caps: MemoryLedger) -> None:
    tripped(caps)
    caps.pause("segment", "smb", PAUSED_AT)

    answer = caps.request(a_request(segment="smb", due=PAUSED_AT))

    assert answer == paused(saw="paused: trigger nps_promoter, segment smb")
    assert of_end(caps, "segment", "smb", at=PAUSED_AT + 1) == ["ana"]


@rule("11.3")
def test_the_breakers_pause_is_told_like_a_persons(caps: MemoryLedger) -> None:
    caps.request(a_request())
    caps.request(a_request("command-2", customer="ben", trigger="renewal"))
    pause = tripped(caps)

    assert list(caps.told(pause, PAUSED_AT)) == ["ana"]
    assert list(caps.told(pause, PAUSED_AT + 6 * HOUR)) == [], "it is over"
    assert of_end(caps, "trigger", "nps_promoter") == ["ana"]


def test_the_opening_that_has_set_a_pause_gives_it_again(caps: MemoryLedger) -> None:
    """It was delivered again: whoever applied it first may have died before anybody was told."""
    pause = tripped(caps)
    last = an_opening("nps_promoter 0 50", now=PAUSED_AT)

    assert caps.opened(last) == pause
    caps.resume("trigger", "nps_promoter", PAUSED_AT + 1)
    assert caps.opened(last) is None


@rule("9.5")
def test_a_paused_trigger_is_not_paused_again(caps: MemoryLedger) -> None:
    assert len(open_many(caps, 60)) == 1


@rule("9.5")
def test_after_a_resumption_the_hour_counts_afresh(caps: MemoryLedger) -> None:
    open_many(caps, 60)
    caps.resume("trigger", "nps_promoter", T0 + HOUR // 2)
    openings = [an_opening(f"later {n}", now=T0 + HOUR // 2 + 1 + n) for n in range(51)]

    assert [caps.opened(each) is not None for each in openings] == [False] * 50 + [True]


def test_an_opening_older_than_the_compared_hours_is_not_counted() -> None:
    caps = MemoryLedger(Policy(breaker=Breaker(floor=1, hours=2)))
    caps.opened(an_opening("newest", now=T0))

    assert open_many(caps, 3, hour=-3) == []
    assert len(open_many(caps, 3, hour=-2)) == 1


def test_a_breaker_that_is_off_counts_nothing() -> None:
    assert open_many(MemoryLedger(Policy(breaker=Breaker(enabled=False, floor=1))), 9) == []


def test_an_event_that_is_no_switch_is_refused(caps: MemoryLedger) -> None:
    stranger = a_pause()
    with pytest.raises(TypeError, match="not for the ledger"):
        caps.apply(type(stranger)(id="1", source="s", type="x", subject="", time=T0, data=None))
