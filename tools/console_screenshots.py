"""Write the pictures of docs/console.md anew: the console over the demo's week, in Debian's chromium.

python tools/console_screenshots.py
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from playwright.async_api import async_playwright
from redis.asyncio import Redis

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from referral_stream.console.serve import listening  # noqa: E402 (the tests' world is found by the line above)
from tests.console.world import OPERATORS, console_over, seed_demo  # noqa: E402
from tests.services.redis import RedisServer  # noqa: E402

PICTURES: Final = (
    ("console-customer", "/customer?id=cus-deniz", 1_100, 980, "light"),
    ("console-now", "/", 1_100, 900, "light"),
    ("console-phone", "/customer?id=cus-deniz", 360, 740, "dark"),
)


async def main() -> None:
    with RedisServer() as server, tempfile.TemporaryDirectory() as folder:
        async with Redis.from_url(server.url) as client:
            await seed_demo(client, "pictures")
        console = console_over(server.url, Path(folder), prefix="pictures")
        async with listening(console) as port, async_playwright() as driver:
            browser = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
            for name, path, width, height, scheme in PICTURES:
                await _picture(browser, f"http://127.0.0.1:{port}", path, name, (width, height, scheme))
            await browser.close()
        await console.reader.aclose()


async def _picture(browser: Any, url: str, path: str, name: str, look: tuple[int, int, str]) -> None:
    width, height, scheme = look
    context = await browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)
    page = await context.new_page()
    await page.goto(f"{url}/login")
    await page.fill("#token", OPERATORS)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"{url}/")
    await page.goto(f"{url}{path}")
    await page.wait_for_load_state("load")
    file = ROOT / "docs" / "images" / f"{name}.png"
    file.parent.mkdir(exist_ok=True)
    await page.screenshot(path=str(file))
    print(file.relative_to(ROOT))
    await context.close()


if __name__ == "__main__":
    asyncio.run(main())
