"""The tables ``[source.NAME]`` of a mapping file: vendors without an adapter, and what all their rules share."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, Final

from referral_stream.contracts.mapping.language import MappedSource
from referral_stream.contracts.mapping.paths import Path
from referral_stream.contracts.mapping.signing import ALGORITHMS, ENCODINGS, Signature
from referral_stream.contracts.mapping.tables import PLACES, FileFault, Table
from referral_stream.contracts.topics import SOURCES as SOURCE_TOPICS
from referral_stream.core.suggestions import did_you_mean

SOURCE: Final = "source"
KEYS: Final = ("topic", "body", "json", "each", "event", "signature", *PLACES)
_SIGNATURE_KEYS: Final = ("header", "algorithm", "encoding", "prefix")
_BODIES: Final = ("json", "form")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}").fullmatch
_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}").fullmatch
RESERVED: Final = frozenset({"events", "control"})
"""The receiver's own endpoints."""


def is_source_name(name: str) -> bool:
    """Whether a source may be called so; not whether it means something else."""
    return _NAME(name) is not None


def read_sources(given: Any, taken: Collection[str], faults: list[FileFault]) -> dict[str, MappedSource]:
    """The sources by name; errors are added to ``faults``. ``taken``: names that mean something else already."""
    if not isinstance(given, dict):
        faults.append(FileFault("", 1, SOURCE, f'{SOURCE}: must be a table: [{SOURCE}.acme] with topic = "nps"'))
        return {}
    found: dict[str, MappedSource] = {}
    for name, table in given.items():
        reading = _SourceTable(table if isinstance(table, dict) else {}, f"{SOURCE}.{name}", f"{SOURCE}.{name}")
        found[name] = reading.source(name)
        if not isinstance(table, dict):
            reading.fault(name, f'must be a table: [{SOURCE}.{name}] with topic = "nps"')
        if not is_source_name(name):
            reading.fault(name, "a name is up to 32 small letters, digits and _, for example acme_surveys")
        elif name in taken or name in RESERVED:
            reading.fault(name, f"{name} means something else already; call it {f'own_{name}'[:32]}, for example")
        faults += reading.faults
    return found


class _SourceTable(Table):
    """One ``[source.NAME]`` being read."""

    def source(self, name: str) -> MappedSource:
        """The source, of use only if there are no faults."""
        given = self.given
        self.check_keys(given, KEYS)
        topic, body, each = given.get("topic"), given.get("body", "json"), given.get("each")
        if topic is None:
            self.fault("topic", f"required: one of {', '.join(sorted(SOURCE_TOPICS))}")
        elif not isinstance(topic, str) or topic not in SOURCE_TOPICS:
            self.fault("topic", f"no input topic {topic!r}; {did_you_mean(str(topic), SOURCE_TOPICS)}")
        if body not in _BODIES:
            self.fault("body", f"unknown; {did_you_mean(str(body), _BODIES)}")
        return MappedSource(
            name=name,
            topic=str(topic),
            form=body == "form",
            json=self.paths(given["json"], "json") if "json" in given else (),
            each=None if each is None else self._list(each),
            event=self.paths(given["event"], "event") if "event" in given else (),
            places=self.places(),
            signature=self._signature(given.get("signature")),
        )

    def _list(self, each: Any) -> Path | None:
        return self.path(each, "each", lists=True)

    def _signature(self, given: Any) -> Signature | None:
        if given is None:
            return None
        if not isinstance(given, dict):
            self.fault(
                "signature", 'must be a table: { header = "X-Signature", algorithm = "sha256", encoding = "hex" }'
            )
            return None
        self.check_keys(given, _SIGNATURE_KEYS, "signature.")
        header = given.get("header")
        if not isinstance(header, str) or not _HEADER(header):
            self.fault("signature.header", "required: the name of the HTTP header that holds the signature")
        algorithm, encoding = given.get("algorithm", "sha256"), given.get("encoding", "hex")
        for key, value, known in (("algorithm", algorithm, ALGORITHMS), ("encoding", encoding, ENCODINGS)):
            if value not in known:
                self.fault(f"signature.{key}", f"unknown; {did_you_mean(str(value), known)}")
        prefix = given.get("prefix", "")
        if not isinstance(prefix, str):
            self.fault("signature.prefix", 'must be text, for example "sha256="')
        return Signature(str(header), algorithm, encoding, str(prefix))
