"""What ``policy check`` prints: a table for a person at a terminal, plain lines for a file or a pipe."""

from __future__ import annotations

from itertools import groupby

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from referral_stream.core.policy import Policy
from referral_stream.policy_file.settings import NONE, Setting, settings_of
from referral_stream.policy_file.warnings import oddities

SPECIFICATION = "docs/specification/semantics.md in the repository"
"""Where the sections and gates that the meanings of settings name are found."""


def show_policy(policy: Policy, name: str, console: Console, *, everything: bool) -> None:
    """Name, version and hash; the settings that differ from the default, or all; and what is odd."""
    settings = settings_of(policy)
    changed = sum(setting.differs for setting in settings)
    _line(console, f"{name}: {policy.name}, version {policy.version}, hash {policy.hash}")
    _line(console, f"{changed or 'no'} {'setting differs' if changed == 1 else 'settings differ'} from the default")
    if everything:
        _line(console, f"§ and gates: {SPECIFICATION}")
    shown = [setting for setting in settings if everything or setting.differs]
    if shown:
        _settings(shown, console)
    for oddity in oddities(policy):
        _line(console, f"warning: {oddity}")


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
    if not setting.differs:
        usual = ""
    else:
        usual = " (a trigger of your own)" if setting.default is None else f" (default {setting.default})"
    return f"{setting.key} = {_counted(setting)}{usual}  # {setting.meaning}"


def _line(console: Console, text: str) -> None:
    console.print(Text(text), soft_wrap=True)
