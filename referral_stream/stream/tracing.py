"""OpenTelemetry: a span for each batch, and the trace context of what goes in and out. Loaded only where it is on.

Messaging conventions: one ``process`` span per batch, with a link for each message that has a trace context. The
context in which an event was created is never modified: what carries it on in its body (``traceparent``, an attribute
of the event and of the command that results from it) has it as its header too, whatever batch it was written in;
anything else that we write has the context of the batch's span. Only headers are added, and nothing that decides reads
them: neither states nor bodies know whether anybody traces (docs/decisions/0044-tracing.md).

The API alone is used; which SDK records and exports is up to the one who starts the process. The conventions move
still, so every name of an attribute is here. No key, subject, payload or exception's message is in a span.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

import msgspec
from faust_batches import Headers, Output, Record, Rest
from faust_batches.lanes import Batch, Step
from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from referral_stream import __version__
from referral_stream.contracts.topics import Topics

logger = logging.getLogger(__name__)

SYSTEM: Final = "messaging.system"
OPERATION_NAME: Final = "messaging.operation.name"
OPERATION_TYPE: Final = "messaging.operation.type"
DESTINATION: Final = "messaging.destination.name"
PARTITION: Final = "messaging.destination.partition.id"
GROUP: Final = "messaging.consumer.group.name"
MESSAGES: Final = "messaging.batch.message_count"
OFFSET: Final = "messaging.kafka.offset"
EVENT_ID: Final = "cloudevents.event_id"
EVENT_TYPE: Final = "cloudevents.event_type"
ERROR_TYPE: Final = "error.type"
FIRST_OFFSET: Final = "referral_stream.first_offset"
LAST_OFFSET: Final = "referral_stream.last_offset"
COMMAND_IDS: Final = "referral_stream.command_ids"
DECISION_IDS: Final = "referral_stream.decision_ids"

MOST_IDS: Final = 100
"""Of commands, and of decisions, that a span names."""

_TRACEPARENT: Final = "traceparent"
_TRACESTATE: Final = "tracestate"
_LONGEST: Final = {_TRACEPARENT: 256, _TRACESTATE: 512}
"""In characters; W3C asks for 512 of a state. Longer ones are as good as none."""
_MOST_OF_NAMES: Final = 200
_STATES: Final = contexts.create_key("referral_stream.tracestates")
"""In the context of a batch: the ``tracestate`` that came with each ``traceparent``, empty without one."""

_w3c: Final = TraceContextTextMapPropagator()


class _Structured(msgspec.Struct, gc=False):
    """What is read of a structured CloudEvent."""

    specversion: str
    type: str
    id: str = ""
    traceparent: str | None = None


_said_in: Final = msgspec.json.Decoder(_Structured).decode


class OpenTelemetry:
    """What the transport asks where tracing is on (``faust_batches.lanes.Tracing``)."""

    def __init__(self, topics: Topics) -> None:
        self._tracer = trace.get_tracer("referral_stream", __version__)
        self._letters = topics.dead_letters
        self._ids_of = {
            topics.referral_asks: COMMAND_IDS,
            topics.referral_followups: COMMAND_IDS,
            topics.referral_rewards: COMMAND_IDS,
            topics.referral_decisions: DECISION_IDS,
        }
        if isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider):
            logger.warning("tracing_without_sdk")

    def around(self, group: str, step: Step) -> Step:
        """The step within a span of its own; what it leaves for later (``Rest``) belongs to the same span."""

        async def traced(batch: Batch) -> Rest | None:
            if not batch.records:
                return await step(batch)
            links, states = _links_of(batch.records)
            span = self._tracer.start_span(
                f"process {batch.tp.topic}",
                context=Context(),  # no parent: a batch continues many traces, or none
                kind=trace.SpanKind.CONSUMER,
                links=links,
                attributes=_about(batch, group),
            )
            within = trace.set_span_in_context(span, contexts.set_value(_STATES, states))
            token = contexts.attach(within)
            try:
                rest = await step(batch)
            except BaseException as error:
                span.set_status(trace.StatusCode.ERROR)
                span.set_attribute(ERROR_TYPE, type(error).__name__)
                raise
            finally:
                contexts.detach(token)
                span.end()
            return None if rest is None else partial(_later, within, rest)

        return traced

    def stamped(self, outputs: Sequence[Output]) -> Sequence[Output]:
        """The outputs with their trace contexts as headers. Dead letters and what has no value stay as they are."""
        span = trace.get_current_span()
        states: Mapping[str, str] = contexts.get_value(_STATES) or {}  # type: ignore[assignment]
        own = _headers_of(trace.set_span_in_context(span))
        ids: dict[str, list[str]] = {}
        found: list[Output] = []
        for output in outputs:
            said = None if output.topic == self._letters else _said(output.value)
            if said is None or any(name.lower() == _TRACEPARENT for name, _ in output.headers):
                found.append(output)
                continue
            if (kind := self._ids_of.get(output.topic)) is not None:
                ids.setdefault(kind, []).append(said.id)
            headers = _carried_on(said.traceparent, states) or own
            found.append(msgspec.structs.replace(output, headers=(*output.headers, *headers)) if headers else output)
        if span.is_recording():
            for kind, named in ids.items():
                span.set_attribute(kind, named[:MOST_IDS])
        return found


async def _later(within: Context, rest: Rest) -> None:
    token = contexts.attach(within)
    try:
        await rest()
    finally:
        contexts.detach(token)


def _about(batch: Batch, group: str) -> dict[str, str | int]:
    records = batch.records
    found: dict[str, str | int] = {
        SYSTEM: "kafka",
        OPERATION_NAME: "process",
        OPERATION_TYPE: "process",
        DESTINATION: batch.tp.topic,
        PARTITION: str(batch.tp.partition),
        GROUP: group,
        MESSAGES: len(records),
        FIRST_OFFSET: records[0].offset,
        LAST_OFFSET: records[-1].offset,
    }
    return found | {OFFSET: records[0].offset} if len(records) == 1 else found


def _links_of(records: Sequence[Record]) -> tuple[list[trace.Link], dict[str, str]]:
    """A link for each record with a trace context; and the ``tracestate`` of each ``traceparent``, empty without one.

    The attribute of the event counts where the record has no header: then nobody has traced its way through Kafka.
    """
    links: list[trace.Link] = []
    states: dict[str, str] = {}
    for record in records:
        said, carrier = _said(record.value), _carrier(record)
        if _TRACEPARENT not in carrier and said is not None and said.traceparent is not None:
            carrier[_TRACEPARENT] = said.traceparent
        created = _created_in(carrier)
        if created is None:
            continue
        attributes: dict[str, str | int] = {OFFSET: record.offset}
        if said is not None:
            attributes |= {EVENT_ID: said.id[:_MOST_OF_NAMES], EVENT_TYPE: said.type[:_MOST_OF_NAMES]}
        links.append(trace.Link(created, attributes))
        states[carrier[_TRACEPARENT]] = created.trace_state.to_header()
    return links, states


def _carrier(record: Record) -> dict[str, str]:
    """The headers of a record that carry a trace context, as text."""
    return {
        name.lower(): value.decode("utf-8", "replace")
        for name, value in record.headers
        if value is not None and name.lower() in _LONGEST
    }


def _created_in(carrier: Mapping[str, str]) -> trace.SpanContext | None:
    """The trace context in a carrier; None without a valid one."""
    given = {name: text for name, text in carrier.items() if len(text) <= _LONGEST[name]}
    if _TRACEPARENT not in given:
        return None
    found = trace.get_current_span(_w3c.extract(given, Context())).get_span_context()
    return found if found.is_valid else None


def _carried_on(traceparent: str | None, states: Mapping[str, str]) -> Headers:
    if traceparent is None:
        return ()
    state = states.get(traceparent)
    if state is None and _created_in({_TRACEPARENT: traceparent}) is None:
        return ()
    header = (_TRACEPARENT, traceparent.encode())
    return (header, (_TRACESTATE, state.encode())) if state else (header,)


def _headers_of(context: Context) -> Headers:
    carrier: dict[str, str] = {}
    _w3c.inject(carrier, context)
    return tuple((name, text.encode()) for name, text in carrier.items())


def _said(value: bytes | None) -> _Structured | None:
    """What a structured CloudEvent says; None for any other value."""
    if not value:
        return None
    try:
        return _said_in(value)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return None
