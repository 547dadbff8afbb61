"""What a scrape tells of the books, on a real Postgres: money to the micro, caps, and the cheap audit."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request

from exchange.chores.counting import Counting
from exchange.metrics import OfficeMetrics
from exchange.metrics.office import BooksSeen, HouseSeen
from exchange.office.books_seen import read_books
from exchange.office.scraping import Scraping
from exchange.store.audit_lately import INVARIANTS, broken_lately
from exchange.store.money_read import add_up_money, money_moved
from tests.offices import MICROS, Offices, a_buyer, a_contract, open_offices

POLICY = {"reasons": ["fraud"], "days": 30, "approval": "automatic"}


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as opened:
        yield opened


async def seen(offices: Offices) -> BooksSeen:
    async with offices.store.db.connection() as connection:
        return await read_books(connection)


async def money(offices: Offices) -> tuple[int, int, int]:
    """Sales, revenue and payout of the one vertical, in whole units."""
    (row,) = (await seen(offices)).money
    assert ("roofing", "USD") == row[:2]
    return row[2], row[3] // MICROS, row[4] // MICROS


async def later(offices: Offices, minutes: int) -> None:
    """All that was moved so far was moved that long ago."""
    await offices.store.db.execute(
        "UPDATE transfer SET at = at - $1 * interval '1 minute'", minutes
    )


async def test_money_is_what_the_books_say_whoever_said_so(offices: Offices) -> None:
    """Also the second sale of a set whose seller was answered long ago, by a person's word."""
    await offices.sale()
    lead, text = await offices.lead()
    first = await offices.attempt(lead, "acme-1", price=10, slot=1, shares=2)
    second = await offices.attempt(lead, "zenith-1", price=20, slot=2, shares=2)
    await offices.settle(first, "accepted")
    await offices.settle(second, "unconfirmed")
    assert (2, 20, 16) == await money(offices)

    word = {"status": "accepted", "contract": "zenith-1"}
    said = await offices.admin("POST", f"/v1/leads/{text}/outcome", word)

    assert 200 == said.status, said.body
    assert (3, 40, 32) == await money(offices)


async def test_adding_up_changes_no_sum(offices: Offices) -> None:
    """What is in the sums is not in the tail, and the other way round; a second time adds nothing."""
    await offices.sale()
    await later(offices, 150)
    await offices.sale()
    await later(offices, 30)
    await offices.sale()
    async with offices.store.db.connection() as connection:
        before = await money_moved(connection)
        while await add_up_money(connection):
            assert before == await money_moved(connection)
        summed = await connection.fetchval("SELECT sum(n) FROM money_sum WHERE kind = 'sale'")
        after = await money_moved(connection)
        await add_up_money(connection)

        assert before == after == await money_moved(connection)
    assert 2 == summed  # the last minute stays out: what was begun in it may not be committed
    assert (3, 30, 24) == await money(offices)


async def test_money_that_is_far_behind_is_not_told(offices: Offices) -> None:
    """A scrape never adds up years: the chore does, and until then there is no series."""
    await offices.sale()
    db = offices.store.db
    old = await db.fetchval("SELECT first_id(now() - interval '1 day')")
    await db.execute("UPDATE money_upto SET at = now() - interval '10 minutes'")
    await db.execute("UPDATE transfer SET ref = $1", old)
    await db.execute("UPDATE attempt SET id = $1", old)
    assert (1, 10, 8) == await money(offices)

    await db.execute("UPDATE money_upto SET at = now() - interval '2 days'")

    assert [] == (await seen(offices)).money


async def test_the_sums_are_found_by_their_time(offices: Offices) -> None:
    """Not by reading every transfer there ever was."""
    rows = await offices.store.db.fetch(
        "EXPLAIN SELECT ref FROM transfer WHERE at > now() - interval '2 minutes' AND at <= 'infinity'"
        " AND kind IN ('sale', 'margin', 'return', 'return_margin')"
    )
    plan = "\n".join(row[0] for row in rows)

    assert "Seq Scan" not in plan, plan


async def test_caps_credit_and_holds(offices: Offices) -> None:
    """The used part of each cap in its present period; money held; what a prepaid buyer has left."""
    await offices.sale()
    lead, _ = await offices.lead()
    await offices.attempt(lead)
    found = await seen(offices)

    caps = {labels[1:]: used for labels, used in found.caps if labels[0] == "acme"}
    assert {
        ("acme-1", "sales", "day"): 0.4,
        ("acme-1", "spend", "month"): 0.4,
        ("acme-1", "concurrent", "total"): 1 / 3,
    } == caps
    assert [(("acme", "USD"), 80 * MICROS)] == found.credit
    assert [(("USD",), 10 * MICROS)] == found.held
    assert {"intent": 1} == found.open


async def test_what_was_removed_has_no_series(offices: Offices, tmp_path: Path) -> None:
    """A retired contract's caps and breakers, a retired buyer's everything."""
    await offices.sale("zenith-1")
    assert "acme-1" in (await seen(offices)).known["contract"]
    await offices.admin("DELETE", "/v1/contracts/acme-1")
    found = await seen(offices)

    assert "acme-1" not in found.known["contract"]
    assert [] == [labels for labels, _ in found.caps if labels[1] == "acme-1"]


async def test_a_sound_house_has_no_violations(offices: Offices) -> None:
    """Sold, rejected, open, unconfirmed and given back: all of it as it must be."""
    await offices.admin("PATCH", "/v1/contracts/acme-1", {"returns": POLICY})
    text = await offices.sale()
    await offices.admin(
        "POST", "/v1/returns", {"lead_id": text, "reason": "fraud", "note": "made up"}
    )
    for outcome in ("rejected", "unconfirmed", "not_sent"):
        lead, _ = await offices.lead()
        await offices.settle(await offices.attempt(lead, "zenith-1"), outcome)
    lead, _ = await offices.lead()
    await offices.attempt(lead)
    async with offices.store.db.connection() as connection:
        assert dict.fromkeys(INVARIANTS, 0) == await broken_lately(connection)


@pytest.mark.parametrize(
    ("broken", "harm"),
    [
        ("I1", "DELETE FROM transfer WHERE kind = 'margin'"),
        ("I1", "UPDATE transfer SET amount = amount + 1 WHERE kind = 'sale'"),
        ("I1", "UPDATE attempt SET state = 'rejected' WHERE state = 'accepted'"),
        ("I4", "UPDATE bucket SET used = used + 1 WHERE transient"),
        ("I5", "UPDATE bucket b SET lim = 1 FROM cap c WHERE c.id = b.cap_id AND c.kind = 'credit'"),
        ("I6", "UPDATE lead SET state = 'sold'"),
        ("I6", "UPDATE lead SET state = 'unsold'"),
        ("I9", "UPDATE attempt SET created_at = now() - interval '9 minutes' WHERE state = 'intent'"),
    ],
)  # fmt: skip
async def test_each_harm_is_a_violation(offices: Offices, broken: str, harm: str) -> None:
    """The audit sees it, and by its name."""
    await offices.sale()
    lead, _ = await offices.lead()
    await offices.attempt(lead)
    await offices.store.db.execute(harm)
    async with offices.store.db.connection() as connection:
        found = await broken_lately(connection)

    assert found[broken] > 0, found


async def test_an_audit_is_done_every_five_minutes_only(offices: Offices) -> None:
    """However often the chores have their round."""
    counting = Counting()
    async with offices.store.db.connection() as connection:
        for chore in counting.chores().values():
            await chore(connection)
        first = counting.audit
        await counting.look(connection)

    assert first is not None
    assert counting.audit is first
    assert dict.fromkeys(INVARIANTS, 0) == first.broken


async def test_a_scrape_is_made_once_for_all_who_ask(offices: Offices, tmp_path: Path) -> None:
    """And a second one within half a second costs nothing."""
    scraping = Scraping(offices.store.db, tmp_path, tmp_path, 2, Counting(), {})
    request = make_mocked_request("GET", "/metrics")
    first = await scraping.scrape(request)
    await offices.store.db.execute("UPDATE house SET paused = true")
    again = await scraping.scrape(request)

    assert first.body is again.body
    assert first.text is not None
    assert "exchange_workers_wanted 2.0" in first.text
    assert "exchange_disk_free_bytes" in first.text


def test_a_scrape_without_a_database(tmp_path: Path) -> None:
    """It says so, tells what the workers count, and invents no money."""
    house = HouseSeen(workers=1, disk=None, audit=None)
    text = OfficeMetrics(tmp_path).scrape(None, house, 0.0).decode()

    assert "exchange_database_up 0.0" in text
    assert "exchange_held_micros" not in text
    assert "exchange_revenue_micros" not in text


async def test_a_thousand_contracts_are_one_question(offices: Offices) -> None:
    """The number of statements does not grow with the catalogue."""
    wanted = [a_buyer(f"buyer-{n}") for n in range(3)]
    for body in wanted:
        await offices.admin("POST", "/v1/buyers", body)
        contract = a_contract(
            f"{body['slug']}-1", body["slug"], caps=[{"kind": "sales", "period": "day", "limit": 9}]
        )
        assert 201 == (await offices.admin("POST", "/v1/contracts", contract)).status
    asked: list[str] = []
    async with offices.store.db.connection() as connection:
        connection.add_query_logger(lambda record: asked.append(record.query))
        await read_books(connection)

    assert len(asked) <= 14


async def test_erasures_are_counted_and_those_that_wait(offices: Offices) -> None:
    sold, (lead, waits) = await offices.sale(), await offices.lead()
    await offices.settle(await offices.attempt(lead), "unconfirmed")
    await offices.store.db.execute("UPDATE lead SET state = 'sold' WHERE state = 'open' AND id <> $1", lead)  # fmt: skip
    for one in (sold, waits):
        await offices.admin("POST", f"/v1/leads/{one}/erase")
    async with offices.store.db.connection() as connection:
        books = await read_books(connection)

    assert ([(("request",), 1)], 1) == (books.erased, books.erasures_waiting)
