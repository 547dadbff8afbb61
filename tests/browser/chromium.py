"""A real Chromium, driven by playwright; axe-core for what can be checked of accessibility."""

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from typing import Any

from playwright.async_api import Browser, Page, async_playwright

CHROMIUM = (
    shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
)
WIDTHS = {"wide": (1440, 900), "narrow": (390, 844)}
# Rules that say what every page must hold; the words of best practice are ours to choose.
_RUN = """async () => {
  const found = await axe.run(document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]});
  return found.violations.map(one => `${one.id}: ${one.help}: ` + one.nodes.slice(0, 4).map(node => node.target.join(" ") + " " + node.html.slice(0, 160)).join(" | "));
}"""
_WIDER = """() => {
  const width = document.documentElement.clientWidth;
  if (document.documentElement.scrollWidth <= width) return [];
  return [...document.querySelectorAll("body *")]
    .filter(one => one.getBoundingClientRect().right > width + 1 && !one.closest(".scroll, .tabs, pre, [popover]"))
    .slice(0, 5).map(one => one.outerHTML.slice(0, 120));
}"""


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"]
        )
        yield browser
        await browser.close()


async def open_page(
    browser: Browser, *, width: str = "wide", theme: str = "light", url: str = "", token: str = ""
) -> Page:
    """A page of its own context; errors of scripts and of the CSP are collected in `page.faults`.
    `token`: of a session at `url`, over plain http."""
    wide, high = WIDTHS[width]
    context = await browser.new_context(
        viewport={"width": wide, "height": high},
        color_scheme=theme,
        reduced_motion="reduce",  # type: ignore[arg-type]
    )
    if token:
        await context.add_cookies([{"name": "exchange", "value": token, "url": url}])
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if said.type == "error" else None)
    page.faults = faults  # type: ignore[attr-defined]
    return page


async def axe(page: Page) -> list[str]:
    """What axe-core finds wrong with the page as it stands."""
    # Run by the debugger, which no CSP forbids.
    await page.evaluate(files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8"))
    found: list[str] = await page.evaluate(_RUN)
    return found


async def too_wide(page: Page) -> list[Any]:
    """What makes the page scroll sideways; []: nothing does."""
    found: list[Any] = await page.evaluate(_WIDER)
    return found
