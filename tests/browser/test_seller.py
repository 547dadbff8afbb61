"""A seller's first hour, on a running exchange: reads the posting page, tries the form, runs what is printed."""

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from tests.acceptance.exchanges import Exchange, an_exchange
from tests.acceptance.markets import Market, a_market, bids
from tests.browser.chromium import axe, open_page, too_wide
from tests.browser.look import signed_in

TESTS = {"endpoint": {"accepts_test": True}}


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with an_exchange(workers=1) as started:
        yield started


@pytest.fixture
async def market(exchange: Exchange) -> AsyncIterator[Market]:
    async with a_market(exchange, bids("one", **TESTS), bids("real", "99.00")) as opened:
        yield opened


@pytest.fixture
async def page(browser: Browser, market: Market) -> Page:
    """The instructions, as the seller who pasted its key sees them."""
    base = market.exchange.office_url
    token = await signed_in(browser, base, market.key, "")
    found = await open_page(browser, url=base, token=token)
    await found.goto(f"{base}/console/posting")
    await found.get_by_role("link", name="Instructions").click()
    await found.wait_for_url(f"**/console/posting/{market.vertical}")
    return found


async def leads_of(market: Market) -> list[tuple[bool, int]]:
    """Whether they were tests, and how many."""
    rows = await market.db.fetch(
        "SELECT test, count(*) FROM lead WHERE vertical = $1 GROUP BY 1", market.vertical
    )
    return [tuple(row) for row in rows]


async def test_a_seller_tries_the_form(page: Page, market: Market) -> None:
    """A ping, its post, and both in one step: tests, answered readably; nothing is sold for real."""
    await page.get_by_role("button", name="Ping", exact=True).click()
    answers = page.locator(".answer")
    await answers.nth(0).wait_for()
    assert "8.00 USD" in await answers.nth(0).inner_text()
    assert "ping_test_" in await answers.nth(0).inner_text()
    await page.get_by_role("button", name="Post this ping").click()
    await answers.nth(1).wait_for()
    assert "Post: sold" in await answers.nth(1).inner_text()
    await page.get_by_role("button", name="Both in one step").click()
    await answers.nth(2).wait_for()
    assert "One step: sold" in await answers.nth(2).inner_text()
    assert [(True, 2)] == await leads_of(market)
    assert 0 == market.book("real").pings
    assert 0 == await market.db.fetchval("SELECT count(*) FROM api_key WHERE id LIKE 'try%'")
    assert [] == page.faults  # type: ignore[attr-defined]


async def test_what_is_wrong_is_shown_at_its_field(page: Page, market: Market) -> None:
    """By the API's path; a fold that hides it is opened, and it has the focus."""
    await page.get_by_label("first_name").evaluate("one => one.value = ''")
    await page.get_by_label("zip").fill("9")
    await page.get_by_role("button", name="Both in one step").click()
    await page.locator(".answer.bad").wait_for()
    assert await page.get_by_label("zip").get_attribute("aria-invalid") == "true"
    assert await page.get_by_label("zip").evaluate("one => one === document.activeElement")
    assert await page.get_by_label("first_name").is_visible()
    assert [] == await axe(page)
    await page.get_by_role("button", name="Example again").click()
    await page.get_by_role("button", name="Ping", exact=True).click()
    await page.locator(".answer.good").wait_for()


RUN = {"curl": "sh", "Python": sys.executable, "JavaScript": "node", "PHP": "php"}


async def test_the_printed_programs_sell(page: Page, market: Market, tmp_path: Path) -> None:
    """As a seller would copy them, part by part, with nothing but the key put into its variable; in
    each language that is installed here."""
    ran = [name for name, command in RUN.items() if shutil.which(command)]
    assert {"curl", "Python"} <= set(ran)
    for language in ran:
        await page.get_by_text(language, exact=True).click()
        parts = page.locator(f'[data-language="{language.lower()}"] pre')
        file = tmp_path / ("sell.mjs" if language == "JavaScript" else f"sell-{language}")
        file.write_text("\n".join(await parts.all_inner_texts()))
        process = await asyncio.create_subprocess_exec(
            RUN[language], str(file), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
            env={"PATH": os.environ["PATH"], "EXCHANGE_KEY": market.key},
        )  # fmt: skip
        said = (await process.communicate())[0].decode()
        assert 0 == process.returncode, said
        assert 2 == said.count("sold"), said
        assert "lead_test_" in said
    assert [(True, 2 * len(ran))] == await leads_of(market)


@pytest.mark.parametrize(("width", "theme"), [("wide", "light"), ("narrow", "dark")])
async def test_the_api_is_a_page_too(
    browser: Browser, exchange: Exchange, width: str, theme: str
) -> None:
    """/docs of both listeners: nothing sticks out, nothing is refused by its policy, axe is content."""
    page = await open_page(browser, width=width, theme=theme)
    await page.goto(f"{exchange.url}/docs")
    if width == "wide":
        await page.get_by_label("Find").fill("outcome")
        assert 1 == await page.locator("nav li[data-find]:visible").count()
    assert [] == await too_wide(page)
    # Each article is made like every other: axe takes a minute for all of them.
    await page.evaluate(
        "document.querySelectorAll('article:nth-of-type(n+4)').forEach(one => one.remove())"
    )
    assert [] == await axe(page)
    assert [] == page.faults  # type: ignore[attr-defined]
