"""``referral-stream mapping try``."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result

from referral_stream.cli import main

TOML = """
[[mapping]]
name = "exports"
when = { adapter = "segment", event = "Report Exported", properties.plan = { in = ["pro", "team"] } }
type = "workflow.completed"
data.name = "$.properties.report"
"""


def attempt(folder: Path, payload: object, toml: str = TOML, *options: str) -> Result:
    (folder / "mappings.toml").write_text(toml, encoding="utf-8")
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return CliRunner().invoke(main, ["mapping", "try", str(folder / "mappings.toml"), "-", *options], input=text)


def exported(plan: str) -> dict[str, object]:
    properties = {"report": "cash flow", "plan": plan}
    return {"type": "track", "event": "Report Exported", "userId": "u-1", "messageId": "m-1", "properties": properties}


def test_a_match_shows_who_read_it_by_which_mapping_and_the_events(tmp_path: Path) -> None:
    result = attempt(tmp_path, exported("pro"))
    recognised, mapping, event, *body = result.output.splitlines()
    assert result.exit_code == 0
    assert recognised == "recognised: adapter segment"
    assert mapping == "mapping exports: matches, becomes workflow.completed"
    assert event == "event workflow.completed"
    told = json.loads("\n".join(body))
    assert (told["subject"], told["data"]) == ("u-1", {"name": "cash flow"})


def test_a_miss_names_the_condition(tmp_path: Path) -> None:
    result = attempt(tmp_path, exported("free"))
    assert "mapping exports: does not match: properties.plan" in result.output.splitlines()
    assert result.output.splitlines()[-1].startswith("skipped: irrelevant")


def test_what_becomes_no_event_ends_with_1_and_the_reason(tmp_path: Path) -> None:
    result = attempt(tmp_path, {"hello": "world"})
    assert result.exit_code == 1
    assert result.output.splitlines() == [
        "recognised: a JSON object from no known vendor (adapter json)",
        "no mapping names this adapter",
        "dead letter: unrecognised: neither a CloudEvent nor a webhook of a vendor we know",
    ]


def test_an_event_of_the_contract_is_said_to_need_no_mapping(tmp_path: Path) -> None:
    event = {"specversion": "1.0", "type": "goal.achieved", "subject": "a", "data": {"goal": "g"}}
    assert attempt(tmp_path, event).output.splitlines()[:2] == [
        "recognised: nothing that mappings apply to",
        "event goal.achieved",
    ]


def test_a_bad_file_ends_with_2_and_all_its_faults(tmp_path: Path) -> None:
    result = attempt(tmp_path, {}, '[[mapping]]\nwhen = { adapter = "segment" }\ntype = "goal.achived"\n')
    assert result.exit_code == 2
    assert result.output.strip().endswith("mapping[1]: type: unknown; did you mean 'goal.achieved'?")


def test_a_payload_that_is_no_json_ends_with_2(tmp_path: Path) -> None:
    result = attempt(tmp_path, "{")
    assert result.exit_code == 2
    assert "not JSON" in result.output


def test_a_replay_reads_with_mappings_too(tmp_path: Path) -> None:
    (tmp_path / "mappings.toml").write_text(TOML, encoding="utf-8")
    log = tmp_path / "log.jsonl"
    log.write_text(json.dumps({"topic": "product-usage", "timestamp": 1_781_596_800_000, "value": exported("pro")}))
    toml = tmp_path / "ignore.toml"
    toml.write_text('[[mapping]]\nwhen = { adapter = "segment" }\nignore = true\n', encoding="utf-8")

    def events(mappings: Path) -> str:
        options = ["--mappings", str(mappings), "--output", str(tmp_path / "out")]
        result = CliRunner().invoke(main, ["replay", str(log), *options])
        assert result.exit_code == 0, result.output
        return result.output.splitlines()[0]

    assert "1 events" in events(tmp_path / "mappings.toml")
    assert "0 events" in events(toml)


def test_paths_and_questions_of_the_file_count_in_a_trial(tmp_path: Path) -> None:
    response = {
        "data": {"id": "r-1", "contact": {"id": "c"}, "data": {"joy": 4, "team": "acme"}},
        "event": "responseFinished",
    }
    toml = '[customer_paths]\nformbricks = ["data.data.team"]\n[questions.formbricks]\njoy = "csat/5"\n'
    _, _, event, *body = attempt(tmp_path, response, toml).output.splitlines()
    link = body.index("event customer.linked")
    told, linked = json.loads("\n".join(body[:link])), json.loads("\n".join(body[link + 1 :]))
    assert (event, told["subject"]) == ("event csat.responded", "acme")
    assert told["data"] == {"response_id": "r-1:joy", "score": 4.0, "scale_max": 5.0}
    assert linked["data"] == {"kind": "formbricks_contact", "value": "c"}
