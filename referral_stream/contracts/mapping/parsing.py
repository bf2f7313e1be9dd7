"""The mapping file: TOML → checked mappings. All errors are reported at once, each with its line and the nearest valid
name.

Types and fields are those of the canonical models.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.mapping.adapter_tables import (
    CUSTOMER_PATHS,
    QUESTIONS,
    read_customer_paths,
    read_questions,
)
from referral_stream.contracts.mapping.language import CLOUD_EVENTS, PLAIN, MappedSource, MappingRule, Mappings
from referral_stream.contracts.mapping.lines import Lines
from referral_stream.contracts.mapping.paths import PREFIXES, Path, parse_path
from referral_stream.contracts.mapping.source_tables import SOURCE, read_sources
from referral_stream.contracts.mapping.tables import PLACES, FileFault, Table
from referral_stream.contracts.mapping.values import BOUNDS, MappingCondition, Scalar, Template
from referral_stream.contracts.toml_file import TomlProblem, parse_toml
from referral_stream.contracts.topics import SOURCES as SOURCE_TOPICS
from referral_stream.contracts.validation import READ_FROM
from referral_stream.core.events import FACT_TYPES, WITHOUT_SUBJECT, Contact, is_operators
from referral_stream.core.suggestions import VERY_NEAR, did_you_mean, nearest

MAPPING: Final = "mapping"
TABLE: Final = "table"
_TABLES: Final = (MAPPING, SOURCE, TABLE, CUSTOMER_PATHS, QUESTIONS)
SOURCES: Final = (*BY_NAME, CLOUD_EVENTS, PLAIN)
"""What ``when.adapter`` may be, besides the file's own sources."""
TYPES: Final = {name: model for name, model in FACT_TYPES.items() if name not in WITHOUT_SUBJECT}
"""What a payload may become: facts about a customer. An analytics event must not pause asking."""

_KEYS: Final = ("name", "when", "each", "type", "ignore", "data", *PLACES)
_OPERATORS: Final = frozenset({"in", "exists", *BOUNDS})
_NO_OPERATORS: Final = frozenset({
    "not", "not_in", "ne", "eq", "equals", "gt", "gte", "lt", "lte", "regex", "matches", "contains", "starts_with",
})  # fmt: skip
"""How conditions are called elsewhere; as names of fields they would hold for no payload, and nobody would see why."""

_WANTED: Final[Mapping[type[BaseModel], tuple[str, ...]]] = {Contact: ("ref",)}
"""Fields that a producer has to give, though the canonical form is without them."""


class MappingProblem(TomlProblem):
    """Mappings that cannot be used."""


def parse_mappings(content: bytes, file: str = "mappings.toml") -> Mappings:
    """The mappings in a TOML file. Raises MappingProblem. ``file`` is its name, for messages."""
    return build_mappings(parse_toml(content, file, MappingProblem), file, Lines(content.decode()))


def build_mappings(given: Mapping[str, Any], name: str = "mappings", lines: Lines | None = None) -> Mappings:
    """The mappings of parsed TOML. Raises MappingProblem. ``lines``: where in the file a fault is."""
    faults = [
        FileFault("", 1, key, f"{key}: unknown key; {did_you_mean(key, _TABLES)}")
        for key in given
        if key not in _TABLES
    ]
    named = _named_tables(given.get(TABLE, {}), faults)
    sources = read_sources(given.get(SOURCE, {}), (*SOURCES, *SOURCE_TOPICS), faults)
    tables = given.get(MAPPING, [])
    rules: list[MappingRule] = []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        faults.append(FileFault("", 1, MAPPING, f"{MAPPING}: write each as a table of its own: [[{MAPPING}]]"))
    else:
        for number, table in enumerate(tables, 1):
            own = table.get("name")
            known = own if isinstance(own, str) and own else f"{MAPPING}[{number}]"
            reading = _RuleTable(table, f"[{MAPPING}]", known, number, named)
            rules.append(reading.rule(sources))
            faults += reading.faults
    texts: list[str] = []
    customer_paths = read_customer_paths(given.get(CUSTOMER_PATHS, {}), texts)
    questions = read_questions(given.get(QUESTIONS, {}), texts)
    faults += (FileFault("", 1, text.partition(":")[0], text) for text in texts)
    if faults:
        where = [None if lines is None else lines.of(each.header, each.number, each.key) for each in faults]
        raise MappingProblem(name, [each.text for each in faults], where)
    return Mappings(tuple(rules), customer_paths, questions, sources)


def _named_tables(given: Any, faults: list[FileFault]) -> dict[str, dict[str, Scalar]]:
    """The tables of values that several mappings use."""
    found: dict[str, dict[str, Scalar]] = {}
    for name, table in given.items() if isinstance(given, dict) else [(TABLE, None)]:
        if isinstance(table, dict) and table and all(isinstance(value, Scalar) for value in table.values()):
            found[name] = table
        else:
            text = f'{TABLE}.{name}: must be a table of values: [{TABLE}.faces] with happy = "positive"'
            faults.append(FileFault("", 1, f"{TABLE}.{name}", text))
    return found


class _RuleTable(Table):
    """One ``[[mapping]]`` being read."""

    def rule(self, sources: Mapping[str, MappedSource]) -> MappingRule:
        """The rule, of use only if there are no faults."""
        self.check_keys(self.given, _KEYS)
        if not isinstance(self.given.get("name", ""), str):
            self.fault("name", "must be text")
        adapter, topics, conditions = self._when(self.given.get("when"), sources)
        source = sources.get(adapter)
        kind = self._type(adapter, source)
        places = self.places()
        each = self._each(source)
        if source is not None:
            self._check_source(source, kind, topics)
        elif adapter == PLAIN and kind is not None and not {"subject", "link"} & self.given.keys():
            self.fault("subject", f"or a link is required with adapter {PLAIN}: the path of the customer's id")
        return MappingRule(self.name, adapter, kind, self._data(kind), topics, conditions, places, each)

    def _check_source(self, source: MappedSource, kind: str | None, topics: tuple[str, ...]) -> None:
        has_customer = {"subject", "link"} & self.given.keys() or source.places.subject or source.places.link
        if kind is not None and not has_customer:
            self.fault("subject", f"or a link is required, here or in [{SOURCE}.{source.name}]: the customer's id")
        if topics:
            self.fault(
                "when.topic", f"means nothing here: the topic of {source.name} stands in [{SOURCE}.{source.name}]"
            )
        if kind is not None and is_operators(kind):
            self.fault("type", "only those who run the deployment say this, at /control or on the topic responses")

    def _each(self, source: MappedSource | None) -> Path | None:
        if "each" not in self.given:
            return None
        if source is not None and source.each is not None:
            self.fault("each", f"[{SOURCE}.{source.name}] has one already; with [*] it reaches further down")
        return self.path(self.given["each"], "each", lists=True)

    # -- when

    def _when(
        self, when: Any, sources: Mapping[str, MappedSource]
    ) -> tuple[str, tuple[str, ...], tuple[MappingCondition, ...]]:
        if not isinstance(when, dict):
            self.fault("when", 'required, for example { adapter = "segment", event = "Report Exported" }')
            return "", (), ()
        rest = {key: value for key, value in when.items() if key not in ("adapter", "topic")}
        adapter = self._adapter(when.get("adapter"), (*sources, *SOURCES))
        return adapter, self._topics(when.get("topic")), tuple(self._conditions(rest))

    def _adapter(self, given: Any, known: Collection[str]) -> str:
        if given is None:
            self.fault("when.adapter", f"required; there are {', '.join(known)}")
        elif not isinstance(given, str) or given not in known:
            own = "" if nearest(str(given), known) else f"for a vendor of your own write [{SOURCE}.{given}]; "
            self.fault("when.adapter", f"unknown; {own}{did_you_mean(str(given), known)}")
        else:
            return given
        return ""

    def _topics(self, given: Any) -> tuple[str, ...]:
        if given is None:
            return ()
        names = given.get("in") if isinstance(given, dict) and given.keys() == {"in"} else [given]
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            self.fault("when.topic", 'must be a topic without prefix, or { in = ["nps", "support"] }')
            return ()
        for name in names:
            if name not in SOURCE_TOPICS:
                self.fault("when.topic", f"no input topic {name!r}; {did_you_mean(name, SOURCE_TOPICS)}")
        return tuple(names)

    def _conditions(
        self, given: Mapping[str, Any], before: Path = (), within: str = "when"
    ) -> Iterator[MappingCondition]:
        for key, value in given.items():
            place = f"{within}.{key}"
            if before and (meant := nearest(key, _OPERATORS, VERY_NEAR)) is not None and key not in _OPERATORS:
                self.fault(place, f"did you mean {meant!r}? For a field of that name, write the whole path in quotes")
                continue
            if before and key in _NO_OPERATORS:
                there_are = ", ".join(("in", "exists", *BOUNDS))
                self.fault(
                    place, f"no condition; there are {there_are}. For a field of that name, quote the whole path"
                )
                continue
            try:
                path = (*before, *parse_path(key, whole=not before))
            except ValueError as error:
                self.fault(place, str(error))
                continue
            if isinstance(value, (str, int, float, bool)):
                yield MappingCondition(path, (value,))
            elif isinstance(value, dict) and value and not value.keys() <= _OPERATORS:
                yield from self._conditions(value, path, place)
            else:
                yield from self._operator(value, path, place)

    def _operator(self, value: Any, path: Path, place: str) -> Iterator[MappingCondition]:
        match value:
            case {"exists": bool(exists), **rest} if not rest:
                yield MappingCondition(path, exists=exists)
            case {"in": [*values], **rest} if values and not rest and all(isinstance(v, Scalar) for v in values):
                yield MappingCondition(path, tuple(values))
            case {**bounds} if bounds and all(name in BOUNDS and _is_number(limit) for name, limit in bounds.items()):
                yield MappingCondition(
                    path,
                    bounds=tuple(
                        (name, limit) for name in BOUNDS if isinstance(limit := bounds.get(name), (int, float))
                    ),
                )
            case _:
                self.fault(place, 'must be a value, { in = ["a", "b"] }, { exists = true } or { at_least = 9 }')

    # -- type and data

    def _type(self, adapter: str, source: MappedSource | None) -> str | None:
        ignored, given = self.given.get("ignore", False), self.given.get("type")
        if not isinstance(ignored, bool):
            self.fault("ignore", "must be true or false")
        elif ignored:
            # Whom an opt-out is about that stays, whatever is ignored: an adapter knows it, nobody else does.
            may = ("subject", "link") if adapter == PLAIN or source is not None else ()
            for key in ("type", "data", *PLACES):
                if key in self.given and key not in may:
                    self.fault(key, "means nothing beside ignore = true")
        elif given is None:
            self.fault("type", "required, or ignore = true")
        elif not isinstance(given, str) or given not in TYPES:
            self.fault("type", f"unknown; {did_you_mean(str(given), TYPES)}")
        else:
            return given
        return None

    def _data(self, kind: str | None) -> dict[str, Template]:
        given = self.given.get("data", {})
        if not isinstance(given, dict):
            self.fault("data", "must be a table of fields")
            return {}
        return {} if kind is None else self._fields(TYPES[kind], given, "data", kind)

    def _fields(self, model: type[BaseModel], given: Mapping[str, Any], place: str, what: str) -> dict[str, Template]:
        made: dict[str, Template] = {}
        for name, value in given.items():
            known = model.model_fields.get(name)
            if known is None:
                self.fault(f"{place}.{name}", f"no field of {what}; {_nearest(name, model.model_fields)}")
                continue
            template = self._template(known, value, f"{place}.{name}")
            if template is not None:
                made[name] = template
        for name, known in model.model_fields.items():
            other = READ_FROM.get(what, {}).get(name)
            wanted = known.is_required() or name in _WANTED.get(model, ())
            if wanted and name not in given and other not in given:
                instead = "" if other is None else f", or else {other}"
                self.fault(f"{place}.{name}", f"required by {what}{instead}")
        return made

    def _template(self, known: FieldInfo, value: Any, place: str) -> Template | None:
        inner = _model_in(known)
        is_table = isinstance(value, dict)
        if inner is not None:
            if is_table and "path" not in value:
                return self._fields(inner, value, place, place)
            first = next(iter(inner.model_fields))
            self.fault(place, f"is an object; map its fields, for example {place}.{first}")
            return None
        if is_table:
            return self.taken(value, place, known)
        if isinstance(value, list) or (isinstance(value, str) and (value == "$" or value.startswith(PREFIXES))):
            return self.taken({"path": value}, place, known)
        if isinstance(value, str) and value.startswith("$"):
            if not value.startswith("$$"):
                self.fault(place, 'a path begins with "$.", a text that begins with $ is written with "$$"')
                return None
            value = value[1:]
        return value if self.fits(known, value, place) else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value == value  # noqa: PLR0124 (no NaN)


def _nearest(name: str, fields: Collection[str]) -> str:
    return did_you_mean(name, fields) if fields else "it has none"


def _model_in(known: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is an object."""
    options = (known.annotation, *get_args(known.annotation))
    return next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)
