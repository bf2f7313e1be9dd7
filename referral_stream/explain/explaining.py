"""One customer explained: :func:`explain` makes what the terminal, Markdown, JSON and the console show.

None of the rules is repeated here. Gates answer by the core's own functions on the state, what is to come is found by
running the core forward (:mod:`~referral_stream.explain.prospects`), and what was decided is told as it was decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import tzinfo
from typing import Literal, TypeAlias

from referral_stream.core.asks import Ask
from referral_stream.core.effects import Decision, PolicyRef, Score
from referral_stream.core.policy import Policy
from referral_stream.core.rules import propensity
from referral_stream.core.rules.windows import zone_of
from referral_stream.core.zones import Zone, zone
from referral_stream.explain.awaiting import Awaited, awaited
from referral_stream.explain.background import Background, ledger_about, ledger_of
from referral_stream.explain.opportunities import OpportunityStory, as_message, opportunities_of
from referral_stream.explain.prospects import Prospect, outlook
from referral_stream.explain.story import Entry, story
from referral_stream.explain.tracks import Track, tracks
from referral_stream.replay.virtual_run import Happened
from referral_stream.words.decisions import (
    clock_words,
    happening,
    outcome_words,
    why,
)
from referral_stream.words.phrases import FIRST, phrases, speaking

GistKind: TypeAlias = Literal["erased", "planned", "withheld", "would", "no_more", "asked", "nothing"]


@dataclass(frozen=True)
class Gist:
    """All of it in a sentence or two; ``asked_at`` as in a prospect, where the next ask is known."""

    kind: GistKind
    text: str
    opportunity_id: str | None = None
    asked_at: int | None = None


@dataclass(frozen=True)
class Explanation:
    """What is known about one customer at the instant ``at`` (epoch ms), what is awaited then, and what is next.

    ``opportunities``: those that are open first, then the others, the newest first. ``parts``: of the score, each with
    its name in plain words. Everything is in ``language``.
    """

    customer_id: str
    at: int
    zone: Zone
    policy: PolicyRef
    entries: tuple[Entry, ...]
    outlook: tuple[Prospect, ...]
    awaited: tuple[Awaited, ...] = ()
    language: str = FIRST
    gist: Gist = Gist("nothing", "")
    score: Score | None = None
    parts: Mapping[str, str] | None = None
    opportunities: tuple[OpportunityStory, ...] = ()
    tracks: tuple[Track, ...] = ()


def explain(known: Background, policy: Policy, now: int, language: str = FIRST) -> Explanation:
    """Explain a customer as of ``now`` (epoch ms), from what is known of them; the same for the same arguments.

    ``known`` is left as it is. Raises FileNotFoundError for a language without phrases.
    """
    with speaking(language):
        return _Explaining(known, policy, now, language).explanation()


class _Explaining:
    def __init__(self, known: Background, policy: Policy, now: int, language: str) -> None:
        self.known, self.policy, self.now, self.language = known, policy, now, language
        self.kin = known.kin()
        self.zone = zone_of(known.customer, policy)
        self.local: tzinfo = zone(self.zone.name)
        if known.ledger is None:
            self.ledger = ledger_of(policy, self.kin.values(), known.switches)
        else:
            self.ledger = ledger_about(known.ledger, self.kin)
        self.decisions: dict[str, Decision] = {}
        for moment in known.happened:
            effect = moment.effect if isinstance(moment, Happened) else None
            if isinstance(effect, Decision) and effect.outcome != "duplicate":
                self.decisions[effect.opportunity_id] = effect

    def explanation(self) -> Explanation:
        known, customer = self.known, self.known.customer
        words = phrases()
        next_ = tuple(outlook(self.policy, self.kin, self.ledger, known.name, self.now))
        opportunities = opportunities_of(customer, self.decisions.values(), self.ledger, self.policy, self.now)
        score = propensity.score(customer, self.now, self.policy)
        return Explanation(
            customer_id=known.name,
            at=self.now,
            zone=self.zone,
            policy=PolicyRef(name=self.policy.name, hash=self.policy.hash),
            entries=story(known, self.local, self.now),
            outlook=next_,
            awaited=tuple(awaited(customer, self.now, self.policy)),
            language=self.language,
            gist=self.gist(next_, opportunities),
            score=None if customer.erased_at is not None else score,
            parts={name: words.word("score_parts", name) for name in score.parts},
            opportunities=opportunities,
            tracks=() if customer.erased_at is not None else tracks(known, opportunities, next_),
        )

    # ---------------------------------------------------------------------------------------------------- one sentence

    def gist(self, next_: tuple[Prospect, ...], occasions: tuple[OpportunityStory, ...]) -> Gist:
        words = phrases()
        if self.known.customer.erased_at is not None:
            return Gist("erased", words.say("summary", "erased"))
        live = [prospect for prospect in next_ if prospect.opportunity_id is not None]
        if not live:
            return self._of_nothing_open(next_)
        first = min(live, key=_first_told)
        about = next(each for each in occasions if each.opportunity_id == first.opportunity_id)
        prospect, title = _sentence(first.brief), about.title if len(live) > 1 else None
        against = self._against(about)
        match first.kind:
            case "planned":
                text = words.say("summary", "planned", trigger=title, prospect=prospect)
            case "shadow" | "holdout":
                text = words.say("summary", "withheld", trigger=title, prospect=prospect)
            case "would":
                text = words.say("summary", "would", trigger=title, why=against, prospect=prospect)
            case _:
                text = words.say("summary", "no_more", trigger=title, why=against, prospect=prospect)
        kinds: dict[str, GistKind] = {"planned": "planned", "shadow": "withheld", "holdout": "withheld",
                                         "would": "would"}  # fmt: skip
        return Gist(kinds.get(first.kind, "no_more"), text, first.opportunity_id, first.asked_at)

    def _against(self, about: OpportunityStory) -> str | None:
        blocking = [cell for cell in about.gates if cell.blocks]
        shown = [cell for cell in blocking if cell.gate != "moment"] or blocking
        return "; ".join(cell.text for cell in shown) or None

    def _of_nothing_open(self, next_: tuple[Prospect, ...]) -> Gist:
        words = phrases()
        possible = next((each.possible_at for each in next_ if each.possible_at is not None), None)
        again = None if possible is None else clock_words(possible, self.local)
        last = max(self._asks(), key=lambda ask: ask.asked_at, default=None)
        decision = max(self.decisions.values(), key=lambda each: each.decided_at, default=None)
        if last is not None and (decision is None or decision.decided_at <= max(last.decided_at, last.asked_at)):
            text = words.say(
                "summary",
                "asked",
                instant=clock_words(last.asked_at, self.local),
                trigger=happening(last.opportunity.trigger),
                channel=words.word("channels", last.channel),
                became=self._became(last),
                possible=again,
            )
            return Gist("asked", text, last.opportunity.id)
        if decision is not None and decision.outcome not in ("asked", "soft"):
            shown = as_message(decision)
            text = words.say(
                "summary",
                "last",
                trigger=happening(decision.trigger),
                outcome=outcome_words(decision.outcome),
                why=why(shown, self.now),
                possible=again,
            )
            return Gist("nothing", text, decision.opportunity_id)
        return Gist("nothing", words.say("summary", "nothing", possible=again))

    def _asks(self) -> list[Ask]:
        return [ask for ask in self.known.customer.asks if ask.kind in ("asked", "soft")]

    def _became(self, ask: Ask) -> str:
        words = phrases()
        if ask.answer is not None:
            return words.say("summary", "answered", answer=ask.answer.value)
        if ask.answered:
            return words.say("summary", "answered_somehow")
        if ask.sent_at is not None:
            return words.say("summary", "unanswered")
        if ask.cancelled:
            return words.say("summary", "taken_back")
        if ask.failed_at is not None:
            return words.say("summary", "failed")
        if self.now < ask.expires_at:
            return words.say("summary", "to_be_sent")
        return words.say("summary", "unreported")


def _first_told(prospect: Prospect) -> tuple[int, int, bool]:
    """What is told first of several: by its kind, then the soonest, then what is itself the occasion."""
    return _RANK.index(prospect.kind), prospect.asked_at or 0, prospect.about != prospect.opportunity_id


_RANK = ("planned", "shadow", "holdout", "another_first", "would", "no_more")
"""Of what becomes of several open occasions, what is told first."""


def _sentence(text: str) -> str:
    """With a capital letter, and a full stop at the end."""
    return f"{text[:1].upper()}{text[1:]}."
