"""Tracing: what a tracer sees of batches, what outputs carry on, and that nothing of it is there when it is off."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module

import msgspec
import pytest
from faust.types import TP
from faust_batches import BatchResult, Headers, Output, Record, Rest, WorkerConfig, create_app
from faust_batches.lanes import Batch, Step
from faust_batches.publish import Publisher
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from referral_stream.contracts.codec import encode_event, event_headers, event_key
from referral_stream.contracts.topics import Topics
from referral_stream.core.instants import HOUR, parse_instant
from referral_stream.core.policy import Policy
from referral_stream.stream import tracing
from referral_stream.stream.decide import Decide
from referral_stream.stream.ingest import Ingest
from referral_stream.stream.tracing import OpenTelemetry
from tests.stream.records import Consumed, an_event
from tests.stream.test_ingest import ARRIVAL, BOUNDARY, Stopped, cloud_event, unread

TRACES = tuple(f"00-{n:032x}-{n:016x}-01" for n in range(1, 9))
NOON = parse_instant("2026-06-16T12:00:00Z")[0]


class Scene:
    """Batches that go through traced steps, with nothing behind them but a list of what was published."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        monkeypatch.setattr(trace, "get_tracer_provider", lambda: provider)
        monkeypatch.setattr(trace, "get_tracer", provider.get_tracer)
        self.tracing = OpenTelemetry(Topics())
        self.publisher = Publisher(1 << 20, stamped=self.tracing.stamped)
        self.published: list[Output] = []

    async def run(self, records: Sequence[Record], result: BatchResult | None = None) -> ReadableSpan:
        """One batch, of which ``result`` comes; its span."""

        async def step(batch: Batch) -> Rest | None:
            assert batch.records
            self.publish(result.outputs if result else ())
            return None

        return await self.through(step, records)

    async def through(self, step: Step, records: Sequence[Record]) -> ReadableSpan:
        tp = TP(records[0].topic, records[0].partition)
        rest = await self.tracing.around("a-group", step)(Batch(tp, 1, records))
        if rest is not None:
            await rest()
        return self.spans[-1]

    def publish(self, outputs: Sequence[Output]) -> None:
        self.published += self.publisher.admit(outputs)

    @property
    def spans(self) -> Sequence[ReadableSpan]:
        return self.exporter.get_finished_spans()

    def carried(self) -> list[str | None]:
        """The header ``traceparent`` of what was published."""
        return [carried(output.headers) for output in self.published]


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    scene = Scene(monkeypatch)
    yield scene
    assert not trace.get_current_span().get_span_context().is_valid, "no span is left open in the lane"


def carried(headers: Headers, name: str = "traceparent") -> str | None:
    found = [value for key, value in headers if key == name and value is not None]
    assert len(found) <= 1
    return found[0].decode() if found else None


def a_record(
    offset: int = 0, traceparent: str | bytes | None = None, *more: tuple[str, bytes | None],
    topic: str = "customer-events", value: bytes | None = b"{}", partition: int = 0,
) -> Consumed:  # fmt: skip
    header = traceparent.encode() if isinstance(traceparent, str) else traceparent
    headers = (*more,) if header is None else (("traceparent", header), *more)
    return Consumed(topic, partition, offset, NOON, b"key", value, headers)


def of(span: ReadableSpan) -> str:
    """What a record written within this span carries, if it carries nothing else."""
    context = span.get_span_context()
    assert context is not None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def linked(span: ReadableSpan) -> list[str]:
    return [f"00-{each.context.trace_id:032x}-{each.context.span_id:016x}-01" for each in span.links]


async def test_a_batch_is_one_span_with_a_link_for_every_message_that_has_a_trace(scene: Scene) -> None:
    """A peer's instrumentation used the first message's context alone."""
    records = [a_record(0, TRACES[0]), a_record(1), a_record(2, TRACES[1]), a_record(3, TRACES[2])]
    span = await scene.run(records)
    assert len(scene.spans) == 1
    assert (span.name, span.kind, span.parent) == ("process customer-events", trace.SpanKind.CONSUMER, None)
    assert linked(span) == list(TRACES[:3])
    assert [link.attributes[tracing.OFFSET] for link in span.links if link.attributes] == [0, 2, 3]
    assert dict(span.attributes or {}) == {
        tracing.SYSTEM: "kafka",
        tracing.OPERATION_NAME: "process",
        tracing.OPERATION_TYPE: "process",
        tracing.DESTINATION: "customer-events",
        tracing.PARTITION: "0",
        tracing.GROUP: "a-group",
        tracing.MESSAGES: 4,
        tracing.FIRST_OFFSET: 0,
        tracing.LAST_OFFSET: 3,
    }


async def test_a_partition_and_an_offset_of_0_are_attributes_like_any_other(scene: Scene) -> None:
    span = await scene.run([a_record(0, TRACES[0])])
    assert span.attributes is not None
    assert (span.attributes[tracing.PARTITION], span.attributes[tracing.OFFSET]) == ("0", 0)
    assert [dict(link.attributes or {}) for link in span.links] == [{tracing.OFFSET: 0}]


async def test_each_topic_of_a_fetch_has_spans_of_its_own(scene: Scene) -> None:
    for topic, partition in (("nps", 3), ("billing", 0)):
        await scene.run([a_record(topic=topic, partition=partition)])
    found = [
        (span.name, span.attributes[tracing.DESTINATION], span.attributes[tracing.PARTITION])
        for span in scene.spans
        if span.attributes
    ]
    assert found == [("process nps", "nps", "3"), ("process billing", "billing", "0")]


async def test_the_header_counts_before_the_events_own_attribute(scene: Scene) -> None:
    event = msgspec.structs.replace(an_event("goal.achieved", NOON, goal="x"), traceparent=TRACES[1])
    value = encode_event(event)
    span = await scene.run([a_record(7, TRACES[0], value=value), a_record(8, value=value)])
    assert linked(span) == [TRACES[0], TRACES[1]]
    attributes = span.links[1].attributes
    assert attributes is not None
    assert (attributes[tracing.EVENT_ID], attributes[tracing.EVENT_TYPE]) == (event.id, "goal.achieved")


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"00-x",
        b"\xff\xfe",
        b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01",
        b"ff" + TRACES[0][2:].encode(),
        b"0" * 999,
    ],
)
async def test_what_is_no_trace_context_is_as_good_as_none(
    scene: Scene, bad: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    told = Output("referral-asks", cloud_event("x", None).replace(b'"x"', b'"x", "traceparent": "00-x"'))
    state = ("tracestate", b"a=1," * 1000)
    nested = a_record(2, value=b'{"type":' + b"[" * 100_000)
    records = [a_record(0, bad), a_record(1, TRACES[0], state, ("traceparent", None)), nested, a_record(3, value=None)]
    span = await scene.run(records, BatchResult([told]))
    assert linked(span) == [TRACES[0]]
    assert scene.carried() == [of(span)]
    assert not caplog.records


async def test_a_failed_step_names_its_error_and_quotes_nothing(scene: Scene) -> None:
    async def fail(_: Batch) -> None:
        raise ValueError("ana@example.com")

    with pytest.raises(ValueError, match="ana"):
        await scene.through(fail, [a_record()])
    (span,) = scene.spans
    assert span.attributes is not None
    assert span.attributes[tracing.ERROR_TYPE] == "ValueError"
    assert span.status.status_code is trace.StatusCode.ERROR
    assert "ana@" not in span.to_json()


async def test_a_repair_is_no_batch_of_messages(scene: Scene) -> None:
    async def step(_: Batch) -> None:
        scene.publish([Output("customer-events", cloud_event("x", "ana"))])

    await scene.tracing.around("a-group", step)(Batch(TP("customer-events", 0), 1, ()))
    assert (scene.spans, scene.carried()) == ((), [None])


async def test_what_follows_from_an_event_carries_its_context_on_and_all_else_that_of_the_batch(scene: Scene) -> None:
    """``traceparent`` unchanged, ``tracestate`` with it; two events of one batch are not mixed up."""
    ingest = Ingest(Topics(), BOUNDARY, Stopped(ARRIVAL))
    state = ("tracestate", b"vendor=1")
    records = [
        a_record(0, TRACES[0], state, topic="nps", value=cloud_event("goal.achieved", "ana", goal="x")),
        a_record(1, topic="nps", value=cloud_event("goal.achieved", "ben", goal="x")),
        a_record(2, TRACES[1], topic="nps", value=cloud_event("goal.achieved", "eve", goal="x")),
        a_record(3, TRACES[2], topic="nps", value=b"no JSON"),
    ]
    span = await scene.run(records, ingest(0, records, unread))
    *events, letter = scene.published
    assert scene.carried() == [TRACES[0], of(span), TRACES[1], TRACES[2]]
    assert [carried(output.headers, "tracestate") for output in events] == ["vendor=1", None, None]
    assert (letter.topic, carried(letter.headers)) == ("dead-letters", TRACES[2]), "as it came"


async def test_a_dead_letter_a_note_and_foreign_bytes_get_no_header(scene: Scene) -> None:
    event = cloud_event("goal.achieved", "ana", goal="x")
    bare = [Output("dead-letters", event), Output("customer-events", None, b"ana"), Output("positions", b"7")]
    stamped = Output("customer-events", event, headers=(("traceparent", TRACES[5].encode()),))
    await scene.run([a_record(0, TRACES[0])], BatchResult([*bare, stamped]))
    assert scene.published == [*bare, stamped]


async def test_what_is_sent_later_belongs_to_the_batch_and_what_is_sent_outside_to_none(scene: Scene) -> None:
    answer = Output("customer-events", cloud_event("x", "ana"))

    async def rest() -> None:
        scene.publish([answer])

    async def step(_: Batch) -> Rest:
        return rest

    span = await scene.through(step, [a_record(0, TRACES[0])])
    assert scene.carried() == [of(span)]
    scene.publish([answer])
    assert scene.carried() == [of(span), None]


def asked(traceparents: Sequence[str | None], headers: Headers = ()) -> tuple[list[Consumed], BatchResult]:
    """A batch of scores of nine, each of another customer who may be asked, and what decide makes of it."""
    records: list[Consumed] = []
    for number, traceparent in enumerate(traceparents):
        who = f"cus-{number}"
        facts = [
            an_event("customer.signed_up", NOON - 90 * 24 * HOUR, who),
            msgspec.structs.replace(
                an_event("nps.responded", NOON, who, score=9, response_id=f"r{number}"), traceparent=traceparent
            ),
        ]
        for event in facts:
            records.append(
                Consumed(
                    "customer-events", 0, len(records), NOON, event_key(event), encode_event(event),
                    (*event_headers(event, event.time), *headers),
                )
            )  # fmt: skip
    return records, Decide(Topics(), Policy())(0, records, lambda _, __: None)


async def test_no_state_and_no_body_knows_whether_anybody_traces(scene: Scene) -> None:
    """Headers on the records that are read change nothing, and stamping changes nothing but headers."""
    traceparents = [TRACES[0], None, TRACES[1]]
    _, plain = asked(traceparents)
    records, traced = asked(traceparents, (("traceparent", TRACES[7].encode()), ("tracestate", b"a=1")))
    assert traced == plain
    assert len(plain.outputs) >= 3
    span = await scene.run(records, traced)
    assert [(o.topic, o.key, o.value) for o in scene.published] == [(o.topic, o.key, o.value) for o in plain.outputs]
    own = [output.headers[: len(before.headers)] for output, before in zip(scene.published, plain.outputs, strict=True)]
    assert own == [output.headers for output in plain.outputs]
    assert span.attributes is not None
    ids = span.attributes[tracing.DECISION_IDS]
    assert isinstance(ids, tuple)
    assert len(ids) == sum(output.topic == "referral-decisions" for output in plain.outputs) > 0


async def test_a_command_carries_its_events_context_though_a_later_batch_writes_it(scene: Scene) -> None:
    ask = cloud_event("referral.ask.requested", "ana").replace(
        b'"e1"', b'"c1", "traceparent": "%s"' % TRACES[0].encode()
    )
    span = await scene.run(
        [a_record(5, TRACES[3], ("tracestate", b"a=1"))], BatchResult([Output("referral-asks", ask)])
    )
    (command,) = scene.published
    assert carried(command.headers) == TRACES[0]
    assert carried(command.headers, "tracestate") is None, "that of another trace"
    assert span.attributes is not None
    assert span.attributes[tracing.COMMAND_IDS] == ("c1",)


def test_without_an_sdk_a_line_says_that_nobody_records_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trace, "get_tracer_provider", trace.ProxyTracerProvider)
    OpenTelemetry(Topics())
    assert [record.message for record in caplog.records] == ["tracing_without_sdk"]


def test_names_are_those_of_the_conventions() -> None:
    """Where this fails after an update of the SDK, the conventions have moved."""
    known: set[str] = set()
    for group in ("messaging", "cloudevents"):
        names = vars(import_module(f"opentelemetry.semconv._incubating.attributes.{group}_attributes"))
        known |= {value for name, value in names.items() if name.isupper() and isinstance(value, str)}
    ours = {value for name, value in vars(tracing).items() if name.isupper() and isinstance(value, str)}
    assert {value for value in ours if value.startswith(("messaging.", "cloudevents."))} <= known
    assert {value.partition(".")[0] for value in ours if "." in value} == {
        "messaging", "cloudevents", "error", "referral_stream",
    }  # fmt: skip


def test_off_nothing_of_it_is_loaded_and_the_lane_runs_the_step_itself() -> None:
    """redis-py imports the API where it is installed, whether we trace or not."""
    code = "import sys, referral_stream.stream.run; print(*(m for m in sys.modules if m.endswith('stream.tracing')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
    app = create_app(WorkerConfig(id="app", brokers=("127.0.0.1:9",), partitions=1))
    app.stateful("source", lambda *_: BatchResult(), ["marks"])
    assert app._stateful is not None
    assert app.lanes._steps["source"] is app._stateful.step
    outputs = [Output("out", b"{}")]
    assert app.publisher.admit(outputs) is outputs
