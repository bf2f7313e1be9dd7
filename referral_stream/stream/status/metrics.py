"""The numbers of a worker as Prometheus reads them. They are collected on request, and stored nowhere.

Labels take a bounded number of values: our own roles, topics and tables, existing partitions, gates, causes and
outcomes that the code knows, and triggers that the policy names. They contain nothing from a record.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from faust_batches import Histogram, app_status, ends, lag
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from referral_stream import __version__
from referral_stream.contracts.applying import FAULT
from referral_stream.contracts.left_out import STATE_TOO_LARGE
from referral_stream.core.instants import SECOND
from referral_stream.runtime.deployment import Deployment
from referral_stream.stream.apps import Role
from referral_stream.stream.decide import Decide
from referral_stream.stream.followed import Followed
from referral_stream.stream.ingest import Ingest
from referral_stream.stream.ledger_agent import LedgerAgent
from referral_stream.stream.status.health import waiting_for
from referral_stream.stream.wakeups import Wakeups


class Family(NamedTuple):
    """One metric; its full name begins with ``referral_stream_``."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    meaning: str
    labels: tuple[str, ...] = ()


FAMILIES: Final = (
    Family("build_info", "gauge", "1; the labels say what is running", ("version", "policy", "policy_hash")),
    # The transport, for every role.
    Family("ready", "gauge", "1 while the role does its work, as /ready reports it", ("role",)),
    Family("partitions", "gauge", "Partitions that this worker owns", ("role", "topic")),
    Family("lag_records", "gauge", "Records of an owned partition to be processed", ("role", "topic", "partition")),
    Family(
        "held_back_records", "gauge", "Records behind a transaction that is open", ("role", "topic", "partition")
    ),
    Family("standing_seconds", "gauge", "For how long there has been work, and nothing has moved", ("role",)),
    Family("queued_records", "gauge", "Records that were fetched and are waiting for their batch", ("role", "topic")),
    Family("batch_records", "histogram", "Records of a batch; the sum is the records processed", ("role", "topic")),
    Family("batch_seconds", "histogram", "From the start of a batch until its effects are durable", ("role", "topic")),
    Family("step_seconds", "histogram", "The processor's share of a batch", ("role", "topic")),
    Family("publish_seconds", "histogram", "Until the broker has acknowledged or committed records", ("role",)),
    Family("attempt_seconds", "gauge", "How long the oldest batch in progress has been running", ("role",)),
    Family("clock_skew_seconds", "gauge", "How far this clock is ahead of another; below 0: behind", ("role", "of")),
    Family("published_records_total", "counter", "Records handed to the producer, with repetitions", ("role", "topic")),
    Family("refused_outputs_total", "counter", "Records too large to publish; dead-lettered instead", ("role",)),
    Family("batches_repeated_total", "counter", "Batches repeated after a transient error", ("role",)),
    Family("batches_dropped_total", "counter", "Batches given up because the partition was lost", ("role",)),
    Family("fenced_total", "counter", "Batches that the broker refused because of a newer owner", ("role",)),
    Family("assignments_total", "counter", "Assignments received: one for each rebalance", ("role",)),
    Family("producers_renewed_total", "counter", "Producers replaced after a refused batch", ("role",)),
    Family("recovery_records_left", "gauge", "Changelog records to be read before work begins", ("role", "table")),
    Family("recovered_records_total", "counter", "Changelog records read", ("role", "table")),
    Family("dead_letters_total", "counter", "Records that could not be used", ("stage", "cause")),
    # Ingest.
    Family("ingested_records_total", "counter", "Source records by what became of them", ("outcome", "reason")),
    # Decide.
    Family("decisions_total", "counter", "Decisions by outcome", ("outcome", "trigger")),
    Family("gates_held_total", "counter", "Decisions that this gate held back, alone or with others", ("gate",)),
    Family("followups_total", "counter", "Follow-ups requested", ("kind",)),
    Family("followups_cancelled_total", "counter", "Follow-ups withdrawn", ("reason",)),
    Family("rewards_total", "counter", "Rewards held, granted, denied, reversed", ("outcome",)),
    Family("records_total", "counter", "Records of customers written"),
    Family("grants_waiting", "gauge", "Rewards that were asked of the ledger and not answered"),
    Family("grants_waiting_seconds", "gauge", "For how long the first of them has waited"),
    Family("holds_stayed_total", "counter", "Customers whose hold a replayed dead letter did not end"),
    Family("wakeups_pending", "gauge", "Customers waiting for an instant"),
    Family("wakeup_overdue_seconds", "gauge", "How long the earliest unsent wake-up is overdue"),
    Family("wakeup_delay_seconds", "histogram", "From due to appended, of every wake-up sent"),
    # The ledger.
    Family("ledger_available", "gauge", "1 while the ledger can be used, 0 while Redis is down"),
    Family("ledger_call_seconds", "histogram", "Calls to Redis, failed ones included"),
    Family("ledger_failures_total", "counter", "Calls that Redis did not answer properly"),
    Family("ledger_answers_total", "counter", "Answers by type", ("type",)),
    Family("ledger_denials_total", "counter", "Refused reservations by gate", ("gate",)),
    Family("ledger_rebuilds_total", "counter", "Rebuilds of the ledger from its log"),
    Family("burst_pauses_total", "counter", "Triggers that the burst breaker paused", ("trigger",)),
)  # fmt: skip
"""All our metrics; docs/operations.md lists them too."""


def registry(deployment: Deployment, roles: Sequence[Role]) -> CollectorRegistry:
    """A registry of these roles and of their process."""
    made = CollectorRegistry()
    ProcessCollector(registry=made)
    PlatformCollector(registry=made)
    GCCollector(registry=made)
    made.register(Numbers(deployment, roles))
    return made


class Numbers(Collector):
    """Reads the roles whenever it is asked; call it in their event loop."""

    def __init__(self, deployment: Deployment, roles: Sequence[Role]) -> None:
        self._deployment, self._roles = deployment, tuple(roles)

    def collect(self) -> Iterator[Metric]:
        sheet = _Sheet()
        policy = self._deployment.policy
        sheet.add("build_info", 1, __version__, policy.name, policy.hash)
        for role in self._roles:
            _of_transport(sheet, role)
            _of_dead_letters(sheet, role)
            match role.processor:
                case Ingest() as ingest:
                    _of_ingest(sheet, ingest)
                case Decide() as decide:
                    _of_decide(sheet, decide)
                    _of_followed(sheet, decide.followed, self._deployment.clock.now())
                case LedgerAgent() as agent:
                    _of_ledger(sheet, agent, policy.triggers)
            if role.wakeups is not None:
                _of_wakeups(sheet, role.wakeups, self._deployment.clock.now())
        return sheet.families()


class _Sheet:
    """The metric families, still empty."""

    def __init__(self) -> None:
        self._numbers: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        self._histograms: dict[str, HistogramMetricFamily] = {}
        for name, kind, meaning, labels in FAMILIES:
            whole = f"referral_stream_{name}"
            match kind:
                case "gauge":
                    self._numbers[name] = GaugeMetricFamily(whole, meaning, labels=labels)
                case "counter":
                    self._numbers[name] = CounterMetricFamily(whole, meaning, labels=labels)
                case "histogram":
                    self._histograms[name] = HistogramMetricFamily(whole, meaning, labels=labels)

    def families(self) -> Iterator[Metric]:
        yield from self._numbers.values()
        yield from self._histograms.values()

    def add(self, name: str, value: float, *labels: str) -> None:
        self._numbers[name].add_metric(labels, value)

    def observed(self, name: str, histogram: Histogram, *labels: str) -> None:
        buckets = [(_bound(bound), float(count)) for bound, count in histogram.cumulated()]
        self._histograms[name].add_metric(labels, buckets, histogram.sum)


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(float(bound))


def _of_transport(sheet: _Sheet, role: Role) -> None:
    app, name = role.app, role.name
    now, meter = app_status(app), app.meter
    sheet.add("ready", not waiting_for(role, now), name)
    sheet.add("attempt_seconds", now.attempt_seconds, name)
    sheet.add("clock_skew_seconds", 0.0 - app.clock_watch.behind_seconds, name, "records")
    for topic, count in now.partitions.items():
        sheet.add("partitions", count, name, topic)
    for topic, count in now.queued.items():
        sheet.add("queued_records", count, name, topic)
    for tp, records in lag(app).items():
        sheet.add("lag_records", records, name, tp.topic, str(tp.partition))
    for tp, at in ends(app).items():
        sheet.add("held_back_records", at.held_back, name, tp.topic, str(tp.partition))
    sheet.add("standing_seconds", now.standing_seconds, name)
    for metric, histograms in (
        ("batch_records", meter.batch_records),
        ("batch_seconds", meter.batch_seconds),
        ("step_seconds", meter.step_seconds),
    ):
        for topic, histogram in histograms.items():
            sheet.observed(metric, histogram, name, topic)
    sheet.observed("publish_seconds", meter.publish_seconds, name)
    for topic, count in meter.published.items():
        sheet.add("published_records_total", count, name, topic)
    for metric, count in (
        ("refused_outputs_total", app.publisher.refused),
        ("batches_repeated_total", meter.repeated),
        ("batches_dropped_total", meter.dropped),
        ("fenced_total", meter.fenced),
        ("assignments_total", meter.assignments),
        ("producers_renewed_total", meter.producers_renewed),
    ):
        sheet.add(metric, count, name)
    for table in app.table_names:
        sheet.add("recovery_records_left", now.recovery_left.get(table, 0), name, table)
        sheet.add("recovered_records_total", meter.recovered[table], name, table)


def _of_dead_letters(sheet: _Sheet, role: Role) -> None:
    causes = _ending(role.processor.counts, "refused_")
    causes.setdefault(FAULT, 0)  # an alert notices the first one only as an increase from zero
    if isinstance(role.processor, Decide):
        causes.setdefault(STATE_TOO_LARGE, 0)
    for cause, count in causes.items():
        sheet.add("dead_letters_total", count, role.name, cause)


def _of_ingest(sheet: _Sheet, ingest: Ingest) -> None:
    sheet.add("ingested_records_total", ingest.counts["accepted"], "accepted", "")
    for outcome in ("skipped", "refused"):
        for reason, count in _ending(ingest.counts, f"{outcome}_").items():
            sheet.add("ingested_records_total", count, outcome, reason)


def _of_decide(sheet: _Sheet, decide: Decide) -> None:
    for (outcome, trigger), count in decide.decided.items():
        sheet.add("decisions_total", count, outcome, trigger)
    for gate, count in decide.held.items():
        sheet.add("gates_held_total", count, gate)
    sheet.add("holds_stayed_total", decide.counts["still_quarantined"])


def _of_followed(sheet: _Sheet, followed: Followed, now: int) -> None:
    for kind, count in followed.followups.items():
        sheet.add("followups_total", count, kind)
    for reason, count in followed.cancelled.items():
        sheet.add("followups_cancelled_total", count, reason)
    for outcome in ("held", "granted", "denied", "reversed"):
        sheet.add("rewards_total", followed.rewards[outcome], outcome)
    sheet.add("records_total", followed.records)
    waiting = followed.waiting(now)
    sheet.add("grants_waiting", waiting.grants)
    sheet.add("grants_waiting_seconds", 0 if waiting.since is None else max(0, now - waiting.since) / SECOND)


def _of_wakeups(sheet: _Sheet, wakeups: Wakeups, now: int) -> None:
    due = wakeups.next_due()
    sheet.add("wakeups_pending", wakeups.pending())
    sheet.add("wakeup_overdue_seconds", 0 if due is None else max(0, now - due) / SECOND)
    sheet.observed("wakeup_delay_seconds", wakeups.delays)


def _of_ledger(sheet: _Sheet, agent: LedgerAgent, triggers: Iterable[str]) -> None:
    if agent.available is not None:
        sheet.add("ledger_available", agent.available)
    if agent.watch is not None and agent.watch.ahead_seconds is not None:
        sheet.add("clock_skew_seconds", agent.watch.ahead_seconds, "ledger", "redis")
    sheet.observed("ledger_call_seconds", agent.call_seconds)
    sheet.add("ledger_failures_total", agent.failures)
    sheet.add("ledger_rebuilds_total", agent.rebuilds)
    for kind, count in agent.answers.items():
        sheet.add("ledger_answers_total", count, kind)
    for gate, count in agent.denied.items():
        sheet.add("ledger_denials_total", count, gate)
    for trigger in triggers:
        sheet.add("burst_pauses_total", agent.paused[trigger], trigger)


def _ending(counts: Mapping[str, int], prefix: str) -> dict[str, int]:
    return {name.removeprefix(prefix): count for name, count in counts.items() if name.startswith(prefix)}
