"""A buyer's and an operator's main jobs, in a real browser on a real exchange with real endpoints."""

from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_network
from uuid import uuid4

import pytest
from playwright.async_api import Browser, Page, expect

from buyers.guard import Guard
from buyers.reference.reading import read_tempers
from buyers.reference.server import ReferenceBuyers
from exchange.apply import apply
from exchange.store.keys import Key, put_key
from tests.acceptance.exchanges import LOOPBACK, Exchange, an_exchange, eventually
from tests.acceptance.markets import FIELDS, Market, a_market, bids, known_everywhere
from tests.browser.chromium import axe, open_page, too_wide
from tests.making import SECRET

pytestmark = pytest.mark.acceptance


@dataclass
class Place:
    """A trading exchange with one rival buyer, and a buyer that has an endpoint but no contract."""

    market: Market
    endpoint: ReferenceBuyers

    async def key(self, role: str, owner: str | None) -> str:
        key = f"lx_{role}_{uuid4().hex}"
        vault = self.market.exchange.vault
        await put_key(self.market.db, Key(uuid4().hex[:8], role, owner), vault.key_digest(key))
        return key

    async def enter(self, browser: Browser, role: str, owner: str | None = None) -> Page:
        """A browser that signed in with such a key."""
        page = await open_page(browser)
        await page.goto(
            f"{self.market.exchange.office_url}/console/sign-in?next=/console/contracts"
        )
        await page.get_by_text("Use an API key").click()
        await page.get_by_label("API key").fill(await self.key(role, owner))
        await page.get_by_role("button", name="Sign in with the key").click()
        await expect(page.get_by_role("heading", name="Contracts")).to_be_visible()
        return page


@pytest.fixture(scope="module")
def exchange() -> Iterator[Exchange]:
    with an_exchange(workers=1) as started:
        yield started


@pytest.fixture
async def place(exchange: Exchange) -> AsyncIterator[Place]:
    endpoint = ReferenceBuyers(
        read_tempers({"tempers": [{"name": "northstar", "secret": SECRET, "price_min": "9", "price_max": "9"}]})
    )  # fmt: skip
    async with a_market(exchange, bids("rival", "5.00")) as market:
        await endpoint.start()
        buyer = {"slug": "northstar", "name": "Northstar", "credit": "100.00"}
        guard = Guard(allowed_networks=(ip_network(LOOPBACK),))
        await apply(market.db, exchange.vault, guard, [("buyer", buyer)], by="test")
        yield Place(market, endpoint)
        await endpoint.stop()


async def test_a_buyer_registers_certifies_and_wins_a_lead_live(
    place: Place, browser: Browser
) -> None:
    """From an empty list to a lead in its inbox, without a line of JSON."""
    page, market = await place.enter(browser, "buyer", "northstar"), place.market
    assert "No contracts yet" in await page.inner_text("main")
    await page.get_by_role("link", name="New contract").first.click()
    await page.get_by_label("Vertical").select_option(market.vertical)
    await page.get_by_role("button", name="Go on").click()
    await register(page, place)

    await expect(page.get_by_text("Switched off.")).to_be_visible()
    await page.get_by_role("button", name="Certify").click()
    await expect(page.get_by_role("heading", name="Certificate of northstar-ca")).to_be_visible()
    await expect(page.get_by_text("Test post")).to_be_visible()
    assert "failed" not in (await page.inner_text("main")).replace("Failed\n0", "")
    assert ([], []) == (await axe(page), await too_wide(page))
    await page.get_by_role("link", name="northstar-ca").click()
    await page.get_by_role("button", name="Go live").click()
    await page.get_by_role("dialog").get_by_role("button", name="Go live").click()
    await expect(page.get_by_text("Switched off.")).to_be_hidden()
    await known_everywhere(market.exchange, market.db, market.session)

    sold = await market.post()
    assert (200, "sold", "7.20") == (sold.status, sold["outcome"], sold["price"])
    inbox = place.endpoint.books["northstar"].posts
    assert [(sold["lead_id"], FIELDS)] == [(one.lead_id, one.body["fields"]) for one in inbox]
    await page.reload()
    words = await page.inner_text("main")
    assert "Sold today\n1" in words
    assert await page.locator(f'a[href="/console/leads/{sold["lead_id"]}"]').count()
    elsewhere = await market.post(fields=FIELDS | {"state": "TX"})
    assert "4.00" == elsewhere["price"], "its own filter keeps what is not from California away"
    assert ([], []) == (await axe(page), await too_wide(page))
    faults: list[str] = page.faults  # type: ignore[attr-defined]
    assert [] == [one for one in faults if "422" not in one], "one is what register() provokes"


async def register(page: Page, place: Place) -> None:
    """Fills the form in, and gives the endpoint the secret that is shown once."""
    base = f"{place.endpoint.base_url}/northstar"
    await page.get_by_label("Slug").fill("northstar-ca")
    await page.get_by_label("Least bid").fill("1.00")
    await page.get_by_role("button", name="Add a condition").click()
    row = page.locator(".cond").first
    await row.get_by_label("Field").select_option("state")
    await row.get_by_label("Comparison").select_option("in")
    await row.locator("summary").click()
    await row.get_by_label("CA", exact=True).check()
    await page.get_by_role("button", name="Add a cap").click()
    await page.locator(".cap-row").get_by_label("Limit", exact=True).fill("20")
    await page.get_by_label("Ping URL").fill(f"{base}/ping")
    await page.get_by_role("button", name="Create contract").click()
    await expect(page.locator(".error").first).to_be_visible()  # the post's address is missing
    await page.get_by_label("Post URL").fill(f"{base}/post")
    await page.get_by_label("It takes test leads").check()
    await page.get_by_role("button", name="Create contract").click()
    shown = page.get_by_role("dialog")
    secret = await shown.locator("code").inner_text()
    assert secret.startswith("whsec_")
    desk = place.endpoint._desks["northstar"]
    desk.change(replace(desk.temper, secret=secret))
    await shown.get_by_role("button", name="I have kept it").click()
    await expect(page.get_by_role("heading", name="northstar-ca")).to_be_visible()
    assert secret not in await page.content()


async def test_an_operator_pauses_a_buyer_and_the_next_ping_skips_it(
    place: Place, browser: Browser
) -> None:
    """With a reason, from the buyer's page; the receipt says why it was not asked."""
    market, rival = place.market, place.market.slug("rival")
    assert "bid" == (await market.ping())["outcome"]
    page = await place.enter(browser, "admin")
    await page.get_by_role("link", name="Buyers").click()
    await page.locator(f'a[href="/console/buyers/{rival}"]').click()
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_label("Why").fill("Rejects everything since noon")
    await page.get_by_role("button", name="Pause it").click()
    await expect(page.get_by_text("Paused by an operator.")).to_be_visible()
    assert "Rejects everything since noon" in await page.inner_text("main")

    async def skipped() -> str | None:
        answer = await market.ping()
        return str(answer["ping_id"]) if answer["outcome"] == "no_bid" else None

    why = await market.why(await eventually(skipped, 3))
    assert f"skipped {rival}" in why
    assert "paused" in why
    asked = market.book("rival").pings
    await market.ping()
    assert asked == market.book("rival").pings
    await page.get_by_role("button", name="Resume").click()
    await expect(page.get_by_text("Paused by an operator.")).to_be_hidden()

    async def bid() -> bool:
        return str((await market.ping())["outcome"]) == "bid"

    assert await eventually(bid, 3)
    assert ([], []) == (await axe(page), await too_wide(page))
