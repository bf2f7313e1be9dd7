"""What ``--help`` says: on 80 columns nothing is cut or wrapped, and examples can be pasted."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner

from referral_stream.cli import main

COLUMNS = 80
SHORT = 60


def verbs(group: click.Group, *before: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        yield (*before, name)
        if isinstance(command, click.Group):
            yield from verbs(command, *before, name)


EVERY = [(), *verbs(main)]


def command_of(path: tuple[str, ...]) -> click.Command:
    command: click.Command = main
    for name in path:
        assert isinstance(command, click.Group)
        command = command.commands[name]
    return command


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_every_line_fits_a_terminal_of_80_columns(path: tuple[str, ...]) -> None:
    told = CliRunner().invoke(main, [*path, "--help"], terminal_width=COLUMNS).output
    assert [line for line in told.splitlines() if len(line) > COLUMNS] == []
    assert "..." not in told.partition("Commands:")[2]


@pytest.mark.parametrize("path", EVERY[1:], ids=" ".join)
def test_the_short_help_is_a_sentence_that_fits_beside_the_name(path: tuple[str, ...]) -> None:
    short = command_of(path).short_help
    assert short
    assert len(short) <= SHORT
    assert re.fullmatch(r"[A-Z].*[^.]\.", short)


@pytest.mark.parametrize("path", EVERY, ids=" ".join)
def test_examples_are_commands_that_there_are_with_options_that_there_are(path: tuple[str, ...]) -> None:
    for line in re.findall(r"^ +(.*referral-stream .*)$", command_of(path).help or "", flags=re.MULTILINE):
        words = shlex.split(line.partition("|")[0])
        words = words[words.index("referral-stream") + 1 :]
        command: click.Command = main
        while isinstance(command, click.Group) and words:
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("--")} <= known


@pytest.mark.parametrize("path", EVERY[1:], ids=" ".join)
def test_every_option_says_what_it_is_for(path: tuple[str, ...]) -> None:
    options = [each for each in command_of(path).params if isinstance(each, click.Option)]
    assert [option.name for option in options if not option.help] == []
