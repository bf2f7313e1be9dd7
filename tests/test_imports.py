"""Importing does nothing: no heavy library behind the core, no environment read, nothing started."""

from __future__ import annotations

import json
import subprocess
import sys

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


def test_the_core_loads_no_stream_no_store_and_no_event_loop() -> None:
    loaded = set(_run(_LOADED_BY_CORE))
    assert "referral_stream" in loaded
    assert loaded.isdisjoint({"faust", "mode", "aiokafka", "redis", "pydantic_settings", "asyncio"})


def test_importing_any_module_reads_no_environment_and_starts_nothing() -> None:
    assert _run(_WATCHED_IMPORTS) == []


def _run(program: str) -> list[str]:
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    findings: list[str] = json.loads(done.stdout)
    return findings
