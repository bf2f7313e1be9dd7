"""An import on the terminal: what each column became, what the rows say, and what could not be used."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import click

from referral_stream.cli.render.terminal import many, rows, say
from referral_stream.ops.importing.fields import FIELDS
from referral_stream.ops.importing.process import ColumnTally, ImportCheck
from referral_stream.words.escaping import visible

_MOST = 4
"""Meanings of a column's cells that are shown; more of them are no small set of words."""


def show_checked(checked: ImportCheck, refused: Path, *, values: bool) -> None:
    """The table of columns, then what the rows come to."""
    heading = ("column", "became", "filled", "read as", *(("values",) if values else ()))
    table = [heading, *(_column(tally, values=values) for tally in checked.columns.values())]
    for line in rows(table, right=frozenset({2})):
        click.echo(line)
    click.echo()
    say(f"{many(checked.rows, 'row')}, {many(checked.customers, 'customer')}: {_events(checked)}", indent=4)
    if checked.by_address:
        say(
            f"{checked.by_address:,} of them by their address alone: what is said reaches whoever has it; while nobody "
            "is known to have it, an opt-out waits for 400 days, the rest for 7",
            indent=4,
        )
    if checked.unread:
        say(f"{many(checked.unread, 'line')} cannot be read", indent=4)
    if checked.refused:
        say(f"{many(checked.refused, 'row')} refused: nobody is named", indent=4)
    if checked.faults:
        say(f"{many(checked.faults, 'cell')} cannot be used" + _held(checked), indent=4)
    if checked.unread or checked.refused or checked.faults:
        say(f"which, and why: {refused}", indent=4)


def _held(checked: ImportCheck) -> str:
    if not checked.held:
        return ""
    return f"; {checked.held:,} of them {'holds' if checked.held == 1 else 'hold'} somebody back for it"


def _column(tally: ColumnTally, *, values: bool) -> tuple[str, ...]:
    column = tally.column
    match column.why:
        case "ignored":
            became = "ignored, as you say"
        case "not used":
            became = "NOT USED: is it an opt-out?" if tally.unexplained else "not used"
        case _:
            became = (
                "" if column.field is None else f"{column.field.name}{' (guessed)' if column.why == 'guessed' else ''}"
            )
    shown = (visible(", ".join(tally.values)),) if values else ()
    return (visible(column.name), became, f"{tally.filled:,}", _meant(tally), *shown)


def _meant(tally: ColumnTally) -> str:
    counted = tally.meant.most_common(_MOST)
    more = len(tally.meant) - len(counted)
    return ", ".join(f"{what} {count:,}" for what, count in counted) + (f", {more} more" if more > 0 else "")


def _events(checked: ImportCheck) -> str:
    if not checked.events:
        return "no events"
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(checked.events.items()))
    return f"{many(checked.events.total(), 'event')} ({kinds})"


def field_lines() -> Iterator[str]:
    """The fields that a column may be, and the names that are taken for them."""
    yield from rows([("field", "becomes", "what"), *((f.name, f.becomes, f.about) for f in FIELDS.values())])
    yield ""
    yield "recognised names, in any case and with any separators:"
    for each in FIELDS.values():
        yield f"  {each.name}: {', '.join(each.names)}"
