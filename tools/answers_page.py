"""Write the figures of docs/answers.md anew: ``python tools/answers_page.py [check]``.

They are counted in the corpus beside the page. ``check`` writes nothing and exits with 1 when the page is outdated.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from referral_stream.contracts.inbound.answers import LANGUAGES, read

PAGE = Path(__file__).resolve().parent.parent / "docs" / "answers.md"
CORPUS = PAGE.parent / "answers"
PARTS = {"": "by the author of the lists", ".unseen": "by somebody who had not seen the lists"}
"""What follows the language in a file's name → who wrote its replies."""

_BLOCK = re.compile(r"(<!-- figures -->\n).*?(<!-- end -->)", re.DOTALL)
_WORDS = ("yes", "maybe", "no", "stop", "unclear")


class Reply(NamedTuple):
    """A reply of the corpus, and what a person reads in it."""

    language: str
    part: str
    meant: str
    text: str


def corpus() -> Iterator[Reply]:
    """Every reply: a line of ``LANGUAGE[.unseen].tsv`` is the word, a tab, and the text on one line."""
    for language in LANGUAGES:
        for part in PARTS:
            file = CORPUS / f"{language}{part}.tsv"
            for line in file.read_text("utf-8").splitlines():
                meant, _, text = line.partition("\t")
                yield Reply(language, part, meant, text.replace("\\n", "\n"))


def filled(page: str) -> str:
    """The page with its figures as they ought to be."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_figures()}{block[2]}", page)


def _figures() -> str:
    replies = list(corpus())
    said = [read(reply.text) for reply in replies]
    lines = [
        f"| | replies | agree | {' | '.join(f'`{word}`' for word in _WORDS)} | another word |",
        f"|---|---|---|{'---|' * len(_WORDS)}---|",
    ]
    for part, who in PARTS.items():
        for language in LANGUAGES:
            pairs = [
                (r.meant, s) for r, s in zip(replies, said, strict=True) if (r.language, r.part) == (language, part)
            ]
            lines.append(f"| {language}, {who} | {_row(Counter(pairs))} |")
    return "\n".join([*lines, ""])


def _row(pairs: Counter[tuple[str, str | None]]) -> str:
    agree = sum(count for (meant, said), count in pairs.items() if meant == said)
    other = sum(count for (meant, said), count in pairs.items() if said not in (meant, "unclear"))
    meant = Counter[str]()
    for (word, _), count in pairs.items():
        meant[word] += count
    cells = [f"{pairs[word, word]} of {meant[word]}" for word in _WORDS]
    return " | ".join([str(pairs.total()), f"{100 * agree // pairs.total()} %", *cells, str(other)])


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = filled(page)
    if arguments == ["check"]:
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
