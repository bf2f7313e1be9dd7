"""The Grafana dashboards, docs/grafana/*.json, made from the rows below.

    python tools/dashboards.py          write them
    python tools/dashboards.py --check  exit with 1 if a committed one differs

Health is for the person on duty: is it up, does it keep up, what has failed? Business is for who sets the policy:
who is asked, what holds the others back, what comes of it? A panel's description says what to do, or where it is said.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NamedTuple

from grafana_foundation_sdk.builders import dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.common import BigValueColorMode, BigValueGraphMode
from grafana_foundation_sdk.models.dashboard import DashboardCursorSync, DataSourceRef, Threshold, ThresholdsMode

FOLDER: Final = Path(__file__).resolve().parent.parent / "docs" / "grafana"
OURS: Final = "referral_stream_"
_DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")


class Chart(NamedTuple):
    """A panel: what it shows over time. `queries`: expression → legend. `stack`: the lines add up to a whole."""

    title: str
    description: str
    queries: dict[str, str]
    unit: str = "short"
    stack: bool = False


class Light(NamedTuple):
    """A panel: one number, and from where on it is amber and red, if ever; `below`: it is bad to be below."""

    title: str
    description: str
    query: str
    amber: float | None = None
    red: float | None = None
    unit: str = "short"
    below: bool = False


class Board(NamedTuple):
    """A dashboard: rows of panels, each under a heading."""

    name: str
    title: str
    description: str
    rows: dict[str, tuple[Chart | Light, ...]]


def _rate(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (rate({OURS}{metric}{where}[$__rate_interval]))"


def _per_hour(metric: str, by: str, where: str = "") -> str:
    return f"sum by ({by}) (increase({OURS}{metric}{where}[1h]))"


def _works(metrics: str) -> str:
    """Figures of all customers, which the projector that leads tells."""
    return f'max by (metric) ({OURS}works{{by="",metric=~"{metrics}"}})'


def _quantile(which: float, metric: str, *by: str) -> str:
    labels = ", ".join(["le", *by])
    return f"histogram_quantile({which}, sum by ({labels}) (rate({OURS}{metric}_bucket[$__rate_interval])))"


HEALTH: Final = Board(
    "health",
    "referral_stream: health",
    "Is it up, does it keep up, what has failed? What each line and alert means: docs/operations.md.",
    {
        "Now": (
            Light(
                "Roles at work",
                "Processes whose role does its work, of those that are scraped. /ready of a worker says what it lacks.",
                f"avg({OURS}ready)",
                amber=1.0,
                red=0.5,
                unit="percentunit",
                below=True,
            ),
            Light(
                "Records behind",
                "What is to be processed over all partitions. Growing for minutes: more workers, or a stuck batch.",
                f"sum({OURS}lag_records)",
                amber=1_000,
                red=10_000,
            ),
            Light(
                "Ledger",
                "1 while Redis can be used. 0: nobody is asked, and what falls due waits.",
                f"min({OURS}ledger_available)",
                amber=1,
                red=1,
                below=True,
            ),
            Light(
                "Latest wake-up overdue",
                "How late the timer is. Above a minute nobody is asked in time.",
                f"max({OURS}wakeup_overdue_seconds)",
                amber=10,
                red=60,
                unit="s",
            ),
            Light(
                "Dead letters in an hour",
                "Records that could not be used. `referral-stream deadletters list` says which and why.",
                f"sum(increase({OURS}dead_letters_total[1h]))",
                amber=1,
                red=60,
            ),
            Light(
                "Clocks apart",
                "The largest difference that a worker sees to the broker or the ledger. From 30 s on nobody is asked.",
                f"max(abs({OURS}clock_skew_seconds))",
                amber=2,
                red=5,
                unit="s",
            ),
        ),
        "Keeping up": (
            Chart(
                "Records processed",
                "By role and topic.",
                {_rate("batch_records_sum", "role, topic"): "{{role}}: {{topic}}"},
                unit="cps",
            ),
            Chart(
                "Records behind",
                "By role. An alert is on 10,000 for ten minutes.",
                {f"sum by (role) ({OURS}lag_records)": "{{role}}"},
            ),
            Chart(
                "From the start of a batch until it is durable",
                "Median and 99 %. Long ones: the broker, Redis, or too little processor.",
                {
                    _quantile(0.5, "batch_seconds", "role"): "{{role}}, median",
                    _quantile(0.99, "batch_seconds", "role"): "{{role}}, 99 %",
                },
                unit="s",
            ),
            Chart(
                "Work without progress",
                "For how long a role has had work and not moved; /live fails after ten minutes of it.",
                {f"max by (role, instance) ({OURS}standing_seconds)": "{{role}} on {{instance}}"},
                unit="s",
            ),
        ),
        "Time": (
            Chart(
                "Wake-ups: from due to appended",
                "Median and 99 % of those that were sent.",
                {
                    _quantile(0.5, "wakeup_delay_seconds"): "median",
                    _quantile(0.99, "wakeup_delay_seconds"): "99 %",
                },
                unit="s",
            ),
            Chart("Customers waiting for an instant", "Over all workers.", {f"sum({OURS}wakeups_pending)": "waiting"}),
            Chart(
                "Clocks",
                "How far a worker's clock is ahead of another; below 0: behind.",
                {f"{OURS}clock_skew_seconds": "{{instance}} against {{of}}"},
                unit="s",
            ),
        ),
        "Trouble": (
            Chart(
                "Dead letters",
                "By stage and cause. A cause `fault` is our own error: at decide its customer is on hold.",
                {_per_hour("dead_letters_total", "stage, cause"): "{{stage}}: {{cause}}"},
            ),
            Chart(
                "Batches repeated, dropped, fenced",
                "Repeated: something passing. Fenced: workers take partitions from each other.",
                {
                    _per_hour("batches_repeated_total", "role"): "{{role}}: repeated",
                    _per_hour("batches_dropped_total", "role"): "{{role}}: dropped",
                    _per_hour("fenced_total", "role"): "{{role}}: fenced",
                },
            ),
            Chart(
                "Ledger: calls to Redis",
                "99 %, and those that got no proper answer.",
                {
                    _quantile(0.99, "ledger_call_seconds"): "99 %, s",
                    f"sum(rate({OURS}ledger_failures_total[$__rate_interval]))": "failures a second",
                },
            ),
            Chart(
                "Behind an open transaction",
                "Somebody who writes to a source has not ended a transaction; `doctor` says who.",
                {f"max by (topic, partition) ({OURS}held_back_records)": "{{topic}}-{{partition}}"},
            ),
        ),
        "Starts": (
            Chart("Rebalances", "Assignments received.", {_per_hour("assignments_total", "role"): "{{role}}"}),
            Chart(
                "Recovery: records left",
                "Changelog records to be read before work begins.",
                {f"sum by (role, table) ({OURS}recovery_records_left)": "{{role}}: {{table}}"},
            ),
        ),
    },
)

BUSINESS: Final = Board(
    "business",
    "referral_stream: asks and what comes of them",
    "Who is asked, what holds the others back, what comes of it? The figures of a period: `referral-stream metrics`.",
    {
        "Now": (
            Light(
                "Asks in a day",
                "Customers who were asked for a referral.",
                f'sum(increase({OURS}decisions_total{{outcome=~"asked|soft"}}[1d]))',
            ),
            Light(
                "Rewards that wait for the ledger",
                "For how long the first of them has waited.",
                f"max({OURS}grants_waiting_seconds)",
                amber=60,
                red=600,
                unit="s",
            ),
            Light(
                "Triggers paused by the burst breaker, in a week",
                "A person resumes them: `control.resumed`, or the console.",
                f"sum(increase({OURS}burst_pauses_total[7d]))",
                amber=1,
                red=3,
            ),
        ),
        "Asking": (
            Chart(
                "Decisions in an hour",
                "By outcome.",
                {_per_hour("decisions_total", "outcome"): "{{outcome}}"},
                stack=True,
            ),
            Chart(
                "Asks in an hour",
                "By trigger.",
                {_per_hour("decisions_total", "trigger", '{outcome=~"asked|soft"}'): "{{trigger}}"},
                stack=True,
            ),
            Chart(
                "What holds customers back",
                "Decisions that a gate held back, alone or with others. One customer's: `referral-stream explain`.",
                {_per_hour("gates_held_total", "gate"): "{{gate}}"},
            ),
            Chart(
                "Refused by the ledger",
                "Caps of customers and accounts.",
                {_per_hour("ledger_denials_total", "gate"): "{{gate}}"},
            ),
        ),
        "Afterwards": (
            Chart("Follow-ups in an hour", "By kind.", {_per_hour("followups_total", "kind"): "{{kind}}"}, stack=True),
            Chart(
                "Follow-ups withdrawn in an hour",
                "By reason.",
                {_per_hour("followups_cancelled_total", "reason"): "{{reason}}"},
            ),
            Chart(
                "Rewards in an hour", "By what became of them.", {_per_hour("rewards_total", "outcome"): "{{outcome}}"}
            ),
        ),
        "What comes of it": (
            Chart(
                "Answers",
                "Share of the asks that were not taken back. No line until there are 30 of them.",
                {_works("answer_(yes|maybe|no|stop)"): "{{metric}}"},
                unit="percentunit",
            ),
            Chart(
                "From occasion to referral",
                "ask_rate: of eligible customers; conversion: of asks; quality: referrals that became customers.",
                {_works("ask_rate|conversion|quality"): "{{metric}}"},
                unit="percentunit",
            ),
            Chart(
                "Referrals from an ask, by trigger",
                "Which trigger works? Two lines that differ prove nothing: `referral-stream metrics` compares them.",
                {f'max by (value) ({OURS}works{{by="trigger",metric="conversion"}})': "{{value}}"},
                unit="percentunit",
            ),
            Chart(
                "Occasions missed",
                "Share of those that only waited for a good moment, until none was left in their window.",
                {_works("misses"): "{{metric}}"},
                unit="percentunit",
            ),
        ),
        "Events": (
            Chart(
                "Source records in an hour",
                "By what became of them.",
                {_per_hour("ingested_records_total", "outcome"): "{{outcome}}"},
                stack=True,
            ),
            Chart(
                "Why records were skipped",
                "What nobody needs is normal; `unknown_type` may be a product event worth a mapping.",
                {_per_hour("ingested_records_total", "reason", '{outcome!="accepted"}'): "{{reason}}"},
            ),
        ),
    },
)
BOARDS: Final = (HEALTH, BUSINESS)


def written(board: Board) -> str:
    """The dashboard as JSON, as Grafana imports it."""
    made = (
        dashboard.Dashboard(board.title)
        .uid(f"referral-stream-{board.name}")
        .description(board.description)
        .tags(["referral-stream"])
        .readonly()
        .refresh("30s")
        .time("now-6h", "now")
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .with_variable(dashboard.DatasourceVariable("datasource").type("prometheus").label("Prometheus"))
    )
    for heading, panels in board.rows.items():
        made.with_row(dashboard.Row(heading))
        for panel in panels:
            made.with_panel(_chart(panel) if isinstance(panel, Chart) else _light(panel))
    return JSONEncoder(sort_keys=True, indent=2).encode(made.build()) + "\n"


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expression).legend_format(legend).datasource(_DATASOURCE)


def _chart(chart: Chart) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(chart.title)
        .description(chart.description)
        .datasource(_DATASOURCE)
        .unit(chart.unit)
        .fill_opacity(20 if chart.stack else 0)
        .height(8)
        .span(12)
    )
    for expression, legend in chart.queries.items():
        panel.with_target(_query(expression, legend))
    return panel


def _light(light: Light) -> stat.Panel:
    limits = sorted({limit for limit in (light.amber, light.red) if limit is not None})
    colours = ["green", "orange", "red"] if len(limits) == 2 else ["green", "red"]  # noqa: PLR2004 (amber and red)
    if light.below:
        colours.reverse()
    steps = [Threshold(value=limit, color=colour) for limit, colour in zip([None, *limits], colours, strict=False)]
    return (
        stat.Panel()
        .title(light.title)
        .description(light.description)
        .datasource(_DATASOURCE)
        .unit(light.unit)
        .thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
        .color_mode(BigValueColorMode.VALUE)
        .graph_mode(BigValueGraphMode.AREA)
        .with_target(_query(light.query, ""))
        .height(4)
        .span(4)
    )


def main(arguments: list[str]) -> int:
    if arguments not in ([], ["--check"]):
        print(__doc__, file=sys.stderr)
        return 2
    stale = []
    for board in BOARDS:
        file, text = FOLDER / f"{board.name}.json", written(board)
        if arguments and (not file.exists() or file.read_text(encoding="utf-8") != text):
            stale.append(file.name)
        if not arguments:
            file.write_text(text, encoding="utf-8")
    if stale:
        print(
            f"docs/grafana: {', '.join(stale)} differ from tools/dashboards.py; run: make dashboards", file=sys.stderr
        )
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
