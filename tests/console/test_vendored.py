"""Files of others: unchanged, and what the pages say of them is what they are."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
import tarfile
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest

CONSOLE = Path(str(files("referral_stream.console")))
AXE = Path(__file__).parent / "axe"
FOLDERS = {CONSOLE / "vendored.toml": CONSOLE / "static" / "vendor", AXE / "vendored.toml": AXE}
FILES = [
    (name, folder / name, entry)
    for manifest, folder in FOLDERS.items()
    for name, entry in tomllib.loads(manifest.read_text(encoding="utf-8")).items()
]


def integrity(content: bytes, algorithm: str) -> str:
    return f"{algorithm}-{base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def test_every_file_of_others_is_in_the_manifest() -> None:
    for manifest, folder in FOLDERS.items():
        known = set(tomllib.loads(manifest.read_text(encoding="utf-8")))
        assert {file.name for file in folder.iterdir() if file.suffix in (".js", ".css")} == known


@pytest.mark.parametrize(("name", "file", "entry"), FILES, ids=[name for name, _, _ in FILES])
def test_a_vendored_file_is_what_the_manifest_says(name: str, file: Path, entry: dict[str, str]) -> None:
    assert integrity(file.read_bytes(), "sha384") == entry["integrity"], name


def test_pages_load_everything_with_its_integrity_and_nothing_from_elsewhere() -> None:
    for template in (CONSOLE / "templates").iterdir():
        text = template.read_text(encoding="utf-8")
        for tag in re.findall(r"<(?:script|link)[^>]*>", text):
            assert "{{ asset(" in tag or "icon.svg" in tag, (template.name, tag)
        assert not re.search(r"(src|href|action)=[\"'](https?:)?//", text), template.name


@pytest.mark.nightly
@pytest.mark.parametrize(("name", "file", "entry"), FILES, ids=[name for name, _, _ in FILES])
def test_a_vendored_file_is_that_of_its_package(name: str, file: Path, entry: dict[str, str], tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm here")
    spec = f"{entry['npm']}@{entry['version']}"
    packed = subprocess.run(["npm", "pack", "--json", spec], cwd=tmp_path, capture_output=True, text=True, check=False)
    if packed.returncode:
        pytest.skip("the npm registry cannot be reached")
    (about,) = json.loads(packed.stdout)
    archive = tmp_path / about["filename"]
    assert integrity(archive.read_bytes(), "sha512") == entry["package"]
    with tarfile.open(archive) as package:
        member = package.extractfile(f"package/{entry['path']}")
        assert member is not None
        assert member.read() == file.read_bytes(), name
