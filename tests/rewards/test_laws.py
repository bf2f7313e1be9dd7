"""Whatever the payer answers, and whenever workers die or hand partitions over: what always holds of the backlog."""

from __future__ import annotations

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st

from referral_stream.rewards.backlog import RewardsBacklog
from referral_stream.rewards.orders import PaymentOrder
from referral_stream.rewards.progress import GroupProgress, progress_of
from tests.rewards.paying import an_order
from tests.rules import rule

CUSTOMERS = ("ana", "bo", "cy")

LOG = st.lists(st.one_of(st.none(), st.sampled_from(CUSTOMERS)), max_size=25)
"""A partition: whose order each record is; None: nothing to tell (held, denied, a transaction's mark)."""

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(1, 6)),
        st.tuples(st.just("try"), st.booleans()),
        st.tuples(st.just("commit"), st.none()),
        st.tuples(st.just("crash"), st.none()),
        st.tuples(st.just("wait"), st.integers(1, 50)),
    ),
    max_size=60,
)


class World:
    """One partition, its payer, and the worker of the moment; ``committed`` is what the broker has."""

    def __init__(self, log: list[str | None]) -> None:
        self.log = [
            None if customer is None else an_order(customer, f"r{offset}", offset=offset)
            for offset, customer in enumerate(log)
        ]
        self.committed: tuple[int, str] = (0, "")
        self.paid: list[PaymentOrder] = []
        self.now = 0
        self.start()

    def start(self) -> None:
        """A worker begins where the last one left it."""
        at = progress_of(*self.committed)
        self.backlog = RewardsBacklog(100)
        self.backlog.open(0, at)
        self.position = at.next

    def read(self, most: int) -> None:
        for offset in range(self.position, min(self.position + most, len(self.log))):
            self.backlog.read(0, offset, self.log[offset], self.now)
            self.position = offset + 1

    def attempt(self, *, is_taken: bool) -> None:
        for order in self.backlog.due(self.now):
            if is_taken:
                self.paid.append(order)
                self.backlog.told(order, self.now)
            else:
                self.backlog.put_off(order, self.now + 10)
            break

    def commit(self) -> None:
        at: GroupProgress = self.backlog.progress(0)
        self.committed = (at.next, at.metadata())

    def step(self, what: str, how: int | bool | None) -> None:
        match what:
            case "read":
                self.read(int(how or 1))
            case "try":
                self.attempt(is_taken=bool(how))
            case "commit":
                self.commit()
            case "crash":
                self.start()
            case _:
                self.now += int(how or 1)

    def check(self) -> None:
        """What is committed is paid."""
        paid = {order.offset for order in self.paid}
        at = progress_of(*self.committed)
        for offset, order in enumerate(self.log):
            assert order is None or not at.is_told(offset) or offset in paid


@rule("A4.19")
@given(LOG, STEPS)
def test_nothing_is_lost_and_every_customers_order_is_kept(
    log: list[str | None], steps: list[tuple[str, int | bool | None]]
) -> None:
    world = World(log)
    for what, how in steps:
        world.step(what, how)
        world.check()
    world.start()  # the last of them dies too
    for _ in range(2 * len(log) + 1):
        world.read(len(log))
        world.now += 1_000
        world.attempt(is_taken=True)
    world.commit()
    world.check()
    assert {order.key for order in world.paid} == {order.key for order in world.log if order is not None}
    assert world.committed == (len(log), "") or not log
    firsts: dict[str, list[int]] = defaultdict(list)
    for order in world.paid:
        if order.offset not in firsts[order.customer]:
            firsts[order.customer].append(order.offset)
    assert all(offsets == sorted(offsets) for offsets in firsts.values())


@rule("A4.19")
@given(LOG, STEPS)
def test_what_was_paid_and_committed_is_never_paid_again(
    log: list[str | None], steps: list[tuple[str, int | bool | None]]
) -> None:
    world = World(log)
    settled: set[int] = set()
    since_start = 0
    for what, how in steps:
        before = len(world.paid)
        world.step(what, how)
        assert not settled & {order.offset for order in world.paid[before:]}
        if what == "commit":  # of what one paid who died before a commit, the next one knows nothing
            settled |= {order.offset for order in world.paid[since_start:]}
        elif what == "crash":
            since_start = len(world.paid)


def test_who_dies_before_a_commit_leaves_the_payer_an_order_to_know_again() -> None:
    world = World(["ana"])
    for what, how in (("read", 1), ("try", True), ("crash", None), ("read", 1), ("commit", None), ("try", True)):
        world.step(what, how)
    assert [order.key for order in world.paid] == [world.paid[0].key] * 2
