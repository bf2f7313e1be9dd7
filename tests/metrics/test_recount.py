"""The figures again, by SQL over the same records: an independent recount by DuckDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from referral_stream.metrics.comparing import Comparison, comparisons, observe
from referral_stream.metrics.figures import Mean, Money, Share
from referral_stream.metrics.records import Records
from referral_stream.metrics.report import Figures, report
from tests.builders import a_policy
from tests.rules import rule
from tests.worlds.planted import Planted

POLICY = a_policy(
    holdout={"percent": 20},
    experiments={"wording": {"trigger": "nps_promoter", "templates": {"nps": 1, "nps_short": 1}}},
)

VIEWS = """
create table newest as select * from read_json('{file}', format='newline_delimited', columns={{
  customer_id: 'VARCHAR', account_id: 'VARCHAR', segment: 'VARCHAR', signed_up_at: 'TIMESTAMP',
  recorded_at: 'TIMESTAMP',
  referral_history: 'STRUCT(first_asked_at TIMESTAMP)', followups: 'JSON',
  asks: 'STRUCT(command_id VARCHAR, "trigger" VARCHAR, template VARCHAR, kind VARCHAR, arm VARCHAR, t0 VARCHAR,
    asked_at TIMESTAMP, decided_at TIMESTAMP, sent_at TIMESTAMP, answer VARCHAR, referrals INT, failed BOOLEAN,
    cancelled BOOLEAN, regret BOOLEAN)[]',
  referred_contacts: 'STRUCT(referral_id VARCHAR, command_id VARCHAR, referred_date DATE, status VARCHAR,
    deal_value_minor BIGINT, currency VARCHAR)[]',
  months: 'STRUCT("month" VARCHAR, "trigger" VARCHAR, opened INT, eligible INT, asked INT, missed INT, blocked JSON)[]'
}});
create view ask as select customer_id, coalesce('a' || account_id, 'c' || customer_id) as unit, segment, a.*,
  a.kind in ('asked', 'soft') as emitted, coalesce(a.failed or a.cancelled, false) as back
  from (select *, unnest(asks) as a from newest);
create view occasion as select customer_id, m.* from (select *, unnest(months) as m from newest);
create view referral as select customer_id, coalesce('a' || account_id, 'c' || customer_id) as unit, segment, r.*
  from (select *, unnest(referred_contacts) as r from newest);
create view t as select max(recorded_at) as now from newest;
"""

UNITS = """
with first as (
  select unit, arg_min({arm}, (asked_at, command_id)) as arm, min(asked_at) as started,
    arg_min(coalesce(regret, false), (asked_at, command_id)) as regret
  from ask where {about} group by unit)
select arm, count(*), count(*) filter (where {success})
from first, t where started + interval {days} day <= now group by arm order by arm desc
"""
REFERRED = """exists (select 1 from referral r where r.unit = first.unit
  and r.referred_date >= started::date and r.referred_date < started::date + 90)"""


@pytest.fixture(scope="module")
def records() -> Records:
    return Planted(seed=5, accounts=1_500, holdout=0.2, rate=0.15, effect=2, trouble=0.1, harm=1.5).records(days=364)


@pytest.fixture(scope="module")
def found(records: Records) -> Figures:
    return report(records, POLICY, by=("trigger",))


@pytest.fixture(scope="module")
def sql(records: Records, tmp_path_factory: pytest.TempPathFactory) -> Any:
    duckdb = pytest.importorskip("duckdb", reason="duckdb (the extra `statistics`) recounts the figures")
    file: Path = tmp_path_factory.mktemp("recount") / "newest.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(record) for record in records))
    connection = duckdb.connect(config={"threads": 1})
    connection.execute(VIEWS.format(file=file))
    return lambda query: connection.execute(query).fetchall()


@rule("A7.2", "A7.3")
def test_every_share_is_recounted(found: Figures, sql: Any) -> None:
    counted = {
        "ask_rate": """select count(distinct customer_id) filter (where asked > 0),
          count(distinct customer_id) filter (where eligible > 0) from occasion""",
        "conversion": "select count(*) filter (where referrals > 0), count(*) from ask where emitted and not back",
        "quality": "select count(*) filter (where status = 'converted'), count(*) from referral",
        "referrals_per_customer": """select (select count(*) from referral),
          count(distinct customer_id) filter (where asked > 0) from occasion""",
        "misses": "select sum(coalesce(missed, 0)), sum(opened) from occasion",
        "silent": """select count(*) filter (where answer is null and referrals = 0), count(*) from ask, t
          where emitted and sent_at is not null and asked_at + interval 14 day <= now""",
        "answer_yes": "select count(*) filter (where answer = 'yes'), count(*) from ask where emitted and not back",
        "blocked_trouble": """select sum(coalesce((blocked->>'trouble')::int, 0)), sum(opened) from occasion""",
        "followups_late": """select 0, sum((followups->'thank'->>'requested')::int) from newest""",
    }
    for name, query in counted.items():
        figure = found.total[name]
        assert isinstance(figure, Share | Mean)
        assert [(figure.count, figure.of)] == sql(query), name


@rule("A7.3")
def test_groups_sums_and_percentiles_are_recounted(found: Figures, sql: Any) -> None:
    conversion = {group[0]: figures["conversion"] for group, figures in found.groups.items() if group[0]}
    counted = sql("""select "trigger", count(*) filter (where referrals > 0), count(*) from ask
      where emitted and not back group by 1 order by 1""")
    assert [(name, each.count, each.of) for name, each in conversion.items() if isinstance(each, Share)] == [
        row for row in counted if row[0] in conversion
    ]
    assert {each.currency: (each.minor, each.of) for each in found.total.values() if isinstance(each, Money)} == {
        currency: (total, deals)
        for currency, total, deals in sql("""select upper(coalesce(currency, 'XXX')), sum(deal_value_minor), count(*)
          from referral where status = 'converted' and deal_value_minor is not null group by 1""")
    }
    ((delay,),) = sql("""select quantile_disc(epoch_ms(decided_at) - epoch_ms(asked_at), 0.5) from ask where emitted""")
    assert found.total["punctuality_p50"].value == delay / 1_000  # type: ignore[union-attr]
    ((age,),) = sql("""select quantile_disc(epoch_ms(referral_history.first_asked_at) - epoch_ms(signed_up_at), 0.9)
      from newest where referral_history.first_asked_at is not null""")
    assert found.total["time_to_ask_p90"].value == pytest.approx(age / 86_400_000, abs=5e-5)  # type: ignore[union-attr]


@rule("A7.2", "A7.8")
def test_the_units_of_every_comparison_are_recounted(found: Figures, sql: Any) -> None:
    uplift = UNITS.format(arm="emitted::int", about="kind <> 'shadow'", success=REFERRED, days=90)
    harm = UNITS.format(arm="emitted::int", about="kind <> 'shadow'", success="regret", days=14)
    arm = "(arm = 'wording/nps_short')::int"
    short = UNITS.format(arm=arm, about="""emitted and arm like 'wording/%'""", success=REFERRED, days=90)
    counted = {"uplift": sql(uplift), "harm": sql(harm), "wording/nps_short": sql(short)}
    for c in found.comparisons:
        if c.kind == "template" or not c.name:
            name = c.name if c.kind == "template" else c.kind
            if name in counted:
                expected = counted.pop(name)
                assert [(2 - n, arm.units, arm.successes) for n, arm in enumerate(c.arms, 1)] == expected, name
    assert not counted


def test_what_was_planted_is_found_and_what_was_not_is_not() -> None:
    records = Planted(
        seed=3, accounts=4_000, holdout=0.2, rate=0.03, effect=3, harm=1, appeal={"nps": 1.0, "nps_short": 1.0}
    ).records()
    found: dict[tuple[str, str], Comparison] = {
        (c.kind, c.name): c for c in comparisons(observe(records, POLICY, report(records, POLICY).period))
    }
    assert found["uplift", ""].sentence.startswith("Asking works")
    assert found["harm", ""].verdict == "none_yet"
    assert found["template", "wording/nps"].verdict == "none_yet"


@pytest.mark.parametrize(
    ("planted", "what", "begins"),
    [
        ({"trouble": 0.04, "harm": 3}, ("harm", ""), "Asking does harm"),
        (
            {"rate": 0.06, "appeal": {"nps": 1, "nps_short": 3}},
            ("template", "wording/nps_short"),
            "nps_short works better",
        ),
    ],
)
def test_planted_harm_and_a_better_wording_are_found(
    planted: dict[str, Any], what: tuple[str, str], begins: str
) -> None:
    records = Planted(seed=4, accounts=3_000, holdout=0.2, **planted).records()
    found: dict[tuple[str, str], Comparison] = {(c.kind, c.name): c for c in report(records, POLICY).comparisons}
    assert found[what].sentence.startswith(begins), found[what]
