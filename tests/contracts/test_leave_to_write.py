"""Fields that say whether somebody may be written to, and who opens their mail, as the tools that send it name them."""

from __future__ import annotations

from typing import Any

import pytest

from referral_stream.contracts.adapters.states import by_machine, opted_out
from referral_stream.contracts.opt_outs import says_opt_out
from tests.rules import rule


@rule("I1.10")
@pytest.mark.parametrize(
    "record",
    [
        {"can_receive_email_marketing": False}, {"canEmail": "no"}, {"can_contact_by_email": "false"},
        {"marketing_emails": False}, {"newsletter": "No"}, {"Promotional Emails": False}, {"marketing": 0},
        {"newsletter_subscription": False}, {"email_subscribe": 0}, {"allow_marketing": False},
        {"email_consent": "Revoked"}, {"consent": "DENIED"}, {"marketing_consent": " withdrawn "},
        {"gdpr_consent_status": "declined"}, {"email": {"marketing": {"can_receive_email_marketing": False}}},
        {"consent": {"email": "denied", "sms": "granted"}}, {"emailConsent": {"status": "DENIED"}},
        {"consents": {"email": {"granted": False}}}, {"accepts_marketing": "off"}, {"phone_opt_in": False},
        {"email_sms_opt_in": False}, {"can_contact": False}, {"okay_to_contact": "no"}, {"contactable": "false"},
        {"emailBlacklisted": True}, {"blocklisted": "yes"}, {"cf_newsletter": "No"}, {"Newsletter__c": "nein"},
        {"email_opt_in": "não"}, {"cio_subscription_preferences": {"topics": {"topic_1": False}}},
        {"cio_subscription_preferences.topics.topic_1": False},
        {"cio_subscription_preferences": '{"topics": {"topic_1": false}}'},
        {"a": {"b": {"c": {"d": {"e": {"unsubscribed": True}}}}}}, {"\uff53\uff50\uff41\uff4d": 5},
    ],
)  # fmt: skip
def test_leave_that_is_not_given_is_an_opt_out(record: dict[str, Any]) -> None:
    assert opted_out(record)


@rule("I1.10")
@pytest.mark.parametrize(
    "record",
    [
        {"double_optin": False}, {"double_opt_in": False}, {"can_receive_sms_marketing": False},
        {"can_send_emails": False}, {"allow_email_change": False}, {"email": False}, {"emails": 0},
        {"newsletters_subscribed_count": 0}, {"newsletter": None}, {"newsletter": ""}, {"marketing_emails": True},
        {"Advertising": False}, {"analytics_consent": "denied"}, {"consent": "granted"}, {"order_status": "declined"},
        {"consent": {"ad_storage": "denied"}}, {"consent": {"sms": "denied", "phone": False}},
        {"sms_consent": {"status": "denied"}}, {"consent": {"email": "granted"}}, {"consent": {"email": None}},
        {"sms_opt_in": False}, {"push_opt_in": "no"}, {"no_contact_since": 3}, {"status": "do not disturb"},
        {"lead_status": "No Contact"}, {"noEmails": 3}, {"can_contact_us": False}, {"contact": False},
        {"cio_subscription_preferences": {"topics": {"sms": False, "topic_1": True}}}, {"emailBlacklisted": False},
        {"cio_subscription_preferences": "{"}, {"subscription_preference_count": 0},
    ],
)  # fmt: skip
def test_what_nobody_refused_is_no_opt_out(record: dict[str, Any]) -> None:
    assert not opted_out(record)


@rule("I1.10")
@pytest.mark.parametrize(
    ("record", "left"),
    [
        ({"tags": [{"id": 1, "name": "Do not contact"}]}, True), ({"labels": [{"title": "DNC"}]}, True),
        ({"tags": [{"label": "unsubscribed"}]}, True), ({"segments": ["vip", "unsubscribed"]}, True),
        ({"lists": [{"name": "news", "status": "unsubscribed"}]}, True), ({"tags": [{"name": "vip"}]}, False),
        ({"fields": [{"label": "Do not contact me", "value": True}]}, True),
        ({"fields": [{"label": "Do not contact me", "value": False}]}, False),
        ({"fields": [{"label": "Do not contact me", "value": ["1f0c"]}]}, True),
        ({"answers": [{"question": "Do not contact me", "answer": "Yes"}]}, True),
        ({"answers": [{"question": "Do not contact me", "answer": "No"}]}, False),
        ({"answers": [{"question": "How good is our spam filter?", "answer": 5}]}, False),
    ],
)  # fmt: skip
def test_a_tag_may_be_an_object_and_a_field_has_its_label_beside_its_value(record: dict[str, Any], left: bool) -> None:
    assert bool(opted_out(record)) is left


@rule("I1.11")
@pytest.mark.parametrize(
    ("name", "left"),
    [
        ("unsub", True), ("com.mailjet.unsub", True), ("email.complained", True), ("complained", True),
        ("Recipient Unsubscribes", True), ("contact_unsubs", True), ("hardbounce", True), ("HardBounced", True),
        ("spamreport", True), ("spamComplaint", True), ("suppress", True), ("optouts", True), ("opt outs", True),
        ("un_subscribe", True), ("Un Subscribed", True), ("ab subscribe", False), ("subscribed", False),
        ("subscription_updated", False), ("opt in", False), ("contact.created", False), ("sun subscribe", False),
    ],
)  # fmt: skip
def test_an_opt_out_is_one_in_the_words_of_every_tool(name: str, left: bool) -> None:
    assert says_opt_out(name) is left


@rule("I1.10")
@pytest.mark.parametrize(
    ("record", "machine"),
    [
        ({"proxied": True}, True), ({"proxied": "false"}, False), ({"user_agent": "Barracuda Sentinel (EE)"}, True),
        ({"useragent": "python-requests/2.32"}, True), ({"userAgent": "Mozilla/5.0 HeadlessChrome/120.0"}, True),
        ({"user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) Mobile/15E148"}, False),
    ],
)  # fmt: skip
def test_who_tries_links_before_their_reader_is_a_machine(record: dict[str, Any], machine: bool) -> None:
    assert by_machine(record) is machine
