"""What the product is made of, for those who have to answer for it: a CycloneDX 1.6 list of the locked packages.

    python tools/sbom.py FOLDER      writes FOLDER/referral_stream-VERSION.cdx.json

Of the packages in constraints.txt those are listed that the product may load, with every extra of its own, on any
platform. Licences and who needs whom are as the installed packages say.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from importlib import metadata
from pathlib import Path
from typing import Any

from lock import LOCK, ROOT, entries, locked

PRODUCT = {"console", "oidc", "rocksdb", "triggers", "uvloop"}
_MAX_NAME = 64
_PIN = re.compile(r"(?P<name>[A-Za-z0-9._-]+)==(?P<version>[^\s;\\]+)")


def bill(version: str, lock: str) -> dict[str, Any]:
    """The list. The same for the same version and lock."""
    pins = [_PIN.match(lines) for lines, _ in entries(locked(lock, PRODUCT)).values()]
    found = {name: pin["version"] for pin in pins if pin for name in [_normal(pin["name"])]}
    ours = _purl("referral-stream", version)
    needed = _needed("referral-stream", found)
    root = {"type": "application", "bom-ref": ours, "name": "referral-stream", "version": version, "purl": ours}
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid.uuid5(uuid.NAMESPACE_URL, f"{ours} {lock}").urn,
        "version": 1,
        "metadata": {"component": root | {"licenses": [{"expression": "Apache-2.0"}]}},
        "components": [_component(name, version) for name, version in found.items()],
        "dependencies": [
            {"ref": ours, "dependsOn": needed},
            *({"ref": _purl(name, found[name]), "dependsOn": _needed(name, found)} for name in found),
        ],
    }


def _component(name: str, version: str) -> dict[str, Any]:
    purl = _purl(name, version)
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl} | _licence(name)


def _licence(name: str) -> dict[str, Any]:
    """As an expression where the package gives one; else in its own words, if these are a name and not a whole text."""
    try:
        about = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return {}
    if expressions := about.get_all("License-Expression"):
        return {"licenses": [{"expression": expressions[0]}]}
    classified = [each.rsplit(" :: ", 1)[1] for each in about.get_all("Classifier") or [] if each.startswith("License")]
    stated = [text for text in about.get_all("License") or [] if len(text) <= _MAX_NAME and "\n" not in text]
    names = classified or stated
    return {"licenses": [{"license": {"name": each}} for each in names]} if names else {}


def _needed(name: str, found: dict[str, str]) -> list[str]:
    try:
        required = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        return []
    names = {_normal(match[0]) for each in required if (match := re.match(r"[A-Za-z0-9._-]+", each))}
    return sorted(_purl(each, found[each]) for each in names if each in found and each != _normal(name))


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _purl(name: str, version: str) -> str:
    return f"pkg:pypi/{name}@{version}"


def main(folder: Path) -> None:
    text = (ROOT / "referral_stream" / "__init__.py").read_text()
    version = next(match[1] for match in re.finditer(r'^__version__ = "([^"]+)"', text, re.MULTILINE))
    made = json.dumps(bill(version, LOCK.read_text()), indent=1, sort_keys=True)
    (folder / f"referral_stream-{version}.cdx.json").write_text(f"{made}\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
