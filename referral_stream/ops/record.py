"""One customer's record as the topics have it now, with the names of contacts who have consented (after §5, §6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from referral_stream.contracts.json_reading import NotJson, parse_json
from referral_stream.contracts.records import RawRecord
from referral_stream.replay.record_search import RecordData, RecordSearch
from referral_stream.runtime.deployment import Deployment
from referral_stream.runtime.topic_log import TopicReader

Progress = Callable[[int], None]
"""Is called with how many records have been read so far."""


async def read_record(deployment: Deployment, customer: str, progress: Progress | None = None) -> RecordData:
    """The newest record of the customer to whom the id belongs. Raises NoRecord, UnreadableTopic.

    All of ``referral-records`` is read: an id that was merged away stands in another customer's record alone. Contacts
    are read after it, so that a name which is deleted meanwhile is not shown.
    """
    topics, client = deployment.topics, deployment.client()
    search, read = RecordSearch(customer), 0
    async with TopicReader(client, topics.referral_records) as reader:
        async for records in reader.present():
            read += len(records)
            for record in records:
                search.see((record.key or b"").decode("utf-8", "replace"), data_of(record))
            if progress is not None:
                progress(read)
    found = search.found()
    consented = {contact["referral_id"] for contact in found.get("referred_contacts", ()) if contact["consented"]}
    if not consented:
        return found
    names: dict[str, dict[str, Any] | None] = {}
    async with TopicReader(client, topics.referral_contacts) as reader:
        async for records in reader.present():
            read += len(records)
            for record in records:
                if (key := (record.key or b"").decode("utf-8", "replace")) in consented:
                    names[key] = data_of(record)
            if progress is not None:
                progress(read)
    return with_names(found, names)


def with_names(record: RecordData, told: dict[str, dict[str, Any] | None]) -> RecordData:
    """The record with name and company of its contacts where it says that they have consented.

    ``told``: by referral id the newest ``referral.contact.told``; what another customer told is left out.
    """
    owners = {record["customer_id"], *record.get("ids", ())}

    def joined(contact: dict[str, Any]) -> dict[str, Any]:
        found = told.get(contact["referral_id"])
        if not contact["consented"] or found is None or found.get("customer_id") not in owners:
            return contact
        return contact | {name: found[name] for name in ("name", "company") if found.get(name)}

    return {**record, "referred_contacts": [joined(contact) for contact in record.get("referred_contacts", ())]}


def cloud_event_of(record: RawRecord) -> dict[str, Any] | None:
    """The CloudEvent; None for a tombstone, and for what nobody could have meant."""
    if not record.value:
        return None
    try:
        event = parse_json(record.value)
    except NotJson:
        return None
    return event if isinstance(event, dict) and isinstance(event.get("data"), dict) else None


def data_of(record: RawRecord) -> dict[str, Any] | None:
    """Its data."""
    event = cloud_event_of(record)
    return None if event is None else event["data"]
