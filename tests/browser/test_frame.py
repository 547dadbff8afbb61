"""The frame in a real browser: accessible, never too wide, and everything by keyboard."""

import re
from typing import Any

import pytest
from playwright.async_api import Browser, expect

from tests.browser.chromium import axe, open_page, too_wide
from tests.console.offices import ConsoleOffice

PAGES = (
    "/account",
    "/account/totp",
    "/users",
    "/keys",
    "/settings",
    "/audit",
    "/audit/access",
    "/nothing",
)


@pytest.mark.parametrize(("width", "theme"), [("wide", "light"), ("narrow", "dark")])
async def test_pages_are_accessible_and_fit(
    browser: Browser, desk: ConsoleOffice, width: str, theme: str
) -> None:
    """What axe-core can see: names, roles, contrast, landmarks, headings, the size of targets."""
    token = await desk.session("admin")
    page = await open_page(browser, width=width, theme=theme, url=desk.url, token=token)
    for path in PAGES:
        await page.goto(f"{desk.url}/console{path}")
        assert ([], []) == (await axe(page), await too_wide(page)), path
    faults: list[str] = page.faults  # type: ignore[attr-defined]
    assert [] == [one for one in faults if "404" not in one], "the last page is not there"


async def test_the_entrance_is_accessible_and_works_without_a_script(
    browser: Browser, desk: ConsoleOffice
) -> None:
    page = await open_page(browser, width="narrow", theme="dark")
    await page.goto(f"{desk.url}/console/keys")
    await page.get_by_text("Use an API key").click()
    assert ([], []) == (await axe(page), await too_wide(page))

    context = await browser.new_context(java_script_enabled=False)
    plain = await context.new_page()
    await plain.goto(f"{desk.url}/console/keys?state=all")
    await plain.get_by_text("Use an API key").click()
    await plain.get_by_label("API key").fill(desk.market.keys["admin"])
    await plain.get_by_role("button", name="Sign in with the key").click()
    await expect(plain.get_by_role("heading", name="API keys")).to_be_visible()
    assert "/console/keys?state=all" in plain.url
    await expect(plain.get_by_role("button", name="Revoke").first).to_be_hidden()


async def test_a_key_is_made_shown_once_and_revoked(browser: Browser, desk: ConsoleOffice) -> None:
    """The whole of form.js: a dialog, a problem at its field, a secret, a question, a toast."""
    page = await open_page(browser, url=desk.url, token=await desk.session("admin"))
    await page.goto(f"{desk.url}/console/keys")
    await page.get_by_role("button", name="New key").click()
    owner = page.get_by_role("dialog").get_by_label("Owner")
    await owner.fill("nobody")
    await page.get_by_role("button", name="Make it").click()
    await expect(page.get_by_text("there is no such seller")).to_be_visible()
    await expect(owner).to_be_focused()
    assert "true" == await owner.get_attribute("aria-invalid")
    assert [] == await axe(page)

    await owner.fill("roofquotes")
    await owner.press("Enter")
    shown = page.locator("dialog .secret code")
    await expect(shown).to_have_text(re.compile("^lx_seller_"))
    key = await shown.text_content()
    await page.get_by_role("button", name="I have kept it").click()
    await expect(page.locator(".toast")).to_have_text("The key is made.")
    assert str(key) not in await page.content()
    await _revoke(page, desk, str(key))


async def _revoke(page: Any, desk: ConsoleOffice, key: str) -> None:
    bearer = {"Authorization": f"Bearer {key}"}
    row = page.get_by_role("row").filter(has_text=key.split("_")[2])
    await row.get_by_role("button", name="Revoke").click()
    await page.keyboard.press("Escape")
    await expect(row).to_be_visible()
    await row.get_by_role("button", name="Revoke").click()
    await page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    await expect(page.locator(".toast")).to_have_text("The key is revoked.")
    await expect(row).to_have_count(0)
    assert 401 == (await desk.nobody().get("/v1/keys", **bearer)).status


async def test_the_theme_is_chosen_and_kept(browser: Browser, desk: ConsoleOffice) -> None:
    page = await open_page(browser, theme="light", url=desk.url, token=await desk.session("admin"))
    await page.goto(f"{desk.url}/console/settings")
    light = await _background(page)
    await page.get_by_role("button", name="Light or dark").click()
    dark = await _background(page)
    assert light != dark

    await page.goto(f"{desk.url}/console/audit")
    assert dark == await _background(page)


async def _background(page: Any) -> str:
    found: str = await page.evaluate("getComputedStyle(document.body).backgroundColor")
    return found


async def test_on_a_phone_the_menu_opens_and_closes_by_keyboard(
    browser: Browser, desk: ConsoleOffice
) -> None:
    page = await open_page(browser, width="narrow", url=desk.url, token=await desk.session("admin"))
    await page.goto(f"{desk.url}/console/settings")
    link = page.get_by_role("link", name="API keys")
    await expect(link).to_be_hidden()
    await page.keyboard.press("Tab")
    await expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    await expect(link).to_be_visible()
    assert [] == await axe(page)
    await page.keyboard.press("Escape")
    await expect(link).to_be_hidden()


async def test_an_id_is_copied_whole(browser: Browser, desk: ConsoleOffice) -> None:
    page = await open_page(browser, url=desk.url, token=await desk.session("admin"))
    await page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await page.goto(f"{desk.url}/console/keys")
    button = page.locator("[data-copy]").first
    wanted = await button.get_attribute("data-copy")
    await button.click()
    await expect(page.locator(".toast")).to_have_text("Copied")
    assert wanted == await page.evaluate("navigator.clipboard.readText()")
