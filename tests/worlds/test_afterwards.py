from __future__ import annotations

import hashlib
from collections import Counter

import orjson

from tests.oracle.followups import LASTS, TO_CUSTOMER
from tests.oracle.naive import decide
from tests.oracle.world import Result
from tests.worlds.afterwards import world

KINDS = {*LASTS, *TO_CUSTOMER, "approve_reward"}
CANCELLED = set(
    "answer referral_given status care_taken stop consent suppressed channel erased contact_erased merged".split()
)
"""Every reason but ``quarantined``, which is no fact of a log."""

DENIED = set("not_approved duplicate customer_cap account_cap refunded rejected erased".split())
REWARDS = {("held", ""), ("granted", ""), ("reversed", "refunded"), ("reversed", "rejected")} | {
    ("denied", reason) for reason in DENIED
}
ENDS = {"asked", "soft", "holdout", "shadow"}
FLAGS = {"failed", "cancelled", "despite_signal", "regret", "sent_at", "answer"}
OF_A_REFERRAL = {"held", "due", "granted", "denied", "reversed", "delivered", "failed"}


def met(result: Result) -> set[tuple[str, object]]:
    """What a world has of everything that may come of an ask."""
    found: set[tuple[str, object]] = set()
    for row in result.followups:
        body, what = row["data"], row["type"].rpartition(".")[2]
        found.add((what, body["kind"]) if what == "requested" else (what, body["reason"]))
        found |= {("late", body["late"])} if "late" in body else set()
    for row in result.rewards:
        found.add(("reward", (row["type"].rpartition(".")[2], row["data"].get("reason", ""))))
    for row in result.records:
        body = row["data"]
        found |= {("unreachable", kind) for kind, count in body["followups"].items() if "unreachable" in count}
        found |= {("ask", ask["kind"]) for ask in body["asks"]}
        found |= {("flag", name) for ask in body["asks"] for name in FLAGS & set(ask)}
        found |= {("of a referral", one["reward"]) for one in body["referred_contacts"] if "reward" in one}
    return found


def test_within_five_hundred_worlds_everything_happens_that_may_follow_an_ask() -> None:
    wanted: set[tuple[str, object]] = {
        *(("requested", kind) for kind in KINDS),
        *(("cancelled", reason) for reason in CANCELLED),
        *(("reward", outcome) for outcome in REWARDS),
        *(("ask", kind) for kind in ENDS),
        *(("flag", name) for name in FLAGS),
        *(("of a referral", state) for state in OF_A_REFERRAL - {"held", "due"}),
        *(("unreachable", kind) for kind in ("intro_offer", "easy_forward", "thank", "report_back")),
        ("late", True),
    }
    seed = 0
    while wanted and seed < 500:
        made = world(seed)
        wanted -= met(decide(made.records, None, made.policy))
        seed += 1
    assert wanted == set()


def test_a_seed_gives_the_same_world_on_every_machine() -> None:
    """Its rounds ask the oracle: where that changes, so may the world."""
    first = [orjson.dumps([made.policy, made.records]) for made in map(world, range(5))]
    assert first == [orjson.dumps([made.policy, made.records]) for made in map(world, range(5))]
    assert len(Counter(hashlib.sha256(text).hexdigest() for text in first)) == 5


def test_a_log_is_in_the_order_of_arrival_and_says_no_name() -> None:
    for seed in range(5):
        records = world(seed).records
        assert [record["timestamp"] for record in records] == sorted(record["timestamp"] for record in records)
        contacts = [r["value"]["data"]["contact"] for r in records if r["value"]["type"] == "referral.given"]
        assert all(set(one) <= {"ref_hmac", "email_hmac", "domain_hmac", "consented"} for one in contacts)
