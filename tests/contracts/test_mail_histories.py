"""A whole history with one mail or support tool's words in it: who left is not asked, whoever says so and in what way.

The customer is known by an id and an address before; the tool may name either of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

from referral_stream.contracts.addresses import email_hmac
from tests.contracts.building import sample
from tests.contracts.test_vendor_histories import FRIDAY, HAPPY, PROMOTER, asked, fact, told
from tests.replay.logs import BOUNDARY
from tests.rules import rule

ADDRESS = {"email_hmac": email_hmac("ana@customer.example", BOUNDARY.email_key)}
KNOWN = [*HAPPY, fact("customer.profile_changed", "2026-01-18T08:00:00Z", ADDRESS)]
PRAISE = fact("compliment.given", "2026-09-10T12:00:00Z", {})


class History(NamedTuple):
    """Names of a vendor's samples, by what they are to the customer of whom they tell."""

    opt_outs: tuple[str, ...] = ()
    no_words: tuple[str, ...] = ()
    troubles: tuple[str, ...] = ()
    ends: tuple[str, ...] = ()
    """What ends the first of the troubles."""
    good_news: tuple[str, ...] = ()


HISTORIES = {
    "customerio": History(
        opt_outs=(
            "customer_unsubscribed", "customer_unsubscribed.by_address", "customer_subscription_preferences_changed",
            "customer_subscription_preferences_changed.unreadable", "email_unsubscribed", "email_spammed",
            "email_bounced", "email_dropped", "email_undeliverable.suppressed", "sms_unsubscribed",
            "older.email_unsubscribed",
        ),
        no_words=(
            "customer_subscribed", "customer_subscription_preferences_changed.all", "email_sent", "email_deferred",
            "email_opened", "email_opened.by_a_proxy", "email_clicked", "email_undeliverable.frequency",
        ),
    ),
    "sendgrid": History(
        opt_outs=(
            "unsubscribe", "unsubscribe.by_address", "group_unsubscribe", "spamreport", "bounce", "dropped.bounced",
            "dropped.unsubscribed", "dropped.spam_report", "dropped.without_a_reason", "whole_batch",
        ),
        no_words=(
            "processed", "deferred", "delivered", "open", "open.by_a_machine", "click", "bounce.blocked",
            "bounce.expired", "dropped.quota", "group_resubscribe", "account_status_change",
        ),
    ),
    "klaviyo": History(
        opt_outs=(
            "unsubscribed_from_email_marketing", "unsubscribed_from_email_marketing.by_address",
            "unsubscribed_from_sms_marketing", "manually_suppressed_from_email_marketing", "marked_email_as_spam",
            "bounced_email", "dropped_email", "clicked_email_to_unsubscribe", "updated_email_preferences.left",
            "received_email.of_somebody_who_left", "whole_batch",
        ),
        no_words=(
            "subscribed_to_email_marketing", "manually_unsuppressed_from_email_marketing", "received_email",
            "bounced_email.soft", "opened_email", "opened_email.by_a_machine", "clicked_email",
            "updated_email_preferences", "submitted_review", "submitted_rating",
        ),
    ),
    "braze": History(
        opt_outs=(
            "email_unsubscribe", "email_unsubscribe.by_address", "email_mark_as_spam", "email_bounce",
            "subscription_global_state_change", "subscription_group_state_change", "sms_inbound_receive",
            "custom_event_with_words_of_leaving", "user_delete_request.after_a_mail", "whole_batch",
        ),
        no_words=(
            "email_open", "email_open.by_a_machine", "email_click", "email_click.by_a_bot", "email_soft_bounce",
            "email_delivery", "subscription_global_state_change.subscribed", "custom_event", "survey_response",
        ),
    ),
    "freshdesk": History(
        opt_outs=("ticket_of_somebody_who_left", "ticket_with_a_tag_of_leaving"),
        troubles=(
            "ticket_created", "ticket_created.by_address", "ticket_updated", "ticket_reopened",
            "ticket_in_a_status_of_its_own",
        ),
        ends=("ticket_resolved", "ticket_closed"),
    ),
    "gorgias": History(
        opt_outs=("ticket_of_somebody_who_left",),
        troubles=("ticket_created", "ticket_created.urgent", "ticket_from_the_template", "ticket_rated.badly"),
        ends=("ticket_closed",),
        good_news=("ticket_rated.well",),
    ),
}  # fmt: skip


def cases(kind: str) -> list[str]:
    """``VENDOR.SAMPLE`` of that kind, of every vendor."""
    return [f"{vendor}.{name}" for vendor, history in HISTORIES.items() for name in getattr(history, kind)]


def line(name: str) -> dict[str, Any]:
    """A line with a sample, about customer 501 and told in September."""
    vendor = name.partition(".")[0]
    return told(vendor, _about_501(sample(name)))


def _about_501(value: Any) -> Any:
    """The payload with the customer's id and the day of these histories."""
    if isinstance(value, dict):
        return {name: _about_501(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_about_501(inner) for inner in value]
    if type(value) is int and 1_781_000_000 <= value < 1_782_000_000:
        return value + 84 * 86_400
    if isinstance(value, str):
        return value.replace("cus-ana", "501").replace("2026-06-16", "2026-09-08")
    return value


@rule("I1.10", "I4.18")
@pytest.mark.parametrize("name", cases("opt_outs"))
def test_a_promoter_who_has_left_is_not_asked(name: str, tmp_path: Path) -> None:
    assert asked([*KNOWN, line(name), PROMOTER], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize("name", cases("no_words"))
def test_what_says_nothing_of_leaving_changes_nothing(name: str, tmp_path: Path) -> None:
    assert asked([*KNOWN, line(name), PROMOTER], tmp_path) == FRIDAY


@rule("I1.10")
@pytest.mark.parametrize("name", cases("troubles"))
def test_who_has_a_trouble_is_not_asked_for_praise(name: str, tmp_path: Path) -> None:
    assert asked([*KNOWN, PRAISE], tmp_path / "without") == FRIDAY
    assert asked([*KNOWN, line(name), PRAISE], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize("name", cases("good_news"))
def test_good_news_is_a_reason_to_ask_unless_there_is_trouble(name: str, tmp_path: Path) -> None:
    assert asked([*KNOWN, line(name)], tmp_path / "alone") != []
    trouble = fact("ticket.opened", "2026-09-08T07:00:00Z", {"ticket_id": "another"})
    assert asked([*KNOWN, trouble, line(name)], tmp_path) == []


@rule("I1.10")
@pytest.mark.parametrize("name", cases("ends"))
def test_a_trouble_that_is_over_does_not_hold_back_for_ever(name: str, tmp_path: Path) -> None:
    """Weeks later the same praise is heard."""
    first = next(each for each in cases("troubles") if each.startswith(name.partition(".")[0]))
    later = fact("compliment.given", "2026-11-10T12:00:00Z", {})
    begun, over = line(first), line(name) | {"timestamp": "2026-09-08T09:00:00Z"}
    assert asked([*KNOWN, begun, later], tmp_path / "open") == []
    assert asked([*KNOWN, begun, over, later], tmp_path) != []


@rule("I1.10")
@pytest.mark.parametrize("name", [*cases("opt_outs"), *cases("no_words"), *cases("troubles"), *cases("ends")])
def test_nothing_of_it_is_a_reason_to_ask(name: str, tmp_path: Path) -> None:
    assert asked([*KNOWN, line(name)], tmp_path) == []
