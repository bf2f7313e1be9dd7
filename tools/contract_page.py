"""Regenerate the tables of docs/contracts.md from the rows of the contract: ``python tools/contract_page.py [check]``.

A table stands between ``<!-- fields: NAME -->`` and ``<!-- end -->``. NAME is a source topic (one row for every type
that belongs there), a type that workers read (one row per field), ``topics`` or ``written`` (what our roles write).
``check`` writes nothing and exits with 1 when the page is outdated.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from referral_stream.contracts.catalogue import MESSAGES, messages_on
from referral_stream.contracts.topics import SOURCES, TOPICS, Kept
from referral_stream.core.instants import DAY
from referral_stream.published.schemas import documents

PAGE = Path(__file__).resolve().parent.parent / "docs" / "contracts.md"

_BLOCK = re.compile(r"(<!-- fields: (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = {"string": "text", "integer": "integer", "number": "number", "boolean": "true or false", "object": "object"}
_LONGEST = 100_000
"""A limit on text that exists only for safety is not worth a reader's time."""


def filled(page: str) -> str:
    """The page with every table as it ought to be. Raises KeyError for the name of no table."""
    schemas = {
        path.removesuffix(".json"): orjson.loads(content)
        for path, content in documents().items()
        if path.startswith(("in/", "out/"))
    }
    return _BLOCK.sub(lambda block: f"{block[1]}{_table(block['name'], schemas)}{block[3]}", page)


def tables_in(page: str) -> set[str]:
    """The names of the tables that the page has."""
    return {block["name"] for block in _BLOCK.finditer(page)}


def _table(name: str, schemas: dict[str, Any]) -> str:
    if name == "topics":
        rows = _topics()
    elif name == "written":
        rows = _written()
    else:
        rows = _types_of(name, schemas) if name in SOURCES else _fields_of(schemas[f"out/{name}"])
    return "".join(f"{row}\n" for row in rows)


def _types_of(topic: str, schemas: dict[str, Any]) -> Iterator[str]:
    yield "| type | data |"
    yield "|---|---|"
    for message in messages_on(topic):
        schema = schemas[f"in/{message.kind}"]
        fields = [f"`{field}`{mark}: {said}" for field, mark, said in _described(schema["properties"]["data"], schema)]
        yield f"| `{message.kind}` | {'; '.join(fields) or '–'} |"


def _topics() -> Iterator[str]:
    yield "| topic | what is on it | key | kept | written by | read by |"
    yield "|---|---|---|---|---|---|"
    for topic in TOPICS.values():
        writers = ", ".join((*(("producers",) if topic.source else ()), *(f"`{name}`" for name in topic.writers)))
        readers = ", ".join(f"`{name}`" for name in topic.readers) or "–"
        yield f"| `{topic.name}` | {topic.about} | {topic.key} | {_kept(topic.keep)} | {writers} | {readers} |"


def _kept(keep: Kept) -> str:
    days = f"{keep.retention_ms // DAY} days"
    if not keep.compacted:
        return days
    return f"compacted, {days}" if keep.deleted else "compacted"


def _written() -> Iterator[str]:
    yield "| type | topic | schema |"
    yield "|---|---|---|"
    for message in MESSAGES.values():
        if message.direction != "in":
            path = f"{message.direction}/{message.kind}.json"
            yield f"| `{message.kind}` | `{message.topic}` | [{path}](../schemas/{path}) |"


def _fields_of(schema: dict[str, Any]) -> Iterator[str]:
    yield "| field | |"
    yield "|---|---|"
    for field, mark, said in _described(schema["properties"]["data"], schema):
        yield f"| `{field}`{mark} | {said} |"


def _described(body: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(name, "?" where it may be absent, what it may be) of every field; first those that must be there."""
    required = body.get("required", ())
    fields = body.get("properties", {})
    for name in (*required, *(name for name in fields if name not in required)):
        yield name, "" if name in required else "?", _said(fields[name], schema)


def _said(field: dict[str, Any], schema: dict[str, Any]) -> str:
    choices = [choice for choice in field.get("anyOf", ()) if choice.get("type") != "null"]
    if len(choices) == 1:
        return _said(choices[0], schema)
    if "$ref" in field:
        body = schema["$defs"][field["$ref"].rpartition("/")[2]]
        parts = (f"`{name}`{mark}: {said}" for name, mark, said in _described(body, schema))
        return f"{{{', '.join(parts)}}}"
    match field:
        case {"const": only}:
            return f"`{only}`"
        case {"enum": values}:
            return " \\| ".join(f"`{value}`" for value in values)
        case {"type": "array", "items": dict(items)}:
            return f"list of {_said(items, schema)}"
        case {"type": "object", "additionalProperties": dict(values)}:
            return f"object, each value {_said(values, schema)}"
        case {"format": "date-time"}:
            return "RFC 3339"
        case {"pattern": pattern}:
            return f"text matching `{pattern}`"
        case {"type": "integer", "minimum": least, "maximum": most} if most < _LONGEST:
            return f"{least}–{most}"
        case {"type": kind}:
            return _WORDS[kind]
        case _:
            raise KeyError(f"no words for {field}")


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = filled(page)
    if arguments == ["check"]:
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
