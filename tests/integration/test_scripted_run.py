"""A thousand customers, seven topics, two partitioners, half a minute: whom the rules choose is asked, nobody else."""

from __future__ import annotations

from collections import Counter
from statistics import median

from referral_stream.contracts.codec import decode_event
from referral_stream.core.effects import Decision
from referral_stream.core.instants import SECOND
from tests.integration.live import UNEVEN, Pipeline, facts, requested
from tests.integration.scripted import CUSTOMERS, Phase, stories
from tests.integration.scripted_run import ScriptedRun, assert_same_asks, assert_state_is_exact
from tests.oracle.gates import GATES

PUNCTUAL = 5 * SECOND
"""Half of the asks, on a slow machine that runs other tests besides. On a quiet one: ``make bench ARGS=latency``."""
AT_ALL = 60 * SECOND
"""The last of them, there."""


def test_the_script_has_what_it_is_for() -> None:
    told = stories()
    assert len(told) == sum(CUSTOMERS.values()) == 1_000
    assert len(set(UNEVEN.values())) == len(UNEVEN) == 7
    partitioners = Counter(line.partitioner for story in told for phase in Phase for line in story.phases[phase])
    assert min(partitioners.values()) > 1_000


def test_every_ask_of_the_oracle_is_made_and_no_other(scripted_run: ScriptedRun) -> None:
    assert len(scripted_run.expected_asks()) > 500
    assert_same_asks(scripted_run)


def test_asks_are_made_at_their_due_instant_and_not_at_some_later_event(scripted_run: ScriptedRun) -> None:
    asked, expected = scripted_run.asked(), scripted_run.expected_asks()
    late = {ask: asked[ask] - due for ask, due in expected.items()}
    assert {ask: ms for ask, ms in late.items() if not 0 <= ms <= AT_ALL} == {}
    assert median(late.values()) <= PUNCTUAL


def test_every_opportunity_ends_as_the_oracle_says(scripted_run: ScriptedRun) -> None:
    assert scripted_run.outcomes() == scripted_run.expected_outcomes()


def test_every_kind_of_outcome_occurs(scripted_run: ScriptedRun) -> None:
    wanted = {"asked", "soft", "holdout", "deferred", "suppressed", "superseded", "cancelled", "expired"}
    assert wanted | {"expired_on_arrival", "historical"} <= set(scripted_run.outcomes().values())


def test_every_decision_is_explained_by_all_gates_and_the_parts_of_its_score(scripted_run: ScriptedRun) -> None:
    made = [each.effect for each in scripted_run.decisions if isinstance(each.effect, Decision)]
    assert {tuple(reason.gate for reason in each.reasons) for each in made} == {tuple(GATES)}
    assert {len(each.score.parts) for each in made} == {9}
    assert all(sum(each.score.parts.values()) == each.score.raw for each in made)
    assert max(Counter(each.decision_id for each in made).values()) == 1


def test_commands_are_taken_back_exactly_where_the_oracle_says(scripted_run: ScriptedRun) -> None:
    expected = {row["data"]["command_id"] for row in scripted_run.expected.asks if row["type"].endswith("cancelled")}
    assert scripted_run.cancelled() == expected
    assert expected


def test_each_command_is_there_once_for_whoever_reads_the_committed(scripted_run: ScriptedRun) -> None:
    commands = requested(scripted_run.asks)  # fails where an id comes twice
    assert len({(each.customer_id, each.trigger, each.subject) for each in commands.values()}) == len(commands)


def test_one_customer_is_on_one_partition_wherever_its_events_came_from(scripted_run: ScriptedRun) -> None:
    places: dict[str, set[int]] = {}
    for record in facts(scripted_run.events):
        places.setdefault(decode_event(record.value or b"").subject, set()).add(record.partition)
    assert len(places) == 1_000
    assert {len(found) for found in places.values()} == {1}


def test_the_changelog_holds_what_a_fold_of_the_log_gives(
    scripted_pipeline: Pipeline, scripted_run: ScriptedRun
) -> None:
    assert_state_is_exact(scripted_pipeline, scripted_run)
