"""Words that read as translated or archaic, found in what people read: docs, comments, docstrings, output.

    python3 tools/check_words.py [FILE…]      (default: all of the repository's prose and code)

One line per finding, with what to write instead; exit code 1 if there is any. Spelling is codespell's part.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

EVERYWHERE = {
    r"\bcan not\b": "cannot",
    r"\bnought\b": "zero, or nothing",
    r"\bfor want of\b": "without, for lack of",
    r"\b(?:mends?|mended|mending)\b": "fix, repair, remedy",
    r"\bbut for\b": "except for",
    r"\b(?:that|which|who) is none\b": "that is not one",
    r"\bis none of (?:our|its|their)\b": "is ignored, is left to others",
    r"\bin good order\b": "gracefully, cleanly",
    r"\bbesides\b(?=[.;])": "also, in addition",
    r"\bfarewell\b": "without leaving the group",
    r"\bmakes? (?:\w+ )?dear\b|\bhalf as dear\b|\bis dear\b": "expensive, slow",
    r"\bbelongs? into\b": "belongs in",
    r"\b(?:of )?(?:a|the) (?:team|vendor|customer|producer)'s own(?= triggers?\b)": "custom",
    r"\bof (?:a|the) (?:team|vendor|producer)'s own\b": "custom, its own",
    r"\bis nothing for\b": "does not belong in",
    r"\bof ours\b": "our, one of our",
    r"\b(?:must|may|does|do|is|are|can|will) not (?:\w+ )?any more\b": "no longer",
    r"\bgood for so (?:long|many)\b": "expires after this long",
    r"\bin so many (?:days|hours|seconds)\b|\bso many (?:days|hours|seconds)\b": "N days, this many days",
}
PROSE = {
    r"\b(?:is|are|was|were|be) told\b(?! apart)": "is reported, is shown, is named",
    r"\bwhoever\b": "anyone who, the one who",
    r"\bfor so long\b": "for this long",
}
"""Looked for in Markdown only."""

UNREAD = (
    "docs/specification/", "tests/", "benchmarks/", "schemas/", "referral_stream/contracts/inbound/answer_phrases/",
    "CHANGELOG.md", "tools/check_words.py", "LICENSE",
)  # fmt: skip
"""Normative text, which changes only with its meaning; code that no user reads; data; what others write."""
SUFFIXES = {".md", ".py", ".toml", ".yml", ".yaml", ".lua"}


def main(arguments: list[str]) -> int:
    paths = [Path(argument).resolve() for argument in arguments] or list(_tracked())
    found = 0
    for path in paths:
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        for line, words, better in findings(path.read_text(encoding="utf-8"), prose=path.suffix == ".md"):
            print(f"{shown}:{line}: {words!r}: {better}")
            found += 1
    return 1 if found else 0


def findings(text: str, *, prose: bool) -> Iterator[tuple[int, str, str]]:
    """Line, words found, what to write instead."""
    rules = EVERYWHERE | PROSE if prose else EVERYWHERE
    for number, line in enumerate(text.splitlines(), 1):
        for pattern, better in rules.items():
            for match in re.finditer(pattern, line, flags=re.IGNORECASE):
                yield number, match[0], better


def _tracked() -> Iterator[Path]:
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607
    for name in listed.splitlines():
        path = ROOT / name
        if path.suffix in SUFFIXES and not name.startswith(UNREAD) and path.is_file():
            yield path


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
