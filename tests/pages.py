"""Pages that show what a command prints: each ``console`` block is run, and what it shows has to be what comes out.

    python -m tests.pages      # runs them, and writes what comes out into the pages (make pages)

A line that begins with ``$`` is a command, what follows is its output. A page's blocks run in one folder, in their
order, with ``examples/`` beside them. ``# exit code 1`` says how a command ends, if not with 0. A ``toml`` block is the
file that the next command names.
"""

from __future__ import annotations

import contextlib
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from click.testing import CliRunner

from referral_stream.cli import main

ROOT = Path(__file__).parents[1]
PAGES = ("concepts", "cookbook", "producers", "start")
WIDTH = "100"

_BLOCK = re.compile(r"^```(console|toml)\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
_HASH = re.compile(r"\b(?=[0-9a-f]*[0-9])[0-9a-f]{16}\b")
"""Of a policy: any new setting changes it, and here it says nothing."""
_FILE = re.compile(r"\S+\.toml\b")


@dataclass(frozen=True)
class Ran:
    """A command of a page, how it ended, and what it printed."""

    line: str
    code: int
    output: str

    @property
    def expected_code(self) -> int:
        found = re.search(r"# exit code (\d)$", self.line)
        return int(found[1]) if found else 0


def path_of(page: str) -> Path:
    return ROOT / "docs" / f"{page}.md"


def made_anew(page: str) -> tuple[str, list[Ran]]:
    """The page as it should be, and every command in it."""
    text = path_of(page).read_text()
    blocks = list(_BLOCK.finditer(text))
    ran: list[Ran] = []
    parts, done = [], 0
    with _folder():
        for number, block in enumerate(blocks):
            if block[1] == "console":
                mine = [_run(line) for line in block[2].splitlines() if line.startswith("$ ")]
                ran += mine
                body = "".join(f"{each.line}\n{each.output}" for each in mine)
            else:
                body = _file(blocks[number + 1 :])
            parts += [text[done : block.start(2)], body]
            done = block.end(2)
    return "".join((*parts, text[done:])), ran


@contextlib.contextmanager
def _folder() -> Iterator[None]:
    with tempfile.TemporaryDirectory() as name:
        (Path(name) / "examples").symlink_to(ROOT / "examples")
        with contextlib.chdir(name):
            yield


def _run(line: str) -> Ran:
    """In this process where it is one of our own commands: it takes a second to start Python, and there are many."""
    command = line[2:].partition(" # ")[0].strip()
    words = shlex.split(command)
    into = words.pop() if len(words) > 2 and words[-2] == ">" else None
    if into is not None:
        words.pop()
    if words[0] == "referral-stream" and "|" not in words:
        result = CliRunner().invoke(main, words[1:], env={"COLUMNS": WIDTH, "REFERRAL_STREAM_EMAIL_KEY": None})
        code, output = result.exit_code, result.output if into is None else result.stderr
        if into is not None:
            Path(into).write_text(result.stdout)
    else:
        script = re.sub(r"^python ", f"{shlex.quote(sys.executable)} ", command)
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False)
        code, output = done.returncode, done.stdout + done.stderr
    return Ran(line, code, "".join(f"{_HASH.sub('…', row).rstrip()}\n" for row in output.splitlines()))


def _file(following: list[re.Match[str]]) -> str:
    command = next(block[2] for block in following if block[1] == "console")
    found = _FILE.search(command)
    assert found is not None, f"no command after a toml block names its file: {command}"
    return (ROOT / found[0]).read_text()


def known_options(line: str) -> set[str]:
    """The options of the command in a line of a page."""
    name, *words = line.split()
    assert name == "referral-stream"
    command: click.Command = main
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    return {option for parameter in command.params for option in parameter.opts}


def options_of(line: str) -> set[str]:
    """The options that the line uses."""
    return {word for word in line.partition("#")[0].split() if word.startswith("-")}


if __name__ == "__main__":
    for each in PAGES:
        anew, _ = made_anew(each)
        path_of(each).write_text(anew)
