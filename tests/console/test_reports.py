"""Reports: what they say is what was counted, and each side is told its own."""

import csv
import io
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from exchange.chores.cells import FIGURES, TIME_BOUNDS_MS
from exchange.chores.rollup import RollUp
from exchange.office.console.money import report_columns as columns
from exchange.office.console.money.report_columns import Column, percentile
from exchange.store.database import connect
from exchange.store.views import reports as view
from exchange.store.views.reports import GROUPS, Question
from tests.console.offices import ConsoleOffice
from tests.trading import begin_trade

LAST_WEEK = "range=7d"


@pytest.fixture
async def traded(desk: ConsoleOffice) -> ConsoleOffice:
    """With pings of five hours now and three days ago, and all of it counted."""
    trade = await begin_trade(desk.market)
    await trade.some()
    await count(desk)
    return desk


async def count(desk: ConsoleOffice) -> None:
    connection = await connect(desk.market.store.db.dsn)
    await RollUp(120, rest=0).turn(connection)
    await connection.close()


async def lines(browser: Any, query: str) -> list[dict[str, str]]:
    page = await browser.get(f"/console/reports.csv?{query}")
    assert page.status == 200, page.text
    return list(csv.DictReader(io.StringIO(page.text)))


def added(rows: list[dict[str, str]], column: str) -> float:
    return sum(float(row[column] or 0) for row in rows)


# --- figures --------------------------------------------------------------------------------------


@pytest.mark.parametrize("by", GROUPS)
async def test_every_grouping_adds_up_to_the_ledger(traded: ConsoleOffice, by: str) -> None:
    """Whatever it is grouped by: revenue, payout and margin are those of the books, to the micro."""
    rows = await lines(await traded.signed_in("admin"), f"by={by}&{LAST_WEEK}")
    books = await traded.office.db.fetchrow(
        "SELECT sum(price) / 1e6, sum(payout) / 1e6, count(*) FROM attempt WHERE state = 'accepted'"
    )
    assert books is not None
    # What the market itself has sold has pings whose receipts are no receipts: its sales count.
    assert float(books[0]) == pytest.approx(added(rows, "revenue"), abs=1e-6)
    assert float(books[1]) == pytest.approx(added(rows, "payout"), abs=1e-6)
    assert float(books[0] - books[1]) == pytest.approx(added(rows, "margin"), abs=1e-6)
    if by in {"buyer", "contract"}:
        assert books[2] == added(rows, "sales")


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Tokyo"])
@pytest.mark.parametrize("by", ["seller", "contract", "day"])
async def test_whole_days_and_hours_give_the_same_sums(
    traded: ConsoleOffice, by: str, zone: str
) -> None:
    """Sums of days that are made stand for their hours; where they do not fit, hours do."""
    db, now = traded.office.db, datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    ids = {
        name: await view.id_of(db, kind, name)
        for kind, name in (("seller", "roofquotes"), ("contract", "zenith-1"))
    }
    for start, end in (
        (now - timedelta(days=6), now + timedelta(hours=1)),
        (now - timedelta(hours=80), now - timedelta(hours=30)),
    ):
        for more in (
            {},
            {"seller": ids["roofquotes"]},
            {"contract": ids["zenith-1"]},
            {"seller": ids["roofquotes"], "contract": ids["zenith-1"]},
        ):
            asked = Question(by=by, start=start, end=end, zone=zone, **more)
            found = {one.key: one.figures for one in await view.answer(db, asked)}
            await db.execute("UPDATE report_state SET days_upto = 'epoch'")
            plain = {one.key: one.figures for one in await view.answer(db, asked)}
            await db.execute(
                "UPDATE report_state SET days_upto = $1", now.replace(hour=0) - timedelta(days=1)
            )
            assert plain == found
            assert found or end < now


async def test_a_stored_day_is_used_and_not_added_to_its_hours(traded: ConsoleOffice) -> None:
    """Changing what is stored of a made day changes the report, and its hours do not."""
    db = traded.office.db
    end = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    asked = Question(by="vertical", start=end - timedelta(days=5), end=end, zone="UTC")
    made = await db.fetchval("SELECT days_upto FROM report_state")
    (before,) = await view.answer(db, asked, ("pings",))
    await db.execute(
        "UPDATE report_sum SET pings = pings + 1000 WHERE span = 'day' AND by = 'seller'"
    )
    await db.execute(
        "UPDATE report_sum SET pings = pings + 50000 WHERE span = 'hour' AND by = 'seller' AND start < $1",
        made,
    )

    (after,) = await view.answer(db, asked, ("pings",))

    days = await db.fetchval("SELECT count(*) FROM report_sum WHERE span = 'day' AND by = 'seller'")
    assert after.figures["pings"] - before.figures["pings"] == 1000 * days > 0


async def test_the_period_before_is_compared(traded: ConsoleOffice) -> None:
    """Today against yesterday, when nobody pinged."""
    browser = await traded.signed_in("admin")
    assert (
        "There is no figure of the period before"
        in (await browser.get("/console/reports?range=today")).text
    )
    page = await browser.get("/console/reports?range=7d&by=vertical")
    assert "roofing" in page.words


@pytest.mark.parametrize(
    ("part", "expected"), [(0.5, 14), (0.25, 12), (1.0, 20), (0.75, 20 - 6 / 2)]
)
def test_percentiles_lie_within_their_bucket(part: float, expected: float) -> None:
    """Two answers within 14 ms, two within 20: half of them came within 14."""
    figures = dict.fromkeys(FIGURES, 0) | {"t4": 2, "t5": 2}
    assert expected == percentile(figures, part)


def test_what_is_beyond_the_last_bucket_is_not_made_up() -> None:
    figures = dict.fromkeys(FIGURES, 0) | {"t20": 3}
    assert f"&gt; {TIME_BOUNDS_MS[-1]:,} ms" in columns.P95.shown(figures, "USD")
    assert percentile(dict.fromkeys(FIGURES, 0), 0.5) is None


@pytest.mark.parametrize(
    "column",
    [one for one in vars(columns).values() if isinstance(one, Column)],
    ids=lambda c: c.key,
)
def test_a_column_of_nothing_is_a_dash_or_a_zero(column: Column) -> None:
    """And it says itself which figures it needs: with those alone it can be told."""
    figures = dict.fromkeys(column.needs(), 5)
    assert column.plain(figures, "USD") != ""
    assert column.shown(dict.fromkeys(FIGURES, 0), "USD")
    assert set(column.needs()) <= set(FIGURES)


# --- who is told what -----------------------------------------------------------------------------


async def test_a_buyer_is_told_of_itself_only(traded: ConsoleOffice) -> None:
    """Whatever its address asks for: no seller, no other buyer, no payout, no margin."""
    browser = await traded.signed_in("other_buyer")
    own = await lines(browser, f"by=contract&{LAST_WEEK}")
    other = await lines(await traded.signed_in("buyer"), f"by=contract&{LAST_WEEK}")

    assert (
        {"zenith-1", "zenith-2", "zenith-3"}
        >= {row["contract"] for row in own}
        >= {"zenith-1", "zenith-2"}
    )
    assert {"acme-1"} == {row["contract"] for row in other}
    assert {"payout", "margin", "epl", "pings", "leads"}.isdisjoint(own[0])
    for query in (
        "by=seller",
        "by=buyer",
        "by=contract&buyer=acme",
        "by=contract&contract=acme-1",
        "by=vertical&seller=roofquotes",
        "",
    ):
        page = await browser.get(f"/console/reports?{query}")
        assert page.status == 200
        for word in ("acme", "roofquotes", "Roof Quotes", "payout", "margin"):
            assert word.lower() not in page.words.lower(), (query, word)
    assert [] == await lines(browser, f"by=contract&contract=acme-1&{LAST_WEEK}")


async def test_a_seller_is_told_no_gross_and_no_buyer(traded: ConsoleOffice) -> None:
    """Buyers by the opaque names that its answers have; nothing of what was bid."""
    browser = await traded.signed_in("seller")
    by_buyer = await lines(browser, f"by=buyer&{LAST_WEEK}")
    opaque = traded.market.vault.opaque("buyer", "roofquotes", "zenith")

    assert opaque in {row["buyer"] for row in by_buyer}
    assert {"buyer", "currency", "sales", "returned", "payout"} == set(by_buyer[0])
    for query in ("by=buyer", "by=seller", "by=contract", "by=vertical&buyer=acme", "by=day", ""):
        page = await browser.get(f"/console/reports?{query}")
        assert page.status == 200
        for word in ("acme", "zenith", "revenue", "margin", "win rate", "bid rate", "average bid"):
            assert word not in page.words.lower(), (query, word)
    books = await traded.office.db.fetchval(
        "SELECT sum(payout) / 1e6 FROM attempt WHERE state = 'accepted'"
    )
    assert float(books) == pytest.approx(
        added(await lines(browser, f"by=vertical&{LAST_WEEK}"), "payout")
    )


async def test_staff_find_everything(traded: ConsoleOffice) -> None:
    browser = await traded.signed_in("viewer")
    for by in GROUPS:
        page = await browser.get(f"/console/reports?by={by}&range=7d")
        assert page.status == 200
        assert 'class="chart"' in page.text
    rows = await lines(browser, f"by=contract&seller=roofquotes&buyer=zenith&{LAST_WEEK}")
    assert {"zenith-1", "zenith-2"} <= {row["contract"] for row in rows}


async def test_sorting_and_pages_are_in_the_address(
    traded: ConsoleOffice, monkeypatch: Any
) -> None:
    """By any column, either way, what has no figure last; every line on one page or another."""
    browser = await traded.signed_in("admin")
    down = [row["contract"] for row in await lines(browser, f"by=contract&sort=-asked&{LAST_WEEK}")]
    up = [row["contract"] for row in await lines(browser, f"by=contract&sort=asked&{LAST_WEEK}")]
    assert len(down) > 2
    assert down[0] != up[0]
    monkeypatch.setattr("exchange.office.console.money.reports.PAGE_SIZE", 1)
    seen, path = [], f"/console/reports?by=contract&sort=-asked&{LAST_WEEK}"
    while path:
        page = await browser.get(path)
        seen += re.findall(
            r'<th scope="row" class="nowrap"><a href="/console/contracts/([^"]+)"', page.text
        )
        older = re.search(r'href="([^"]*after=[^"]*)"[^>]*>Older', page.text)
        path = older[1].replace("&amp;", "&") if older else ""
    assert down == seen


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("range=yesterday&vertical=nothing", "Nothing in this period"), ("seller=%00&buyer=nobody", "Nothing in this period"),
        ("from=1999-01-01&to=x", "Days are written as"), ("zone=No/Where", "There is no such time zone"),
        ("by=hour&range=30d", "told apart by the hour"), ("sort=-nonsense&after=x", "Reports"),
        ("by=day&seller=roofquotes&buyer=zenith&range=30d&zone=Asia/Tokyo", "told apart by the hour"),
        ("from=2020-01-01&to=2026-01-01", "at most 400 days"),
    ],
)  # fmt: skip
async def test_addresses_that_nobody_would_write(
    traded: ConsoleOffice, query: str, told: str
) -> None:
    page = await (await traded.signed_in("admin")).get(f"/console/reports?{query}")

    assert page.status == 200
    assert told in page.words


async def test_nothing_counted_yet_is_said(desk: ConsoleOffice) -> None:
    page = await (await desk.signed_in("admin")).get("/console/reports")

    assert page.status == 200
    assert "Nothing is counted yet" in page.words
