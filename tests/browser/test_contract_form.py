"""The form of a contract in a real browser: what it sends, what it says, and that it loses nothing."""

from typing import Any

import orjson
from hypothesis import strategies as st
from playwright.async_api import Browser, Page

from exchange.apply import apply
from exchange.documents import ContractDocument, canonical
from exchange.http.changes import merge_patch
from tests.browser.chromium import axe, open_page, too_wide
from tests.console.contract_documents import CONTRACTS, FOREIGN, VERTICAL, several
from tests.console.offices import ConsoleOffice
from tests.offices import GUARD

EDIT = "/console/contracts/acme-all/edit"
COLLECT = """async () => (await import("/console/assets/form.js")).collect(document.querySelector("form[data-api]"))"""
FIRST = {
    "slug": "acme-all", "buyer": "acme", "vertical": "everything", "pricing": {"mode": "bid"},
    "endpoint": {"ping_url": "https://acme.example/ping", "post_url": "https://acme.example/post"},
}  # fmt: skip


async def the_form(desk: ConsoleOffice, browser: Browser, role: str = "admin") -> Page:
    """A contract of the vertical that has everything, and a signed-in browser."""
    wanted = [("vertical", VERTICAL), ("contract", FIRST)]
    await apply(desk.market.store.db, desk.market.vault, GUARD, wanted, by="test")
    return await open_page(browser, url=desk.url, token=await desk.session(role))


async def put(desk: ConsoleOffice, document: dict[str, Any]) -> None:
    """As it might have been stored by a version before: whatever it holds."""
    body = {
        **document,
        "endpoint": {k: v for k, v in document["endpoint"].items() if k != "secret"},
    }
    await desk.market.store.db.execute(
        "UPDATE document SET body = $1::text::jsonb WHERE kind = 'contract' AND slug = 'acme-all'",
        orjson.dumps(body).decode(),
    )


async def test_a_form_that_nobody_touched_changes_nothing(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """Whatever contract it shows, also one that it cannot show nicely: what it would send is that."""
    page = await the_form(desk, browser)
    odd = st.tuples(CONTRACTS, st.lists(FOREIGN, min_size=1, max_size=3)).map(
        lambda both: both[0] | {"filters": both[0]["filters"] + both[1]}
    )
    for document in several(CONTRACTS, 8) + several(odd, 3):
        await put(desk, document)
        await page.goto(desk.url + EDIT)
        sent = await page.evaluate(COLLECT)
        after = canonical(ContractDocument, merge_patch(document, sent))
        for side in ("allow", "deny"):
            assert sorted(document["sellers"][side]) == sorted(after["sellers"][side])
        assert document == after | {"sellers": document["sellers"]}
    assert [] == page.faults  # type: ignore[attr-defined]


async def test_numbers_that_a_browser_would_round_are_left_alone(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """The filters are told in words, and not sent at all."""
    page = await the_form(desk, browser)
    filters = [{"field": "age", "op": "eq", "value": 2**60}]
    await put(desk, canonical(ContractDocument, FIRST | {"filters": filters}))
    await page.goto(desk.url + EDIT)
    assert "filters" not in await page.evaluate(COLLECT)
    assert "browsers would round" in await page.inner_text("main")


async def test_problems_come_to_the_condition_they_are_of(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """Also inside a group: the value is named, the input marked and focused, nothing is saved."""
    page = await the_form(desk, browser)
    filters = [{"field": "age", "op": "gt", "value": 18}, {"any": [
        {"not": {"field": "zip", "op": "in", "value": ["90210", "10001"]}},
        {"field": "born", "op": "eq", "value": "2000-01-31"}]}]  # fmt: skip
    await put(desk, canonical(ContractDocument, FIRST | {"filters": filters}))
    await page.goto(desk.url + EDIT)
    await page.get_by_label("ZIP codes").fill("90210 10001 nonsense")
    assert "1 that are none: nonsense" in await page.inner_text(".conditions")
    await page.get_by_label("Pings a second at most").fill("0")
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_selector(".error")
    told = {
        await one.evaluate("one => one.previousElementSibling.querySelector('[aria-invalid]')?.dataset.path ?? one.previousElementSibling.querySelector('[aria-invalid]')?.name"): await one.inner_text()
        for one in await page.query_selector_all(".error")
    }  # fmt: skip
    assert {"filters.1.any.0.not", "endpoint.max_qps"} == set(told)
    assert "(value 3)" in told["filters.1.any.0.not"]
    assert await page.evaluate("document.activeElement.hasAttribute('aria-invalid')")


async def test_conditions_are_built_by_keyboard_alone(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """Added, turned into alternatives, negated, moved and removed; then saved as they stand."""
    page = await the_form(desk, browser)
    await page.goto(desk.url + EDIT)
    await page.get_by_role("button", name="Add a condition").press("Enter")
    await page.keyboard.press("Tab")  # from the field to its op
    await page.locator(".cond-op:focus").select_option("exists")
    boxes = page.locator(".cond")

    await page.get_by_role("button", name="Add a condition").press("Enter")
    await boxes.nth(1).get_by_label("Field").select_option("age")
    await boxes.nth(1).get_by_label("Comparison").select_option("between")
    await boxes.nth(1).get_by_label("From").fill("25")
    await boxes.nth(1).get_by_label("To").fill("65")
    await boxes.nth(1).get_by_role("button", name="Move up").press("Enter")
    assert "Moved up, now 1 of 2" == await page.locator(".conditions [role=status]").inner_text()
    assert "Move down" == await page.evaluate("document.activeElement.title")  # up ends there
    await boxes.first.get_by_role("button", name="Negate").press("Enter")
    await page.locator(".cond.not").get_by_role("button", name="Or:").press("Enter")
    added = page.locator(".cond.any > .conds > .cond.condition")
    await added.get_by_label("Field").select_option("credit")
    await added.get_by_label("Comparison").select_option("not_in")
    await added.get_by_label("500").check()
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_url("**/contracts/acme-all")

    stored = await desk.office.db.fetchval(
        "SELECT body->>'filters' FROM document WHERE slug = 'acme-all'"
    )
    assert [
        {"any": [{"not": {"field": "age", "op": "between", "value": [25, 65]}},
                 {"field": "credit", "op": "not_in", "value": [500]}]},
        {"field": "state", "op": "exists", "value": True},
    ] == orjson.loads(stored)  # fmt: skip
    await page.goto(desk.url + EDIT)
    await page.locator(".cond.any").first.get_by_role("button", name="Remove").last.press("Enter")
    assert [] == await axe(page)


async def test_a_conflict_shows_what_the_other_changed(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """Saving over it changes what was changed here, and nothing else."""
    page = await the_form(desk, browser)
    await page.goto(desk.url + EDIT)
    other = await desk.signed_in("operator")
    done = await other.send("PATCH", "/console/v1/contracts/acme-all", {"priority": 3, "weight": 7})
    assert 200 == done.status
    await page.get_by_label("Priority").fill("5")
    await page.get_by_role("button", name="Save").click()
    dialog = page.get_by_role("dialog")
    await dialog.wait_for()
    said = await dialog.inner_text()
    assert "priority" in said
    assert "weight" in said
    await dialog.get_by_role("button", name="Save mine over it").click()
    await page.wait_for_url("**/contracts/acme-all")
    stored = orjson.loads(
        await desk.office.db.fetchval("SELECT body::text FROM document WHERE slug = 'acme-all'")
    )
    assert (5, 7) == (stored["priority"], stored["weight"])


async def test_caps_hours_and_secret_are_edited_on_a_phone(
    desk: ConsoleOffice, browser: Browser
) -> None:
    """Rows come and go; a secret that was made here is in force as soon as it is saved."""
    await the_form(desk, browser)
    page = await open_page(browser, width="narrow", url=desk.url, token=await desk.session("admin"))
    await page.goto(desk.url + EDIT)
    for kind, limit in (("spend", "5000"), ("concurrent", "5")):
        await page.get_by_role("button", name="Add a cap").click()
        row = page.locator(".cap-row").last
        await row.get_by_label("What is limited").select_option(kind)
        await row.get_by_label("Limit", exact=True).fill(limit)
    await page.get_by_label("It takes leads").select_option("hours")
    monday = page.locator("[data-day=mon]")
    await monday.get_by_role("button", name="Hours", exact=True).click()
    await monday.get_by_label("From").fill("9:00")
    await monday.get_by_label("Until").fill("24:00")
    await monday.get_by_role("button", name="Same below").click()
    await page.locator("[data-day=sun]").get_by_label("Remove these hours").click()
    await page.get_by_label("Time zone").fill("America/Chicago")
    await page.get_by_role("button", name="Make a new one").click()
    secret = await page.get_by_label("Signing secret").input_value()
    assert [] == await too_wide(page)
    await page.get_by_role("button", name="Save").click()
    await page.wait_for_url("**/contracts/acme-all")
    row = await desk.office.db.fetchrow(
        "SELECT body::text, secret FROM document WHERE slug = 'acme-all'"
    )
    assert row is not None
    body = orjson.loads(row[0])
    hours = {day: ["09:00-24:00"] for day in ("mon", "tue", "wed", "thu", "fri", "sat")} | {
        "sun": []
    }
    assert {"timezone": "America/Chicago", "hours": hours, "holidays": []} == body["schedule"]
    assert [("spend", "day", "5000.00"), ("concurrent", None, 5)] == [
        (one["kind"], one["period"], one["limit"]) for one in body["caps"]
    ]
    assert secret == desk.office.console.vault.open_text("contract:acme-all", row[1])
