"""The checks of follow-ups, written from after §0 to §3 and §12: nothing of the core runs here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from typing import Final
from uuid import NAMESPACE_URL, uuid5

from referral_stream.audit.after_evidence import AfterEvidence, CustomerLog, Happened, Reward, Said, TakenBack
from referral_stream.audit.findings import AuditCounts
from referral_stream.core import events as ev

_IDS: Final = uuid5(NAMESPACE_URL, "referral-stream")
_WORD: Final = {"intro_offer": ("yes",), "easy_forward": ("maybe",), "graceful_no": ("no",)}
_READ: Final = ("unclear", "yes", "maybe")


def derived(*parts: object) -> str:
    """The id made of these parts (semantics §10, Ids)."""
    return str(uuid5(_IDS, "|".join(str(part).replace("%", "%25").replace("|", "%7C") for part in parts)))


def one_body(told: Iterable[Said | TakenBack | Reward], tally: AuditCounts, *, fenced: bool) -> None:
    """An id has one body, and a reader with read_committed sees it once."""
    known: dict[tuple[str, str], Said | TakenBack | Reward] = {}
    for each in told:
        if isinstance(each, Reward):
            name = (f"{each.word} of grant", each.grant)
        else:
            name = ("follow-up" if isinstance(each, Said) else "cancellation of follow-up", each.id)
        first = known.setdefault(name, each)
        if first is not each and (fenced or first.digest != each.digest):
            how = "occurs twice" if first.digest == each.digest else "has two bodies"
            tally.findings.add("after_once", f"{' '.join(name)} {how}", first.position, each.position)


def wanted(evidence: AfterEvidence, tally: AuditCounts) -> None:
    """Nothing to the customer after a stop or on a withdrawn channel; nothing at all after an erasure."""
    for said in evidence.said:
        log = evidence.log_of(said.customer)
        for what, since in (("a stop", log.stopped if said.to_customer else None), ("an erasure", log.erased)):
            if since is not None and since.now < said.requested_at:
                text = f"follow-up {said.id} was requested after {what}"
                tally.findings.add("followup_wanted", text, said.position, since.position)
        if said.to_customer and not log.merged and (on := log.withdrawn(said.requested_at).intersection(said.channels)):
            text = f"follow-up {said.id} names a channel that was withdrawn: {', '.join(sorted(on))}"
            tally.findings.add("followup_wanted", text, said.position)


def caused(evidence: AfterEvidence, tally: AuditCounts, events: str, followups: str) -> None:
    """Each has a cause that the customer's log or a reward tells of, and its number without gaps."""
    of_referral: dict[str, set[str]] = defaultdict(set)
    known = {said.id: said for said in evidence.all_said}
    for reward in evidence.all_rewards:
        of_referral[reward.grant].add(reward.word)
        of_referral[reward.referral].add(reward.word)
    for said in evidence.said:
        log = evidence.log_of(said.customer)
        if log.merged or evidence.is_late(events, said.position.partition) or _late_rewards(evidence, said):
            continue
        if not _has_cause(said, log, known, of_referral):
            text = f"follow-up {said.id} ({said.kind}) follows from nothing that happened"
            tally.findings.add("followup_caused", text, said.position)
    if not evidence.is_late(followups):
        _numbered(evidence, tally)


def _late_rewards(evidence: AfterEvidence, said: Said) -> bool:
    of_rewards = said.kind in ("approve_reward", "read_reward", "reward_told")
    return of_rewards and evidence.rewards_lapsed


def _has_cause(said: Said, log: CustomerLog, known: dict[str, Said], rewards: dict[str, set[str]]) -> bool:
    def before(happened: Iterable[Happened]) -> list[ev.Data]:
        return [each.event.data for each in happened if each.now <= said.requested_at]

    match said.kind:
        case "intro_offer" | "easy_forward" | "graceful_no" | "read_answer":
            words = _WORD.get(said.kind, _READ)
            answers = [each for each in before(log.answers) if isinstance(each, ev.AskAnswered)]
            return any(
                each.answer in words and (each.command_id == said.about or each.command_id in known) for each in answers
            )
        case "thank" | "take_care":
            return any(getattr(each, "referral_id", None) == said.referral for each in before(log.givens))
        case "report_back":
            statuses = [each for each in before(log.statuses) if isinstance(each, ev.ReferralStatusChanged)]
            return (said.referral, said.variables.get("status")) in {
                (each.referral_id, each.status) for each in statuses
            }
        case "reward_told":
            return "granted" in rewards[said.referral or ""]
        case "approve_reward":
            return "held" in rewards[said.variables.get("grant_id", "")]
        case "read_reward":
            return bool(rewards[said.variables.get("grant_id", "")] & {"denied", "reversed"})
        case "reward_failed":
            grant = said.variables.get("grant_id")
            settled = [each for each in before(log.settled) if isinstance(each, ev.RewardSettled)]
            return any((each.grant_id, each.status) == (grant, "failed") for each in settled)
        case _:
            return False


def _numbered(evidence: AfterEvidence, tally: AuditCounts) -> None:
    """Of one kind about one thing the ids are numbered from 1; to the customer the next comes after a cancellation."""
    back = {each.id for each in (*evidence.back, *evidence.back_since)}
    alike: dict[tuple[str, str], dict[str, Said]] = defaultdict(dict)
    for said in evidence.all_said:
        alike[said.kind, said.about].setdefault(said.id, said)
    for (kind, about), found in alike.items():
        numbers: dict[int, Said] = {}
        for said in found.values():
            number = next(
                (n for n in range(1, len(found) + 2) if derived("followup", said.customer, about, kind, n) == said.id),
                None,
            )
            if number is None:
                text = f"follow-up {said.id} does not have the id of what it is about and the next number"
                tally.findings.add("followup_caused", text, said.position)
            else:
                numbers.setdefault(number, said)
        for number, said in numbers.items():
            earlier = numbers.get(number - 1)
            if number > 1 and earlier is None:
                tally.findings.add("followup_caused", f"follow-up {said.id} leaves out a number", said.position)
            elif earlier is not None and said.to_customer and earlier.id not in back:
                text = f"follow-up {said.id} says again what was not cancelled"
                tally.findings.add("followup_caused", text, earlier.position, said.position)


def cancellations_known(evidence: AfterEvidence, tally: AuditCounts, followups: str) -> None:
    """Cancelled is only what was requested of that customer, and before it had expired."""
    known = {said.id: said for said in evidence.all_said}
    for told in evidence.back:
        said = known.get(told.id)
        if said is None:
            if not evidence.is_late(followups, told.position.partition):
                text = f"follow-up {told.id} is cancelled and was never requested"
                tally.findings.add("followup_cancellation_known", text, told.position)
        elif told.customer != said.customer or not said.requested_at <= told.cancelled_at < said.expires_at:
            text = f"follow-up {told.id} is cancelled for another customer, or before or after its time"
            tally.findings.add("followup_cancellation_known", text, said.position, told.position)
