"""What a column of a customer table may become: one row for each, and the names by which it is recognised.

A field *protects* where what it says holds a person back: then a value that cannot be read holds them back as well, and
several columns may say it. Of what speaks for asking only what is clear counts, and one column may say it.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

from referral_stream.ops.importing.looks import parts_of

Reads: TypeAlias = Literal["id", "ids", "email", "zone", "segment", "text", "flag", "date", "since", "score", "answer"]
"""How its cells are read. ``since`` is a date, or a yes without one; ``ids`` are several, with commas between."""


@dataclass(frozen=True, slots=True)
class Field:
    """``becomes`` is the type of the event, or what it adds to one; ``names`` are columns' usual names for it."""

    name: str
    reads: Reads
    becomes: str
    about: str
    names: tuple[str, ...] = ()
    protects: bool = False


FIELDS: Final[dict[str, Field]] = {
    field.name: field
    for field in (
        Field("customer", "id", "subject", "the customer's id, as your producers send it", (
            "customer", "customer_id", "cust_id", "user_id", "contact_id", "external_id", "id",
        )),
        Field("email", "email", "customer.profile_changed", "an address; leaves this machine as its HMAC alone", (
            "email", "e_mail", "email_address", "mail", "contact_email", "work_email", "primary_email",
        )),
        Field("account", "id", "customer.profile_changed", "the id of the company that they belong to", (
            "account", "account_id", "company_id", "organization_id", "organisation_id", "org_id", "workspace_id",
            "tenant_id",
        )),
        Field("segment", "segment", "customer.profile_changed", "smb, enterprise or mission_driven", (
            "segment", "customer_segment",
        )),
        Field("time_zone", "zone", "customer.profile_changed", "a name such as Europe/Berlin, or whole hours: +02:00", (
            "time_zone", "timezone", "tz",
        )),
        Field("locale", "text", "customer.profile_changed", "such as de-DE", ("locale", "language", "lang")),
        Field("champion", "flag", "customer.profile_changed", "whether they speak for you", (
            "champion", "is_champion",
        )),
        Field("requires_approval", "flag", "customer.profile_changed", "a person approves each ask of them", (
            "requires_approval", "needs_approval",
        ), protects=True),
        Field("signed_up_at", "date", "customer.signed_up", "when they became a customer", (
            "signed_up_at", "signed_up", "signup_at", "signup_date", "sign_up_date", "created", "created_at",
            "create_date", "created_date", "date_created", "customer_since", "registered_at", "joined_at",
        )),
        Field("trial", "flag", "customer.signed_up", "still on trial: no ask", (
            "trial", "on_trial", "is_trial", "in_trial",
        ), protects=True),
        Field("onboarded_at", "since", "onboarding.completed", "when their onboarding was done, or whether", (
            "onboarded", "onboarded_at", "is_onboarded", "onboarding_completed", "onboarding_completed_at",
            "onboarding_complete", "activated_at",
        )),
        Field("first_success_at", "since", "milestone.reached", "when they first got what they came for, or whether", (
            "first_success", "first_success_at", "first_value_at", "aha_at", "first_value_date",
        )),
        Field("nps_score", "score", "nps.responded", "their newest NPS score, 0 to 10", (
            "nps", "nps_score", "last_nps", "last_nps_score", "latest_nps_score",
        )),
        Field("nps_at", "date", "nps.responded", "when they gave it", (
            "nps_at", "nps_date", "nps_responded_at", "last_nps_at", "last_nps_date",
        )),
        Field("testimonial_at", "since", "testimonial.given", "when they gave a testimonial, or whether", (
            "testimonial", "testimonial_at", "gave_testimonial",
        )),
        Field("consent", "flag", "customer.consent_changed", "consent to referral asks, on every channel", (
            "referral_consent", "referral_ask_consent", "consent_referral", "consent_referral_ask",
        )),
        Field("consent_email", "flag", "customer.consent_changed", "consent to referral asks by e-mail", (
            "referral_consent_email", "consent_referral_ask_email",
        )),
        Field("consent_in_app", "flag", "customer.consent_changed", "consent to referral asks in the app", (
            "referral_consent_in_app", "consent_referral_ask_in_app",
        )),
        Field("consent_phone", "flag", "customer.consent_changed", "consent to referral asks by phone", (
            "referral_consent_phone", "consent_referral_ask_phone",
        )),
        Field("consent_at", "date", "customer.consent_changed", "when they gave, or refused, that consent", (
            "referral_consent_at", "referral_consent_date", "consent_referral_ask_at",
        )),
        Field("opted_out", "since", "customer.suppressed", "wants to be left in peace: whether, or since when", (
            "opted_out", "opt_out", "optout", "opted_out_at", "opt_out_date", "email_opt_out", "email_optout",
            "hs_email_optout", "has_opted_out_of_email", "unsubscribed", "unsubscribed_at", "unsubscribe_date",
            "is_unsubscribed", "do_not_contact", "do_not_email", "dnc", "suppressed", "suppressed_at",
        ), protects=True),
        Field("subscribed", "flag", "customer.suppressed", "still takes mail: a no holds back, a yes grants nothing", (
            "subscribed", "is_subscribed", "email_opt_in", "opt_in", "marketing_opt_in", "accepts_marketing",
        ), protects=True),
        Field("erased", "since", "customer.erasure_requested", "is to be forgotten, for good: whether, or since when", (
            "erased", "erased_at", "gdpr_erased", "gdpr_erased_at", "erasure_requested", "erasure_requested_at",
        ), protects=True),
        Field("open_ticket_ids", "ids", "ticket.opened", "ids of their open tickets; each holds until it is solved", (
            "open_ticket_id", "open_ticket_ids",
        ), protects=True),
        Field("trouble", "since", "complaint.made", "something is wrong: holds back for 30 days", (
            "complaint", "complaint_at", "last_complaint_at", "open_ticket", "open_tickets", "has_open_ticket",
            "past_due", "is_past_due", "payment_failed", "disputed", "disputed_at", "escalated", "escalated_at",
        ), protects=True),
        Field("ended_at", "since", "subscription.ended", "has left: whether, or when", (
            "churned", "churned_at", "is_churned", "churn_date", "cancelled_at", "canceled_at", "cancelled", "canceled",
            "subscription_ended_at",
        ), protects=True),
        Field("asked_at", "since", "advocacy.asked", "when you last asked them for a referral: counts as an ask", (
            "asked_at", "last_asked_at", "referral_asked_at", "last_referral_ask", "last_referral_ask_at",
        ), protects=True),
        Field("advocacy_asked_at", "since", "advocacy.asked", "when you last asked for a review, or the like", (
            "review_asked_at", "last_review_request", "review_requested_at", "survey_sent_at", "last_survey_sent_at",
        ), protects=True),
        Field("answer", "answer", "ask.answered", "what they said to it: yes, maybe, no or stop", (
            "referral_answer", "ask_answer",
        ), protects=True),
        Field("answered_at", "date", "ask.answered", "when they said it", ("referral_answered_at", "ask_answered_at")),
    )
}  # fmt: skip
"""By name, in the order of their events."""

IGNORE: Final = "ignore"
"""In the place of a field: the column is left out, whatever its name looks like."""

_GUESSES: Final = {
    name: field
    for field in FIELDS.values()
    for name in (*field.names, *(() if field.becomes == "customer.consent_changed" else (field.name,)))
}
"""A column that is only called consent may hold consent to something else."""
_WORD = re.compile(r"[^\W_]+").findall


def guessed(column: str) -> Field | None:
    """The field of a column with a well-known name."""
    words = [word.lower() for word in _WORD(unicodedata.normalize("NFKC", column))]
    return _GUESSES.get("_".join(words)) or _GUESSES.get("_".join(parts_of(column)))
