"""Say whether a tag may be released: tag, package and changelog name one version, and no change is left out of it.

    python3 tools/check_release.py v1.2.3

Exit codes: 0 yes, 1 no, 2 wrong usage.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(tag: str, root: Path) -> list[str]:
    """Everything that prevents releasing the checkout at ``root`` under this tag."""
    version = re.search(r'^__version__ = "(.+)"$', (root / "referral_stream" / "__init__.py").read_text(), re.MULTILINE)
    newest = re.search(r"^## (\S+)", (root / "CHANGELOG.md").read_text(), re.MULTILINE)
    found = []
    if version is None or tag != f"v{version[1]}":
        found.append(f"the tag is {tag}, the package's version is {version[1] if version else 'not there'}")
    if newest is None or tag != f"v{newest[1]}":
        found.append(
            f"the tag is {tag}, the newest in CHANGELOG.md is {newest[1] if newest else 'not there'}: make changelog"
        )
    if left := sorted(path.name for path in (root / "changes.d").glob("*.*.md")):
        found.append(f"not in CHANGELOG.md yet: {', '.join(left)}: make changelog")
    return found


if __name__ == "__main__":
    if len(sys.argv) != 2:  # noqa: PLR2004
        print(f"usage: {Path(sys.argv[0]).name} TAG", file=sys.stderr)
        raise SystemExit(2)
    in_the_way = problems(sys.argv[1], ROOT)
    print("\n".join(in_the_way) or f"{sys.argv[1]} may be released")
    raise SystemExit(1 if in_the_way else 0)
