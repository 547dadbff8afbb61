"""Sellers' callbacks: the schedule, who is owed one, who may make it, what is sent and booked."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from buyers.wire import Wire, WireLimits
from exchange.callbacks import (
    After,
    Heard,
    after,
    body_of,
    ended_at,
    heard,
    more_to_tell,
    webhook_id,
)
from exchange.calling import CallingBack, rest_s
from exchange.chores.retention import Retention
from exchange.office.books_seen import read_books
from exchange.patience import pause_s
from exchange.settings import CallbackSettings
from exchange.store.callbacks import _TAKE, OWE, OWE_REST, Booking, Callbacks
from exchange.store.rows import Closing, LeadState
from tests.ledgers import Books, PostgresBooks
from tests.making import SECRET
from tests.offices import GUARD, Offices, open_offices
from tests.receiving import Receiver, a_receiver

DAY = 24 * 3600.0

# --- decisions --------------------------------------------------------------------------------------


def test_the_pauses() -> None:
    assert [5, 5, 30, 120, 600, 3600, 3600] == [pause_s(tries) for tries in range(7)]


@pytest.mark.parametrize(
    ("status", "failure", "reason"),
    [
        (200, None, None), (204, None, None), (299, None, None),
        (199, None, "http_199"), (301, None, "http_301"), (410, None, "http_410"), (500, None, "http_500"),
        (None, "timed_out", "timed_out"), (200, "oversized", None), (503, "reset", "reset"), (None, None, "unreachable"),
    ],
)  # fmt: skip
def test_what_an_answer_means(status: int | None, failure: str | None, reason: str | None) -> None:
    assert Heard(status, reason) == heard(status, failure)


@pytest.mark.parametrize(
    ("found", "tries", "age_s", "then"),
    [
        (Heard(200, None), 1, 0.0, "delivered"),
        (Heard(200, None), 40, 99 * DAY, "delivered"),
        (Heard(500, "http_500"), 1, 0.0, "again"),
        (Heard(None, "timed_out"), 9, DAY - 3600, "again"),  # the next is just within the day
        (Heard(None, "timed_out"), 9, DAY - 3599, "given_up"),
        (Heard(500, "http_500"), 1, DAY - 4, "given_up"),
        (Heard(410, "http_410"), 1, 0.0, "given_up"),
        (Heard(None, "no_callback_url"), 1, 0.0, "given_up"),
        (Heard(None, "address_blocked"), 1, 0.0, "again"),
    ],
)
def test_what_is_done_then(found: Heard, tries: int, age_s: float, then: After) -> None:
    assert then == after(found, tries, age_s, 24)


@pytest.mark.parametrize(
    ("found", "then", "left", "more"),
    [
        (Heard(200, None), "delivered", 1, True),
        (Heard(200, None), "delivered", 0, False),
        (Heard(500, "http_500"), "again", 1, False),  # first this
        (Heard(None, "timed_out"), "given_up", 1, True),
        (Heard(None, "timed_out"), "given_up", 0, False),
        (Heard(410, "http_410"), "given_up", 1, False),
    ],
)
def test_whether_there_is_more_to_tell(found: Heard, then: After, left: int, more: bool) -> None:
    assert more == more_to_tell(found, then, left)


def test_the_next_look_is_soon() -> None:
    """Seldomer when there is much to read; but a database that was away for long is looked at again."""
    assert [0.5, 0.5, 2.0, 5.0, 5.0] == [rest_s(one) for one in (0.0, 0.02, 0.1, 1.0, 60.0)]


def test_the_id_says_what_is_told() -> None:
    """Sold with two posts open is another message than sold for good."""
    sold = {"lead_id": "lead_7", "outcome": "sold"}
    assert "lead_7.final" == webhook_id(sold)
    assert "lead_7.pending_2" == webhook_id(sold | {"pending": 2})
    assert {"type": "lead", "test": True, **sold} == orjson.loads(body_of(sold, test=True))


# --- who is owed one: both books ---------------------------------------------------------------------


async def test_nothing_is_owed_without_a_callback_url(books: Books) -> None:
    lead = await books.lead()
    await books.store().owe_callback(lead)
    assert (False, None) == await books.owed(lead)


async def test_a_202_is_owed_once(books: Books) -> None:
    await books.want_callbacks()
    lead, unknown = await books.lead(), books.uuid()
    for one in (lead, lead, unknown):
        await books.store().owe_callback(one)
    assert (True, None) == await books.owed(lead)
    assert (False, None) == await books.owed(unknown)


async def test_a_stopped_lead_owes_nothing(books: Books) -> None:
    """Its seller hung up before anything left; he may have sold it again since."""
    await books.want_callbacks()
    lead = await books.lead()
    assert await books.store().abandon_lead(lead, 1)
    await books.store().owe_callback(lead)
    assert (False, None) == await books.owed(lead)


async def test_an_answer_with_posts_open_owes_the_rest(books: Books) -> None:
    """In the closing itself; others of its batch owe nothing. A 202 of that moment wins."""
    await books.want_callbacks()
    leads = [await books.lead() for _ in range(3)]
    owed = dict(zip(leads, (0, 2, 0), strict=True))
    await asyncio.gather(*(books.end(one, owed=owed[one]) for one in leads))
    assert [(False, None), (True, 2), (False, None)] == [await books.owed(one) for one in leads]
    await books.store().owe_callback(leads[1])
    assert (True, None) == await books.owed(leads[1])


async def test_who_takes_over_from_the_dead_owes_for_them(books: Books) -> None:
    """Leads with an intent; not those that had not begun."""
    await books.want_callbacks()
    contract = await books.one()
    for worker in (1, 2):
        await books.store(worker).beat(worker)
    begun, idle = await books.lead(), await books.lead()
    await books.award(begun, contract)
    await books.die(1)
    await books.pass_time(2)
    await books.store(2).beat(2)
    adopted = await books.store(2).adopt(2)
    assert (begun,) == adopted.leads
    assert [(True, None), (False, None)] == [await books.owed(one) for one in (begun, idle)]


async def test_who_takes_over_owes_for_what_is_just_being_ended(database: str) -> None:
    """Killed while Postgres still committed its last closing: who the dead was is not forgotten before
    that can be seen."""
    books = PostgresBooks(database)
    await books.open()
    await books.want_callbacks()
    contract = await books.one()
    for worker in (1, 2):
        await books.store(worker).beat(worker)
    ending, idle = await books.lead(), await books.lead()
    for lead in (ending, idle):
        await books.award(lead, contract)
    await books.die(1)
    await books.pass_time(2)
    await books.store(2).beat(2)
    last, other = await asyncpg.connect(database), await asyncpg.connect(database)
    try:
        closing, owing = last.transaction(), other.transaction()
        await closing.start()
        await owing.start()
        await last.execute(
            "UPDATE attempt SET state = 'rejected', settled_at = now() WHERE lead_id = $1", ending
        )
        await last.execute(
            "UPDATE lead SET state = 'unsold', closed_at = clock_timestamp(), answer = '{}' WHERE id = $1",
            ending,
        )
        await other.execute("INSERT INTO callback (lead_id, seller) VALUES ($1, 1)", idle)
        adopting = asyncio.ensure_future(books.store(2).adopt(2))  # it waits for the other's row
        while not await books.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not adopting.done()
        await closing.commit()
        await owing.rollback()
        assert (idle,) == (await adopting).leads
        await books.store(2).adopt(2)
        assert [(True, None), (True, None)] == [await books.owed(one) for one in (ending, idle)]
    finally:
        await last.close()
        await other.close()
        await books.close()


@pytest.mark.parametrize(
    ("sql", "more"), [(OWE, ()), (OWE_REST.replace("$7", "$2"), ([1, 1],))], ids=["owe", "owe_rest"]
)
async def test_debts_are_written_in_the_order_of_their_leads(
    database: str, sql: str, more: tuple[list[int], ...]
) -> None:
    """Who waits for one lead's row has not written a later one's: nobody waits for him in turn."""
    books = PostgresBooks(database)
    await books.open()
    await books.want_callbacks()
    low, high = sorted([await books.lead(), await books.lead()])
    insert = "INSERT INTO callback (lead_id, seller) VALUES ($1, 1)"
    first, second, third = [await asyncpg.connect(database) for _ in range(3)]
    try:
        holding = first.transaction()
        await holding.start()
        await first.execute(insert, low)
        owing = asyncio.ensure_future(second.execute(sql, [high, low], *more))
        while not await books.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
            assert not owing.done()
        await third.execute("SET lock_timeout = '1s'")
        await third.execute(insert, high)  # which does not wait
        await holding.rollback()
        await owing
        assert [(True, None)] == [await books.owed(high)]
    finally:
        for one in (first, second, third):
            await one.close()
        await books.close()


# --- whose turn it is: Postgres ------------------------------------------------------------------------


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        yield found


async def with_callback(offices: Offices, url: str, **more: Any) -> None:
    body = {"callback_url": url, "callback_secret": SECRET, **more}
    changed = await offices.admin("PATCH", "/v1/sellers/roofquotes", body)
    assert 200 == changed.status, changed.body


async def ended(offices: Offices, state: str = "unsold", **more: Any) -> UUID:
    """A lead that was answered 202 and has come to its end."""
    lead, text = await offices.lead(**more)
    await offices.store.owe_callback(lead)
    await end(offices, lead, text, state)
    return lead


async def end(
    offices: Offices, lead: UUID, text: str, state: str, answer: dict[str, Any] | None = None
) -> None:
    if answer is None:
        answer = {"lead_id": text, "ping_id": "ping_7", "outcome": state, "reason": "deadline"}
    await offices.store.close_lead(
        Closing(
            lead_id=lead, owner=1, state=LeadState(state), reason="deadline", receipt=b"{}",
            answer=orjson.dumps(answer),
        )
    )  # fmt: skip


def rows_of(offices: Offices) -> Callbacks:
    return Callbacks(offices.store.db)


async def take(
    offices: Offices, *, busy: Mapping[int, int] = {}, per_seller: int = 4, most: int = 10
) -> list[UUID]:
    found = await rows_of(offices).take(busy, per_seller, most, 15)
    return [one.lead_id for one in found]


async def test_a_seller_without_an_address_is_owed_nothing(offices: Offices) -> None:
    """He asks for the end himself; who gets an address later is called for later leads."""
    lead = await ended(offices)
    await with_callback(offices, "https://s.example/hook")
    assert await rows_of(offices).one(lead) is None
    assert [] == await take(offices)


async def test_what_has_ended_is_taken_once(offices: Offices) -> None:
    """Until its lease is over; one that is pending, and one that was delivered, are not."""
    await with_callback(offices, "https://s.example/hook")
    pending, _ = await offices.lead()
    await offices.store.owe_callback(pending)
    lead = await ended(offices)
    first, second = await asyncio.gather(take(offices), take(offices))
    assert [lead] == first + second
    assert [] == await take(offices)
    await offices.store.db.execute("UPDATE callback SET due_at = now() WHERE lead_id = $1", lead)
    (again,) = await rows_of(offices).take({}, 4, 10, 15)
    assert (2, 2) == (again.fence, again.tries)
    done = Booking(
        lead_id=lead, fence=1, state="delivered", told=None, next_s=5, anew=False, status=200, reason=None
    )  # fmt: skip
    assert not await rows_of(offices).book(done)  # whose lease was over
    assert await rows_of(offices).book(
        Booking(
            lead_id=lead, fence=2, state="delivered", told=None, next_s=0, anew=False, status=200, reason=None
        )
    )  # fmt: skip
    await offices.store.db.execute("UPDATE callback SET due_at = now()")
    assert [] == await take(offices)


async def test_nobody_has_more_than_his_places(offices: Offices) -> None:
    """Those due longest first, of each seller so many, those under way included."""
    await with_callback(offices, "https://s.example/hook")
    mine = [await ended(offices) for _ in range(5)]
    other = offices.store.db.execute
    await other("UPDATE callback SET seller = 999 WHERE lead_id = $1", mine[4])
    seller = (await offices.catalogue()).sellers_by_slug["roofquotes"].id
    taken = await take(offices, per_seller=2)
    assert sorted([mine[0], mine[1], mine[4]]) == sorted(taken)
    assert [] == await take(offices, per_seller=2, busy={seller: 2})
    assert [mine[2]] == await take(offices, per_seller=2, busy={seller: 1})
    assert [mine[3]] == await take(offices, most=1)


async def test_who_has_fewest_under_way_goes_first(offices: Offices) -> None:
    """However long others' have been due: many who hang do not keep out who answers."""
    await with_callback(offices, "https://s.example/hook")
    leads = [await ended(offices) for _ in range(5)]
    for lead, seller in zip(leads, (901, 901, 902, 902, 903), strict=True):
        await offices.store.db.execute(
            "UPDATE callback SET seller = $2 WHERE lead_id = $1", lead, seller
        )
    assert {leads[0], leads[2], leads[4]} == set(await take(offices, most=3))
    await offices.store.db.execute("UPDATE callback SET due_at = created_at")
    assert [leads[4]] == await take(offices, busy={901: 1, 902: 1}, most=1)


async def test_what_somebody_has_due_is_not_read_to_find_others(offices: Offices) -> None:
    """Of two thousand that he did not answer, a look reads as many as he has places."""
    await with_callback(offices, "https://s.example/hook")
    lead = await ended(offices)
    db = offices.store.db
    columns = "ping_id, seller, vertical, test, state, min_price, owner, answer_by, request, person"
    await db.execute(
        f"""INSERT INTO lead (id, {columns}) SELECT gen_random_uuid(), gen_random_uuid(), {columns.removeprefix("ping_id, ")}
        FROM lead, generate_series(1, 2000) WHERE id = $1""",
        lead,
    )
    await db.execute(
        "INSERT INTO callback (lead_id, seller) SELECT id, 901 FROM lead WHERE id <> $1", lead
    )
    await db.execute("ANALYZE callback")
    scans = "SELECT pg_stat_get_xact_numscans('lead_pkey'::regclass)"
    async with db.connection() as connection, connection.transaction():
        await connection.fetch(_TAKE, [], [], 4, 64, 15.0)
        assert await connection.fetchval(scans) < 50


async def test_a_sold_one_waits_for_its_other_posts(offices: Offices) -> None:
    """Told that it is sold with one post open, it is due again when that has an outcome."""
    await with_callback(offices, "https://s.example/hook")
    lead, text = await offices.lead()
    bought = await offices.attempt(lead, "acme-1", slot=1, shares=2)
    open_ = await offices.attempt(lead, "zenith-1", slot=2, shares=2)
    await offices.settle(bought, "accepted")
    await offices.store.owe_callback(lead)
    await end(offices, lead, text, "sold")
    (one,) = await rows_of(offices).take({}, 4, 10, 15)
    more = Booking(
        lead_id=lead, fence=one.fence, state="open", told=1, next_s=0, anew=True, status=200, reason=None
    )  # fmt: skip
    assert await rows_of(offices).book(more)
    assert [] == await take(offices)
    await offices.settle(open_, "rejected")
    (last,) = await rows_of(offices).take({}, 4, 10, 15)
    assert (lead, 1) == (last.lead_id, last.tries)


async def test_a_scrape_tells_what_waits_from_what_is_due(offices: Offices) -> None:
    """Who was told that it is sold waits for the other post's outcome: nothing is late."""
    await with_callback(offices, "https://s.example/hook")
    pending, _ = await offices.lead()
    await offices.store.owe_callback(pending)
    await ended(offices)
    lead, text = await offices.lead()
    bought = await offices.attempt(lead, "acme-1", slot=1, shares=2)
    open_ = await offices.attempt(lead, "zenith-1", slot=2, shares=2)
    await offices.settle(bought, "accepted")
    await offices.store.owe_callback(lead)
    await end(offices, lead, text, "sold")

    async def counted() -> Mapping[str, int]:
        async with offices.store.db.connection() as connection:
            return (await read_books(connection)).callbacks

    assert {"waiting": 1, "due": 2} == await counted()
    await offices.store.db.execute("UPDATE callback SET told = 1 WHERE lead_id = $1", lead)
    assert {"waiting": 2, "due": 1} == await counted()
    await offices.settle(open_, "rejected")
    assert {"waiting": 1, "due": 2} == await counted()


async def test_old_ones_are_forgotten(offices: Offices) -> None:
    """What ended; never what is owed."""
    await with_callback(offices, "https://s.example/hook")
    old, young, owed = [await ended(offices) for _ in range(3)]
    sql = (
        "UPDATE callback SET state = $2, last_at = now() - $3 * interval '1 day' WHERE lead_id = $1"
    )
    for lead, state, days in ((old, "given_up", 31), (young, "delivered", 29), (owed, "open", 99)):
        await offices.store.db.execute(sql, lead, state, days)
    async with offices.store.db.connection() as connection:
        await Retention(90, 30).forget_callbacks(connection)
    left = await offices.store.db.fetch("SELECT lead_id FROM callback")
    assert {young, owed} == {row[0] for row in left}


# --- one office, a real receiver -----------------------------------------------------------------------


@asynccontextmanager
async def calling(
    offices: Offices, *, timeout_s: float = 5, hours: int = 24
) -> AsyncIterator[CallingBack]:
    wire = Wire(guard=GUARD, limits=WireLimits())
    faults: list[str] = []
    settings = CallbackSettings(timeout_s=timeout_s, hours=hours)
    office = CallingBack(
        offices.store, offices.vault, GUARD, wire, settings, lambda where, _: faults.append(where)
    )
    try:
        yield office
    finally:
        await wire.close()
        assert [] == faults


async def call(office: CallingBack) -> int:
    """Whatever is due, to its end."""
    taken = await office.look()
    await office.settle()
    return taken


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with a_receiver() as found:
        yield found


async def test_what_is_sent(offices: Offices, receiver: Receiver) -> None:
    await with_callback(offices, receiver.url)
    lead = await ended(offices, external_id="mine-1")
    async with calling(offices) as office:
        assert 1 == await call(office)
        assert 0 == await call(office)
        assert {"delivered": 1, "failed": 0, "given_up": 0} == office.called
    (told,) = receiver.heard
    assert told.is_signed(SECRET)
    assert told.json == {
        "type": "lead", "test": False, "lead_id": f"lead_{lead.hex}", "ping_id": "ping_7", "outcome": "unsold",
        "reason": "deadline", "vertical": "roofing", "external_id": "mine-1", "created_at": told.json["created_at"],
    }  # fmt: skip
    assert b"+1512" not in told.raw


async def test_what_stands_in_an_answer_does_not_matter(offices: Offices) -> None:
    """A 200 with a page of 100 KiB, and one whose body never ends: both have heard it."""
    for text, hangs in (("x" * 100_000, False), ("x", True)):
        async with a_receiver(text=text, hangs_on=hangs) as receiver:
            await with_callback(offices, receiver.url)
            lead = await ended(offices)
            async with calling(offices, timeout_s=0.5) as office:
                await call(office)
            row = await rows_of(offices).one(lead)
            assert row is not None
            assert ("delivered", 200, None) == (row.stands, row.last_status, row.last_reason)


async def test_the_address_and_secret_in_force_are_used(
    offices: Offices, receiver: Receiver
) -> None:
    """Both changed while it was tried; a slug of a buyer is never in what a seller is sent."""
    other = "whsec_" + "A" * 43 + "="
    async with a_receiver(statuses=[500]) as first:
        await with_callback(offices, first.url)
        lead, text = await offices.lead()
        await offices.settle(await offices.attempt(lead), "accepted")
        await offices.store.owe_callback(lead)
        await end(offices, lead, text, "sold")
        async with calling(offices) as office:
            await call(office)
            await with_callback(offices, receiver.url, callback_secret=other)
            await offices.store.db.execute("UPDATE callback SET due_at = now()")
            await call(office)
    assert [1, 1] == [len(first.heard), len(receiver.heard)]
    assert (True, False) == (
        receiver.heard[0].is_signed(other),
        receiver.heard[0].is_signed(SECRET),
    )
    assert b"acme" not in receiver.heard[0].raw


async def test_what_cannot_be_sent_any_more(offices: Offices, receiver: Receiver) -> None:
    """No address: given up, and told why. A seller who is retired still hears of what he had sent."""
    await with_callback(offices, receiver.url)
    lead = await ended(offices)
    async with calling(offices) as office:
        await offices.admin("PATCH", "/v1/sellers/roofquotes", {"callback_url": None})
        await call(office)
        row = await rows_of(offices).one(lead)
        assert row is not None
        assert ("given_up", "no_callback_url") == (row.stands, row.last_reason)
        await with_callback(offices, receiver.url, active=False)
        assert 204 == (await offices.admin("DELETE", "/v1/sellers/roofquotes")).status
        assert await rows_of(offices).again(lead)
        await call(office)
    row = await rows_of(offices).one(lead)
    assert row is not None
    assert ("delivered", 200, None, 1) == (row.stands, row.last_status, row.last_reason, row.tries)


async def test_it_is_given_up_a_day_after_the_end(offices: Offices) -> None:
    """The last try is just within; then nobody tries any more."""
    async with a_receiver(statuses=[503]) as receiver:
        await with_callback(offices, receiver.url)
        young, old = await ended(offices), await ended(offices)
        sql = "UPDATE lead SET closed_at = now() - $2 * interval '1 s' WHERE id = $1"
        await offices.store.db.execute(sql, young, DAY - 20)
        await offices.store.db.execute(sql, old, DAY - 2)
        async with calling(offices) as office:
            await call(office)
            assert {"delivered": 0, "failed": 1, "given_up": 1} == office.called
        found = [await rows_of(offices).one(one) for one in (young, old)]
        assert ["retrying", "given_up"] == [one.stands for one in found if one]
        counted = await rows_of(offices).counts(
            (await offices.catalogue()).sellers_by_slug["roofquotes"].id
        )
        assert {"open": 1, "given_up": 1} == counted


async def test_who_was_not_reached_while_posts_were_open_is_told_the_last_word(
    offices: Offices,
) -> None:
    """Days later a person says what became of the other post: that is tried for a day of its own."""
    async with a_receiver(statuses=[503, 200]) as receiver:
        await with_callback(offices, receiver.url)
        lead, text = await offices.lead()
        bought = await offices.attempt(lead, "acme-1", slot=1, shares=2)
        open_ = await offices.attempt(lead, "zenith-1", slot=2, shares=2)
        await offices.settle(bought, "accepted")
        await offices.store.owe_callback(lead)
        answer = {"lead_id": text, "outcome": "sold", "currency": "USD", "pending": 1}
        await end(offices, lead, text, "sold", answer)
        await offices.store.db.execute(
            "UPDATE lead SET closed_at = closed_at - interval '2 days' WHERE id = $1", lead
        )
        await offices.store.db.execute(
            "UPDATE attempt SET settled_at = settled_at - interval '2 days' WHERE lead_id = $1",
            lead,
        )
        async with calling(offices) as office:
            assert 1 == await call(office)
            assert 0 == await call(office)
            await offices.settle(open_, "accepted")
            assert 1 == await call(office)
        first, last = receiver.heard
        assert (f"{text}.pending_1", f"{text}.final") == (first.id, last.id)
        assert 2 == len(last.json["sales"])
        row = await rows_of(offices).one(lead)
        assert row is not None
        assert "delivered" == row.stands


async def test_an_address_that_is_refused_is_never_dialled(offices: Offices) -> None:
    """The operator has closed the network since: kept, for he may open it again."""
    async with a_receiver() as receiver:
        await with_callback(offices, receiver.url)
        lead = await ended(offices)
        await offices.store.db.execute(
            """UPDATE document SET body = jsonb_set(body, '{callback_url}', '"http://169.254.169.254/"')
            WHERE slug = 'roofquotes'"""
        )
        async with calling(offices) as office:
            await call(office)
        row = await rows_of(offices).one(lead)
        assert row is not None
        assert ("retrying", "address_blocked") == (row.stands, row.last_reason)
        assert [] == receiver.heard


async def test_a_bug_of_ours_is_told_and_put_off(offices: Offices, receiver: Receiver) -> None:
    """It holds nobody else up, and does not come up at every look."""
    await with_callback(offices, receiver.url)
    broken, sound = await ended(offices), await ended(offices)
    await offices.store.db.execute("UPDATE lead SET answer = '{' WHERE id = $1", broken)
    faults: list[str] = []
    wire = Wire(guard=GUARD, limits=WireLimits())
    office = CallingBack(
        offices.store, offices.vault, GUARD, wire, CallbackSettings(), lambda where, _: faults.append(where)
    )  # fmt: skip
    assert 2 == await call(office)
    assert 0 == await call(office)
    await wire.close()
    assert ["callback"] == faults
    found = [await rows_of(offices).one(one) for one in (broken, sound)]
    assert ["retrying", "delivered"] == [one.stands for one in found if one]


async def test_who_hangs_is_waited_for_no_longer_than_told(offices: Offices) -> None:
    """A third seller's go out while his four places are taken."""
    async with a_receiver(hangs=True) as hanging:
        await with_callback(offices, hanging.url)
        leads = [await ended(offices) for _ in range(6)]
        now_s = asyncio.get_running_loop().time
        began_s = now_s()
        async with calling(offices, timeout_s=0.3) as office:
            assert 4 == await office.look()
            assert 0 == await office.look()
            await office.settle()
            assert 2 == await office.look()
            await office.settle()
        assert 0.6 < now_s() - began_s < 5  # two rounds of it
        found = [await rows_of(offices).one(one) for one in leads]
        assert {("retrying", "timed_out", None)} == {
            (one.stands, one.last_reason, one.last_status) for one in found if one
        }


# --- the document ------------------------------------------------------------------------------------


async def test_a_secret_is_made_shown_once_and_masked(offices: Offices) -> None:
    """As a contract's: PUT and PATCH with the mask change nothing; null drops the callback."""
    admin, path = offices.admin, "/v1/sellers/roofquotes"
    plain = await admin("GET", path)
    assert (None, None) == (plain.body["callback_url"], plain.body["callback_secret"])
    made = await admin("PATCH", path, {"callback_url": "https://s.example/hook"})
    assert made.body["callback_secret"].startswith("whsec_")
    secret = made.body["callback_secret"]
    seen = await admin("GET", path)
    assert "whsec_********" == seen.body["callback_secret"]
    same = await admin("PUT", path, seen.body)
    assert (seen.body, seen.etag) == (same.body, same.etag)
    assert seen.etag == (await admin("PATCH", path, {"callback_secret": "whsec_********"})).etag
    stored = await offices.store.db.fetchrow(
        "SELECT body::text, secret FROM document WHERE slug = 'roofquotes'"
    )
    assert stored is not None
    assert secret == offices.vault.open_text("seller:roofquotes", stored["secret"])
    assert "whsec" not in stored["body"]
    moved = await admin("PATCH", path, {"callback_url": "https://s.example/other"})
    assert "whsec_********" == moved.body["callback_secret"]
    new = await admin("PATCH", path, {"callback_secret": SECRET})
    assert ("whsec_********", False) == (new.body["callback_secret"], new.etag == moved.etag)
    gone = await admin("PATCH", path, {"callback_url": None})
    assert (None, None) == (gone.body["callback_url"], gone.body["callback_secret"])
    anew = await admin("PATCH", path, {"callback_url": "https://s.example/hook"})
    assert anew.body["callback_secret"] not in {secret, SECRET, "whsec_********"}


@pytest.mark.parametrize(
    ("change", "path", "code"),
    [
        ({"callback_url": "https://u:p@s.example/"}, "callback_url", "userinfo"),
        ({"callback_url": "http://169.254.169.254/"}, "callback_url", "not_public"),
        ({"callback_url": "ftp"}, "callback_url", None),
        ({"callback_url": 7}, "callback_url", "invalid_type"),
        ({"callback_url": "https://s.example/", "callback_secret": "sesame"}, "callback_secret", "bad_format"),
        ({"callback_secret": SECRET}, "callback_secret", "not_allowed"),
    ],
)  # fmt: skip
async def test_what_is_no_callback(
    offices: Offices, change: dict[str, Any], path: str, code: str | None
) -> None:
    """The addresses are judged as those of contracts' endpoints are; nothing is said of a secret."""
    answer = await offices.admin("PATCH", "/v1/sellers/roofquotes", change)
    assert 422 == answer.status
    ((where, why),) = answer.errors
    assert (path, True) == (where, code in {None, why})
    assert "sesame" not in str(answer.body)


# --- the operators' API --------------------------------------------------------------------------------


async def test_an_operator_looks_and_sends_again(offices: Offices, receiver: Receiver) -> None:
    await with_callback(offices, receiver.url)
    lead, text = await offices.lead()
    path = f"/v1/leads/{text}/callback"
    assert 404 == (await offices.admin("GET", path)).status
    await offices.store.owe_callback(lead)
    assert "waiting" == (await offices.admin("GET", path)).body["state"]
    await end(offices, lead, text, "unsold")
    assert "due" == (await offices.admin("GET", path)).body["state"]
    async with calling(offices) as office:
        await call(office)
        done = (await offices.admin("GET", path)).body
        assert ("delivered", 200, None, "roofquotes") == (
            done["state"], done["last_status"], done["due_at"], done["seller"]
        )  # fmt: skip
        again = await offices.admin("POST", path)
        assert (202, "due") == (again.status, again.body["state"])
        await call(office)
    assert 2 == len(receiver.heard)
    assert receiver.heard[0].id == receiver.heard[1].id
    noted = await offices.store.db.fetch("SELECT what, subject FROM console_event")
    assert [("callback_again", text)] == [tuple(row) for row in noted]
    assert 404 == (await offices.admin("POST", f"/v1/leads/{text[:-1]}/callback")).status
    assert 401 == (await offices.admin.with_key(None)("POST", path)).status


def test_the_moment_of_the_end() -> None:
    early, late = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
    assert [early, late, late] == [
        ended_at(early, []),
        ended_at(early, [late]),
        ended_at(late, [early]),
    ]
