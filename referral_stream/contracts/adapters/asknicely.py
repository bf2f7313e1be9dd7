"""AskNicely: one webhook for every answer and every change of it.

Its documented payload does not say what was asked. So the score counts where ``question_type`` is there and names its
scale, as in AskNicely's API, or where the deployment's ``questions`` name the survey's template.
"""

from __future__ import annotations

from referral_stream.contracts.adapters.identities import about_whom
from referral_stream.contracts.adapters.reading import (
    Adapter,
    Facts,
    Payload,
    Reading,
    at,
    id_at,
    made_id,
    profile,
    text_at,
    time_at,
)
from referral_stream.contracts.adapters.states import with_opt_out
from referral_stream.contracts.adapters.surveys import IGNORE, NPS, Response, Scale, configured, displeased
from referral_stream.contracts.identifiers import usable_id
from referral_stream.contracts.outcomes import Skipped, Webhook

_TYPES = {"nps": NPS, "5star": Scale("csat", 5), "csat": Scale("csat"), "ces": Scale("csat")}
"""Type of question → its scale; CSAT is asked on several, so its maximum is the deployment's to say."""
_UNKNOWN = (Scale("csat"),)
"""Until it does, only the lowest answer says something."""


def recognises(payload: Payload) -> bool:
    """A person beside the question that they answered."""
    return isinstance(payload.get("person"), dict) and isinstance(payload.get("question"), dict)


def read(payload: Payload, reading: Reading) -> Webhook | Skipped:
    """One answer; a later one to the same survey has the same id and a higher ``count``."""
    person, question = payload.get("person"), payload.get("question")
    facts = with_opt_out(_answered(payload, reading), person, question)
    if not facts:
        return Skipped("no_score", "answer")
    address = at(person, "email")
    return about_whom(
        payload,
        reading,
        (*facts, *profile(**reading.address_hmacs(address))),
        (("email", address), ("asknicely_person", at(person, "id"))),
        kind="answer",
        id=made_id(id_at(payload, "question.id"), usable_id(payload.get("count"))),
        time=time_at(payload, "question.responded"),
    )


def _answered(payload: Payload, reading: Reading) -> Facts:
    template = text_at(payload, "question.survey_template")
    scale, score = _scale(payload, template, reading), at(payload, "question.score")
    filled = Response(id_at(payload, "question.id"))
    if scale in _UNKNOWN:
        return displeased(score, filled.id)
    filled.add(template, scale, score, at(payload, "question.comment"))
    return filled.facts()


def _scale(payload: Payload, template: str | None, reading: Reading) -> Scale:
    """What type and deployment say together; nothing where they contradict each other."""
    kind, said = text_at(payload, "question.question_type"), configured(reading.questions, template)
    if kind is None:
        return said or _UNKNOWN[0]
    own = _TYPES.get(kind.casefold(), IGNORE)
    if said is None:
        return own
    return said if said.kind == own.kind else IGNORE


ADAPTER = Adapter(
    name="asknicely",
    marks=("question",),
    recognises=recognises,
    customer_paths=("person.customer_id_c", "person.user_id_c", "question.customer_id_c", "question.user_id_c"),
    read=read,
    has_questions=True,
)
