"""An operator's daily question, in a real browser: why did this lead sell where it did?"""

import asyncio

from playwright.async_api import Browser, expect

from tests.browser.chromium import axe, open_page, too_wide
from tests.console.offices import ConsoleOffice
from tests.console.trading import open_trade


async def test_an_operator_finds_out_why_a_lead_sold_where_it_did(
    browser: Browser, desk: ConsoleOffice
) -> None:
    """From the live page, where it comes up by itself, and by its id on the leads' page."""
    async with open_trade(desk) as trade:
        page = await open_page(browser, url=desk.url, token=await desk.session("operator"))
        await page.goto(f"{desk.url}/console/")
        await expect(page.locator("[data-beat]")).to_have_text("Live")
        lead = await trade.lead()
        row = page.locator(f'tr[data-id="{lead}"]')
        await expect(row).to_contain_text("sold", timeout=10_000)
        await expect(row).to_contain_text("12.00")

        await page.get_by_role("link", name="Leads", exact=True).click()
        await page.get_by_label("Search leads").fill(lead)
        await page.get_by_role("button", name="Find").click()
        await expect(page.get_by_role("heading", level=1)).to_contain_text(lead[-8:])
        await expect(page.locator(".subtitle")).to_contain_text(
            "zenith bought it at 12.00 USD: the 2nd of 3 usable bids"
        )
        auction = page.get_by_role("figure", name="The auction").locator(".wf-row:not(.wf-axis)")
        await expect(auction).to_have_count(7)
        bars = await auction.locator("rect.wf-fill").evaluate_all(
            "all => all.map(one => one.getBoundingClientRect().width)"
        )
        deadline = await auction.locator("line.wf-deadline").evaluate_all(
            "all => new Set(all.map(one => Math.round(one.getBoundingClientRect().x))).size"
        )
        assert all(width >= 1 for width in bars)
        assert 1 == deadline  # one line through all rows
        assert [] == await axe(page)
        assert [] == await too_wide(page)
        assert [] == page.faults  # type: ignore[attr-defined]
        await page.context.close()


async def test_a_page_that_nobody_looks_at_asks_for_nothing(
    browser: Browser, desk: ConsoleOffice
) -> None:
    """And comes back to life when somebody looks again."""
    page = await open_page(browser, url=desk.url, token=await desk.session("viewer"))
    await page.goto(f"{desk.url}/console/")
    await expect(page.locator("[data-beat]")).to_have_text("Live")
    hide = """hidden => {
      Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
      document.dispatchEvent(new Event("visibilitychange"));
    }"""
    watchers = desk.office.console.endings[0].__self__._watchers  # type: ignore[attr-defined]
    assert watchers
    await page.evaluate(hide, True)
    while watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await page.evaluate(hide, False)
    while not watchers:  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    await page.context.close()
