"""Posting instructions as pages: what a seller may send, who may see it, and who may try it."""

from typing import Any

from exchange.apply import apply
from exchange.posting_guide.words import reason_rows
from exchange.store.keys import list_keys, passing_key
from tests.console.offices import ConsoleOffice
from tests.offices import GUARD, VERTICAL

OWN = "/console/posting/roofing"
STAFFS = "/console/sellers/roofquotes/posting/roofing"


async def put(desk: ConsoleOffice, *documents: tuple[str, dict[str, Any]]) -> None:
    await apply(desk.market.store.db, desk.market.vault, GUARD, list(documents), by="test")


async def test_a_seller_reads_all_he_has_to_know(desk: ConsoleOffice) -> None:
    """Fields with their stage, four languages, every outcome and reason with its number, the rules."""
    seller = await desk.signed_in("seller")
    page = await seller.get(OWN)

    assert 200 == page.status
    for field in VERTICAL["fields"]:
        assert f"<code>{field['name']}</code>" in page.text
    for word in (
        "curl",
        "Python",
        "PHP",
        "JavaScript",
        "Idempotency-Key",
        "Retry-After",
        "ping_test_",
    ):
        assert word in page.words, word
    for one in reason_rows():
        assert f">{one.number}</td><td><code>{one.code}</code>" in page.text
    for outcome in ("bid", "no_bid", "sold", "unsold", "pending"):
        assert f'data-meaning="{outcome}"' in page.text
    assert 5 * 4 == page.text.count("data-step=") - 3  # each part of each language; three buttons
    assert "100 a second" in page.words
    assert "The vertical is open, with 2 fields." in page.words


async def test_it_is_what_is_in_force(desk: ConsoleOffice) -> None:
    """A field more is on the page at once, in its form, its programs and its changes."""
    more = {
        "name": "shingles",
        "type": "enum",
        "stage": "ping",
        "required": True,
        "values": ["slate", "tile"],
    }
    await put(desk, ("vertical", VERTICAL | {"fields": [*VERTICAL["fields"], more]}))
    page = await (await desk.signed_in("seller")).get(OWN)

    assert "shingles is new (required, ping)." in page.words
    assert '<option value="slate"' in page.text
    assert page.text.count("&#34;shingles&#34;") >= 8  # in ping and one step of four languages
    assert "version" in page.words


async def test_a_change_of_margin_is_none_of_the_sellers(desk: ConsoleOffice) -> None:
    """It is no change that is told, and stands nowhere."""
    await put(
        desk, ("vertical", VERTICAL | {"margin": {"percent": "31.25"}, "auction": "second_price"})
    )
    seller = await desk.signed_in("seller")
    for path in (OWN, "/console/posting", "/console/sellers/roofquotes"):
        page = await seller.get(path)
        assert 200 == page.status
        for word in ("31.25", "second_price", "second price", "House", "acme", "zenith"):
            assert word not in page.text, (path, word)


async def test_who_may_see_it(desk: ConsoleOffice) -> None:
    """A seller its own verticals; the house's people anybody's; buyers nobody's."""
    await put(
        desk,
        ("vertical", VERTICAL | {"slug": "solar"}),
        ("seller", {"slug": "other", "name": "Other", "verticals": ["solar"]}),
    )
    seller = await desk.signed_in("seller")
    assert 404 == (await seller.get("/console/posting/solar")).status
    assert 404 == (await seller.get("/console/posting/nothing")).status
    for path in (STAFFS, "/console/sellers/other/posting/solar", "/console/sellers/other"):
        assert 404 == (await seller.get(path)).status, path
    for role in ("admin", "operator", "viewer"):
        browser = await desk.signed_in(role)
        assert 200 == (await browser.get(STAFFS)).status
        assert 404 == (await browser.get("/console/sellers/roofquotes/posting/solar")).status
        listed = await browser.get("/console/posting")
        assert "/console/sellers/other/posting/solar" in listed.text
        assert ("data-try" in (await browser.get(STAFFS)).text) is (role != "viewer")
    buyer = await desk.signed_in("buyer")
    for path in ("/console/posting", OWN, STAFFS):
        assert 404 == (await buyer.get(path)).status, path
    assert 303 == (await desk.nobody().get(OWN)).status


async def test_a_paused_seller_is_told_so(desk: ConsoleOffice) -> None:
    """And cannot try."""
    await put(
        desk,
        (
            "seller",
            {
                "slug": "roofquotes",
                "name": "Roof Quotes",
                "verticals": ["roofing"],
                "active": False,
            },
        ),
    )
    page = await (await desk.signed_in("seller")).get(OWN)
    assert "seller_inactive" in page.words
    assert "data-try" not in page.text


async def test_what_a_vertical_says_is_text(desk: ConsoleOffice) -> None:
    """A value with a tag in it is shown, not obeyed."""
    bad = "<img src=x onerror=alert(1)>"
    field = {
        "name": "kind",
        "type": "enum",
        "stage": "ping",
        "required": True,
        "values": [bad, "'; rm -rf / #"],
    }
    await put(desk, ("vertical", VERTICAL | {"name": bad, "fields": [*VERTICAL["fields"], field]}))
    page = await (await desk.signed_in("seller")).get(OWN)
    assert 200 == page.status
    assert bad not in page.text
    assert "&lt;img src=x" in page.text


TRY = "/console/v1/sellers/{}/try/{}"
BODY = {"vertical": "roofing", "fields": {"state": "TX"}}


async def test_who_may_try(desk: ConsoleOffice) -> None:
    """A seller as itself, those who trade as anybody; nobody else, and no page but ours."""
    await put(desk, ("seller", {"slug": "other", "name": "Other", "verticals": ["roofing"]}))
    seller = await desk.signed_in("seller")
    for what in ("pings", "leads"):
        assert 404 == (await seller.send("POST", TRY.format("other", what), BODY)).status
        for role in ("viewer", "buyer"):
            browser = await desk.signed_in(role)
            assert 403 == (await browser.send("POST", TRY.format("roofquotes", what), BODY)).status
        assert (
            401 == (await desk.nobody().send("POST", TRY.format("roofquotes", what), BODY)).status
        )
    foreign = await seller.send(
        "POST", TRY.format("roofquotes", "pings"), BODY, Origin="https://evil.example"
    )
    assert 403 == foreign.status
    assert (
        404 == (await seller.send("GET", TRY.format("roofquotes", "leads/lead_" + "0" * 32))).status
    )
    assert (
        404
        == (
            await seller.send("GET", TRY.format("roofquotes", "leads/lead_test_..%2f..%2fkeys"))
        ).status
    )


async def test_without_a_worker_it_says_so_and_leaves_no_key(desk: ConsoleOffice) -> None:
    """Nobody listens at this office's port of workers."""
    seller = await desk.signed_in("seller")
    answer = await seller.send("POST", TRY.format("roofquotes", "pings"), BODY)
    assert (503, "unavailable") == (answer.status, answer.json["code"])
    db = desk.market.store.db
    assert 0 == await db.fetchval("SELECT count(*) FROM api_key WHERE id LIKE 'try%'")


async def test_a_passing_key_opens_and_is_gone(desk: ConsoleOffice) -> None:
    """It is in no list; what a crash left is swept by the next."""
    db, vault = desk.market.store.db, desk.market.vault
    await db.execute(
        "INSERT INTO api_key (id, digest, role, owner, created_at) VALUES ('try0', 'x', 'seller', 'roofquotes', now() - interval '1 hour')"
    )
    before = len(await list_keys(db))
    async with passing_key(db, vault, "seller", "roofquotes") as key:
        assert key.startswith("lx_seller_try")
        assert 1 == await db.fetchval("SELECT count(*) FROM api_key WHERE id LIKE 'try%'")
        assert before == len(await list_keys(db))
    assert 0 == await db.fetchval("SELECT count(*) FROM api_key WHERE id LIKE 'try%'")
