"""Write the diagram and the table of docs/opportunity.md anew: ``python tools/opportunity_page.py [check]``.

They are made from the rows of ``referral_stream.core.asking.life``. ``check`` writes nothing and exits with 1 when the
page is outdated.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from referral_stream.core.asking.life import LIFE

PAGE = Path(__file__).resolve().parent.parent / "docs" / "opportunity.md"

_BLOCK = re.compile(r"(<!-- life: (?P<name>diagram|table) -->\n).*?(<!-- end -->)", re.DOTALL)


def filled(page: str) -> str:
    """The page with its diagram and its table as they ought to be."""
    made = {"diagram": _diagram, "table": _table}
    return _BLOCK.sub(lambda block: f"{block[1]}{made[block['name']]()}{block[3]}", page)


def _diagram() -> str:
    """One arrow between two places, whatever leads from one to the other."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for row in LIFE:
        source = "[*]" if row.source == "new" else row.source
        arrows.setdefault((source, row.target), []).append(row.what)
    lines = [f"    {source} --> {target}: {'<br/>'.join(what)}" for (source, target), what in arrows.items()]
    return "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```", ""])


def _table() -> str:
    lines = ["| from | what happens | to | decision | decided in |", "|---|---|---|---|---|"]
    for row in LIFE:
        outcome = f"`{row.outcome}`" if row.outcome else ""
        lines.append(f"| {row.source} | {row.what} | {row.target} | {outcome} | `core/asking/{row.decided_in}.py` |")
    return "\n".join([*lines, ""])


def main(arguments: list[str]) -> int:
    page = PAGE.read_text("utf-8")
    wanted = filled(page)
    if arguments == ["check"]:
        return int(page != wanted)
    PAGE.write_text(wanted, "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
