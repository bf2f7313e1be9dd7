"""Write the tables of faults in docs/operations.md anew: ``python tools/faults_page.py [check]``.

``check`` writes nothing and exits with 1 when the page is outdated.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from faust_batches import faults as transport
from faust_batches.faults import Fault

from referral_stream.ops import faults as product

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations.md"

TABLES: Final = {
    "lines": ("event", sorted((*transport.LINES, *product.LINES))),
    "reasons": ("reason", sorted(transport.REASONS)),
    "exits": ("exit code", transport.EXITS),
}
"""Name of a table on the page → the title of its first column, its rows."""

_BLOCK = re.compile(r"(<!-- faults: (?P<name>\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with every table as it ought to be. Raises KeyError for the name of no table."""
    return _BLOCK.sub(lambda block: f"{block[1]}{_table(*TABLES[block['name']])}{block[3]}", page)


def tables_in(page: str) -> list[str]:
    """The names of the tables that the page has."""
    return [block["name"] for block in _BLOCK.finditer(page)]


def _table(title: str, rows: Iterable[Fault]) -> str:
    head = f"| {title} | what it is | what to do |\n|---|---|---|\n"
    return head + "".join(f"| `{row.name}` | {row.cause} | {row.remedy} |\n" for row in rows)


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = filled(page)
    if arguments == ["check"]:
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
