"""What is told of a record, and what is not; the headers that go with it."""

from __future__ import annotations

import base64
import hmac
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from aiokafka.errors import UnknownTopicOrPartitionError
from standardwebhooks import Webhook

from referral_stream.contracts.outcomes import Accepted
from referral_stream.core.events import RewardSettled
from referral_stream.core.instants import SECOND
from referral_stream.receiver.signatures import SCHEMES, SignatureVerdict, Signed
from referral_stream.rewards.orders import UnreadableReward, order_of
from referral_stream.rewards.settlements import NotSettled, Settlements, settlement
from referral_stream.rewards.signing import Signer
from tests.contracts.building import read
from tests.rewards.paying import AT, OLD_SECRET, SECRET, an_order, denied, granted, reversed_
from tests.rules import rule


def order(value: bytes | None) -> Any:
    return order_of(value, partition=3, offset=14, written_at=AT)


@rule("A4.19")
def test_a_grant_and_its_reversal_are_told_as_they_stand_under_a_key_each() -> None:
    grant, taken_back = order(granted("ana")), order(reversed_("ana"))
    assert (grant.kind, grant.customer, grant.body) == ("granted", "ana", granted("ana"))
    assert grant.key == grant.grant_id == json.loads(granted("ana"))["data"]["grant_id"]
    assert taken_back.key == f"{grant.grant_id}:reversed"
    assert (grant.partition, grant.offset, grant.written_at) == (3, 14, AT)


@rule("A4.19")
def test_what_is_denied_is_not_told_nor_what_later_versions_may_add() -> None:
    assert order(denied("ana")) is None
    assert order(b'{"type": "referral.reward.considered"}') is None


def test_fields_of_later_versions_are_passed_on() -> None:
    document = json.loads(granted("ana")) | {"dataschema": "v9"}
    document["data"]["colour"] = "blue"
    assert order(json.dumps(document).encode()).body == json.dumps(document).encode()


@pytest.mark.parametrize(
    "value",
    [
        None,
        b"",
        b"no JSON",
        b"[]",
        b'{"type": 1}',
        b'{"type": "referral.reward.granted"}',
        b'{"type": "referral.reward.granted", "data": {"grant_id": "", "customer_id": "c"}}',
        b'{"type": "referral.reward.granted", "data": {"grant_id": "g:reversed", "customer_id": "c"}}',
        b'{"type": "referral.reward.granted", "data": {"grant_id": "g\\r\\nX: y", "customer_id": "c"}}',
        b'{"type": "referral.reward.granted", "data": {"grant_id": "g", "customer_id": ""}}',
    ],
)
def test_what_grants_nobody_knows_what_to_whom_is_not_told(value: bytes | None) -> None:
    with pytest.raises(UnreadableReward) as raised:
        order(value)
    assert "reversed" not in str(raised.value)


@rule("A4.19")
def test_either_secret_verifies_with_the_standards_own_code_and_with_ours() -> None:
    body, now = granted("ana"), round(datetime.now(UTC).timestamp() * SECOND)
    headers = Signer([SECRET, OLD_SECRET]).headers("key-1", body, now)
    assert len(headers["webhook-signature"].split()) == 2
    for secret in (SECRET, OLD_SECRET):
        assert Webhook(secret).verify(body, headers) == json.loads(body)
        scheme = SCHEMES["formbricks"]
        verdict = scheme.verify(Signed("POST", "", headers, body), scheme.key(secret), now)
        assert verdict is SignatureVerdict.AUTHENTIC


def test_the_signature_is_what_the_standard_says() -> None:
    key, body = base64.b64decode(SECRET.removeprefix("whsec_")), '{"a": "ä"}'.encode()
    headers = Signer([SECRET]).headers("id", body, 1_700_000_000_999)
    digest = base64.b64encode(hmac.digest(key, b"id.1700000000." + body, "sha256")).decode()
    assert headers == {"webhook-id": "id", "webhook-timestamp": "1700000000", "webhook-signature": f"v1,{digest}"}


@rule("A4.20")
def test_a_settlement_is_an_event_that_ingest_takes_and_counts_once() -> None:
    first, again = settlement(an_order("ana"), "no-7", AT), settlement(an_order("ana"), "no-7", AT + 5)
    told, repeated = json.loads(first), json.loads(again)
    assert (told["id"], told["source"]) == (repeated["id"], repeated["source"])
    assert (told["type"], told["subject"]) == ("reward.settled", "ana")
    assert told["data"] == {"grant_id": an_order("ana").grant_id, "status": "failed", "reference": "no-7"}
    assert "reference" not in json.loads(settlement(an_order("ana"), None, AT))["data"]
    taken = read(told, topic="responses")
    assert isinstance(taken, Accepted), taken
    (event,) = taken.events
    assert event.data == RewardSettled(grant_id=an_order("ana").grant_id, status="failed", reference="no-7")


async def test_a_topic_that_takes_no_settlement_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def send_and_wait(*_: object) -> None:
        raise UnknownTopicOrPartitionError

    made = Settlements({"bootstrap_servers": "127.0.0.1:1"}, "responses", lambda: AT)
    monkeypatch.setattr(made.producer, "send_and_wait", send_and_wait)
    with pytest.raises(NotSettled, match=r"^UnknownTopicOrPartitionError: responses$"):
        await made.write(an_order(), None)
