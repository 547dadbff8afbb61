"""Links that pass posting instructions on: who makes them, what they open, and when they end."""

import re

import pytest

from exchange.office.console.supply import posting_links
from tests.console.offices import Browser, ConsoleOffice, Page

OWN = "/console/posting/roofing"
STAFFS = "/console/sellers/roofquotes/posting/roofing"


async def made(browser: Browser, page: str) -> str:
    """The path of a new link."""
    answer = await browser.post(f"{page}/links")
    assert 200 == answer.status, answer.words
    found = re.search(r"<code>http[^<]*(/console/shared/[A-Za-z0-9_-]{43})</code>", answer.text)
    assert found is not None
    return found[1]


def listed(page: Page) -> list[str]:
    return re.findall(r'action="[^"]+/links/([0-9a-f]{8})/revoke"', page.text)


@pytest.mark.parametrize(
    ("role", "page"), [("seller", OWN), ("admin", STAFFS), ("operator", STAFFS)]
)
async def test_who_has_the_link_reads_and_does_nothing_else(
    desk: ConsoleOffice, role: str, page: str
) -> None:
    """The instructions whole, without a login, a form or a key; no crawler keeps it, no site learns of it."""
    link = await made(await desk.signed_in(role), page)
    shared = await desk.nobody().get(link)

    assert 200 == shared.status
    for words in ("Posting Roofing", "In short", "YOUR_KEY", "python", "The vertical is open, with 2 fields."):  # fmt: skip
        assert words.lower() in shared.words.lower(), words
    for never in (
        "data-try",
        "Try it",
        "<form",
        "Sign in",
        "/console/sellers",
        "Pass it on",
        "lx_",
    ):
        assert never not in shared.text, never
    assert "no-referrer" == shared.headers["Referrer-Policy"]
    assert "noindex" in shared.headers["X-Robots-Tag"]
    assert 'name="robots" content="noindex' in shared.text
    assert "Set-Cookie" not in shared.headers
    assert 303 == (await desk.nobody().get(page)).status, "it opens this page and no other"


async def test_it_ends(desk: ConsoleOffice) -> None:
    """By itself, when it is taken back, and with the seller's right to the vertical."""
    seller, nobody, db = await desk.signed_in("seller"), desk.nobody(), desk.office.db
    link, other = await made(seller, OWN), await made(seller, OWN)
    assert [200, 200] == [(await nobody.get(one)).status for one in (link, link)], "more than once"

    (newest, oldest) = listed(await seller.get(OWN))
    back = await seller.post(f"{OWN}/links/{oldest}/revoke")
    assert (303, f"{OWN}#links") == (back.status, back.to)
    assert [404, 200] == [(await nobody.get(one)).status for one in (link, other)]
    assert [newest] == listed(await seller.get(OWN))
    await db.execute("UPDATE posting_link SET ends_at = now()")
    assert 404 == (await nobody.get(other)).status
    assert [] == listed(await seller.get(OWN))

    last = await made(seller, OWN)
    change = {"verticals": []}
    assert 200 == (await desk.market.admin("PATCH", "/v1/sellers/roofquotes", change)).status
    assert 404 == (await nobody.get(last)).status


async def test_a_token_is_nowhere_but_in_its_address(desk: ConsoleOffice) -> None:
    """Not in Postgres, not on the page afterwards; what is cut, longer or another opens nothing."""
    seller, nobody = await desk.signed_in("seller"), desk.nobody()
    link = await made(seller, OWN)
    token = link.rpartition("/")[2]

    (row,) = await desk.office.db.fetch("SELECT l::text FROM posting_link l")
    assert token not in row[0]
    assert token.encode().hex() not in row[0]
    assert token not in (await seller.get(OWN)).text
    for wrong in (token[:-1], token + "A", token[::-1], "x" * 43, "%00", "a%2Fb"):
        assert 404 == (await nobody.get(f"/console/shared/{wrong}")).status, wrong
    audit = (await (await desk.signed_in("admin")).get("/console/audit/access")).words
    assert "passed on posting instructions of" in audit
    assert token not in audit


async def test_only_the_house_and_the_seller_itself_make_one(desk: ConsoleOffice) -> None:
    for role, page in [
        ("viewer", STAFFS), ("buyer", STAFFS), ("seller", STAFFS), ("admin", OWN), ("buyer", OWN),
        ("seller", "/console/posting/nothing"), ("admin", "/console/sellers/nobody/posting/roofing"),
    ]:  # fmt: skip
        browser = await desk.signed_in(role)
        assert 404 == (await browser.post(f"{page}/links")).status, (role, page)
        assert 404 == (await browser.post(f"{page}/links/0123abcd/revoke")).status, (role, page)
    seller = await desk.signed_in("seller")
    foreign = await seller.post(f"{OWN}/links", Origin="https://evil.example")
    assert 403 == foreign.status
    assert 0 == await desk.office.db.fetchval("SELECT count(*) FROM posting_link")
    assert "Pass it on" not in (await (await desk.signed_in("viewer")).get(STAFFS)).words


async def test_there_are_only_so_many(desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(posting_links, "LIVE_MAX", 2)
    seller = await desk.signed_in("seller")
    links = [await made(seller, OWN) for _ in range(2)]
    full = await seller.post(f"{OWN}/links")

    assert 422 == full.status
    assert "take one back first" in full.words
    await desk.office.db.execute("UPDATE posting_link SET ends_at = now()")
    assert await made(seller, OWN) not in links
    assert 1 == await desk.office.db.fetchval("SELECT count(*) FROM posting_link"), "old ones go"


async def test_a_name_that_looks_like_the_address_is_a_name(desk: ConsoleOffice) -> None:
    """Of a seller called links-co the links are made, listed and taken back as anybody's."""
    body = {"slug": "links-co", "name": "Links & Co", "verticals": ["roofing"]}
    assert 201 == (await desk.market.admin("POST", "/v1/sellers", body)).status
    admin, page = await desk.signed_in("admin"), "/console/sellers/links-co/posting/roofing"

    link = await made(admin, page)
    shown = await admin.get(page)
    assert f'action="{page}/links"' in shown.text
    (id_,) = listed(shown)
    back = await admin.post(f"{page}/links/{id_}/revoke")

    assert (303, f"{page}#links") == (back.status, back.to)
    assert 404 == (await desk.nobody().get(link)).status
