"""What each column becomes: as the user says, else by a well-known name, else nothing."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from shlex import quote
from typing import Any, Final, Literal, TypeAlias

from referral_stream.contracts.toml_file import TomlProblem, parse_toml
from referral_stream.core import zones
from referral_stream.core.suggestions import did_you_mean, nearest
from referral_stream.ops.importing.fields import FIELDS, IGNORE, Field, guessed
from referral_stream.ops.importing.looks import looks_protective, parts_of, suggested
from referral_stream.ops.importing.values import FORMATS, ID_FORMS

Why: TypeAlias = Literal["named", "guessed", "ignored", "not used"]

_KEYS: Final = ("field", "format", "zone", "values", "milestone")
_ID_WORDS: Final = frozenset(
    "id ids nr no number nummer kundennummer kundennr kunde customer client cliente klant key uuid guid ref code konto "
    "numero kundenid clientid customerid userid uid".split()
)
_MAY = "what it may hold is a reason not to ask"


class ColumnsProblem(TomlProblem):
    """Columns that cannot be read as they were named."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column and what it becomes. ``values`` says what cells mean that mean nothing to us, in lower case."""

    name: str
    field: Field | None
    why: Why
    format: str | None = None
    zone: str | None = None
    values: Mapping[str, str] = dataclasses.field(default_factory=dict)
    milestone: str = "first_success"

    @property
    def is_unexplained(self) -> bool:
        """Whether it may hold back somebody, and nobody has said what it is."""
        return self.why == "not used" and looks_protective(self.name)


class Plan:
    """The columns that were named, and the others as they are met."""

    def __init__(self, named: Iterable[Column] = ()) -> None:
        self._named = {each.name: each for each in named}
        self._met: dict[str, Column] = {}
        taken = {each.field.name for each in self._named.values() if each.field is not None}
        self._taken = {name for name in taken if not FIELDS[name].protects}

    def column(self, name: str) -> Column:
        """What a column becomes. A guess steps back for a column that was named for the same."""
        known = self._met.get(name)
        if known is None:
            known = self._named.get(name) or self._guess(name)
            self._met[name] = known
        return known

    @property
    def columns(self) -> list[Column]:
        """Those met so far, in their order."""
        return list(self._met.values())

    def problems(self, addresses: Collection[str] = ()) -> Iterator[str]:
        """Why nothing may be imported as the columns stand; in ``addresses`` stand addresses, whatever it is called."""
        for name in self._named:
            if name not in self._met:
                near = nearest(name, list(self._met))
                yield f"no column {name!r} in the file" + (f"; did you mean {near!r}?" if near else "")
        by_field: dict[str, list[str]] = {}
        for column in self._met.values():
            if column.field is not None and not column.field.protects:
                by_field.setdefault(column.field.name, []).append(column.name)
        for name, columns in by_field.items():
            if len(columns) > 1:
                those = " and ".join(map(repr, columns))
                yield f"{those} are both read as {name}; name one: --column {quote(columns[0])}={name}"
        for column in self._met.values():
            if column.is_unexplained:
                yield unexplained(column.name, _MAY)
        if not {"customer", "email"} & by_field.keys():
            yield "no column says who the customer is: " + self._who(addresses)

    def _who(self, addresses: Collection[str]) -> str:
        """Columns of the file that may say it."""
        free = [column.name for column in self._met.values() if column.field is None and column.why != "ignored"]
        ids = [name for name in free if not _ID_WORDS.isdisjoint(parts_of(name)) and name not in addresses]
        mails = [name for name in free if name in addresses]
        found = [f"--column {quote(name)}={field}" for name, field in zip(
            [*ids[:1], *mails[:1]], [*["customer"] * len(ids[:1]), "email"], strict=False
        )]  # fmt: skip
        if found:
            return f"for example {' or '.join(found)}"
        return "name the one with their id as customer, or the one with their address as email"

    def _guess(self, name: str) -> Column:
        found = guessed(name)
        if found is None or found.name in self._taken:
            return Column(name, None, "not used")
        return Column(name, found, "guessed")


def unexplained(name: str, why: str) -> str:
    """What a person has to say of a column that is not used."""
    named = f"--column {quote(name)}"
    return (
        f"column {name!r} is not used, and {why}: say what it is (--fields lists what it may be), "
        f"for example {named}={suggested(name) or 'opted_out'}, or leave it out: {named}={IGNORE}"
    )


def named_column(text: str) -> Column:
    """``NAME=FIELD`` or ``NAME=FIELD:FORMAT`` of the command line. Raises ValueError."""
    name, equals, rest = text.rpartition("=")
    if not equals or not name:
        raise ValueError(f"{text!r}: write 'Name of the column'=field")
    field_name, _, form = rest.partition(":")
    faults: list[str] = []
    column = _column(" ".join(name.split()), {"field": field_name} | ({"format": form} if form else {}), faults)
    if faults:
        raise ValueError("; ".join(faults))
    return column


def parse_columns(content: bytes, file: str = "columns.toml") -> list[Column]:
    """The table ``[columns]`` of a TOML file. Raises ColumnsProblem, with all faults at once."""
    given = parse_toml(content, file, ColumnsProblem)
    faults = [f"{key}: unknown key; the only table is [columns]" for key in given if key != "columns"]
    table = given.get("columns")
    if not isinstance(table, dict):
        raise ColumnsProblem(file, [*faults, 'columns: a table [columns] with lines like "Customer ID" = "customer"'])
    found = [_column(" ".join(name.split()), said, faults) for name, said in table.items()]
    if faults:
        raise ColumnsProblem(file, faults)
    return found


def _column(name: str, said: Any, faults: list[str]) -> Column:
    table: dict[str, Any] = {"field": said} if isinstance(said, str) else said if isinstance(said, dict) else {}
    before = len(faults)
    faults += [f"{name}: {key}: unknown key; {did_you_mean(key, _KEYS)}" for key in table if key not in _KEYS]
    field_name, form, zone = table.get("field"), table.get("format"), table.get("zone")
    values, milestone = table.get("values", {}), table.get("milestone", "first_success")
    if not isinstance(field_name, str):
        faults.append(f'{name}: field: required, as text, for example "customer", or "{IGNORE}"')
    elif field_name != IGNORE and field_name not in FIELDS:
        faults.append(f"{name}: no field {field_name!r}; {did_you_mean(field_name, [*FIELDS, IGNORE])}")
    if form is not None and field_name == "customer":
        if form not in ID_FORMS:
            faults.append(f"{name}: format: of a customer's id one of {', '.join(ID_FORMS)}")
    elif form is not None and not _is_format(form):
        faults.append(f"{name}: format: one of {', '.join(FORMATS)}, or codes such as %d.%m.%Y")
    if zone is not None and not (isinstance(zone, str) and zones.is_zone(zone)):
        faults.append(f"{name}: zone: a time zone such as Europe/Berlin")
    if not (isinstance(values, dict) and all(isinstance(value, str) for value in values.values())):
        faults.append(f'{name}: values: a table of texts, for example {{ "Small business" = "smb" }}')
    if not isinstance(milestone, str) or not milestone:
        faults.append(f"{name}: milestone: the key that your producers give it")
    if len(faults) > before:
        return Column(name, None, "ignored")
    return Column(
        name,
        FIELDS.get(str(field_name)),
        "ignored" if field_name == IGNORE else "named",
        form,
        zone,
        {cell.strip().lower(): value for cell, value in values.items()},
        milestone,
    )


def _is_format(form: Any) -> bool:
    if not isinstance(form, str):
        return False
    if form in FORMATS:
        return True
    try:
        tried = datetime(2024, 11, 22, 13, 14, 15)  # noqa: DTZ001 (only written and read again)
        return "%" in form and datetime.strptime(tried.strftime(form), form).date() == tried.date()  # noqa: DTZ007
    except ValueError:
        return False
