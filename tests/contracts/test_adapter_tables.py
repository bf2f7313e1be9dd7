"""What a mapping file tells the adapters: customer paths and questions, or every fault by name."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from referral_stream.contracts.inbound.adapt import Boundary
from referral_stream.contracts.mapping.language import Mappings
from referral_stream.contracts.mapping.parsing import MappingProblem, build_mappings, parse_mappings
from tests.contracts.building import KEY, accepted, only, read, sample, skipped


def mappings(toml: str) -> Mappings:
    return build_mappings(tomllib.loads(toml))


def faults(toml: str) -> list[str]:
    with pytest.raises(MappingProblem) as problem:
        mappings(toml)
    return problem.value.faults


def test_a_customers_id_is_looked_for_where_the_file_says_in_its_order() -> None:
    file = mappings('[customer_paths]\nstripe = ["$.data.object.lines.data[0].id", "data.object.customer"]')
    assert file.customer_paths == {"stripe": ("data.object.lines.data.0.id", "data.object.customer")}
    payload = sample("stripe.invoice_paid.cycle")
    payload["data"]["object"]["lines"] = {"data": [{"id": "tenant-7"}]}
    boundary = Boundary(email_key=KEY, mappings=file)
    assert {event.subject for event in accepted(read(payload, boundary=boundary))} == {"tenant-7"}
    payload["data"]["object"]["lines"] = {"data": []}
    assert {event.subject for event in accepted(read(payload, boundary=boundary))} == {"cus_SkAna"}


def test_a_question_is_of_the_scale_that_the_file_says() -> None:
    payload = sample("surveymonkey.response_details")
    assert skipped(read(payload)).reason == "no_score"
    boundary = Boundary(email_key=KEY, mappings=mappings('[questions.surveymonkey]\nq-nps = "nps"\nq-why = "comment"'))
    answered, _ = accepted(read(payload, boundary=boundary))
    assert (answered.type, answered.data.score, answered.data.theme) == ("nps.responded", 9, "time_saved")


def test_what_a_boundary_is_given_in_code_counts_before_the_file() -> None:
    file = mappings('[questions.surveymonkey]\nq-nps = "ignore"\n[customer_paths]\nsurveymonkey = ["nowhere"]')
    boundary = Boundary(
        email_key=KEY,
        mappings=file,
        questions={"surveymonkey": {"q-nps": "csat/10"}},
        customer_paths={"surveymonkey": ("recipient_id",)},
    )
    answered = only(read(sample("surveymonkey.response_details"), boundary=boundary))
    assert (answered.type, answered.subject) == ("csat.responded", "88")


def test_without_the_tables_adapters_read_as_they_are() -> None:
    boundary = Boundary(email_key=KEY, mappings=mappings(""))
    assert read(sample("intercom.ticket_created"), boundary=boundary) == read(sample("intercom.ticket_created"))


@pytest.mark.parametrize(
    ("toml", "fault"),
    [
        ('[customer_path]\nstripe = ["a"]', "customer_path: unknown key; did you mean 'customer_paths'?"),
        ('[customer_paths]\nstrpie = ["a"]', "customer_paths.strpie: unknown adapter; did you mean 'stripe'?"),
        (
            '[customer_paths]\nstripe = "a"',
            'customer_paths.stripe: must be a list of paths, for example ["contact.external_id", "contact.id"]',
        ),
        (
            "[customer_paths]\nstripe = []",
            'customer_paths.stripe: must be a list of paths, for example ["contact.external_id", "contact.id"]',
        ),
        (
            '[customer_paths]\nstripe = ["a..b"]',
            "customer_paths.stripe: not a path; write $.properties.name, $.items[0] or $.properties['a.b']",
        ),
        (
            "[customer_paths]\nstripe = [\"$.metadata['a.b']\"]",
            "customer_paths.stripe: names containing a dot cannot be written here",
        ),
        ("customer_paths = 3", 'customer_paths: must be a table: [customer_paths] with intercom = ["contact.id"]'),
        ('[questions.typefrom]\nq = "nps"', "questions.typefrom: unknown adapter; did you mean 'typeform'?"),
        ("questions = []", 'questions: must be a table: [questions.typeform] with how_likely = "nps"'),
        (
            "[questions]\ntypeform = 1",
            'questions.typeform: must be a table: [questions.typeform] with how_likely = "nps"',
        ),
        (
            "[questions.typeform]\nq = 5",
            'questions.typeform.q: must be a scale in quotes, for example "nps" or "csat/5"',
        ),
        (
            '[questions.typeform]\nq = "csta"',
            "questions.typeform.q: no scale 'csta'; a question is nps, csat/5 (the scale's maximum), comment or ignore",
        ),
    ],
)
def test_a_fault_is_named(toml: str, fault: str) -> None:
    assert faults(toml) == [fault]


def test_questions_are_told_only_to_who_asks_some() -> None:
    (fault,) = faults('[questions.stripe]\nq = "nps"')
    assert fault.startswith("questions.stripe: has no questions; ")


def test_faults_of_all_tables_are_told_at_once_with_the_file(tmp_path: Path) -> None:
    file = tmp_path / "mappings.toml"
    file.write_text('[customer_paths]\nx = ["a"]\n[questions.typeform]\nq = "stars"\n[[mapping]]\ntype = "x"\n')
    with pytest.raises(MappingProblem) as problem:
        parse_mappings(file.read_bytes(), str(file))
    assert len(problem.value.faults) == 4
    lines = [line.removeprefix(f"{file}:").partition(":")[0] for line in str(problem.value).splitlines()]
    assert sorted(lines) == ["2", "4", "5", "6"]
