"""The mapping file: TOML → checked mappings. All errors are reported at once, each with the nearest valid name.

Types and fields are those of the canonical models; everything that can be checked before the first payload arrives (a
name, a type, a missing value) is checked when the file is read.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Annotated, Any, Final, get_args

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from referral_stream.contracts.adapters import BY_NAME
from referral_stream.contracts.mapping.adapter_tables import (
    CUSTOMER_PATHS,
    QUESTIONS,
    read_customer_paths,
    read_questions,
)
from referral_stream.contracts.mapping.language import (
    CASTS,
    CLOUD_EVENTS,
    PLAIN,
    Cast,
    MappingCondition,
    MappingRule,
    Mappings,
    Path,
    Scalar,
    Taken,
    Template,
    parse_path,
)
from referral_stream.contracts.toml_file import TomlProblem, parse_toml
from referral_stream.contracts.topics import SOURCES as SOURCE_TOPICS
from referral_stream.contracts.validation import READ_FROM
from referral_stream.core.events import FACT_TYPES, WITHOUT_SUBJECT, Contact, Linked
from referral_stream.core.suggestions import did_you_mean

TABLE: Final = "mapping"
_TABLES: Final = (TABLE, CUSTOMER_PATHS, QUESTIONS)
SOURCES: Final = (*BY_NAME, CLOUD_EVENTS, PLAIN)
"""What ``when.adapter`` may be."""
TYPES: Final = {name: model for name, model in FACT_TYPES.items() if name not in WITHOUT_SUBJECT}
"""What a payload may become: facts about a customer. An analytics event must not pause asking."""

_PLACES: Final = ("subject", "id", "time", "account")
_LINK: Final = "link"
_KEYS: Final = ("name", "when", "type", "ignore", "data", *_PLACES, _LINK)
_TAKEN_KEYS: Final = ("path", "as", "default")
_OPERATORS: Final = frozenset({"in", "exists"})
_SAMPLES: Final[Mapping[Cast, Scalar]] = {
    "int": 1, "float": 1.0, "bool": True, "str": "x", "email_hmac": "0" * 64,
}  # fmt: skip

_WANTED: Final[Mapping[type[BaseModel], tuple[str, ...]]] = {Contact: ("ref",)}
"""Fields that a producer has to give, though the canonical form is without them."""


class MappingProblem(TomlProblem):
    """Mappings that cannot be used."""


def parse_mappings(content: bytes, file: str = "mappings.toml") -> Mappings:
    """The mappings in a TOML file. Raises MappingProblem. ``file`` is its name, for messages."""
    return build_mappings(parse_toml(content, file, MappingProblem), file)


def build_mappings(given: Mapping[str, Any], name: str = "mappings") -> Mappings:
    """The mappings of parsed TOML. Raises MappingProblem."""
    faults = [f"{key}: unknown key; {did_you_mean(key, _TABLES)}" for key in given if key not in _TABLES]
    tables = given.get(TABLE, [])
    rules = []
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        faults.append(f"{TABLE}: write each as a table of its own: [[{TABLE}]]")
    else:
        for number, table in enumerate(tables, 1):
            reading = _Reading(table, number)
            rules.append(reading.rule())
            faults += reading.faults
    customer_paths = read_customer_paths(given.get(CUSTOMER_PATHS, {}), faults)
    questions = read_questions(given.get(QUESTIONS, {}), faults)
    if faults:
        raise MappingProblem(name, faults)
    return Mappings(tuple(rules), customer_paths, questions)


class _Reading:
    """One ``[[mapping]]`` being read; ``faults`` collects its errors."""

    def __init__(self, table: dict[str, Any], number: int) -> None:
        self.table = table
        own = table.get("name")
        self.name = own if isinstance(own, str) and own else f"{TABLE}[{number}]"
        self.faults: list[str] = []

    def rule(self) -> MappingRule:
        """The rule, of use only if there are no faults."""
        for key in self.table:
            if key not in _KEYS:
                self._fault(key, f"unknown key; {did_you_mean(key, _KEYS)}")
        if not isinstance(self.table.get("name", ""), str):
            self._fault("name", "must be text")
        adapter, topics, conditions = self._when(self.table.get("when"))
        kind = self._type()
        data = self._data(kind)
        places = {name: self._place(name) for name in _PLACES}
        link = self._links()
        if adapter == PLAIN and kind is not None and not {"subject", _LINK} & self.table.keys():
            self._fault("subject", f"or a link is required with adapter {PLAIN}: the path of the customer's id")
        return MappingRule(
            name=self.name,
            adapter=adapter,
            type=kind,
            data=data,
            topics=topics,
            conditions=conditions,
            link=link,
            **places,
        )

    def _fault(self, key: str, message: str) -> None:
        self.faults.append(f"{self.name}: {key}: {message}")

    # -- when

    def _when(self, when: Any) -> tuple[str, tuple[str, ...], tuple[MappingCondition, ...]]:
        if not isinstance(when, dict):
            self._fault("when", 'required, for example { adapter = "segment", event = "Report Exported" }')
            return "", (), ()
        rest = {key: value for key, value in when.items() if key not in ("adapter", "topic")}
        return self._adapter(when.get("adapter")), self._topics(when.get("topic")), tuple(self._conditions(rest))

    def _adapter(self, given: Any) -> str:
        if given is None:
            self._fault("when.adapter", f"required; there are {', '.join(SOURCES)}")
        elif not isinstance(given, str) or given not in SOURCES:
            self._fault("when.adapter", f"unknown; {did_you_mean(str(given), SOURCES)}")
        else:
            return given
        return ""

    def _topics(self, given: Any) -> tuple[str, ...]:
        if given is None:
            return ()
        names = given.get("in") if isinstance(given, dict) and given.keys() == {"in"} else [given]
        if not (isinstance(names, list) and names and all(isinstance(name, str) for name in names)):
            self._fault("when.topic", 'must be a topic without prefix, or { in = ["nps", "support"] }')
            return ()
        for name in names:
            if name not in SOURCE_TOPICS:
                self._fault("when.topic", f"no input topic {name!r}; {did_you_mean(name, SOURCE_TOPICS)}")
        return tuple(names)

    def _conditions(self, given: Mapping[str, Any], before: Path = ()) -> Iterator[MappingCondition]:
        for key, value in given.items():
            shown = ".".join(("when", *before, key))
            try:
                path = (*before, *parse_path(key))
            except ValueError as error:
                self._fault(shown, str(error))
                continue
            if isinstance(value, (str, int, float, bool)):
                yield MappingCondition(path, (value,))
            elif isinstance(value, dict) and value and not value.keys() <= _OPERATORS:
                yield from self._conditions(value, path)
            else:
                yield from self._operator(value, path, shown)

    def _operator(self, value: Any, path: Path, shown: str) -> Iterator[MappingCondition]:
        match value:
            case {"exists": bool(exists), **rest} if not rest:
                yield MappingCondition(path, exists=exists)
            case {"in": [*values], **rest} if values and not rest and all(isinstance(v, Scalar) for v in values):
                yield MappingCondition(path, tuple(values))
            case _:
                self._fault(shown, 'must be a value, { in = ["a", "b"] } or { exists = true }')

    # -- type and data

    def _type(self) -> str | None:
        ignored, given = self.table.get("ignore", False), self.table.get("type")
        if not isinstance(ignored, bool):
            self._fault("ignore", "must be true or false")
        elif ignored:
            for key in ("type", "data", *_PLACES, _LINK):
                if key in self.table:
                    self._fault(key, "means nothing beside ignore = true")
        elif given is None:
            self._fault("type", "required, or ignore = true")
        elif not isinstance(given, str) or given not in TYPES:
            self._fault("type", f"unknown; {did_you_mean(str(given), TYPES)}")
        else:
            return given
        return None

    def _data(self, kind: str | None) -> dict[str, Template]:
        given = self.table.get("data", {})
        if not isinstance(given, dict):
            self._fault("data", "must be a table of fields")
            return {}
        return {} if kind is None else self._fields(TYPES[kind], given, "data", kind)

    def _fields(self, model: type[BaseModel], given: Mapping[str, Any], place: str, what: str) -> dict[str, Template]:
        made: dict[str, Template] = {}
        for name, value in given.items():
            known = model.model_fields.get(name)
            if known is None:
                self._fault(f"{place}.{name}", f"no field of {what}; {_nearest(name, model.model_fields)}")
                continue
            template = self._template(known, value, f"{place}.{name}")
            if template is not None:
                made[name] = template
        for name, known in model.model_fields.items():
            other = READ_FROM.get(what, {}).get(name)
            wanted = known.is_required() or name in _WANTED.get(model, ())
            if wanted and name not in given and other not in given:
                instead = "" if other is None else f", or else {other}"
                self._fault(f"{place}.{name}", f"required by {what}{instead}")
        return made

    def _template(self, known: FieldInfo, value: Any, place: str) -> Template | None:
        inner = _model_in(known)
        is_table = isinstance(value, dict)
        if inner is not None:
            if is_table and "path" not in value:
                return self._fields(inner, value, place, place)
            first = next(iter(inner.model_fields))
            self._fault(place, f"is an object; map its fields, for example {place}.{first}")
            return None
        if is_table:
            return self._taken(known, value, place)
        if isinstance(value, str) and value.startswith(("$.", "$[")):
            return self._taken(known, {"path": value}, place)
        if isinstance(value, str) and value.startswith("$"):
            if not value.startswith("$$"):
                self._fault(place, 'a path begins with "$.", a text that begins with $ is written with "$$"')
                return None
            value = value[1:]
        return value if self._fits(known, value, place) else None

    def _taken(self, known: FieldInfo | None, given: Mapping[str, Any], place: str) -> Taken | None:
        before = len(self.faults)
        for key in given:
            if key not in _TAKEN_KEYS:
                self._fault(f"{place}.{key}", f"unknown key; {did_you_mean(key, _TAKEN_KEYS)}")
        path: Path = ()
        try:
            path = parse_path(given["path"]) if isinstance(given.get("path"), str) else ()
        except ValueError as error:
            self._fault(place, str(error))
        else:
            if not path:
                self._fault(place, 'must be a value, a path as "$.properties.name", or { path = "$.…", as = "int" }')
        cast = given.get("as")
        if cast is not None and cast not in CASTS:
            self._fault(f"{place}.as", f"unknown; {did_you_mean(str(cast), CASTS)}")
        elif cast is not None and known is not None and (wrong := _mismatch(known, _SAMPLES[cast])):
            self._fault(f"{place}.as", f"does not fit the field: {wrong}")
        if "default" in given and known is not None:
            self._fits(known, given["default"], f"{place}.default")
        return None if len(self.faults) > before else Taken(path, cast, given.get("default"))

    def _fits(self, known: FieldInfo, value: Any, place: str) -> bool:
        """Whether a value that is written in the file is one for this field."""
        try:
            _adapter_of(known).validate_python(value, strict=True)
        except ValidationError as error:
            self._fault(place, error.errors(include_url=False)[0]["msg"])
            return False
        return True

    def _place(self, name: str) -> Taken | None:
        given = self.table.get(name)
        if given is None:
            return None
        if not isinstance(given, str):
            self._fault(name, 'must be a path, for example "$.user.id"')
            return None
        return self._taken(None, {"path": given}, name)

    def _links(self) -> dict[str, Path]:
        given = self.table.get(_LINK, {})
        if not isinstance(given, dict) or (not given and _LINK in self.table):
            self._fault(_LINK, 'must be a table of paths, for example link.email = "$.user.email"')
            return {}
        found: dict[str, Path] = {}
        for kind, path in given.items():
            place = f"{_LINK}.{kind}"
            if self._fits(TYPES[Linked.type].model_fields["kind"], kind, place):
                taken = self._taken(None, {"path": path}, place)
                if taken is not None:
                    found[kind] = taken.path
        return found


def _nearest(name: str, fields: Collection[str]) -> str:
    return did_you_mean(name, fields) if fields else "it has none"


def _adapter_of(known: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = known.annotation
    return TypeAdapter(Annotated[annotation, *known.metadata] if known.metadata else annotation)


def _mismatch(known: FieldInfo, sample: Scalar) -> str | None:
    """Why no value of the sample's type can suit the field; a limit that only the sample breaks does not count."""
    try:
        _adapter_of(known).validate_python(sample, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return problems[0]["msg"] if all(problem["type"].endswith("_type") for problem in problems) else None
    return None


def _model_in(known: FieldInfo) -> type[BaseModel] | None:
    """The model of a field that is an object."""
    options = (known.annotation, *get_args(known.annotation))
    return next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), None)
