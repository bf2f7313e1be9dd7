"""A year of records in which it is known what asking causes: made by chance, without the engine.

Every account would be asked once, at some instant of the year; some are held out. Referrals and trouble follow at
planted rates, so that what is measured can be compared with what is true. Records have everything that metrics look at.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from referral_stream.core.instants import DAY, MINUTE, parse_instant, rfc3339
from referral_stream.metrics.records import RecordBody, Records

START = parse_instant("2026-01-01T00:00:00Z")[0]
_TRIGGERS = ("nps_promoter", "nps_promoter", "renewal", "milestone")


@dataclass(frozen=True)
class Planted:
    """``rate``, ``trouble``: shares of the held-out accounts that refer, or have trouble. ``effect``, ``harm``: how
    many times as often those that are asked do. ``appeal``: template → how many times as often it brings a referral.
    """

    seed: int
    accounts: int = 10_000
    holdout: float = 0.05
    rate: float = 0.02
    effect: float = 1.0
    trouble: float = 0.05
    harm: float = 1.0
    appeal: dict[str, float] = field(default_factory=lambda: {"nps": 1.0, "nps_short": 1.0})

    def records(self, days: int = 365) -> Records:
        """As they are after so many days."""
        return Records((record["customer_id"], record) for record in self._records(START + days * DAY))

    def _records(self, now: int) -> Iterator[RecordBody]:
        for number in range(self.accounts):
            random = Random(f"{self.seed}/{number}")
            for person in range(random.choice((1, 1, 1, 2))):
                yield self._record(number, person, now)

    def _record(self, number: int, person: int, now: int) -> RecordBody:
        """The first contact of an account is the one who is asked; all of its colleagues are as it is."""
        random = Random(f"{self.seed}/{number}/{person}")
        same = Random(f"{self.seed}/{number}/account")
        held_out, at = same.random() < self.holdout, START + same.randrange(365 * DAY)
        template = same.choice(sorted(self.appeal))
        at += random.randrange(30 * DAY) if person else 0
        trigger, name = random.choice(_TRIGGERS), f"cus-{number}-{person}"
        record: dict[str, Any] = {
            "customer_id": name,
            "recorded_at": rfc3339(min(now, at + 20 * DAY) if at <= now else now),
            "referral_history": {"times_asked": 0},
            "asks": [], "months": [], "referred_contacts": [],
            "signed_up_at": rfc3339(at - random.randrange(400) * DAY),
            "policy": {"name": "default", "hash": "0"},
        }  # fmt: skip
        if number % 3:
            record["account_id"] = f"acct-{number}"
        else:
            name = record["customer_id"] = f"cus-{number}"  # one without an account has no colleagues
        if (segment := random.choice(("smb", "smb", "enterprise", None))) is not None:
            record["segment"] = segment
        if at > now:
            return record
        record["recorded_at"] = rfc3339(now if random.random() < 0.2 else min(now, at + 95 * DAY))
        self._ask(
            record, random, (at, now), trigger, template if trigger == "nps_promoter" else trigger, held_out=held_out
        )
        return record

    def _ask(
        self,
        record: dict[str, Any],
        random: Random,
        times: tuple[int, int],
        trigger: str,
        template: str,
        *,
        held_out: bool,
    ) -> None:
        at, now = times
        name, kind = record["customer_id"], "holdout" if held_out else random.choice(("asked", "asked", "soft"))
        ask: dict[str, Any] = {
            "command_id": f"ask-{name}", "trigger": trigger, "template": template,
            "mode": "soft" if kind == "soft" else "direct", "channel": random.choice(("email", "email", "in_app")),
            "kind": kind, "t0": rfc3339(at - random.randrange(1_200) * MINUTE), "asked_at": rfc3339(at),
            "decided_at": rfc3339(at + random.randrange(900)), "referrals": 0, "converted": 0,
        }  # fmt: skip
        if not held_out:
            if trigger == "nps_promoter":
                ask["arm"] = f"wording/{template}"
            record["referral_history"] = {"times_asked": 1, "first_asked_at": ask["asked_at"]}
            if random.random() < 0.93:
                ask["sent_at"] = rfc3339(at + MINUTE)
                if random.random() < 0.3:
                    ask["answer"] = random.choice(("yes", "maybe", "no", "stop", "unclear"))
            elif random.random() < 0.5:
                ask[random.choice(("failed", "cancelled"))] = True
        appeal = 1.0 if held_out else self.appeal.get(template, 1.0) * self.effect
        given = at + round(random.random() * 80 * DAY)
        if random.random() < self.rate * appeal and given <= now:
            self._refer(record, ask, random, given)
        if random.random() < self.trouble * (1.0 if held_out else self.harm) and at + 3 * DAY <= now:
            ask["regret"] = True
        record["asks"].append(ask)
        month = {"month": ask["t0"][:7], "trigger": trigger, "opened": 1 + random.randrange(3), "eligible": 1}
        month |= {"held_out": 1} if held_out else {"asked": 1}
        if month["opened"] > 1:
            month |= random.choice(({"missed": 1}, {"blocked": {random.choice(("trouble", "account")): 1}}))
        record["months"].append(month)
        record["followups"] = {"thank": {"requested": len(record["referred_contacts"]), "late": 0}}

    @staticmethod
    def _refer(record: dict[str, Any], ask: dict[str, Any], random: Random, given: int) -> None:
        contact: dict[str, Any] = {
            "referral_id": f"ref-{record['customer_id']}", "consented": True, "referred_date": rfc3339(given)[:10],
            "status": random.choice(("given", "contacted", "converted", "converted", "refunded")),
        }  # fmt: skip
        if random.random() < 0.9:
            contact["command_id"] = ask["command_id"]
            ask["referrals"], ask["converted"] = 1, int(contact["status"] == "converted")
        if contact["status"] in ("converted", "refunded"):
            contact["deal_value_minor"] = random.randrange(1_000, 900_000)
            if random.random() < 0.9:
                contact["currency"] = random.choice(("EUR", "eur", "USD"))
        record["referred_contacts"].append(contact)
