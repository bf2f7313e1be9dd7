"""The pictures of docs/backtest.md, from a part of the simulator's year: python tools/backtest_pictures.py

Needs Playwright (`pip install playwright`) and a Chromium (`CHROMIUM`, by default /usr/bin/chromium).
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from playwright.sync_api import ConsoleMessage

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from referral_stream.backtest.report import render, render_front  # noqa: E402
from referral_stream.backtest.run import backtest, search  # noqa: E402
from referral_stream.backtest.search import parse_search  # noqa: E402
from referral_stream.core.effects import AskRequested  # noqa: E402
from referral_stream.core.policy import CapLimits, Policy  # noqa: E402
from referral_stream.replay.virtual_run import FactReplay  # noqa: E402
from tests.properties.comparing import BOUNDARY, arrivals  # noqa: E402
from tests.worlds.records import Record  # noqa: E402
from tests.worlds.years import Year  # noqa: E402

PICTURES = ROOT / "docs" / "pictures"
TODAY, TOMORROW = Policy(name="today"), Policy(name="a shorter wait", version=2, caps=CapLimits(customer_days=60))
NUMBERS = b'[numbers]\n"caps.customer_days" = [45, 60, 120]\n"score.soft_at" = [50, 60]\n'


def lived(file: Path, customers: int, days: int) -> Path:
    """A recorded log in which those who are asked today answer."""
    year = Year(seed=7, customers=customers, days=days)
    with file.open("wb") as lines:

        def recorded() -> Iterator[Record]:
            for record in year:
                lines.write(orjson.dumps(record) + b"\n")
                yield record

        for items in FactReplay(TODAY).run(arrivals(recorded())):
            for _, effect in items:
                if isinstance(effect, AskRequested):
                    year.answer(effect)
    return file


def take(pages: dict[str, Path]) -> None:
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (only who draws needs it)

    shots = (
        ("backtest", "report", 1280, 1000, False, ""),
        ("backtest-dark", "report", 1280, 1000, True, "#gates"),
        ("backtest-narrow", "report", 420, 1000, False, ""),
        ("backtest-plots", "report", 1280, 1000, False, "#time"),
        ("backtest-search", "front", 1280, 900, False, ""),
    )
    with sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=["--no-sandbox"]
        )
        for name, page, width, height, is_dark, where in shots:
            context = browser.new_context(
                viewport={"width": width, "height": height},
                color_scheme="dark" if is_dark else "light",
                reduced_motion="reduce",
            )
            tab = context.new_page()
            complaints: list[str] = []
            tab.on("console", partial(_note, complaints))
            tab.goto(f"{pages[page].as_uri()}{where}")
            wider = tab.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            if complaints or wider > 0:
                sys.exit(f"{name}: {wider} pixels too wide; the browser says: {complaints}")
            tab.screenshot(path=PICTURES / f"{name}.png")
            context.close()
        browser.close()


def _note(complaints: list[str], message: ConsoleMessage) -> None:
    complaints.append(message.text)


def main() -> None:
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        log = lived(Path(folder, "log.jsonl"), int(os.environ.get("CUSTOMERS", "120")), 365)
        pages = {name: Path(folder, f"{name}.html") for name in ("report", "front")}
        found = backtest(log, TODAY, TOMORROW, BOUNDARY)
        pages["report"].write_text(render(found, TODAY, TOMORROW), encoding="utf-8")
        wanted = parse_search(NUMBERS, TODAY)
        read, front = search(log, TODAY, wanted.tried, BOUNDARY)
        pages["front"].write_text(render_front(front, wanted, read, TODAY), encoding="utf-8")
        take(pages)


if __name__ == "__main__":
    main()
