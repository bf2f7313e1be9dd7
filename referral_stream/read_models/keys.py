"""The keys of the read models, and how much each may hold.

============================================  =====  =================================================================
``PREFIX:{read}:customer:ID``                 hash   ``state`` (as in the changelog) and ``record``, each behind its
                                                     instant in 13 digits; ``d0`` … ``d9``: decisions, whole; ``d``: how
                                                     many there were; ``alive``: what of theirs waits
``PREFIX:{read}:alias:ID``                    str    the customer to whom this id was merged
``PREFIX:{read}:after:ID``                    zset   their follow-ups and rewards, whole, by instant; 50 stay
``PREFIX:{read}:mine:ID``                     zset   what of theirs stands in the deployment-wide keys below
``PREFIX:{read}:due:KIND``                    zset   what waits, by the instant at which it is due
``PREFIX:{read}:due:KIND:rows``               hash   the same, with what a list shows of it
``PREFIX:{read}:holding``                     hash   gate → asks that wait behind it now
``PREFIX:{read}:log``                         zset   the deployment's newest decisions, by instant; 100,000 stay
``PREFIX:{read}:log:rows``                    hash   the same, with what a list shows of them
``PREFIX:{read}:log:by outcome|trigger|…:X``  zset   those of one outcome, trigger, gate, account or customer
``PREFIX:{read}:hour:N``                      hash   counts of decisions and gates of an hour since 1970; 14 days stay
``PREFIX:{read}:controls``                    hash   switch → the newest word about it
``PREFIX:{read}:audit``                       list   who threw which switch, newest first; 1,000 stay
``PREFIX:{read}:figures``                     hash   sums over the newest record of every customer (after §7)
``PREFIX:{read}:figures:SUM:BUCKET``          hash   the values themselves of a sum by value, within a bucket
``PREFIX:{read}:recorded``                    zset   customers whose records are the newest, by the instant; 1,000 stay
``PREFIX:{read}:roles``                       hash   role → members, partitions and lag, as last seen
``PREFIX:{read}:gone``                        zset   hashes of ids that were erased, by the instant
``PREFIX:{read}:positions``                   hash   ``TOPIC|PARTITION`` → the offset that is applied next
``PREFIX:{read}:meta``                        hash   ``form`` of all this
============================================  =====  =================================================================

``{read}`` is a hash tag: they lie in one slot of a cluster. Whatever belongs to a customer lapses, by TTL, as long
after it was last written as the topics keep it; the rest is bounded by number. Nothing here is the only copy of
anything.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from referral_stream.core.instants import DAY, HOUR, SECOND

FORM: Final = 2
"""Of keys and values. Read models of another one are made anew (``referral-stream run projector --reset``)."""

RESETTING: Final = 0
"""In the place of the form, while a reset removes what is there: nobody writes meanwhile."""

DueKind: TypeAlias = Literal["asks", "approvals", "followups", "rewards"]
"""What waits: asks for their moment, asks for a person's yes, follow-ups for who does them, rewards for approval."""

KINDS: Final[tuple[DueKind, ...]] = ("asks", "approvals", "followups", "rewards")

DECISIONS_KEPT: Final = 10
"""Of each customer, whole."""
AFTER_KEPT: Final = 50
"""Messages about follow-ups and rewards of each customer, whole."""
LOG_KEPT: Final = 100_000
"""Decisions of the whole deployment that can be filtered: some 70 MB."""
AUDIT_KEPT: Final = 1_000
RECORDED_KEPT: Final = 1_000
"""Of instants of records: enough to know the newest, whoever is erased."""
HOURS_KEPT: Final = 14 * 24
RETENTION_SECONDS: Final = 400 * DAY // SECOND
"""As the topics (``contracts.topics``): what is older could not be rebuilt."""


INSTANT_DIGITS: Final = 13
"""In front of states and records: a field of its own would weigh 60 bytes for each customer."""

DECISION_FIELDS: Final = tuple(f"d{number}" for number in range(DECISIONS_KEPT))


class Keys:
    """The keys of one deployment; ``prefix`` is its group prefix."""

    def __init__(self, prefix: str) -> None:
        self.root: Final = f"{prefix}:{{read}}:"
        self.log: Final = f"{self.root}log"
        self.log_rows: Final = f"{self.root}log:rows"
        self.holding: Final = f"{self.root}holding"
        self.controls: Final = f"{self.root}controls"
        self.audit: Final = f"{self.root}audit"
        self.figures: Final = f"{self.root}figures"
        self.recorded: Final = f"{self.root}recorded"
        self.roles: Final = f"{self.root}roles"
        self.gone: Final = f"{self.root}gone"
        self.positions: Final = f"{self.root}positions"
        self.meta: Final = f"{self.root}meta"

    def values(self, name: str) -> str:
        """The values of a sum within a bucket, by the name that ``works`` gives it."""
        return f"{self.figures}:{name}"

    def customer(self, customer: str) -> str:
        return f"{self.root}customer:{customer}"

    def alias(self, customer: str) -> str:
        return f"{self.root}alias:{customer}"

    def after(self, customer: str) -> str:
        return f"{self.root}after:{customer}"

    def mine(self, customer: str) -> str:
        return f"{self.root}mine:{customer}"

    def due(self, kind: DueKind) -> str:
        return f"{self.root}due:{kind}"

    def due_rows(self, kind: DueKind) -> str:
        return f"{self.root}due:{kind}:rows"

    def index(self, name: str, value: str) -> str:
        """Decisions of one ``outcome``, ``trigger``, ``gate``, ``account`` or ``customer``."""
        return f"{self.root}log:by {name}:{value}"

    def hour(self, instant: int) -> str:
        """The counts of the hour of an instant (epoch ms)."""
        return f"{self.root}hour:{instant // HOUR}"


def escaped(text: str) -> str:
    """A text as SCAN's patterns take it literally."""
    return "".join(f"\\{char}" if char in "*?[]\\^-" else char for char in text)
