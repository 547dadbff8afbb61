"""Putting a plan into another order, in a real browser: by buttons, by dragging, and saved by the API."""

from playwright.async_api import Browser, Page

from exchange.apply import apply
from tests.browser.chromium import axe, open_page
from tests.console.offices import ConsoleOffice
from tests.offices import GUARD, a_contract

TIERS = [("auction", "auction"), ("first", "priority"), ("second", "price")]


async def plan_page(browser: Browser, desk: ConsoleOffice) -> Page:
    fixed = {"tier": "first", "pricing": {"mode": "fixed", "price": "3"}}
    plan = {"vertical": "roofing", "tiers": [{"name": name, "mode": mode} for name, mode in TIERS]}
    contracts = [
        ("contract", a_contract(f"rest-{number}", "zenith", priority=number, **fixed)) for number in (10, 20, 30)
    ]  # fmt: skip
    await apply(
        desk.market.store.db, desk.market.vault, GUARD, [("plan", plan), *contracts], by="test"
    )
    page = await open_page(browser, url=desk.url, token=await desk.session("operator"))
    await page.goto(f"{desk.url}/console/plans/roofing")
    return page


async def tiers(desk: ConsoleOffice) -> list[str]:
    sql = "SELECT jsonb_path_query_array(body, '$.tiers[*].name')::text FROM document WHERE kind = 'plan'"
    found: list[str] = eval(await desk.market.store.db.fetchval(sql))  # noqa: S307 - a list of names
    return found


async def priorities(desk: ConsoleOffice) -> dict[str, int]:
    sql = "SELECT slug, (body->>'priority')::int FROM document WHERE slug LIKE 'rest-%'"
    return dict(map(tuple, await desk.market.store.db.fetch(sql)))


async def test_tiers_are_moved_added_and_removed(browser: Browser, desk: ConsoleOffice) -> None:
    """Nothing is written before it is saved; what the API refuses is shown at its place."""
    page = await plan_page(browser, desk)
    assert not await page.get_by_role("button", name="Save the plan").is_visible()
    await page.get_by_role("button", name="Move second up").press("Enter")
    await page.get_by_role("button", name="Add a tier").click()
    assert [] == await axe(page)
    assert ["auction", "first", "second"] == await tiers(desk)
    await page.get_by_role("button", name="Save the plan").click()
    await page.locator(".tier .error").first.wait_for()  # a tier without a name
    await page.locator(".tier").last.get_by_label("Name").fill("third")
    await page.get_by_role("button", name="Save the plan").click()
    await page.get_by_role("heading", name="third").wait_for()
    assert ["auction", "second", "first", "third"] == await tiers(desk)
    await page.get_by_role("button", name="Remove second").click()
    await page.get_by_role("button", name="Save the plan").click()
    await page.get_by_role("button", name="Save the plan").wait_for(state="hidden")
    assert ["auction", "first", "third"] == await tiers(desk)


async def test_contracts_are_dragged_into_another_order(
    browser: Browser, desk: ConsoleOffice
) -> None:
    """The one that was moved gets a priority between the others; no other contract is touched."""
    page = await plan_page(browser, desk)
    grip = page.locator('[data-contract="rest-30"] [data-grip]')
    over = await page.locator('[data-contract="rest-20"]').bounding_box()
    assert over is not None
    await grip.hover()
    await page.mouse.down()
    await page.mouse.move(over["x"] + 20, over["y"] + 4, steps=6)
    await page.mouse.up()
    assert (
        "1 contract gets another priority"
        in await page.locator("[data-unsaved]:visible").inner_text()
    )
    await page.get_by_role("button", name="Save this order").click()
    await page.get_by_role("button", name="Save this order").wait_for(state="hidden")
    assert {"rest-10": 10, "rest-30": 15, "rest-20": 20} == await priorities(desk)
    rows = page.locator("[data-contract]")
    assert ["rest-10", "rest-30", "rest-20"] == [
        await rows.nth(at).get_attribute("data-contract") for at in range(3)
    ]
