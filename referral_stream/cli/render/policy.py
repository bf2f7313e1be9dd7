"""What ``policy check`` prints: a table for a person at a terminal, TOML for a file or a pipe."""

from __future__ import annotations

from importlib.resources import files
from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from referral_stream.core.policy import Policy
from referral_stream.policy_file.settings import CAN_BE_OFF, NONE, Setting, settings_of
from referral_stream.policy_file.warnings import oddities, same_version
from referral_stream.words.escaping import visible

SPECIFICATION = "docs/specification/semantics.md in the repository"
"""Where the sections and gates that the meanings of settings name are found."""


def show_policy(policy: Policy, name: str, console: Console, *, everything: bool) -> None:
    """Name, version and hash; the settings that differ from the default, or all; and what is odd."""
    settings = settings_of(policy)
    changed = sum(setting.differs for setting in settings)
    mark = "" if console.is_terminal else "# "
    _line(console, f"{mark}{name}: {visible(policy.name)}, version {policy.version}, hash {policy.hash}")
    differ = "setting differs" if changed == 1 else "settings differ"
    _line(console, f"{mark}{changed or 'no'} {differ} from the default")
    if everything:
        _line(console, f"{mark}§ and gates: {SPECIFICATION}")
    shown = [setting for setting in settings if everything or setting.differs]
    if shown:
        _settings(shown, console)
    for oddity in [*same_version(policy), *oddities(policy)]:
        _line(console, f"{mark}warning: {oddity}")


def starting_file() -> str:
    """A policy file with every setting, its default, and what it means."""
    return files("referral_stream.policy_file").joinpath("starting_file.toml").read_text(encoding="utf-8")


def _settings(settings: list[Setting], console: Console) -> None:
    if not console.is_terminal:
        for setting in settings:
            _line(console, _plain(setting))
        return
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("setting", no_wrap=True)
    table.add_column("value", overflow="fold")
    table.add_column("default", overflow="fold")
    table.add_column("meaning", ratio=1)
    for section, group in groupby(settings, key=lambda setting: setting.key.rpartition(".")[0]):
        table.add_section()
        if section:
            table.add_row(Text(section, style="italic"))
        for setting in group:
            cells = (_name(setting), _counted(setting), setting.default or "–", setting.meaning)
            table.add_row(*(Text(cell) for cell in cells), style="bold" if setting.differs else "")
    console.print(table)


def _name(setting: Setting) -> str:
    """Its key within its section."""
    section, _, name = setting.key.rpartition(".")
    return f"  {name}" if section else name


def _counted(setting: Setting) -> str:
    return f"{setting.value} {setting.unit}" if setting.unit and setting.value != NONE else setting.value


def _plain(setting: Setting) -> str:
    """One line of TOML: what is counted, and the default, stand in the comment."""
    notes = [setting.unit] if setting.unit and setting.value != NONE else []
    if setting.differs:
        own = "a programme of your own" if setting.key.startswith("rewards.") else "a trigger of your own"
        notes.append(own if setting.default is None else f"default {setting.default}")
    value = f'"{NONE}"' if setting.value == NONE and setting.key in CAN_BE_OFF else setting.value
    shown = f"{setting.key} = {value}  # {'; '.join([*notes, setting.meaning])}"
    return f"# {shown}" if value == NONE else shown


def _line(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
