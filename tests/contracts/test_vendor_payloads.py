"""Published payloads of real vendors, where they are at hand: each is read as what it is, none raises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.contracts.outcomes import Accepted, Adapted, Skipped
from tests.contracts.building import read

FOLDER = Path(__file__).parents[3] / "shared" / "payloads"
PATHS = sorted(FOLDER.glob("*.json"))

EXPECTED: dict[str, tuple[str, ...] | str] = {
    "delighted.survey_response.updated.non_promoter": ("nps.responded", "customer.profile_changed"),
    "delighted.survey_response.updated.promoter": ("nps.responded", "customer.profile_changed"),
    "dittofeed.dfsubscriptionchange.subscribe": "irrelevant",
    "dittofeed.dfsubscriptionchange.unsubscribe": ("customer.suppressed",),
    "formbricks.responseCreated": "no_score",  # a welcome card clicked
    "formbricks.responseFinished": "no_score",
    "formbricks.responseUpdated": "no_score",
    "helpscout.rating": ("ticket.rated", "csat.responded", "customer.profile_changed"),
    "hubspot.contact.propertyChange": "irrelevant",  # a passport's number
    "posthog.batch.historical_migration_field": ("usage.recorded", "usage.recorded"),
    "posthog.capture.group_event": ("usage.recorded",),
    "posthog.capture.identify": "irrelevant",  # no address among what is set
    "posthog.capture.survey_sent": "no_score",  # one answer, in words
    "segment.b2b.account-added-user": ("customer.profile_changed",),
    "segment.b2b.account-created": ("customer.profile_changed",),
    "segment.b2b.account-deleted": ("subscription.ended",),
    "segment.b2b.account-removed-user": "irrelevant",
    "segment.b2b.invite-sent": ("usage.recorded",),
    "segment.b2b.signed-in": ("usage.recorded",),
    "segment.b2b.signed-out": "irrelevant",
    "segment.b2b.signed-up": ("customer.signed_up", "customer.profile_changed"),
    "segment.b2b.trial-ended": ("trial.ended",),
    "segment.b2b.trial-started": ("trial.started",),
    "segment.common.report-submitted": ("usage.recorded",),
    "segment.email.email-bounced": ("customer.suppressed",),
    "segment.email.email-delivered": "irrelevant",
    "segment.email.email-link-clicked": ("email.clicked",),
    "segment.email.email-marked-as-spam": ("customer.suppressed",),
    "segment.email.email-opened": ("email.opened",),
    "segment.email.unsubscribed": ("customer.suppressed",),
    "segment.group.group": ("customer.profile_changed",),
    "segment.identify.identify": ("customer.profile_changed",),
    "segment.livechat.live-chat-conversation-started": ("interaction.recorded",),
    "segment.livechat.live-chat-message-received": "irrelevant",
    "segment.livechat.live-chat-message-sent": "irrelevant",
    "segment.track.course-clicked": ("usage.recorded",),
    "stripe-openapi-fixture.charge": "unrecognised",  # resources outside of any event
    "stripe-openapi-fixture.customer": "unrecognised",
    "stripe-openapi-fixture.dispute": "unrecognised",
    "stripe-openapi-fixture.event": "test_mode",
    "stripe-openapi-fixture.invoice": "unrecognised",
    "stripe-openapi-fixture.refund": "unrecognised",
    "stripe-openapi-fixture.subscription": "unrecognised",
    "stripe-openapi-fixture.subscription_item": "unrecognised",
    "stripe.charge.dispute.closed": "no_customer",
    "stripe.charge.dispute.created": "no_customer",
    "stripe.charge.refunded": "no_customer",
    "stripe.customer.deleted": "irrelevant",
    "stripe.customer.subscription.created": ("subscription.started",),
    "stripe.customer.subscription.deleted": ("subscription.ended",),
    "stripe.customer.subscription.trial_will_end": "irrelevant",
    "stripe.customer.subscription.updated": "irrelevant",
    "stripe.customer.updated": "irrelevant",
    "stripe.invoice.created": "irrelevant",
    "stripe.invoice.paid": ("invoice.paid",),
    "stripe.invoice.payment_action_required": "irrelevant",
    "stripe.invoice.payment_failed": ("invoice.payment_failed",),
    "stripe.invoice.payment_succeeded": ("invoice.paid",),
    "stripe.invoice.upcoming": "irrelevant",
    "surveymonkey.response_completed.minimal": "no_score",  # a callback holds no answers
    "survicate.questionAnswered": "no_score",  # "Great", on a scale nobody named
    "typeform.form_response.feedback": "no_score",  # a name asked for, an address given
    "zendesk.ticket.status_changed": "no_customer",  # the published example has no requester
}

pytestmark = pytest.mark.skipif(not PATHS, reason=f"no published vendor payloads at {FOLDER.parent.name}/{FOLDER.name}")


def payload(name: str) -> Any:
    """The published payload; Stripe's samples are of test mode, so that is switched off."""
    content = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    return content | {"livemode": True} if name.startswith("stripe.") else content


def outcome(adapted: Adapted) -> tuple[str, ...] | str:
    """The types of the events, or why there are none."""
    if isinstance(adapted, Accepted):
        return tuple(event.type for event in adapted.events)
    return adapted.reason if isinstance(adapted, Skipped) else adapted.cause


@pytest.mark.parametrize("name", EXPECTED)
def test_a_published_payload_is_read_as_what_it_is(name: str) -> None:
    assert outcome(read(payload(name))) == EXPECTED[name]


def test_every_published_payload_is_expected() -> None:
    assert {path.stem for path in PATHS} == EXPECTED.keys()


@pytest.mark.parametrize("name", [name for name in EXPECTED if name.startswith("stripe.")])
def test_a_published_payload_of_test_mode_reaches_no_customer(name: str) -> None:
    content = orjson.loads((FOLDER / f"{name}.json").read_bytes())
    assert outcome(read(content)) == "test_mode"
