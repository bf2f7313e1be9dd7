"""Importing does nothing: no heavy library behind the core, no environment read, nothing started."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

_LOADED_BY_CORE = """
import importlib, json, pkgutil, sys

before = set(sys.modules)
core = importlib.import_module("referral_stream.core")
for module in pkgutil.walk_packages(core.__path__, "referral_stream.core."):
    importlib.import_module(module.name)
print(json.dumps(sorted({name.partition(".")[0] for name in set(sys.modules) - before})))
"""

# Imports every module, and prints what our own code causes meanwhile: directly, or by a call into a library. What a
# library does when it is imported is its own affair: there the import machinery stands between it and us on the stack.
_WATCHED_IMPORTS = """
import importlib, json, os, pkgutil, sys, threading

root = importlib.import_module("referral_stream")
package = os.path.dirname(root.__file__) + os.sep
seen = []

def note(what):
    frame = sys._getframe(1)
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        if frame.f_code.co_filename.startswith(package):
            seen.append(f"{frame.f_code.co_filename.removeprefix(package)}:{frame.f_lineno} {what}")
            return
        frame = frame.f_back

# pydantic asks the first when a model is defined, click the others when a command is: it translates its own words.
ASKED_BY_DECLARATIONS = {b"PYDANTIC_DISABLE_PLUGINS", b"LANGUAGE", b"LC_ALL", b"LC_MESSAGES", b"LANG"}

class Telling(dict):
    def __getitem__(self, key):
        if key not in ASKED_BY_DECLARATIONS:
            note(f"reads {key!r} from the environment")
        return super().__getitem__(key)

    def __contains__(self, key):
        note(f"looks for {key!r} in the environment")
        return super().__contains__(key)

    def __iter__(self):
        note("lists the environment")
        return super().__iter__()

os.environ._data = Telling(os.environ._data)

def audit(event, arguments):
    if event in ("os.fork", "os.posix_spawn", "os.system", "socket.bind", "socket.connect", "subprocess.Popen"):
        note(event)
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        note(f"writes {arguments[0]}")

sys.addaudithook(audit)
threads = threading.active_count()
for module in pkgutil.walk_packages(root.__path__, "referral_stream."):
    if not module.name.endswith("__main__"):  # importing that one is running it
        importlib.import_module(module.name)
        if threading.active_count() != threads:
            seen.append(f"{module.name} starts a thread")
            threads = threading.active_count()
print(json.dumps(seen))
"""


# Imports these modules, packages with all that is in them, runs a verb, and prints the libraries that are loaded then.
_LOADED_BY = """
import importlib, json, pkgutil, sys
from contextlib import nullcontext
from unittest.mock import patch

modules, verb, replaced = json.loads(sys.argv[1])
for name in modules:
    module = importlib.import_module(name)
    for found in pkgutil.walk_packages(getattr(module, "__path__", ()), f"{name}."):
        importlib.import_module(found.name)
if verb:
    from referral_stream.cli import main
    try:
        with patch(replaced, return_value=0) if replaced else nullcontext():
            main(verb)
    except SystemExit as end:
        assert end.code == 0, end.code
print()
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""
FAUST = {"faust", "faust_batches", "mode"}


def test_the_core_loads_no_stream_no_store_and_no_event_loop() -> None:
    loaded = set(_run(_LOADED_BY_CORE))
    assert "referral_stream" in loaded
    assert loaded.isdisjoint({"faust", "mode", "aiokafka", "redis", "pydantic_settings", "asyncio"})


def test_importing_any_module_reads_no_environment_and_starts_nothing() -> None:
    assert _run(_WATCHED_IMPORTS) == []


def test_the_webhook_receiver_loads_neither_faust_nor_a_store() -> None:
    """All of its modules, and all that its verb imports up to the point where it would serve."""
    pytest.importorskip("aiohttp")
    loaded = _loaded(["referral_stream.receiver"], ["ingest-http"], "referral_stream.receiver.serve.serve")
    assert {"aiohttp", "aiokafka", "referral_stream"} <= loaded
    assert loaded.isdisjoint(FAUST | {"confluent_kafka", "redis", "rocksdict"})


def test_the_rewards_role_loads_neither_faust_nor_a_store() -> None:
    verb = ["rewards"]
    loaded = _loaded(["referral_stream.rewards"], verb, "referral_stream.rewards.process.run_rewards")
    assert {"aiohttp", "aiokafka", "standardwebhooks", "referral_stream"} <= loaded
    assert loaded.isdisjoint(FAUST | {"confluent_kafka", "redis", "rocksdict"})


def test_the_console_loads_no_faust() -> None:
    """But for dead letters, where somebody asks for them."""
    pytest.importorskip("litestar")
    loaded = _loaded(["referral_stream.console"])
    assert {"aiokafka", "litestar", "redis", "uvicorn"} <= loaded
    assert loaded.isdisjoint(FAUST | {"confluent_kafka", "faker", "rocksdict"})


def test_what_every_process_shares_loads_no_faust() -> None:
    loaded = _loaded(["referral_stream.runtime"])
    assert "aiokafka" in loaded
    assert loaded.isdisjoint(FAUST)


@pytest.mark.parametrize(
    ("modules", "verb"),
    [
        (["referral_stream.ops.rights"], ["topics", "acls", "decide", "--user", "decide"]),
        (["referral_stream.ops.doctor", "referral_stream.runtime.topics_admin"], ["doctor", "--help"]),
    ],
    ids=["rights", "doctor"],
)
def test_the_verbs_that_look_after_a_deployment_load_no_faust(modules: list[str], verb: list[str]) -> None:
    assert _loaded(modules, verb).isdisjoint(FAUST)


def _loaded(modules: list[str], verb: list[str] | None = None, replaced: str = "") -> set[str]:
    """The libraries loaded by these modules and by a verb, in which one function is replaced by one that returns 0."""
    return set(_run(_LOADED_BY, json.dumps([modules, verb, replaced])))


def _run(program: str, *arguments: str) -> list[str]:
    settings = {
        "REFERRAL_STREAM_KAFKA_BROKERS": "localhost:9092",
        "REFERRAL_STREAM_EMAIL_KEY": "a key for the tests",
        "REFERRAL_STREAM_HTTP_EVENTS_TOKEN": "a-token-of-the-tests-with-some-length",
        "REFERRAL_STREAM_REWARDS_URL": "https://pay.example.com/",
        "REFERRAL_STREAM_REWARDS_SECRET": "whsec_" + "YWJjZGVmZ2hp" * 3,
    }
    command = [sys.executable, "-c", program, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | settings)
    assert done.returncode == 0, done.stderr
    findings: list[str] = json.loads(done.stdout.splitlines()[-1])
    return findings
