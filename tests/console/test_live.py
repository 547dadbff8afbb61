"""The live page: its figures, whose they are, the stream, and what it costs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from aiohttp import ClientResponse, ClientSession, CookieJar

from exchange.errors import Refusal
from exchange.office.console.leads import broadcast, live
from exchange.office.console.leads.broadcast import Broadcaster
from exchange.office.console.leads.live import funnel_of, tiles_of, to_cents
from exchange.office.console.viewer import Viewer
from exchange.store.database import Database
from exchange.store.views.live import DAY, HOUR, HOUSE, MINUTE, Tally, tally_minute, total
from tests.console.offices import ConsoleOffice
from tests.console.trading import Trade, open_trade

STAFF = Viewer("ann", "viewer", None, "s")


@pytest.fixture
async def trade(desk: ConsoleOffice) -> AsyncIterator[Trade]:
    async with open_trade(desk) as found:
        yield found


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look every few milliseconds, and each page has its own."""
    monkeypatch.setattr(broadcast, "EVERY_S", 0.02)
    monkeypatch.setattr(broadcast, "_LOOKS_ALONE_S", 0)
    monkeypatch.setattr(broadcast, "_SUMS_S", 0.05)


@asynccontextmanager
async def streaming(desk: ConsoleOffice, role: str) -> AsyncIterator[ClientResponse]:
    cookie = {"exchange": await desk.session(role)}
    async with ClientSession(cookies=cookie, cookie_jar=CookieJar(unsafe=True)) as session:
        yield await session.get(f"{desk.url}/console/live/stream")


async def until(response: ClientResponse, part: str, words: str) -> dict[str, Any]:
    """The first event whose part says this."""
    while True:
        line = await response.content.readline()
        assert line, "the stream has ended"
        if line.startswith(b"data: "):
            news = orjson.loads(line.removeprefix(b"data: "))
            if words in news.get(part, ""):
                return news


# --- figures --------------------------------------------------------------------------------------


async def test_it_shows_what_is_traded_without_any_script(
    desk: ConsoleOffice, trade: Trade
) -> None:
    lead = await trade.lead()
    page = await (await desk.signed_in("viewer")).get("/console/")

    assert 200 == page.status
    for words in (
        "Pings",
        "Leads sold",
        "Sale rate",
        "Revenue",
        "Margin",
        lead[-8:],
        "top" and "good",
    ):
        assert words in page.words, words
    assert "12.00 USD" in page.words


async def test_figures_of_the_day_are_sums_of_minutes_and_of_what_chores_added_up(
    desk: ConsoleOffice, trade: Trade
) -> None:
    """Hours before the border from the sums, the rest counted; nothing twice, nothing forgotten."""
    await trade.lead()
    now = datetime.now(UTC)
    db = desk.office.db
    border = now.replace(minute=0, second=0, microsecond=0)
    at = border - HOUR if (border - HOUR).date() == now.date() else border - DAY
    await _sum(db, at, pings=100, leads=50, sold=40, revenue=500_000_000, payout=400_000_000)
    await _sum(db, border, pings=7, leads=7, sold=7, revenue=7, payout=7)  # not whole: counted here
    await db.execute("UPDATE report_state SET sales_upto = $1, pings_upto = first_id($1)", border)
    looking = Broadcaster(db, lambda: now)
    await looking.look()
    while not (seen := await looking.snapshot(HOUSE)).whole:
        await looking.look()  # as many minutes as its budget allows

    counted = total([seen.today, seen.yesterday])
    assert (100 + 5, 50 + 5, 40 + 1) == (counted.pings, counted.leads, counted.sold)
    assert {"USD": 500_000_000 + 12_000_000 + 30_000_000} == dict(counted.revenue)


async def test_hours_whose_sales_are_not_added_up_yet_are_told(desk: ConsoleOffice) -> None:
    """Although every ping is counted: the figures are as of when the sums end, and the page says so."""
    now = datetime.now(UTC)
    border = now.replace(minute=0, second=0, microsecond=0)
    db = desk.office.db
    await db.execute(
        "UPDATE lead SET ping_id = first_id($1) WHERE id = (SELECT id FROM lead LIMIT 1)",
        border - 2 * HOUR,
    )
    state = "UPDATE report_state SET sales_upto = $1, pings_upto = first_id($2)"
    await db.execute(state, border - 3 * HOUR, border)
    looking = Broadcaster(db, lambda: now)
    await looking.look()
    while len(looking._minutes) <= 60 + now.minute:
        await looking.look()
    behind = await looking.snapshot(HOUSE)
    page = await (await desk.signed_in("viewer")).get("/console/")

    assert (False, border - 3 * HOUR) == (behind.whole, behind.lacks_since)
    assert f"{border - 3 * HOUR:%H:%M} UTC and of the last two hours" in page.words
    await db.execute(state, border, border)
    again = Broadcaster(db, lambda: now)
    while not (await again.snapshot(HOUSE)).whole if again._looked else True:
        await again.look()
    assert (await again.snapshot(HOUSE)).lacks_since is None


async def test_minutes_before_the_border_are_in_the_sums_already(desk: ConsoleOffice) -> None:
    """The chart shows them all the same."""
    border = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) + HOUR
    db = desk.office.db
    await _move_pings(db, border - HOUR / 2)  # the chart ends 60 minutes back
    await _sum(db, border - HOUR, pings=4, leads=4, revenue=30_000_000)
    await db.execute("UPDATE report_state SET sales_upto = $1, pings_upto = first_id($1)", border)
    looking = Broadcaster(db, lambda: border + timedelta(seconds=1))
    await looking.look()
    while not (seen := await looking.snapshot(HOUSE)).whole or len(looking._minutes) <= 60:
        await looking.look()

    assert (4, 4) == (
        total([seen.today, seen.yesterday]).pings,
        total(one for _, one in seen.minutes).pings,
    )


async def _move_pings(db: Database, to: datetime) -> None:
    """All pings into one minute, whatever the clock said when they came."""
    await db.execute(
        """UPDATE ping SET id = first_id($1::timestamptz + n * interval '1 ms')
        FROM (SELECT id AS was, row_number() OVER () AS n FROM ping) AS numbered WHERE id = was""",
        to,
    )


async def _sum(db: Database, start: datetime, **figures: int) -> None:
    columns = [
        row[0]
        for row in await db.fetch(
            "SELECT column_name::text FROM information_schema.columns WHERE table_name = 'report_sum'"
        )
    ]
    key = {"span": "'hour'", "by": "'seller'", "vertical": "'roofing'", "currency": "'USD'", "seller": "1", "contract": "0"}  # fmt: skip
    values = [
        key.get(name) or ("$1" if name == "start" else str(figures.get(name, 0)))
        for name in columns
    ]
    await db.execute(
        f"INSERT INTO report_sum ({', '.join(columns)}) VALUES ({', '.join(values)})", start
    )


async def test_a_minute_counts_everything_of_its_pings(desk: ConsoleOffice, trade: Trade) -> None:
    """For the house, the seller, and each buyer that was posted to; tests are not in it."""
    await trade.lead()
    await trade.lead(test=True)
    now = datetime.now(UTC).replace(second=0, microsecond=0)
    sums: dict[Any, Tally] = {}
    for minute in (now, now - MINUTE, now - 2 * MINUTE):
        for scope, one in (await tally_minute(desk.office.db, minute)).items():
            sums[scope] = sums.get(scope, Tally()) + one
    catalogue = await desk.market.catalogue()
    seller = ("seller", catalogue.sellers_by_slug["roofquotes"].id)
    zenith, acme = (
        sums[("buyer", next(b.id for b in catalogue.buyers.values() if b.slug == slug))]
        for slug in ("zenith", "acme")
    )

    assert sums[HOUSE] == sums[seller]
    assert (5, 1) == (sums[HOUSE].leads, sums[HOUSE].sold)
    assert (2, 2, {"USD": 22_000_000}) == (zenith.posts, zenith.accepted, zenith.revenue)
    assert (3, 2, 1) == (acme.posts, acme.accepted, acme.rejected)


async def test_a_lead_that_settles_later_is_counted_in_its_own_minute(desk: ConsoleOffice) -> None:
    """The minute is counted again when something of it changes, although it is over."""
    lead, _ = await desk.market.lead()
    looking = Broadcaster(desk.office.db)
    await looking.look()
    before = total(one for _, one in (await looking.snapshot(HOUSE)).minutes)
    await desk.market.settle(await desk.market.attempt(lead), "accepted")
    later = datetime.now(UTC) + timedelta(minutes=5)
    looking._now = lambda: later
    await looking.look()
    after = total(one for _, one in (await looking.snapshot(HOUSE)).minutes)

    assert before.accepted + 1 == after.accepted
    assert before.leads == after.leads


def test_tiles_say_yesterday_beside_today() -> None:
    today = Tally(pings=10, leads=4, sold=3, revenue={"USD": 10_005_000}, payout={"USD": 8_000_000})
    tiles = {one.name: one for one in tiles_of(today, Tally(pings=7), STAFF)}

    assert (10, 7) == (tiles["Pings"].today, tiles["Pings"].yesterday)
    assert ((3, 4), (0, 0)) == (tiles["Sale rate"].today, tiles["Sale rate"].yesterday)
    assert 10_000_000 == tiles["Revenue"].today  # to the cent
    assert 2_000_000 == tiles["Margin"].today
    assert 2_500_000 == tiles["Revenue per lead"].today
    assert tiles["Revenue per lead"].yesterday is None


def test_the_currency_of_most_is_shown_and_others_are_named() -> None:
    today = Tally(revenue={"EUR": 5, "USD": 9_000_000})
    (tile,) = [one for one in tiles_of(today, Tally(), STAFF) if one.name == "Revenue"]

    assert ("USD", "and EUR") == (tile.currency, tile.note)


@pytest.mark.parametrize(("micros", "currency", "rounded"), [
    (1_234_567, "USD", 1_230_000), (1_235_001, "USD", 1_240_000), (1_500_001, "JPY", 2_000_000), (1_234_567, "BHD", 1_235_000),
])  # fmt: skip
def test_figures_are_rounded_to_the_currency(micros: int, currency: str, rounded: int) -> None:
    assert rounded == to_cents(micros, currency)


def test_the_funnel_is_drawn_against_its_widest_step() -> None:
    assert [("Pings", 8, 8), ("Quoted", 6, 8), ("Posted", 4, 8), ("Sold", 2, 8)] == funnel_of(
        Tally(pings=8, quotes=6, leads=4, sold=2), STAFF
    )
    assert all(most for _, _, most in funnel_of(Tally(), STAFF))


# --- whose it is ----------------------------------------------------------------------------------


async def test_everybody_sees_his_own_trade(desk: ConsoleOffice, trade: Trade) -> None:
    await trade.lead()
    seller = (await (await desk.signed_in("seller")).get("/console/")).words
    zenith = (await (await desk.signed_in("other_buyer")).get("/console/")).words

    assert "You earned" in seller
    assert "9.60" in seller
    for hidden in ("12.00", "zenith", "good", "acme", "Margin", "Revenue"):
        assert hidden not in seller.split(), hidden
    assert "Spent" in zenith
    assert "22.00" in zenith
    for hidden in ("9.60", "acme", "top", "roofquotes", "Margin", "Pings"):
        assert hidden not in zenith.split(), hidden


async def test_what_never_reached_a_buyer_is_not_its_lead(desk: ConsoleOffice) -> None:
    """Neither in its ticker nor in its figures; the house sees it."""
    before = (await (await desk.signed_in("buyer")).get("/console/")).words
    lead, text = await desk.market.lead()
    await desk.market.settle(await desk.market.attempt(lead), "not_sent")
    buyer, staff = await desk.signed_in("buyer"), await desk.signed_in("viewer")

    page = await buyer.get("/console/")
    assert text not in page.text
    assert desk.sold[0] in page.text
    assert text not in (await buyer.get("/console/leads")).text
    assert "Leads posted to you 2" in before
    assert "Leads posted to you 2" in page.words
    assert text in (await staff.get("/console/")).text


# --- the stream -----------------------------------------------------------------------------------


async def test_a_lead_is_on_the_page_as_soon_as_it_is_sold(
    desk: ConsoleOffice, trade: Trade
) -> None:
    async with streaming(desk, "operator") as stream:
        assert "text/event-stream; charset=utf-8" == stream.headers["Content-Type"]
        assert "no" == stream.headers["X-Accel-Buffering"]
        await until(stream, "ticker", "roofing")
        lead = await trade.lead()
        news = await until(stream, "ticker", lead)
        while ">sold<" not in _row(news["ticker"], lead):
            news = await until(stream, "ticker", lead)
        assert "12.00" in _row(news["ticker"], lead)


def _row(html: str, lead: str) -> str:
    return (
        html.split(f'data-id="{lead}"')[1]
        .split("</tr>", maxsplit=1)[0]
        .replace("</span>sold", "</span>>sold<")
    )


async def test_a_stream_is_scoped_like_the_page(desk: ConsoleOffice, trade: Trade) -> None:
    async with streaming(desk, "seller") as stream:
        lead = await trade.lead()
        news = await until(stream, "ticker", lead)

        assert not any(word in str(news) for word in ("zenith", "acme", "12.00", "Margin"))


async def test_nothing_is_read_when_nobody_watches(desk: ConsoleOffice) -> None:
    looking = Broadcaster(desk.office.db)
    async with looking.watched("ann"), looking.watched("ben"):
        assert await looking.next_look(5)
    task = looking._task

    assert task is None
    assert not await looking.next_look(0.1)


async def test_streams_are_few_for_one_and_for_all(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broadcast, "STREAMS_OF_ONE_MAX", 1)
    monkeypatch.setattr(broadcast, "STREAMS_MAX", 2)
    looking = Broadcaster(desk.office.db)
    async with looking.watched("ann"):
        for login in ("ann",):
            with pytest.raises(Refusal) as refused:
                async with looking.watched(login):
                    pass
            assert 429 == refused.value.status
        async with looking.watched("ben"):
            with pytest.raises(Refusal):
                async with looking.watched("cid"):
                    pass
    async with looking.watched("cid"):  # whoever left makes room
        pass


async def test_a_stream_ends_with_the_session(
    desk: ConsoleOffice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "_HEARTBEAT_S", 0.05)
    async with streaming(desk, "viewer") as stream:
        await until(stream, "tiles", "Pings")
        await desk.office.db.execute("DELETE FROM console_session")
        async with asyncio.timeout(10):
            while await stream.content.readline():
                pass


async def test_a_stream_lets_the_office_stop(desk: ConsoleOffice) -> None:
    async with streaming(desk, "viewer") as stream:
        await until(stream, "tiles", "Pings")
        async with asyncio.timeout(10):
            await desk.server.close()
            while await stream.content.readline():
                pass


async def test_nobody_looks_over_the_shoulder(desk: ConsoleOffice) -> None:
    assert 303 == (await desk.nobody().get("/console/live/stream")).status
