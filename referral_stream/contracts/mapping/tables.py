"""What the tables of a mapping file have in common: values taken from a payload, and who, which and when.

Everything that can be checked before the first payload arrives (a name, a type, a missing value) is checked here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from referral_stream.contracts.mapping.language import NOWHERE, Places
from referral_stream.contracts.mapping.paths import PREFIXES, Path, parse_path
from referral_stream.contracts.mapping.values import CASTS, Cast, Scalar, Taken, Time, format_problem
from referral_stream.core import zones
from referral_stream.core.events import Linked
from referral_stream.core.suggestions import did_you_mean

PLACES: Final = ("subject", "id", "account", "time", "link")
_TAKEN_KEYS: Final = ("path", "as", "default", "table", "join")
_ID_KEYS: Final = ("path", "join")
_TIME_KEYS: Final = ("path", "format", "zone")
_SAMPLES: Final[Mapping[Cast, Scalar]] = {
    "int": 1, "float": 1.0, "bool": True, "str": "x", "email_hmac": "0" * 64,
}  # fmt: skip
_A_VALUE: Final = 'must be a value, a path as "$.properties.name", or { path = "$.…", as = "int" }'


@dataclass(frozen=True, slots=True)
class FileFault:
    """What is wrong in a file: in which of its tables (``header``, the ``number``-th of that name), at which key."""

    header: str
    number: int
    key: str
    text: str


@dataclass(slots=True)
class Table:
    """One table of the file being read; ``faults`` collects its errors. ``named`` are the file's ``[table.NAME]``."""

    given: Mapping[str, Any]
    header: str
    name: str
    number: int = 1
    named: Mapping[str, Mapping[str, Scalar]] = field(default_factory=dict)
    faults: list[FileFault] = field(default_factory=list)

    def fault(self, key: str, message: str) -> None:
        self.faults.append(FileFault(self.header, self.number, key, f"{self.name}: {key}: {message}"))

    def check_keys(self, given: Mapping[str, Any], known: tuple[str, ...], place: str = "") -> None:
        for key in given:
            if key not in known:
                self.fault(f"{place}{key}", f"unknown key; {did_you_mean(key, known)}")

    # -- paths

    def path(self, text: Any, place: str, *, lists: bool = False) -> Path | None:
        if not isinstance(text, str):
            self.fault(place, 'must be a path, for example "$.user.id"')
            return None
        try:
            return parse_path(text, whole=True, lists=lists)
        except ValueError as error:
            self.fault(place, str(error))
            return None

    def paths(self, given: Any, place: str) -> tuple[Path, ...]:
        """One path, or a list of them, the first that holds a value counts; empty where there is a fault."""
        texts = given if isinstance(given, list) and given else [given]
        found = [self.path(text, place) for text in texts]
        return () if None in found else tuple(path for path in found if path is not None)

    # -- values

    def taken(self, given: Mapping[str, Any], place: str, known: FieldInfo | None = None) -> Taken | None:
        """A value that is taken from the payload; checked against the field that it is for."""
        before = len(self.faults)
        self.check_keys(given, _TAKEN_KEYS if known is not None else _ID_KEYS, f"{place}.")
        if "join" in given:
            taken = Taken(join=self._join(given["join"], place))
            for key in given.keys() & {"path", "as", "table", "default"}:
                self.fault(f"{place}.{key}", "means nothing beside join")
            return taken if len(self.faults) == before else None
        if "path" not in given or not isinstance(given["path"], (str, list)):
            self.fault(place, _A_VALUE)
            return None
        paths = self.paths(given["path"], place)
        cast, table = given.get("as"), None
        if cast is not None and cast not in CASTS:
            self.fault(f"{place}.as", f"unknown; {did_you_mean(str(cast), CASTS)}")
        elif cast is not None and known is not None and (wrong := mismatch(known, _SAMPLES[cast])):
            self.fault(f"{place}.as", f"does not fit the field: {wrong}")
        if "table" in given:
            table = self._table(given["table"], f"{place}.table", known)
            if cast is not None:
                self.fault(f"{place}.as", "means nothing beside a table: write its values as they are to be")
        if "default" in given and known is not None:
            self.fits(known, given["default"], f"{place}.default")
        return Taken(paths, cast, given.get("default"), table) if len(self.faults) == before else None

    def _join(self, given: Any, place: str) -> tuple[Path | str, ...]:
        parts: list[Path | str] = []
        if not isinstance(given, list) or not given:
            self.fault(f"{place}.join", 'must be a list of paths and texts, for example ["$.kind", "$.id"]')
            return ()
        for part in given:
            if isinstance(part, str) and part.startswith(PREFIXES):
                path = self.path(part, f"{place}.join")
                parts += () if path is None else (path,)
            elif isinstance(part, str) and part and not part.startswith("$"):
                parts.append(part)
            else:
                self.fault(f"{place}.join", f"{part!r} is neither a path, which begins with $., nor a text")
        return tuple(parts)

    def _table(self, given: Any, place: str, known: FieldInfo | None) -> Mapping[str, Scalar] | None:
        if isinstance(given, str):
            if given not in self.named:
                hint = did_you_mean(given, self.named) if self.named else f"write [table.{given}]"
                self.fault(place, f"there is no [table.{given}]; {hint}")
                return None
            given = self.named[given]
        if not isinstance(given, dict) or not given:
            self.fault(
                place, 'must be a table, for example { happy = "positive", "*" = "negative" }, or the name of one'
            )
            return None
        for key, value in given.items():
            if known is not None:
                self.fits(known, value, f"{place}.{key}")
        return dict(given)

    def fits(self, known: FieldInfo, value: Any, place: str) -> bool:
        """Whether a value that is written in the file is one for this field."""
        try:
            adapter_of(known).validate_python(value, strict=True)
        except ValidationError as error:
            self.fault(place, error.errors(include_url=False)[0]["msg"])
            return False
        return True

    # -- who, which, when

    def places(self) -> Places:
        if self.given.keys().isdisjoint(PLACES):
            return NOWHERE
        return Places(
            subject=self._id("subject"),
            id=self._id("id"),
            account=self._id("account"),
            time=self._time(),
            link=self._links(),
        )

    def _id(self, name: str) -> Taken | None:
        given = self.given.get(name)
        if given is None:
            return None
        if isinstance(given, dict):
            return self.taken(given, name)
        if not isinstance(given, (str, list)) or given == []:
            self.fault(name, 'must be a path, for example "$.user.id"')
            return None
        return Taken(paths) if (paths := self.paths(given, name)) else None

    def _time(self) -> Time | None:
        given = self.given.get("time")
        if given is None:
            return None
        if not isinstance(given, dict):
            given = {"path": given}
        before = len(self.faults)
        self.check_keys(given, _TIME_KEYS, "time.")
        paths = self.paths(given.get("path"), "time")
        formats = given.get("format", [])
        formats = formats if isinstance(formats, list) else [formats]
        for form in formats:
            problem = format_problem(form) if isinstance(form, str) else "must be text, or a list of texts"
            if problem is not None:
                self.fault("time.format", problem)
        zone = given.get("zone")
        if zone is not None and not (isinstance(zone, str) and zones.is_zone(zone)):
            self.fault("time.zone", f"no such time zone; {_nearest_zone(zone)}")
        return Time(paths, tuple(formats), zone) if len(self.faults) == before else None

    def _links(self) -> dict[str, tuple[Path, ...]]:
        given = self.given.get("link", {})
        if not isinstance(given, dict) or (not given and "link" in self.given):
            self.fault("link", 'must be a table of paths, for example link.email = "$.user.email"')
            return {}
        found: dict[str, tuple[Path, ...]] = {}
        for kind, paths in given.items():
            place = f"link.{kind}"
            if self.fits(Linked.model_fields["kind"], kind, place) and (read := self.paths(paths, place)):
                found[kind] = read
        return found


def _nearest_zone(zone: Any) -> str:
    known = zones.names()
    return did_you_mean(zone, known) if isinstance(zone, str) and zone.isascii() and "/" in zone else (
        "write its IANA name, for example Europe/Berlin"
    )  # fmt: skip


def adapter_of(known: FieldInfo) -> TypeAdapter[Any]:
    annotation: Any = known.annotation
    return TypeAdapter(Annotated[annotation, *known.metadata] if known.metadata else annotation)


def mismatch(known: FieldInfo, sample: Scalar) -> str | None:
    """Why no value of the sample's type can suit the field; a limit that only the sample breaks does not count."""
    try:
        adapter_of(known).validate_python(sample, strict=True)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        return problems[0]["msg"] if all(problem["type"].endswith("_type") for problem in problems) else None
    return None
