"""The mapping file: every fault at once, by name, with the nearest valid one."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from referral_stream.contracts.mapping.language import NONE
from referral_stream.contracts.mapping.parsing import MappingProblem, build_mappings, parse_mappings
from referral_stream.contracts.mapping.paths import parse_path

GOOD = '[[mapping]]\nwhen = { adapter = "segment", event = "Exported" }\ntype = "goal.achieved"\ndata.goal = "g"\n'


def faults(toml: str) -> list[str]:
    with pytest.raises(MappingProblem) as problem:
        build_mappings(tomllib.loads(toml))
    return problem.value.faults


def in_a_mapping(text: str, base: str = GOOD) -> list[str]:
    return [fault.removeprefix("mapping[1]: ") for fault in faults(base + text)]


def test_an_empty_file_maps_nothing(tmp_path: Path) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text("")
    assert parse_mappings(file.read_bytes(), str(file)) == NONE


def test_what_is_no_toml_is_said_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text("[[mapping")
    with pytest.raises(MappingProblem, match=rf"^{file}: not TOML: "):
        parse_mappings(file.read_bytes(), str(file))


def test_all_faults_are_told_at_once_each_with_its_mapping() -> None:
    toml = """
    maping = 1
    [[mapping]]
    name = "exports"
    when = { adapter = "segmnt", event = ["a"] }
    typ = "usage.recorded"
    [[mapping]]
    when = { adapter = "posthog" }
    type = "gaol.achieved"
    """
    assert faults(toml) == [
        "maping: unknown key; did you mean 'mapping'?",
        "exports: typ: unknown key; did you mean 'type'?",
        "exports: when.adapter: unknown; did you mean 'segment'?",
        'exports: when.event: must be a value, { in = ["a", "b"] }, { exists = true } or { at_least = 9 }',
        "exports: type: required, or ignore = true",
        "mapping[2]: type: unknown; did you mean 'goal.achieved'?",
    ]


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("data.gaol = 1", "data.gaol: no field of goal.achieved; did you mean 'goal'?"),
        ("data.x.y = 1", "data.x: no field of goal.achieved; there are goal"),
        ('subject = "$.a..b"', "subject: not a path; write $.properties.name, $.items[0] or $.properties['a.b']"),
        ("subject = 3", 'subject: must be a path, for example "$.user.id"'),
        ("name = 3", "name: must be text"),
        ("ignore = 1", "ignore: must be true or false"),
    ],
)
def test_a_fault_is_named(text: str, fault: str) -> None:
    assert fault in in_a_mapping(text)


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("data.goal = 3", "data.goal: Input should be a valid string"),
        ('data.goal = "$goal"', 'data.goal: a path begins with "$.", a text that begins with $ is written with "$$"'),
        ('data.goal = "$.[x]"', "data.goal: not a path; write $.properties.name, $.items[0] or $.properties['a.b']"),
        (
            'data.goal = { path = "$.x", as = "int" }',
            "data.goal.as: does not fit the field: Input should be a valid string",
        ),
        ('data.goal = { path = "$.x", as = "string" }', "data.goal.as: unknown; did you mean 'str'?"),
        ('data.goal = { path = "$.x", defualt = "g" }', "data.goal.defualt: unknown key; did you mean 'default'?"),
        ('data.goal = { path = "$.x", default = 1 }', "data.goal.default: Input should be a valid string"),
        (
            'data.goal = { as = "str" }',
            'data.goal: must be a value, a path as "$.properties.name", or { path = "$.…", as = "int" }',
        ),
        ("data = 3", "data: must be a table of fields"),
        ("", "data.goal: required by goal.achieved"),
    ],
)
def test_a_field_is_held_against_the_canonical_model(line: str, fault: str) -> None:
    base = '[[mapping]]\nwhen = { adapter = "segment" }\ntype = "goal.achieved"\n'
    found = in_a_mapping(line, base)
    assert found == [fault]


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ('data.contact = "$.friend"', "data.contact: is an object; map its fields, for example data.contact.ref"),
        ('data.contact.ref = ""', "data.contact.ref: String should have at least 1 character"),
        ("data.contact.ref = 3", "data.contact.ref: Input should be a valid string"),
        ('data.contact.rfe = "$.x"', "data.contact.rfe: no field of data.contact; did you mean 'ref'?"),
    ],
)
def test_objects_within_are_checked_too(line: str, fault: str) -> None:
    base = '[[mapping]]\nwhen = { adapter = "segment" }\ntype = "referral.given"\ndata.referral_id = "$.id"\n'
    assert fault in in_a_mapping(line, base)


@pytest.mark.parametrize(
    ("when", "fault"),
    [
        ("{}", "when.adapter: required; there are "),
        ('{ adapter = "segment", topic = "suport" }', "when.topic: no input topic 'suport'; did you mean 'support'?"),
        ('{ adapter = "segment", topic = 3 }', "when.topic: must be a topic without prefix, or "),
        ('{ adapter = "segment", event = { exists = 1 } }', "when.event: must be a value, "),
        ('{ adapter = "segment", event = { in = [] } }', "when.event: must be a value, "),
        ('{ adapter = "segment", "$." = 1 }', "when.$.: not a path; "),
    ],
)
def test_conditions_are_checked(when: str, fault: str) -> None:
    (found,) = in_a_mapping("", f'[[mapping]]\nwhen = {when}\ntype = "usage.recorded"\n')
    assert found.startswith(fault)


def test_a_mapping_without_conditions_is_a_fault() -> None:
    (found,) = in_a_mapping("", '[[mapping]]\ntype = "usage.recorded"\n')
    assert found.startswith("when: required")


def test_nobody_pauses_the_asking_or_wakes_a_customer_by_a_mapping() -> None:
    for kind in ("control.paused", "wakeup.due", "deadletter.replayed"):
        (found,) = in_a_mapping("", f'[[mapping]]\nwhen = {{ adapter = "json" }}\nsubject = "$.u"\ntype = "{kind}"\n')
        assert found.startswith("type: unknown")


def test_json_of_nobody_needs_a_path_to_the_customer() -> None:
    (found,) = in_a_mapping("", '[[mapping]]\nwhen = { adapter = "json", name = "x" }\ntype = "usage.recorded"\n')
    assert found == "subject: or a link is required with adapter json: the path of the customer's id"


@pytest.mark.parametrize("text", ['type = "usage.recorded"', 'subject = "$.u"', "data.count = 1"])
def test_what_is_ignored_is_nothing_else(text: str) -> None:
    (found,) = in_a_mapping(text, '[[mapping]]\nwhen = { adapter = "segment" }\nignore = true\n')
    assert found.endswith("means nothing beside ignore = true")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("$.a.b", ("a", "b")),
        ("$.a[0].b", ("a", "0", "b")),
        ("$['a.b'].c", ("a.b", "c")),
        ("properties.$current_url", ("properties", "$current_url")),
        ("Plan Name", ("Plan Name",)),
    ],
)
def test_paths(text: str, path: tuple[str, ...]) -> None:
    assert parse_path(text) == path


@pytest.mark.parametrize("text", ["", "$", "$.", ".", "a..b", "a.", "a[", "a[x]", "a['']", "a['b'"])
def test_what_is_no_path(text: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        parse_path(text)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('link = "$.email"', 'link: must be a table of paths, for example link.email = "$.user.email"'),
        ("link = {}", 'link: must be a table of paths, for example link.email = "$.user.email"'),
        ('link.Email = "$.email"', "link.Email: String should match pattern '^[a-z0-9_]{1,32}$'"),
        (
            "link.email = 3",
            'link.email: must be a path, for example "$.user.id"',
        ),
        ('link.email = "$.a["', "link.email: not a path; write $.properties.name, $.items[0] or $.properties['a.b']"),
    ],
)
def test_a_link_is_a_kind_and_a_path(text: str, fault: str) -> None:
    assert in_a_mapping(text) == [fault]
