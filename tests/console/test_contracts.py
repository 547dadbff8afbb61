"""Contracts as pages: lists, one contract in words, its certificates, its versions, and who sees what."""

from typing import Any

import orjson
import pytest

from buyers.reference.reading import read_tempers
from buyers.reference.server import ReferenceBuyers
from exchange.apply import apply
from exchange.ids import write_id
from exchange.office.console.demand.recent import Matches
from exchange.receipt import VERSION, read
from tests.console.offices import Browser, ConsoleOffice
from tests.making import SECRET
from tests.offices import GUARD, MICROS, a_contract

ACME = "/console/contracts/acme-1"


async def put(desk: ConsoleOffice, *documents: tuple[str, dict[str, Any]]) -> None:
    await apply(desk.market.store.db, desk.market.vault, GUARD, list(documents), by="test")


async def slugs(browser: Browser, query: str) -> list[str]:
    """The contracts that a list shows, in its order."""
    page = await browser.get(f"/console/contracts?{query}")
    assert 200 == page.status
    parts = page.text.split('class="strong" href="/console/contracts/')[1:]
    return [part.split('"')[0] for part in parts]


# --- lists -----------------------------------------------------------------------------------------


async def test_contracts_are_found_by_each_filter(desk: ConsoleOffice) -> None:
    """Buyer, vertical, tier, state and a part of the name; a retired one only when asked for."""
    await put(
        desk,
        ("contract", a_contract("acme-off", "acme", active=False)),
        ("contract", a_contract("acme-rest", "acme", tier="rest", pricing={"mode": "fixed", "price": "3"})),
        ("contract", a_contract("zenith-gone", "zenith")),
    )  # fmt: skip
    admin = await desk.signed_in("admin")
    assert 204 == (await admin.send("DELETE", "/console/v1/contracts/zenith-gone")).status
    assert 200 == (await admin.send("POST", "/console/v1/contracts/acme-rest/pause")).status
    standing = ["acme-1", "acme-off", "acme-rest", "zenith-1"]
    for query, expected in {
        "": standing,
        "buyer=acme": standing[:3],
        "vertical=roofing": standing,
        "vertical=solar": [],
        "tier=rest": ["acme-rest"],
        "state=live": ["acme-1", "zenith-1"],
        "state=off": ["acme-off"],
        "state=paused": ["acme-rest"],
        "state=retired": ["zenith-gone"],
        "state=uncertified": standing,
        "search=off": ["acme-off"],
        "search=zenith": ["zenith-1"],
        "state=nonsense": standing,
    }.items():
        assert expected == await slugs(admin, query), query


async def test_a_long_list_is_turned_page_by_page(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forwards and back, each contract once; the first page has nothing before it."""
    monkeypatch.setattr("exchange.office.console.demand.contracts.PAGE_SIZE", 2)
    await put(desk, *(("contract", a_contract(f"acme-{n}", "acme")) for n in "2345"))
    admin = await desk.signed_in("admin")
    seen = [await slugs(admin, query) for query in ("", "after=acme-2", "after=acme-4")]
    assert [["acme-1", "acme-2"], ["acme-3", "acme-4"], ["acme-5", "zenith-1"]] == seen
    first, middle, last = [
        (await admin.get(f"/console/contracts?{query}")).text
        for query in ("", "after=acme-2", "after=acme-4")
    ]
    assert ("before=" in first, "after=acme-2" in first) == (False, True)
    assert ("before=acme-3" in middle, "after=acme-4" in middle) == (True, True)
    assert ("before=acme-5" in last, "after=zenith-1" in last) == (True, False)
    assert seen[1] == await slugs(admin, "before=acme-5")
    assert seen[0] == await slugs(admin, "before=acme-3")


async def test_a_list_shows_the_day_against_its_caps(desk: ConsoleOffice) -> None:
    """Two sales of five, 20.00 spent, everything accepted."""
    words = (await (await desk.signed_in("viewer")).get("/console/contracts?buyer=acme")).words
    assert "2 of 5" in words
    assert "20.00 USD" in words
    assert "100 %" in words


# --- one contract ----------------------------------------------------------------------------------


async def test_a_contract_is_told_in_words(desk: ConsoleOffice) -> None:
    """Filters as sentences, hours as a week, caps with what is left and when they begin anew."""
    filters = [{"field": "state", "op": "in", "value": ["CA", "TX"]},
               {"any": [{"field": "state", "op": "eq", "value": "CA"}, {"not": {"field": "phone", "op": "exists", "value": True}}]}]  # fmt: skip
    hours = {"timezone": "America/New_York", "hours": {"mon": ["09:00-17:00"]}}
    changed = {"filters": filters, "schedule": hours, "pricing": {"mode": "bid", "min": "2", "max": "80"}}  # fmt: skip
    admin = await desk.signed_in("admin")
    assert 200 == (await admin.send("PATCH", f"/console/v1/{ACME[9:]}", changed)).status
    page = await admin.get(ACME)
    for words in (
        "state is one of CA TX",
        "At least one of these",
        "phone is given",
        "bids 2.00 to 80.00 USD",
        "Sales a day anew in",
        "2 of 5",
        "20.00 USD of 50.00 USD",
        "0 of 3",
    ):
        assert words in page.words, words
    assert "Monday: 09:00–17:00; Tuesday: closed" in page.text
    assert "bids freely" not in page.words


async def test_what_the_last_pings_say_is_counted(desk: ConsoleOffice) -> None:
    """Of the pings of the vertical: asked, bid, won, how quickly, and why not."""
    store = desk.market.store
    pings = await store.db.fetch("SELECT id, receipt FROM ping")
    for at, (id_, raw) in enumerate(pings):
        receipt = read(raw)
        bid = {"contract": "acme-1", "result": "bid", "price": 10 * MICROS, "ms": 20.0 + at, "reason": None if at else "outbid"}  # fmt: skip
        receipt |= {
            "vertical": "roofing", "asked": [bid], "skipped": [], "winning": 1, "test": False,
            "ranking": [{"contract": "acme-1" if at else "zenith-1", "pay": 1, "net": 1}],
        }  # fmt: skip
        if at == 3:  # as it is stored by now
            row = ["acme-1", 1, "acme", 20.0 + at, "bid", None, 10 * MICROS]
            receipt |= {"v": VERSION, "asked": [row], "offers": [], "ranking": [["acme-1", 1, 1]]}
        await store.db.execute(
            "UPDATE ping SET receipt = $2 WHERE id = $1", id_, orjson.dumps(receipt)
        )
    words = (await (await desk.signed_in("admin")).get(ACME)).words
    assert "Bid on 100 % 4 asked of the last 4 pings" in words
    assert "Won 75 % 3 of the last 4 pings" in words
    assert "Answers within 21 ms 95 %: 23 ms, of 400 ms allowed" in words
    assert "outbid 1" in words


async def test_filters_are_tried_on_the_last_pings(desk: ConsoleOffice) -> None:
    """How many would match; what cannot be compared yet is said; what reads the person waits."""
    store = desk.market.store
    for id_, raw in await store.db.fetch("SELECT id, receipt FROM ping"):
        receipt = read(raw) | {"vertical": "roofing", "test": False}
        await store.db.execute(
            "UPDATE ping SET receipt = $2 WHERE id = $1", id_, orjson.dumps(receipt)
        )
    buyer = await desk.signed_in("operator")

    async def told(*filters: dict[str, Any], vertical: str = "roofing") -> Any:
        body = {"vertical": vertical, "filters": list(filters)}
        return await buyer.send("POST", "/console/v1/preview/filters", body)

    in_texas = {"field": "state", "op": "eq", "value": "TX"}
    assert (4, 4) == ((await told(in_texas)).json["matched"], (await told()).json["looked"])
    assert 0 == (await told({"not": in_texas})).json["matched"]
    person = (await told({"field": "phone", "op": "exists", "value": True})).json
    assert (4, True) == (person["matched"], "judged at the post" in person["words"])
    assert (
        "cannot be compared"
        in (await told({"field": "state", "op": "eq", "value": ""})).json["words"]
    )
    assert 404 == (await told(vertical="gone")).status
    for role in ("viewer", "seller"):
        other = await desk.signed_in(role)
        assert 403 == (await other.send("POST", "/console/v1/preview/filters", {})).status


async def test_a_buyer_is_told_in_tens_how_many_pings_fit(desk: ConsoleOffice) -> None:
    """By narrowing filters it finds out nothing of a single one."""
    store = desk.market.store
    for id_, raw in await store.db.fetch("SELECT id, receipt FROM ping"):
        receipt = read(raw) | {"vertical": "roofing", "test": False}
        await store.db.execute(
            "UPDATE ping SET receipt = $2 WHERE id = $1", id_, orjson.dumps(receipt)
        )
    buyer = await desk.signed_in("buyer")
    answers = [
        (
            await buyer.send(
                "POST",
                "/console/v1/preview/filters",
                {"vertical": "roofing", "filters": [{"field": "state", "op": "eq", "value": one}]},
            )
        ).json
        for one in ("TX", "CA")
    ]

    assert answers[0] == answers[1]
    assert 0 == answers[0]["matched"]
    assert "Matches fewer than 10 of the last 4 pings" in answers[0]["words"]
    assert "at least 40 of the last 300" in Matches(49, 300, 0).coarse().words
    assert 40 == Matches(49, 300, 0).coarse().matched
    assert "Matches 49 of" in Matches(49, 300, 0).words


async def test_a_pause_and_a_reset_are_in_the_audit(desk: ConsoleOffice) -> None:
    """Once each, with who and why; the buyer sees that it is paused, not why."""
    operator, buyer = await desk.signed_in("operator"), await desk.signed_in("buyer")
    api = f"/console/v1/{ACME[9:]}"
    assert 403 == (await buyer.send("POST", f"{api}/pause", {})).status
    assert (
        200 == (await operator.send("POST", f"{api}/pause", {"reason": "They asked for it"})).status
    )
    words = (await operator.get(ACME)).words
    assert "Paused by an operator." in words
    assert "They asked for it" in words
    theirs = (await buyer.get(ACME)).words
    assert "Paused by an operator." in theirs
    assert "They asked for it" not in theirs
    assert 200 == (await operator.send("POST", f"{api}/resume")).status
    assert 200 == (await operator.send("POST", f"{api}/health/reset")).status
    rows = await desk.office.db.fetch(
        "SELECT by, what, subject FROM console_event WHERE what <> 'signed_in' ORDER BY id"
    )
    assert [
        ("user:r-operator", what, "contract acme-1")
        for what in ("paused", "resumed", "health_reset")
    ] == [tuple(row) for row in rows]
    assert "Paused by an operator." not in (await operator.get(ACME)).words


# --- certificates ----------------------------------------------------------------------------------


async def test_both_exchanges_of_a_certification_are_readable(desk: ConsoleOffice) -> None:
    """Checks with verdicts; request line, headers and bodies by lines; every earlier report too."""
    temper = {"name": "acme", "secret": SECRET, "price_min": "9", "price_max": "9"}
    reference = ReferenceBuyers(read_tempers({"tempers": [temper]}))
    base = await reference.start()
    try:
        urls = {"ping_url": f"{base}/acme/ping", "post_url": f"{base}/acme/post", "secret": SECRET}
        await put(desk, ("contract", a_contract("acme-2", "acme", endpoint=urls)))
        buyer = await desk.signed_in("buyer")
        page = await buyer.get("/console/contracts/acme-2/certificate")
        assert "Never certified" in page.words
        assert 200 == (await buyer.send("POST", "/console/v1/contracts/acme-2/test")).status
        page = await buyer.get("/console/contracts/acme-2/certificate")
    finally:
        await reference.stop()
    for words in (
        "passed",
        "Test ping",
        "POST /acme/ping HTTP/1.1",
        "webhook-signature",
        "The same post again",
        "bid usable",
    ):
        assert words in page.words, words
    assert "  &#34;type&#34;: &#34;ping&#34;,\n" in page.text
    history = await desk.office.db.fetch("SELECT id, passed FROM certificate_history")
    assert [True] == [row[1] for row in history]
    assert (
        200 == (await buyer.get(f"/console/contracts/acme-2/certificate?id={history[0][0]}")).status
    )
    other = await desk.signed_in("other_buyer")
    assert 404 == (await other.get("/console/contracts/acme-2/certificate")).status


async def test_only_the_last_twenty_certificates_are_kept(desk: ConsoleOffice) -> None:
    """The certificate itself is always the last one."""
    db = desk.office.db
    contract = await db.fetchval("SELECT id FROM contract WHERE slug = 'acme-1'")
    for passed in [False] * 24 + [True]:
        await db.execute(
            """INSERT INTO certificate (contract_id, endpoint, passed, repeats, report) VALUES ($1, '', $2, 'unknown', '{}')
            ON CONFLICT (contract_id) DO UPDATE SET passed = EXCLUDED.passed, at = now()""",
            contract,
            passed,
        )
    rows = await db.fetch(
        "SELECT passed FROM certificate_history WHERE contract_id = $1 ORDER BY id", contract
    )
    assert [False] * 19 + [True] == [row[0] for row in rows]


# --- versions --------------------------------------------------------------------------------------


async def test_versions_say_what_each_changed(desk: ConsoleOffice) -> None:
    """Field by field; a new secret as such; a buyer is not told who."""
    admin = await desk.signed_in("admin")
    for change in (
        {"priority": 3, "caps": [{"kind": "sales", "period": "day", "limit": 7}]},
        {"endpoint": {"secret": "whsec_" + "QUJD" * 8}},
    ):
        assert 200 == (await admin.send("PATCH", f"/console/v1/{ACME[9:]}", change)).status
    page = await admin.get(f"{ACME}/versions")
    for words in (
        "priority 10 3",
        "5 sales a day 7 sales a day",
        "endpoint › secret one secret another secret",
        "by r-admin",
        "created",
    ):
        assert words in page.words, words
    theirs = (await (await desk.signed_in("buyer")).get(f"{ACME}/versions")).words
    assert "priority 10 3" in theirs
    assert "r-admin" not in theirs
    first = await desk.office.db.fetchval(
        "SELECT min(version) FROM document_history WHERE slug = 'acme-1'"
    )
    assert "created" not in (await admin.get(f"{ACME}/versions?since={first}")).words
    assert 200 == (await admin.get(f"{ACME}/versions?after=nonsense&since=x")).status


async def test_an_old_version_is_shown_as_it_was_and_changes_nothing(desk: ConsoleOffice) -> None:
    """What a receipt leads to: marked as old, without a verb; the present one is the page itself."""
    admin, buyer = await desk.signed_in("admin"), await desk.signed_in("buyer")
    find = "SELECT max(version) FROM document_history WHERE kind = 'contract' AND slug = 'acme-1'"
    old = await desk.office.db.fetchval(find)
    change = {
        "priority": 3,
        "adjustment": "0.5",
        "filters": [{"field": "state", "op": "eq", "value": "CA"}],
    }
    assert 200 == (await admin.send("PATCH", f"/console/v1/{ACME[9:]}", change)).status
    new = await desk.office.db.fetchval(find)

    page, theirs = [await one.get(f"{ACME}?version={old}") for one in (admin, buyer)]
    for words in ("old version", "priority 10", "every lead of the vertical fitted", f"version {new} is in force now"):  # fmt: skip
        assert words in page.words, words
    assert "5 sales a day" in page.words
    assert "data-api" not in page.text
    assert "× 1.00" in page.words
    assert (200, False) == (theirs.status, "×" in theirs.words)
    assert f"{ACME}?version={old}" in (await buyer.get(f"{ACME}/versions")).text
    assert "Last pings" in (await admin.get(f"{ACME}?version={new}")).words
    for gone in (f"{ACME}?version={new + 1}", f"{ACME}?version=0"):
        assert 404 == (await admin.get(gone)).status
    assert 404 == (await (await desk.signed_in("other_buyer")).get(f"{ACME}?version={old}")).status


# --- who sees what ---------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [ACME, f"{ACME}/edit", f"{ACME}/versions", f"{ACME}/certificate"])
async def test_another_buyers_contract_looks_like_none(desk: ConsoleOffice, path: str) -> None:
    """To the letter, but for the address."""
    other = await desk.signed_in("other_buyer")
    theirs, none = await other.get(path), await other.get(path.replace("acme-1", "nobody"))
    assert (404, theirs.words) == (none.status, none.words)
    assert 404 == (await (await desk.signed_in("seller")).get(path)).status


async def test_a_buyer_sees_its_own_alone_and_none_of_the_houses_words(desk: ConsoleOffice) -> None:
    """No other buyer, no adjustment, no seller's name, not even in the list's filters."""
    await put(desk, ("contract", a_contract("acme-1", "acme", adjustment="0.77", sellers={"allow": [], "deny": ["roofquotes"]})))  # fmt: skip
    buyer = await desk.signed_in("buyer")
    assert ["acme-1"] == await slugs(buyer, "buyer=zenith")
    for path in (
        "/console/contracts",
        ACME,
        f"{ACME}/edit",
        f"{ACME}/versions",
        "/console/contracts/new",
    ):
        page = await buyer.get(path)
        assert 200 == page.status, path
        for secret in ("zenith", "0.77", "roofquotes", "Adjustment"):
            assert secret not in page.text, (path, secret)
    assert "some are left out" in (await buyer.get(ACME)).words


async def test_a_viewer_looks_and_has_no_verbs(desk: ConsoleOffice) -> None:
    viewer = await desk.signed_in("viewer")
    page = await viewer.get(ACME)
    assert (200, False) == (page.status, "data-api" in page.text)
    for path in (f"{ACME}/edit", "/console/contracts/new"):
        assert 404 == (await viewer.get(path)).status


async def test_a_form_begins_with_the_vertical_and_the_buyer(desk: ConsoleOffice) -> None:
    """A buyer is asked for the vertical only; a copy takes the terms, not the name."""
    admin, buyer = await desk.signed_in("admin"), await desk.signed_in("buyer")
    assert (
        "Neither can be changed later"
        in (await admin.get("/console/contracts/new?vertical=roofing")).words
    )
    form = await buyer.get("/console/contracts/new?vertical=roofing")
    assert 'data-api="POST /console/v1/contracts"' in form.text
    assert 'name="buyer"' not in form.text
    assert 404 == (await admin.get("/console/contracts/new?vertical=gone&buyer=acme")).status
    assert 404 == (await admin.get("/console/contracts/new?vertical=roofing&buyer=gone")).status
    copied = await buyer.get("/console/contracts/new?copy=acme-1")
    assert 'value="https://acme.example/post"' in copied.text
    assert 404 == (await buyer.get("/console/contracts/new?copy=zenith-1")).status


async def test_a_retired_contract_is_read_and_no_more(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    etag = (await admin.send("GET", f"/console/v1/{ACME[9:]}")).headers["ETag"]
    assert 412 == (await admin.send("DELETE", f"/console/v1/{ACME[9:]}", If_Match='"1"')).status
    assert 204 == (await admin.send("DELETE", f"/console/v1/{ACME[9:]}", If_Match=etag)).status
    page = await admin.get(ACME)
    assert (200, False) == (page.status, "data-api" in page.text)
    assert "Retired." in page.words
    assert 404 == (await admin.get(f"{ACME}/edit")).status
    lead = desk.sold[0]
    assert lead == write_id(
        "lead", (await desk.office.db.fetchval("SELECT min(lead_id::text)::uuid FROM attempt"))
    )
    assert lead in page.text
