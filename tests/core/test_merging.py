"""One person under several ids: who hands over to whom, what becomes of what was under way; nothing is lost."""

from __future__ import annotations

from itertools import pairwise, permutations
from random import Random

import pytest

from referral_stream.contracts.state import decode_customer, encode_customer
from referral_stream.core import events as ev
from referral_stream.core import merging
from referral_stream.core.customer import Customer
from referral_stream.core.effects import AskRequested, ReservationAmended, ReservationReleased, ReservationRequested
from referral_stream.core.events import Event, Link
from referral_stream.core.ids import command_id
from referral_stream.core.stamps import Flag, Stamp
from referral_stream.core.uniting import MOST_ABSORBED
from tests.builders import a_customer, at, blocking, fact, nps, ticket_opened
from tests.core.entities import Entities
from tests.rules import rule

ALIASED = "Thu 12:00"


def aliased(into: str = "ana", alias: str = "old", when: str | int = ALIASED, **more: str) -> Event:
    return fact(ev.Aliased(alias=alias), when, customer=into, **more)


def suppressed(customer: str, when: str = "Thu 13:00") -> Event:
    return fact(ev.Suppressed(reason="unsubscribe"), when, customer=customer)


def erased(customer: str, when: str = "Thu 13:00") -> Event:
    return fact(ev.ErasureRequested(), when, customer=customer)


def merged(*events: Event) -> Entities:
    """Ana, and what was said of her as ``old`` before it was known that both are one."""
    return Entities().settle(*a_customer("ana"), *events, aliased())


def waiting_for_the_answer(*before: Event) -> Entities:
    """Ana has asked ``old`` to hand over, and nobody has read that yet."""
    world = Entities().settle(*a_customer("ana"), *before)
    world.tell(aliased())
    world.read_one("ana")
    return world


# ------------------------------------------------------------------------------------------- the customer that waits


@rule("I3.4")
def test_who_waits_for_the_answer_is_asked_nothing_new() -> None:
    world = waiting_for_the_answer()
    world.tell(nps(9, "Thu 12:30", customer="ana"))
    world.read_one("ana")
    (decision,) = world.decisions("ana")
    assert blocking(decision)["trouble"] == "merge.delivered"
    assert [reason.saw for reason in decision.reasons if reason.gate == "trouble"] == ["merging"]
    world.settle()
    assert "trouble" not in blocking(world.decisions("ana")[-1])


def asked_of(customer: str, world: Entities, when: str = "Thu 10:00") -> Entities:
    """They have a command out that is not sent."""
    world.settle(nps(9, when, customer=customer))
    while not any(isinstance(effect, ReservationRequested) for effect in world.effects):
        wake_at = world.states[customer].wake_at
        assert wake_at is not None
        world.settle(fact(ev.WakeupDue(due=wake_at), wake_at, customer=customer))
    (request,) = (effect for effect in world.effects if isinstance(effect, ReservationRequested))
    wake_at = world.states[customer].now
    world.settle(fact(ev.ReservationGranted(command_id=request.command_id), wake_at, customer=customer))
    assert [ask.customer_id for ask in world.asked] == [customer]
    return world


@rule("I3.4")
def test_the_wait_alone_takes_nothing_back() -> None:
    world = asked_of("ana", Entities().settle(*a_customer("ana")))
    world.tell(aliased())
    world.read_one("ana")
    assert world.states["ana"].merging.keys() == {"old"}
    assert world.cancelled == []
    world.settle()
    assert world.states["ana"].merging == {}
    assert world.cancelled == []


@rule("I3.5")
@pytest.mark.parametrize("known", [False, True], ids=["never seen", "already hers"])
def test_every_request_is_answered_also_with_nothing(known: bool) -> None:
    world = merged() if known else waiting_for_the_answer()
    if known:
        world.states["ana"].ids = ()  # she has more than are kept
        world.settle(aliased(when="Thu 14:00", id="again"))
        assert world.read[-1][1].data.state is None
    world.settle()
    assert (world.states["ana"].merging, world.states["old"].merged_into) == ({}, "ana")


@rule("I3.10")
@pytest.mark.parametrize(
    ("asked", "account", "address"), [("ana", "beta", "b" * 64), ("old", "acme", "a" * 64)], ids=["hers", "the other's"]
)
def test_an_ask_of_either_counts_for_the_account_and_the_address_of_the_other(
    asked: str, account: str, address: str
) -> None:
    both = (
        *a_customer("ana", account="acme", email_hmac="a" * 64),
        *a_customer("old", account="beta", email_hmac="b" * 64),
    )
    world = asked_of(asked, Entities().settle(*both))
    (command,) = (ask.command_id for ask in world.asked)
    world.settle(aliased())
    amended = [effect for effect in world.effects if isinstance(effect, ReservationAmended)]
    assert [(each.customer_id, each.command_id) for each in amended] == [(asked, command)] * len(amended)
    assert (account, address) in [(each.account_id, each.email_hmac) for each in amended]


# ---------------------------------------------------------------------------------------------- the id that hands over


@rule("I3.3", "I3.6", "I3.7")
def test_a_live_opportunity_is_cancelled_with_one_decision_under_its_own_id() -> None:
    world = Entities().settle(*a_customer("ana"), *a_customer("old"), nps(9, "Thu 12:30", customer="old"))
    before = len(world.decisions("old"))
    world.settle(aliased(when="Thu 12:31"))
    (decision,) = world.decisions("old")[before:]
    assert (decision.outcome, blocking(decision)["erased"]) == ("cancelled", "never")
    assert next(reason.saw for reason in decision.reasons if reason.gate == "erased") == "merged_into"
    assert world.states["old"] == Customer(id="old", now=at("Thu 12:31"), merged_into="ana")
    assert world.decisions("ana") == [], "what is folded in opens nothing"


@rule("I3.6", "I3.13")
def test_a_reservation_that_is_awaited_is_released_and_so_is_its_grant() -> None:
    world = Entities().settle(*a_customer("ana"), *a_customer("old"), nps(9, "Thu 10:00", customer="old"))
    wake_at = world.states["old"].wake_at
    assert wake_at is not None
    world.settle(fact(ev.WakeupDue(due=wake_at), wake_at, customer="old"))
    assert isinstance(world.effects[-1], ReservationRequested)
    command = world.effects[-1].command_id
    world.settle(aliased(when=wake_at + 1))
    released = ReservationReleased(command_id=command, customer_id="old", now=wake_at + 1)
    assert [effect for effect in world.effects if isinstance(effect, ReservationReleased)] == [released]
    world.effects.clear()
    for answer in (
        ev.ReservationGranted(command_id=command),
        ev.ReservationDenied(command_id=command, gate="account", until=wake_at + 9, saw="x"),
        ev.ReservationUnavailable(command_id=command),
        ev.WakeupDue(due=wake_at),
    ):
        world.settle(fact(answer, wake_at + 2, customer="old"))
    assert world.effects == [ReservationReleased(command_id=command, customer_id="old", now=wake_at + 2)]
    assert all(event.via == () for name, event in world.read if name == "ana"), "none of them is passed on"


@rule("I3.6")
def test_a_command_that_is_not_sent_is_cancelled_and_counts_until_a_worker_says_so() -> None:
    world = asked_of("old", Entities().settle(*a_customer("ana"), *a_customer("old")))
    (command,) = [ask.command_id for ask in world.asked]
    world.settle(aliased(when="Thu 13:00"))
    (cancelled,) = world.cancelled
    assert (cancelled.command_id, cancelled.customer_id, cancelled.gate) == (command, "old", "erased")
    assert [ask.counts for ask in world.states["ana"].asks] == [True]
    world.settle(
        fact(ev.AskAcknowledged(command_id=command, status="cancelled"), "Thu 14:00", customer="old"),
    )
    assert [ask.counts for ask in world.states["ana"].asks] == [False]


@rule("I3.19")
@pytest.mark.parametrize("status", ["sent", "failed"])
def test_a_command_keeps_for_good_the_customer_with_whom_it_was_made(status: str) -> None:
    world = asked_of("old", Entities().settle(*a_customer("ana"), *a_customer("old")))
    world.settle(aliased(when="Thu 13:00"))
    world.effects.clear()
    made = command_id("old", "nps_promoter", "r1")
    world.settle(fact(ev.AskAcknowledged(command_id=made, status=status), "Thu 14:00", customer="old"))  # type: ignore[arg-type]
    (told,) = world.effects
    assert (told.command_id, told.customer_id) == (made, "old")  # type: ignore[union-attr]


@rule("I3.19")
def test_what_is_new_carries_the_customer() -> None:
    world = merged(*a_customer("old"))
    world = asked_of("ana", world, "Thu 14:00")
    assert [ask.command_id for ask in world.asked] == [command_id("ana", "nps_promoter", "r1")]


@rule("I3.11")
def test_a_survey_that_was_corrected_under_the_other_id_takes_the_ask_back() -> None:
    world = asked_of("ana", Entities().settle(*a_customer("ana")))
    world.settle(nps(7, "Thu 11:00", customer="old"), aliased())
    (cancelled,) = world.cancelled
    assert (cancelled.customer_id, cancelled.reason) == ("ana", "the survey answer was corrected")


# ------------------------------------------------------------------------------------------------ what comes later


@rule("I3.1", "I3.13")
def test_what_comes_later_is_passed_on_as_it_was_said() -> None:
    world = merged()
    told = suppressed("old")
    world.settle(told)
    name, event = world.read[-1]
    assert (name, event.via, event.subject, event.id, event.time) == ("ana", ("old",), "old", told.id, told.time)
    assert world.states["ana"].suppressed == Flag(Stamp.of(told), value=True)


@rule("I3.8")
def test_a_state_is_folded_in_once_for_each_stamp() -> None:
    world = merged(*(fact(ev.InteractionRecorded(kind="call"), f"Mon 1{n}:00", customer="old") for n in range(3)))
    known = world.states["ana"]
    (delivered,) = [event for name, event in world.read if event.type == "merge.delivered"]
    world.again("ana", [delivered] * 2)
    world.settle()
    assert world.states["ana"] == known


@rule("I7.3")
def test_a_state_is_handed_over_as_the_same_bytes_whether_it_was_read_from_a_table_or_not() -> None:
    handed_over = []
    for stored in (False, True):
        world = Entities().settle(nps(7, "Mon 10:00", customer="old"))  # a whole number, where a float is kept
        if stored:
            world.states["old"] = decode_customer(encode_customer(world.states["old"], mark=1)).entity
        world.settle(aliased())
        handed_over += [event.data.state for name, event in world.read if event.type == "merge.delivered"]
    assert handed_over[0] == handed_over[1]


@rule("I3.14")
def test_the_customer_at_the_end_tells_all_stubs_but_the_last() -> None:
    world = Entities().settle(aliased("b", "a"))
    world.settle(aliased("c", "b", "Thu 12:01"))
    world.settle(aliased("d", "c", "Thu 12:02"))
    assert [world.states[name].merged_into for name in "abcd"] == ["b", "c", "d", None]
    world.settle(suppressed("a"))
    assert [world.states[name].merged_into for name in "abcd"] == ["d", "d", "d", None]
    assert world.states["d"].suppressed is not None
    read = len(world.read)
    world.settle(suppressed("a", "Thu 14:00"))
    assert [name for name, _ in world.read[read:]] == ["a", "d"], "the next one takes the short way"


@rule("I3.16")
def test_a_chain_of_many_ids_passes_everything_on() -> None:
    names = [f"id-{number:03}" for number in range(120)]
    world = Entities()
    for number, (alias, into) in enumerate(pairwise(names)):
        world.settle(aliased(into, alias, at(ALIASED) + number))
    world.settle(erased(names[0]))
    assert world.states[names[-1]].erased_at == at("Thu 13:00")


@rule("I3.18")
def test_an_alias_at_a_stub_goes_on_to_where_it_points() -> None:
    world = merged(suppressed("oldest", "Mon 10:00"))
    world.settle(aliased("old", "oldest", "Thu 14:00"))
    assert world.states["oldest"].merged_into == "ana"
    assert world.states["ana"].suppressed is not None


@rule("I3.18")
@pytest.mark.parametrize("event", [aliased(alias="ana"), aliased(id="said again"), aliased("old", "ana")])
def test_oneself_and_what_is_known_is_nothing(event: Event) -> None:
    world = merged()
    known = {name: (state.merged_into, state.ids, state.merging) for name, state in world.states.items()}
    world.settle(event)
    assert {name: (state.merged_into, state.ids, state.merging) for name, state in world.states.items()} == known
    assert world.letters == []


@rule("I3.18")
def test_a_request_that_comes_back_ends_the_wait() -> None:
    world = merged()
    world.states["ana"].ids = ()
    world.settle(aliased("old", "older", "Thu 12:30"), aliased("ana", "older", "Thu 12:31"))
    assert world.states["ana"].merging == {}
    assert world.letters == []


# -------------------------------------------------------------------------------------------- crossings and circles


@rule("I3.17")
@pytest.mark.parametrize("seed", range(40))
def test_of_two_that_ask_each_other_the_one_told_last_is_obeyed(seed: int) -> None:
    """Both requests are on their way before either is read; and the same event in both directions."""
    random = Random(seed)
    second = ALIASED if seed % 2 else "Thu 12:00:01"
    world = Entities()
    world.tell(*a_customer("ana"), suppressed("old", "Mon 10:00"))
    world.tell(aliased("ana", "old", id="same"), aliased("old", "ana", second, id="same"))
    world.settle(choose=random.choice)
    stubs = [name for name, state in world.states.items() if state.merged_into]
    assert (len(stubs), world.letters) == (1, [])
    (customer,) = (state for state in world.states.values() if state.merged_into is None)
    assert (customer.merging, customer.on_hold) == ({}, False)
    assert customer.suppressed is not None
    assert customer.signed_up is not None


@rule("I3.15")
@pytest.mark.parametrize("order", list(permutations("abc")))
@pytest.mark.parametrize("seed", range(5))
def test_whoever_is_merged_in_a_circle_is_one_person_on_hold(order: tuple[str, ...], seed: int) -> None:
    random = Random(seed)
    world = Entities()
    for number, name in enumerate("abc"):
        world.tell(fact(ev.InteractionRecorded(kind="call"), f"Mon 1{number}:00", customer=name))
    world.tell(suppressed("b", "Mon 12:00"))
    for number, (into, alias) in enumerate(zip(order, (*order[1:], order[0]), strict=True)):
        world.tell(aliased(into, alias, at(ALIASED) + number))
    world.settle(choose=random.choice)
    ends = [state for state in world.states.values() if state.merged_into is None]
    assert len(ends) == 1
    (customer,) = ends
    assert (customer.interactions, customer.merging) == (3, {})
    assert customer.suppressed is not None
    if world.letters:  # otherwise one came first, and there was no circle
        assert ([letter.cause for _, letter in world.letters], customer.id) == (["merge_cycle"], "a")
        assert customer.quarantined
    for name in "abc":
        world.settle(erased(name, "Thu 18:00"))
    assert customer.id in {name for name, state in world.states.items() if state.erased_at is not None}


def test_some_of_these_circles_close() -> None:
    world = Entities()
    for into, alias in (("a", "b"), ("b", "c"), ("c", "a")):
        world.tell(aliased(into, alias))
    for name in "abc":
        world.read_one(name)
    world.settle()
    assert [(name, letter.cause) for name, letter in world.letters] == [("a", "merge_cycle")]
    replayed = fact(ev.DeadletterReplayed(), "Thu 15:00", customer="a")
    world.settle(replayed)
    assert not world.states["a"].quarantined


@rule("I3.15")
def test_the_smallest_id_is_that_in_utf_8() -> None:
    """U+FFFD sorts before U+1F600 in UTF-8, and after it in UTF-16."""
    world = Entities()
    for into, alias in (("\ufffd", "\U0001f600"), ("\U0001f600", "z~"), ("z~", "\ufffd")):
        world.tell(aliased(into, alias))
    for name in ("\ufffd", "\U0001f600", "z~"):
        world.read_one(name)
    world.settle()
    assert [name for name, _ in world.letters] == ["z~"]


def test_an_id_that_begins_like_a_link_is_merged_too() -> None:
    world = Entities().settle(*a_customer("ana"), suppressed("~email:x", "Mon 10:00"), aliased(alias="~email:x"))
    world.settle(erased("~email:x"))
    assert world.states["ana"].erased_at is not None


# ------------------------------------------------------------------------------------------------------------ erasure


@rule("I3.21")
@pytest.mark.parametrize("customer", ["ana", "old"])
def test_erasure_under_any_id_erases_the_customer_and_the_stub_goes_on_pointing(customer: str) -> None:
    world = merged(suppressed("old", "Mon 10:00"))
    world.settle(erased(customer), nps(9, "Thu 14:00", customer="old"))
    assert world.states["ana"].erased_at == at("Thu 13:00")
    assert world.states["ana"].responses == {}
    assert world.states["old"].merged_into == "ana"


@rule("I3.22")
def test_who_was_erased_while_the_request_was_on_its_way_erases_the_customer() -> None:
    world = waiting_for_the_answer()
    world.tell(erased("old", "Thu 12:00:01"))
    world.waiting["old"].rotate()
    world.settle()
    assert world.states["ana"].erased_at is not None
    assert world.states["ana"].merged_into is None


@rule("I3.22")
def test_at_the_same_instant_it_does_too() -> None:
    world = Entities().settle(*a_customer("ana"))
    world.tell(erased("old", ALIASED))
    world.read_one("old")
    world.settle(aliased())
    assert world.states["ana"].erased_at is not None


@rule("I3.22")
def test_who_was_erased_before_holds_the_customer_until_she_lifts_it_herself() -> None:
    world = merged(erased("old", "Mon 10:00"))
    assert (world.states["ana"].erased_at, world.states["ana"].on_hold) == (None, True)
    world.settle(nps(9, "Thu 12:30", customer="ana"))
    (decision,) = world.decisions("ana")
    assert blocking(decision)["consent"] == "customer.unsuppressed"
    assert "address" in next(reason.saw for reason in decision.reasons if reason.gate == "consent")
    world.settle(fact(ev.Unsuppressed(), "Thu 13:00", customer="ana"))
    assert not world.states["ana"].on_hold


@rule("I3.22")
def test_a_hold_takes_back_what_is_not_sent() -> None:
    world = asked_of("ana", Entities().settle(*a_customer("ana"), erased("old", "Mon 10:00")))
    world.settle(aliased())
    assert [each.gate for each in world.cancelled] == ["consent"]


LAST_WORDS = [
    ev.ErasureRequested(),
    ev.Suppressed(reason="x"),
    ev.ConsentChanged(purpose="referral_ask", channel="all", granted=False),
    ev.AskAnswered(command_id="c", answer="stop"),
]


@pytest.mark.parametrize("word", LAST_WORDS, ids=lambda word: word.type)
def test_the_last_word_under_an_erased_id_still_reaches_who_it_was_said_to_be(word: ev.Data) -> None:
    """An erased id keeps nothing, and passes on only what stops asking: here, an opt-out that comes later."""
    world = merged(erased("old", "Mon 10:00"))
    world.settle(fact(ev.Unsuppressed(), "Thu 13:00", customer="ana"))
    world.settle(nps(2, "Thu 14:00", customer="old"), fact(word, "Thu 14:01", customer="old"))
    assert [event.type for name, event in world.read if event.via] == [word.type]
    ana = world.states["ana"]
    assert ana.erased_at is not None or ana.suppressed.value or "stop" in ana.answers or not ana.consent["email"].value  # type: ignore[union-attr]


@rule("I3.23")
def test_what_is_handed_over_to_an_erased_customer_is_gone() -> None:
    world = waiting_for_the_answer(suppressed("old", "Mon 10:00"))
    world.tell(erased("ana", "Thu 12:00:01"))
    world.settle(choose=min)
    assert world.states["ana"].erased_at is not None
    assert world.states["old"] == Customer(id="old", now=world.states["old"].now, merged_into="ana")


@rule("I3.23")
def test_an_alias_of_an_erased_customer_takes_that_id_along() -> None:
    """A reading: both are one person, who wants to be erased."""
    world = Entities().settle(*a_customer("old"), erased("ana", "Mon 10:00"), nps(9, "Thu 11:00", customer="old"))
    world.settle(aliased())
    assert world.states["old"].merged_into == "ana"
    assert world.decisions("old")[-1].outcome == "cancelled"
    world.settle(*(nps(9, f"Thu 1{n}:00", f"r{n}", customer="old") for n in range(3, 6)))
    assert (world.asked, world.states["ana"].responses) == ([], {})


@rule("I3.18")
def test_an_erased_id_that_is_claimed_again_tells_both() -> None:
    world = merged(erased("old", "Mon 10:00"), *a_customer("bea"))
    world.settle(aliased("bea", "old", "Thu 14:00"))
    assert world.states["ana"].merged_into == "bea"
    assert world.states["bea"].on_hold


# ------------------------------------------------------------------------------------------------------------- bounds


@rule("I3.24")
def test_more_ids_than_are_kept_are_a_dead_letter_and_a_hold() -> None:
    world = Entities().settle(*a_customer("ana"))
    world.states["ana"].absorbed = tuple(range(MOST_ABSORBED))
    world.settle(suppressed("old", "Mon 10:00"), aliased())
    assert [(name, letter.cause) for name, letter in world.letters] == [("ana", "too_many_ids")]
    ana = world.states["ana"]
    assert (ana.quarantined, len(ana.absorbed), world.states["old"].merged_into) == (True, MOST_ABSORBED, "ana")


@rule("I3.26")
def test_a_state_that_fits_no_record_stays_and_both_are_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "LARGEST_STATE", 100)
    world = merged(ticket_opened("Mon 10:00", customer="old"))
    assert {(name, letter.cause) for name, letter in world.letters} == {
        ("old", "state_too_large"),
        ("ana", "state_too_large"),
    }
    assert (world.states["old"].quarantined, world.states["ana"].quarantined) == (True, True)
    assert (world.states["old"].merged_into, len(world.states["old"].tickets)) == (None, 1)
    world.settle(erased("old"))
    assert world.states["old"].tickets == {}


def test_waiting_for_too_many_is_one_too_many(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(merging, "MOST_AWAITED", 1)
    world = Entities().settle(*a_customer("ana"))
    world.tell(aliased(alias="a"), aliased(alias="b"))
    world.read_one("ana")
    world.read_one("ana")
    assert world.states["ana"].merging.keys() == {"a"}
    assert (world.states["ana"].quarantined, [letter.cause for _, letter in world.letters]) == (True, ["too_many_ids"])
    assert [event.type for _, event in world.waiting["b"]] == ["merge.requested"], "it is asked all the same"


@rule("I3.8")
@pytest.mark.parametrize("lifted", ["old", "ana"])
def test_a_hold_is_lifted_by_the_letter_that_caused_it(lifted: str) -> None:
    world = Entities().settle(*a_customer("ana"), ticket_opened("Mon 10:00", customer="old"))
    world.states["old"].quarantined = True
    world.states["ana"].quarantined = lifted == "ana"
    world.settle(aliased())
    assert world.states["ana"].holds == ("old",)
    world.settle(fact(ev.DeadletterReplayed(), "Thu 13:00", customer=lifted))
    assert (world.states["ana"].holds, world.states["ana"].quarantined) == (() if lifted == "old" else ("old",), False)


def test_two_ids_of_one_person_are_asked_once() -> None:
    world = asked_of("ana", merged(*a_customer("old")), "Thu 14:00")
    world.settle(nps(9, "Thu 16:00", "r2", customer="old"))
    assert [type(effect) for effect in world.effects if isinstance(effect, AskRequested)] == [AskRequested]
    assert blocking(world.decisions("ana")[-1])["overasking"]


# ---- links (identity §4)

HMAC = "a" * 64


def address(hmac: str, when: str, customer: str) -> Event:
    return fact(ev.ProfileChanged(email_hmac=hmac), when, customer=customer)


@rule("I4.13")
@pytest.mark.parametrize("seed", range(20))
def test_after_a_merge_the_customer_stands_at_the_others_address_in_its_place(seed: int) -> None:
    world = Entities()
    world.settle(address(HMAC, "Mon 12:00", "old"))
    world.settle(aliased(when="Tue 12:00"), choose=Random(seed).choice)
    named = world.links[Link("email", HMAC)].named
    assert {customer: each.theirs for customer, each in named.items()} == {"ana": True}
    world.settle(fact(ev.Suppressed(), "Wed 12:00", customer="", link=Link("email", HMAC)))
    assert world.states["ana"].suppressed is not None


@rule("I4.13", "I4.15")
@pytest.mark.parametrize("who", ["ana", "old"])
@pytest.mark.parametrize("where", ["ana", "old"])
@pytest.mark.parametrize("stop_first", [True, False])
def test_a_stop_under_one_id_holds_who_has_an_address_of_the_other(who: str, where: str, *, stop_first: bool) -> None:
    stop, merge = fact(ev.Suppressed(), "Mon 13:00", customer=who), aliased(when="Mon 14:00")
    world = Entities().settle(address(HMAC, "Mon 12:00", where), address(HMAC, "Mon 12:00", "ben"))
    for event in (stop, merge) if stop_first else (merge, stop):
        world.settle(event)
    assert world.states["ben"].on_hold
    assert not world.states["ana"].on_hold


@rule("I3.21", "I4.15")
def test_an_erasure_that_comes_with_a_merge_holds_who_has_an_address_of_the_customer() -> None:
    world = Entities().settle(address(HMAC, "Mon 12:00", "ana"), address(HMAC, "Mon 12:00", "ben"))
    world.tell(fact(ev.ErasureRequested(), "Tue 12:00", customer="old"), now=at("Tue 12:01"))
    world.tell(aliased(when="Tue 12:00"))
    world.settle()
    assert world.states["ana"].erased_at is not None
    assert world.states["ben"].on_hold
