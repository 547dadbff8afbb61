"""The list of leads: filters, pages both ways, search, CSV; and what each role finds in it."""

import csv
import io
import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode
from uuid import UUID

import pytest

from exchange.ids import read_id
from exchange.office.console.leads import listing as leads_page
from exchange.store.rows import LeadState
from exchange.store.views import walk as view
from exchange.store.views.leads import find_leads, names_of
from exchange.store.views.walk import Cursor, Filters
from tests.console.offices import ConsoleOffice, Page
from tests.console.trading import Trade, open_trade

# Leads out of nothing but SQL: what is asked for is how they are found.
_LEADS = """INSERT INTO lead (id, ping_id, seller, vertical, test, state, reason, min_price, external_id, owner, answer_by, request, person)
SELECT (lpad(to_hex($1::bigint + n), 12, '0') || '7000' || '8' || lpad(to_hex(n), 15, '0'))::uuid, gen_random_uuid(),
  (SELECT id FROM document WHERE kind = 'seller' AND slug = 'roofquotes'), 'roofing', n % 10 = 3,
  CASE WHEN n % 3 = 0 THEN 'unsold' ELSE 'sold' END, CASE WHEN n % 3 = 0 THEN 'no_bids' END, 0, '=cmd' || n, 1, now(), '', ''
FROM generate_series(1, $2::int) n"""


@pytest.fixture
async def trade(desk: ConsoleOffice) -> AsyncIterator[Trade]:
    async with open_trade(desk) as found:
        yield found


def shown(page: Page) -> list[str]:
    """The leads of a page, in its order."""
    body = page.text.split("<tbody>")[1].split("</tbody>")[0] if "<tbody>" in page.text else ""
    return re.findall(r'href="/console/leads/(lead_[a-z0-9_]+)"', body)


def turn(page: Page, word: str) -> str | None:
    """The address of the older or the newer page."""
    found = re.search(rf'<a class="button quiet" href="([^"]+)" rel="{word}"', page.text)
    return found[1].replace("&amp;", "&") if found else None


async def made(desk: ConsoleOffice, count: int, ago: timedelta = timedelta(hours=1)) -> None:
    began = int((datetime.now(UTC) - ago).timestamp() * 1000)
    await desk.office.db.execute(_LEADS, began, count)


# --- pages ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "query", ["", "outcome=unsold", "vertical=roofing", "seller=roofquotes", "reason=no_bids", "test=yes", "test=no"]
)  # fmt: skip
async def test_pages_lead_back_and_forth_and_forget_nobody(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    """Newest first; every lead that fits is on one page, and on the way back on the same one."""
    monkeypatch.setattr(leads_page, "PAGE", 7)
    await made(desk, 40)
    viewer = await desk.signed_in("viewer")
    pages = [await viewer.get(f"/console/leads?{query}")]
    while (older := turn(pages[-1], "next")) is not None:
        pages.append(await viewer.get(older))
    there = [one for page in pages for one in shown(page)]

    names = await names_of(desk.office.db)
    wanted = leads_page.read_filters(dict(one.split("=") for one in [query] if one), _staff(), names, desk.market.vault)  # fmt: skip
    assert wanted is not None
    everything = await find_leads(desk.office.db, names, wanted, Cursor(), 1000)
    assert [one.id for one in everything.lines] == [id_of(one) for one in there]
    assert len(there) == len(set(there)) > 3
    assert sorted(there, key=id_of, reverse=True) == there
    back = pages[-1]
    for page in reversed(pages[:-1]):
        newer = turn(back, "prev")
        assert newer is not None
        back = await viewer.get(newer)
        assert shown(page) == shown(back)
    assert (
        turn(back, "prev") is None or shown(await viewer.get(str(turn(back, "prev")))) == there[:7]
    )


def _staff() -> leads_page.Viewer:
    return leads_page.Viewer("r-viewer", "viewer", None, "s")


def id_of(text: str) -> UUID:
    found = read_id("lead", text)
    assert found is not None
    return found[0]


async def test_a_walk_that_finds_little_stops_and_goes_on_from_there(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No page takes longer than it may, whatever is asked for; nobody is forgotten by that."""
    monkeypatch.setattr(view, "WALK_S", 0)
    monkeypatch.setattr(view, "_STEP_MIN", 10)
    monkeypatch.setattr(view, "_STEP_MAX", 10)
    await made(desk, 60)
    viewer = await desk.signed_in("viewer")
    page = await viewer.get("/console/leads?seller=roofquotes&reason=no_bids&test=yes")
    there, pages = shown(page), 1
    while (older := turn(page, "next")) is not None:
        assert "Look further back" in page.words
        page, pages = await viewer.get(older), pages + 1
        there += shown(page)

    assert 2 == len(there)
    assert pages > 1


# --- filters --------------------------------------------------------------------------------------


async def test_filters_are_of_buyer_post_time_and_outcome(
    desk: ConsoleOffice, trade: Trade
) -> None:
    sold = await trade.lead()
    viewer = await desk.signed_in("operator")

    async def found(query: str) -> list[str]:
        page = await viewer.get(f"/console/leads?{query}")
        assert 200 == page.status
        return shown(page)

    assert sold == (await found("buyer=zenith"))[0]
    assert [sold] == await found("buyer=acme&post=rejected")
    assert sold not in await found("buyer=acme&post=accepted")
    assert [] == await found("buyer=acme&outcome=unsold")
    assert sold in await found("span=1h&outcome=sold&vertical=roofing&seller=roofquotes")
    assert [] == await found("until=2020-01-01T00:00")
    assert [] == await found("since=2990-01-01T00:00")
    assert [] == await found("buyer=nobody")
    assert [] == await found("seller=nobody&outcome=sold")


async def test_leads_of_one_source_of_a_seller_are_found(
    desk: ConsoleOffice, trade: Trade, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the sub id of their ping, whole and letter by letter; not for a buyer; on as many pages as it
    takes."""
    odd = 'fb-7" %ü\\'
    other, wanted, strange = [await trade.lead(sub_id=one) for one in ("fb-77", "fb-7", odd)]
    staff, seller = await desk.signed_in("viewer"), await desk.signed_in("seller")

    for browser in (staff, seller):
        assert [wanted] == shown(await browser.get("/console/leads?sub_id=fb-7"))
        page = await browser.get(f"/console/leads?{urlencode({'sub_id': odd})}")
        assert [strange] == shown(page)
        assert "No lead fits" in (await browser.get("/console/leads?sub_id=FB-7")).words
    assert [other] == shown(await staff.get("/console/leads?sub_id=fb-77&outcome=sold&span=1h"))
    buyer = await desk.signed_in("other_buyer")
    assert other in shown(await buyer.get("/console/leads?sub_id=fb-7"))
    csv_of_it = (await staff.get("/console/leads.csv?sub_id=fb-7")).text
    assert (True, False) == (wanted in csv_of_it, other in csv_of_it)
    monkeypatch.setattr(view, "WALK_S", 0)
    monkeypatch.setattr(view, "_STEP_MIN", 1)
    monkeypatch.setattr(view, "_STEP_MAX", 1)
    page, pages = await staff.get("/console/leads?sub_id=fb-77"), 1
    while not shown(page):
        assert "Look further back" in page.words
        page, pages = await staff.get(str(turn(page, "next") or _further(page))), pages + 1
    assert [other] == shown(page)
    assert pages > 1


def _further(page: Page) -> str:
    """The button of a page on which nothing fits yet."""
    found = re.search(r'href="([^"]+)"[^>]*>(?:<svg.*?</svg>)?Look further back', page.text)
    assert found is not None
    return found[1].replace("&amp;", "&")


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("outcome=lost", "outcome"),
        ("span=1y", "span"),
        ("since=yesterday", "since"),
        ("until=2026-13-01", "until"),
        ("test=maybe", "test"),
        ("post=sent", "post"),
        ("who=abc", "who"),
        ("after=xyz", "after"),
        ("vertical=%00", "filter"),
    ],
)
async def test_a_filter_that_cannot_be_read_is_named(
    desk: ConsoleOffice, query: str, name: str
) -> None:
    page = await (await desk.signed_in("admin")).get(f"/console/leads?{query}")

    assert 422 == page.status
    assert name in page.words


async def test_what_is_empty_says_what_to_do(desk: ConsoleOffice) -> None:
    seller, staff = await desk.signed_in("seller"), await desk.signed_in("viewer")

    assert "No lead fits" in (await staff.get("/console/leads?outcome=gone")).words
    await desk.office.db.execute("DELETE FROM lead")
    assert "Post one with your key" in (await seller.get("/console/leads")).words


# --- search ---------------------------------------------------------------------------------------


async def test_an_id_leads_to_its_page(desk: ConsoleOffice, trade: Trade) -> None:
    """Of a lead, a ping, a sale; in capitals and with blanks around too."""
    answer = (await trade.sell("POST", "/v1/leads", {"vertical": "roofing", "fields": {
        "state": "TX", "phone": "+15125550123"}, "external_id": "crm 7", "max_wait_ms": 10_000})).body  # fmt: skip
    staff = await desk.signed_in("viewer")

    async def to(text: str) -> str:
        return (await staff.post("/console/leads/search", {"q": text})).to

    lead = answer["lead_id"]
    assert f"/console/leads/{lead}" == await to(f" {lead.upper()} ")
    assert f"/console/pings/{answer['ping_id']}" == await to(answer["ping_id"])
    assert f"/console/leads/{lead}" == await to(answer["sales"][0]["sale_id"])
    assert "/console/leads?external_id=crm+7" == await to("crm 7")
    assert [lead] == shown(await staff.get(await to("crm 7")))
    assert "/console/leads" == await to("  ")


@pytest.mark.parametrize("text", ["(512) 555-0123", "+1 512 555 0123", "5125550123"])
async def test_a_person_is_found_and_stands_in_no_address(
    desk: ConsoleOffice, trade: Trade, text: str
) -> None:
    lead = await trade.lead()
    operator = await desk.signed_in("operator")
    to = (await operator.post("/console/leads/search", {"q": text})).to
    page = await operator.get(to)

    assert [lead] == shown(page)
    assert "555" not in to
    assert "5550123" not in page.text
    again = (await operator.post("/console/leads/search", {"q": text})).to
    assert to != again  # nobody can compare two addresses
    other = (await operator.post("/console/leads/search", {"q": "(512) 555-0199"})).to
    assert [] == shown(await operator.get(other))


async def test_a_viewer_does_not_search_by_person(desk: ConsoleOffice, trade: Trade) -> None:
    await trade.lead()
    operator, viewer = await desk.signed_in("operator"), await desk.signed_in("viewer")

    assert "/console/leads" == (await viewer.post("/console/leads/search", {"q": "a@b.example"})).to
    to = (await operator.post("/console/leads/search", {"q": "5125550123"})).to
    assert 404 == (await viewer.get(to)).status


# --- who sees what --------------------------------------------------------------------------------


async def test_sellers_and_buyers_find_their_own(desk: ConsoleOffice, trade: Trade) -> None:
    """In the list, by any filter, and in the CSV."""
    sold = await trade.lead(external_id="crm-7")
    seller = await desk.signed_in("seller")
    zenith, acme = await desk.signed_in("other_buyer"), await desk.signed_in("buyer")

    own = await seller.get("/console/leads")
    assert sold in shown(own)
    for word in ("acme", "zenith", "good", "12.00", "2.40"):
        assert word not in own.words.split(), word
    assert "9.60" in own.words
    bought = await zenith.get("/console/leads")
    assert [sold, desk.sold[2]] == shown(bought)
    for word in ("acme", "top", "roofquotes", "crm-7", "9.60", "2.40"):
        assert word not in bought.words.split(), word
    assert sold in shown(await acme.get("/console/leads"))  # it was posted to acme too
    assert sold not in shown(await acme.get("/console/leads?post=accepted"))
    # Filters that would tell how it ended for others are not a buyer's.
    assert sold in shown(
        await acme.get("/console/leads?outcome=unsold&reason=no_bids&buyer=zenith")
    )
    assert [] == shown(await acme.get("/console/leads?post=not_sent"))
    for browser, hidden in ((seller, "zenith acme 12.00"), (zenith, "acme roofquotes 9.60 crm-7")):
        text = (await browser.get("/console/leads.csv")).text
        assert sold in text
        assert not any(word in text for word in hidden.split())


# --- CSV ------------------------------------------------------------------------------------------


async def test_the_csv_has_every_lead_that_fits_and_no_formula(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More than a batch; a seller's text cannot become one of the spreadsheet's own."""
    monkeypatch.setattr("exchange.office.console.leads.export.BATCH", 8)
    monkeypatch.setattr("exchange.office.console.leads.export._LINES", 5)
    await made(desk, 40)
    page = await (await desk.signed_in("admin")).get("/console/leads.csv?outcome=unsold")
    rows = list(csv.DictReader(io.StringIO(page.text)))

    assert 'attachment; filename="leads.csv"' == page.headers["Content-Disposition"]
    assert "text/csv; charset=utf-8" == page.headers["Content-Type"]
    assert 13 == len(rows)
    assert {"'=cmd3"} <= {row["external_id"] for row in rows}
    assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())
    assert all("unsold" == row["outcome"] for row in rows)


async def test_the_csv_tells_money_to_the_micro(desk: ConsoleOffice, trade: Trade) -> None:
    lead = await trade.lead()
    page = await (await desk.signed_in("viewer")).get("/console/leads.csv?buyer=zenith")
    row = next(one for one in csv.DictReader(io.StringIO(page.text)) if one["lead_id"] == lead)

    assert ("12.00", "9.60", "2.40") == (row["price"], row["payout"], row["margin"])
    assert ("zenith", "good", "roofquotes") == (row["buyers"], row["contracts"], row["seller"])
    assert "5550123" not in page.text


async def test_a_state_that_is_rare_is_found_along_its_own_index(
    desk: ConsoleOffice, trade: Trade
) -> None:
    """With a buyer beside it too."""
    names, db = await names_of(desk.office.db), desk.office.db
    lead, _ = await desk.market.lead()
    await desk.market.attempt(lead, "zenith-1")
    await trade.lead()
    wanted = Filters(buyer=names.buyer("zenith"), state=LeadState.OPEN)

    # The market's own sale is booked and not closed yet.
    assert [lead, id_of(desk.sold[2])] == [
        one.id for one in (await find_leads(db, names, wanted, Cursor(), 5)).lines
    ]
