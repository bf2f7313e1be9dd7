"""The files of the repository agree: versions, images, pins, and what is kept out of git and of the image."""

from __future__ import annotations

import importlib.util
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from ruamel.yaml import YAML

import referral_stream
from referral_stream.runtime.settings import PREFIX, read_settings
from tests.services.kafka import KAFKA_VERSION

_ROOT = Path(__file__).parents[1]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())
_COMPOSE = YAML(typ="safe").load(_ROOT / "docker-compose.yml")
_WORKERS = ("ingest", "decide", "ledger")


_OF_ITS_OWN = "bench"
"""The extra with an environment of its own: what it brings refuses some of the versions that are pinned."""


def _requirements(*without: str) -> list[Requirement]:
    listed = [*_PROJECT["project"]["dependencies"]]
    for name, extra in _PROJECT["project"]["optional-dependencies"].items():
        listed += extra if name not in without else []
    return [requirement for requirement in map(Requirement, listed) if requirement.name != "referral-stream"]


def _pins() -> dict[str, str]:
    pins = re.findall(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", (_ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    return {canonicalize_name(name): version for name, version in pins}


def _lock_tool() -> Any:
    spec = importlib.util.spec_from_file_location("lock", _ROOT / "tools" / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_version_is_told_everywhere() -> None:
    version = referral_stream.__version__
    assert _PROJECT["project"]["dynamic"] == ["version"]
    assert _PROJECT["tool"]["hatch"]["version"] == {"path": "referral_stream/__init__.py"}
    assert f'org.opencontainers.image.version="{version}"' in (_ROOT / "Dockerfile").read_text()
    assert {_COMPOSE["services"][worker]["image"] for worker in _WORKERS} == {f"referral-stream:{version}"}


def test_the_pythons_that_are_promised_are_those_that_the_set_up_takes() -> None:
    classifiers = _PROJECT["project"]["classifiers"]
    promised = [each.rsplit(" ", 1)[1] for each in classifiers if "Python :: 3." in each]
    bootstrap = (_ROOT / "tools" / "bootstrap.py").read_text()
    oldest, newest = (
        tuple(map(int, bound))
        for bound in re.findall(r"^(?:OLDEST|NEWEST)_PYTHON = \((\d+), (\d+)\)", bootstrap, re.MULTILINE)
    )
    assert promised == [f"3.{minor}" for minor in range(oldest[1], newest[1] + 1)]
    assert _PROJECT["project"]["requires-python"] == f">={promised[0]}"


def test_what_a_message_tells_to_install_is_what_the_extras_ask_for() -> None:
    """By its own name, since that works in a checkout, in an image and from a wheel alike."""
    sources = [path.read_text() for path in (_ROOT / "referral_stream").rglob("*.py")]
    told = {name for source in sources for name in re.findall(r"pip install '?([^'\"]+)", source)}
    told = {name for name in told if not name.startswith("{")}  # those are filled in from what is installed
    extras = _PROJECT["project"]["optional-dependencies"]
    assert told >= {*extras["oidc"], *extras["rocksdb"], *extras["triggers"]}
    known = _requirements()
    assert told <= {each for extra in extras.values() for each in extra} | {each.name for each in known}
    assert not any("referral-stream[" in source for source in sources)


def test_the_make_targets_that_others_name_exist() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (_ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    callers = [_ROOT / ".ci" / "run", *(_ROOT / ".github" / "workflows").glob("*.yml")]
    pages = [
        _ROOT / "README.md",
        _ROOT / "CONTRIBUTING.md",
        *(_ROOT / "docs").glob("*.md"),
        _ROOT / "changes.d" / "README.md",
    ]
    called = {name for file in callers for name in re.findall(r"\bmake (?:--\S+ )*([a-z-]+)", file.read_text())}
    called -= {"targets"}  # a word of a comment
    named = {
        name
        for file in pages
        for name in re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", file.read_text(), re.MULTILINE)
    }
    assert {"check", "test", "smoke", "coverage"} <= called
    assert (called | {first or second for first, second in named}) - targets == set()
    nightly = YAML(typ="safe").load(_ROOT / ".github" / "workflows" / "nightly.yml")
    assert set(nightly["jobs"]["soak"]["strategy"]["matrix"]["target"]) <= targets


def test_the_workflows_try_every_python_that_is_promised_and_pin_every_action() -> None:
    check = (_ROOT / ".github" / "workflows" / "check.yml").read_text()
    jobs = YAML(typ="safe").load(check)["jobs"]
    promised = [each.rsplit(" ", 1)[1] for each in _PROJECT["project"]["classifiers"] if "Python :: 3." in each]
    assert jobs["wheel"]["strategy"]["matrix"]["python"] == promised
    assert jobs["tests"]["strategy"]["matrix"]["python"] == promised[1:], "the oldest is .ci/run's"
    for workflow in (_ROOT / ".github" / "workflows").glob("*.yml"):
        uses = re.findall(r"uses: (\S+)", workflow.read_text())
        assert [each for each in uses if not re.search(r"@v\d+", each)] == []


def test_every_page_is_in_the_index_of_the_docs() -> None:
    index = (_ROOT / "docs" / "README.md").read_text()
    pages = {path.name for path in (_ROOT / "docs").glob("*.md")} - {"README.md"}
    assert {page for page in pages if f"]({page})" not in index} == set()


def test_the_build_backend_is_pinned_too() -> None:
    assert _PROJECT["build-system"]["requires"] == [
        each for each in _PROJECT["project"]["optional-dependencies"]["lint"] if each.startswith("hatchling")
    ]


def test_every_dependency_is_pinned_within_its_range(subtests: pytest.Subtests) -> None:
    for requirement in _requirements(_OF_ITS_OWN):
        with subtests.test(str(requirement)):
            assert requirement.specifier.contains(_pins()[canonicalize_name(requirement.name)])


def test_every_dependency_is_bounded_on_both_sides(subtests: pytest.Subtests) -> None:
    for requirement in _requirements():
        with subtests.test(str(requirement)):
            operators = {specifier.operator for specifier in requirement.specifier}
            if requirement.name == "tzdata":  # the world's clocks change by law: the newest is always the right one
                assert operators == {">="}
            else:
                assert operators in ({"=="}, {">=", "<"})


@pytest.mark.parametrize("name", ["aiokafka", "faust-streaming"])
def test_the_libraries_whose_private_names_we_use_are_pinned_exactly(name: str) -> None:
    (requirement,) = [requirement for requirement in _requirements() if requirement.name == name]
    assert str(requirement.specifier) == f"=={_pins()[name]}"


_TRANSPORT = tomllib.loads((_ROOT / "faust-batches" / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize("requirement", [*map(Requirement, _TRANSPORT["dependencies"])], ids=str)
def test_the_transport_requires_what_the_product_pins(requirement: Requirement) -> None:
    pin = _pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)
    ours = {canonicalize_name(each.name): each for each in _requirements()}.get(canonicalize_name(requirement.name))
    assert ours is None or ours.specifier == requirement.specifier


def test_the_wheel_brings_the_transport_until_that_is_published() -> None:
    wheel = _PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == ["referral_stream", "faust-batches/src/faust_batches", "examples/messaging_worker"]
    assert wheel["sources"]["faust-batches/src"] == ""
    assert "faust-batches" not in {requirement.name for requirement in _requirements()}


def test_constraints_name_versions_and_no_places() -> None:
    text = (_ROOT / "constraints.txt").read_text()
    assert not re.search(r"https?:|file:|git\+| @ |--(?!hash=sha256:)", text)
    assert "referral-stream" not in _pins()


def test_every_package_is_locked_with_the_hashes_of_its_files_and_what_it_is_for() -> None:
    text = (_ROOT / "constraints.txt").read_text()
    entries = _lock_tool().entries(text)
    assert entries.keys() == _pins().keys()
    for name, (lines, _) in entries.items():
        hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})(?: \\)?$", lines, flags=re.MULTILINE)
        assert len(hashes) == len(lines.splitlines()) - 2 > 0, name
    # One version for all Pythons and platforms: a second one would be tested on some of them alone.
    assert len(re.findall(r"^[A-Za-z0-9]", text, flags=re.MULTILINE)) == len(entries)


def test_the_lock_knows_every_extra_and_what_it_needs() -> None:
    lock = _lock_tool()
    text = (_ROOT / "constraints.txt").read_text()
    extras = _PROJECT["project"]["optional-dependencies"]
    for name in extras.keys() - {"dev", _OF_ITS_OWN}:
        needed = {canonicalize_name(Requirement(each).name) for each in extras[name]}
        assert needed <= lock.entries(lock.locked(text, {name})).keys(), name
    needed = {canonicalize_name(Requirement(each).name) for each in _PROJECT["project"]["dependencies"]}
    assert needed <= lock.entries(lock.locked(text, {"demo"})).keys()
    building = lock.entries(lock.locked(text, {"build"})).keys()
    assert {canonicalize_name(Requirement(each).name) for each in _PROJECT["build-system"]["requires"]} <= building
    assert "aiohttp" not in building
    with pytest.raises(ValueError, match="nonsense"):
        lock.locked(text, {"demo", "nonsense"})


@pytest.mark.parametrize(
    ("name", "known_bad"), [("aiohttp", "3.14.2"), ("orjson", "3.11.5"), ("hatchling", "1.32.4")]
)  # fmt: skip
def test_no_version_with_a_known_hole_suits(name: str, known_bad: str) -> None:
    assert [each for each in _requirements() if each.name == name and each.specifier.contains(known_bad)] == []


def test_what_is_installed_in_the_image_and_by_make_is_held_against_its_hash() -> None:
    fetched = re.findall(r"pip install (?!--no-index)[^\n\\]*", (_ROOT / "Dockerfile").read_text())
    assert len(fetched) == 2
    assert all("--require-hashes --no-deps" in command for command in fetched)
    assert '"--require-hashes", "--no-deps", "--requirement"' in (_ROOT / "tools" / "bootstrap.py").read_text()


def test_the_broker_of_the_tests_is_the_broker_of_compose() -> None:
    assert _COMPOSE["services"]["kafka"]["image"] == f"apache/kafka:{KAFKA_VERSION}"


def test_every_image_is_pinned_to_a_full_version() -> None:
    from_lines = re.findall(r"^FROM (\S+)", (_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    images = [*from_lines, *(service["image"] for service in _COMPOSE["services"].values())]
    assert [image for image in images if not re.search(r":v?\d+\.\d+\.\d+(-[a-z-]+)?$", image)] == []


def test_the_image_runs_the_oldest_python_we_promise() -> None:
    oldest = _PROJECT["project"]["requires-python"].removeprefix(">=")
    assert (
        re.findall(r"^FROM python:(\d+\.\d+)\.", (_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE) == [oldest] * 2
    )


def test_compose_opens_ports_on_this_machine_only() -> None:
    ports = [port for service in _COMPOSE["services"].values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_compose_has_no_password_of_its_own_and_says_which_are_missing() -> None:
    example = dict(
        line.split("=", 1)
        for line in (_ROOT / ".env.example").read_text().splitlines()
        if line and not line.startswith("#")
    )
    text = (_ROOT / "docker-compose.yml").read_text()
    required = set(re.findall(r"\$\{(\w+):\?", text))
    assert required == {"REDIS_PASSWORD", "EMAIL_KEY"}
    assert example == dict.fromkeys(required, "")
    assert {secret["environment"] for secret in _COMPOSE["secrets"].values()} <= required
    with_default = dict(re.findall(r"\$\{(\w+):-([^}]*)\}", text))
    assert set(re.findall(r"(?<!\$)\$\{(\w+)", text)) == required | set(with_default)
    offered = set(re.findall(r"^#([A-Z_]+)=", (_ROOT / ".env.example").read_text(), flags=re.MULTILINE))
    assert {name for name in offered if not name.startswith(PREFIX)} == set(with_default)


@pytest.mark.parametrize("worker", ["topics", *_WORKERS])
def test_the_settings_of_compose_and_of_the_image_are_settings_that_exist(worker: str) -> None:
    in_image = dict(re.findall(rf"({PREFIX}\w+)=(\S+)", (_ROOT / "Dockerfile").read_text()))
    in_compose = {
        name: re.sub(r"\$\{\w+[^}]*\}", "filled-in-from-the-env-file", value)
        for name, value in _COMPOSE["services"][worker]["environment"].items()
    }
    assert in_image
    settings = read_settings(in_image | in_compose)
    assert settings.kafka_brokers == ("kafka:19092",)
    assert settings.store == "rocksdb"
    assert settings.policy_file is not None
    assert settings.policy_file.as_posix() in {each["target"] for each in _COMPOSE["services"][worker]["configs"]}


@pytest.mark.parametrize("service", ["receiver", "rewards"])
def test_what_needs_no_secret_of_the_workers_gets_none(service: str) -> None:
    """Nor what lies beside them in .env: each has a file of its own, which is no other's."""
    described = _COMPOSE["services"][service]
    assert described["environment"] == {f"{PREFIX}KAFKA_BROKERS": "kafka:19092"}
    assert [each["path"] for each in described["env_file"]] == [f"{service}.env"]
    assert not any(
        service in str(other.get("env_file")) for name, other in _COMPOSE["services"].items() if name != service
    )
    assert "configs" not in described
    assert "secrets" not in described
    assert f"{service}.env" in (_ROOT / ".gitignore").read_text().split()


def test_a_filled_in_env_file_reaches_neither_git_nor_the_image() -> None:
    assert ".env" in (_ROOT / ".gitignore").read_text().split()
    allowed = [line for line in (_ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert (_ROOT / ".dockerignore").read_text().splitlines()[1] == "*"
    assert not any("env" in line for line in allowed)
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (_ROOT / "Dockerfile").read_text(), flags=re.MULTILINE)
    paths = [path for line in copied for path in line.split()]
    assert paths
    assert [path for path in paths if not any(path.startswith(line[1:]) for line in allowed)] == []


def test_each_worker_waits_for_topics_and_redis_and_has_its_own_volume() -> None:
    for worker in _WORKERS:
        service = _COMPOSE["services"][worker]
        assert service["command"] == ["run", worker]
        assert service["depends_on"] == {
            "topics": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
        (volume,) = service["volumes"]
        name, path = volume.split(":")
        assert name == worker
        assert path == service["environment"]["REFERRAL_STREAM_DATA_DIR"]
