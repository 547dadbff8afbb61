"""Leads, keys and endings many at once: as if each had come alone, whatever one of them is."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from uuid import UUID

import asyncpg
import pytest

from exchange.errors import ClaimLost, StoreUnavailable
from exchange.store.database import Link
from exchange.store.postgres import PostgresStore
from exchange.store.rows import Claim, ClaimKey, Closing, LeadState, NewLead, PingRow, Verdict
from tests.ledgers import SELLER, Books, PostgresBooks, cap


def key(number: int, run: int | None = None) -> ClaimKey:
    return ClaimKey(SELLER, "/v1/leads", f"k-{number}", None if run is None else UUID(int=run))


def closing(lead_id: UUID, worker: int = 1, state: str = "sold") -> Closing:
    return Closing(
        lead_id=lead_id, owner=worker, state=LeadState(state), reason=None, receipt=b"{}",
        answer=f"{state} {lead_id}".encode(),
    )  # fmt: skip


async def together(*calls: object) -> list[object]:
    """Submitted in one turn of the loop: one batch."""
    return list(await asyncio.gather(*calls, return_exceptions=True))  # type: ignore[call-overload]


async def commits(books: PostgresBooks, leads: Iterable[NewLead]) -> int:
    """How many transactions wrote these leads."""
    sql = "SELECT count(DISTINCT xmin::text) FROM lead WHERE id = ANY ($1)"
    return int(await books.sql.fetchval(sql, [lead.id for lead in leads]))


@pytest.fixture
def pg(postgres_books: Books) -> PostgresBooks:
    assert isinstance(postgres_books, PostgresBooks)
    return postgres_books


# --- the same on both books -----------------------------------------------------------------------


async def test_of_many_leads_for_one_ping_the_first_has_it(books: Books) -> None:
    store, ping = books.store(), books.uuid()
    leads = [books.new_lead(ping=ping) for _ in range(5)]
    for number in range(5):
        assert (await store.claim(key(number, number), b"body", 1)).won
    found = await together(*(store.open_lead(one, key(n, n)) for n, one in enumerate(leads)))
    assert found == [None] + 4 * [leads[0].id]
    for number in range(5):
        claim = await store.claim(key(number, 9), b"body", 1)
        assert (claim.won, claim.lead_id) == (False, leads[0].id)


async def test_a_lead_whose_key_is_lost_is_not_stored_and_the_others_are(books: Books) -> None:
    store = books.store()
    leads = [books.new_lead() for _ in range(4)]
    for number in (0, 1):
        assert (await store.claim(key(number, 1), b"body", 1)).won
    await store.finish_claim(key(1, 1), 410, b"gone")
    keys = [key(0, 1), key(1, 1), key(2, 1), None]  # held, answered, never claimed, none used
    found = await together(*(store.open_lead(*pair) for pair in zip(leads, keys, strict=True)))
    assert [type(one) for one in found] == [type(None), ClaimLost, ClaimLost, type(None)]
    stored = [await store.lead(lead.id) is not None for lead in leads]
    assert stored == [True, False, False, True]


async def test_of_many_claims_of_a_key_one_wins_and_a_stranger_ends_none(books: Books) -> None:
    store = books.store()
    runs = (0, 0, 1, 1, 0)
    keys = [key(which, run) for run, which in enumerate(runs)]
    found = await together(*(store.claim(one, b"b%d" % run, 1) for run, one in enumerate(keys)))
    won, same = Claim(won=True), Claim(won=False, same_body=False)
    assert found == [won, same, won, same, same]
    await together(*(store.finish_claim(keys[run], 200, b"%d" % run) for run in (1, 2, 3)))
    first, second = await together(
        store.claim(key(0, 9), b"b0", 1), store.claim(key(1, 9), b"b2", 1)
    )
    assert first == Claim(won=False, same_body=True)
    assert second == Claim(won=False, same_body=True, status=200, answer=b"2")
    await together(*(store.free_claim(one) for one in keys))  # only the first holds one still
    found = await together(store.claim(key(0, 9), b"b0", 1), store.claim(key(1, 9), b"b2", 1))
    assert found == [won, second]


async def test_endings_of_many_leads_each_have_their_answer(books: Books) -> None:
    contract = await books.one()
    store = books.store()
    sold, unsold, held = (
        (await books.sale(contract)).lead_id,
        await books.lead(),
        await books.lead(),
    )
    theirs = await books.lead(2)
    await books.award(held, contract)
    answers = await together(
        store.close_lead(closing(sold)),
        store.close_lead(closing(books.uuid())),
        store.close_lead(closing(theirs, state="unsold")),
        store.close_lead(closing(unsold, state="unsold")),
        store.close_lead(closing(held, state="unsold")),
        store.close_lead(closing(sold, state="unsold")),
    )
    first, another = f"sold {sold}".encode(), f"unsold {unsold}".encode()
    assert answers == [first, None, None, another, None, first]


# --- batches of Postgres --------------------------------------------------------------------------


async def test_what_waits_together_is_one_commit(pg: PostgresBooks) -> None:
    leads = [pg.new_lead() for _ in range(20)]
    assert await together(*(pg.store().open_lead(lead, None) for lead in leads)) == 20 * [None]
    assert await commits(pg, leads) == 1


async def test_without_batches_each_lead_is_a_commit(pg: PostgresBooks) -> None:
    store = PostgresStore(pg.dsn, name="alone", batch_max=1)
    try:
        ping = pg.uuid()
        leads = [*(pg.new_lead() for _ in range(20)), pg.new_lead(ping=ping)]
        found = await together(*(store.open_lead(lead, None) for lead in leads))
        assert found == 21 * [None]
        assert await commits(pg, leads) == 21
        rivals = [pg.new_lead(ping=ping) for _ in range(9)]
        found = await together(*(store.open_lead(lead, None) for lead in rivals))
        assert found == 9 * [leads[-1].id]
    finally:
        await store.close()


@pytest.mark.parametrize("bad", [{"external_id": "nul \x00"}, {"owner": 2**40}, {"vertical": None}])
async def test_a_lead_that_cannot_be_stored_spoils_no_other(
    pg: PostgresBooks, bad: dict[str, object]
) -> None:
    leads = [pg.new_lead() for _ in range(5)]
    leads[2] = replace(leads[2], **bad)  # type: ignore[arg-type]
    found = await together(*(pg.store().open_lead(lead, None) for lead in leads))
    assert found[:2] + found[3:] == 4 * [None]
    assert isinstance(found[2], asyncpg.PostgresError)
    assert await commits(pg, leads) == 4


async def test_an_award_that_cannot_be_booked_spoils_no_other(pg: PostgresBooks) -> None:
    contract = await pg.one(cap("sales", 3))
    orders = [pg.order(await pg.lead(), contract) for _ in range(4)]
    orders[1] = replace(orders[1], price_micros=0, payout_micros=0)
    found = await together(*(pg.store().award(order) for order in orders))
    assert isinstance(found[1], asyncpg.CheckViolationError)
    assert found[:1] + found[2:] == 3 * [Verdict.GRANTED]


async def test_pings_and_looks_in_batches(pg: PostgresBooks) -> None:
    store = pg.store()
    rows = [
        PingRow(
            id=pg.uuid(), seller=SELLER, expires_at=store.now(), price_micros=number or None,
            external_id=None, test=False, receipt=b"%d" % number,
        )
        for number in range(6)
    ]  # fmt: skip
    bad = replace(rows[3], external_id="\x00")
    found = await together(*(store.put_ping(row) for row in [*rows[:3], bad, *rows[4:], rows[0]]))
    assert isinstance(found[3], asyncpg.PostgresError)
    assert found[:3] + found[4:] == 6 * [None]
    ids = [row.id for row in rows]
    looked = await together(*(store.ping(id_) for id_ in [*ids, ids[0]]))
    assert [one and one.row for one in looked] == [*rows[:3], None, *rows[4:], rows[0]]  # type: ignore[attr-defined]


async def test_two_workers_who_open_the_same_leads_never_lock_each_other_out(
    pg: PostgresBooks,
) -> None:
    """Both have every ping and every key in their batch, in another order."""
    for turn in range(15):
        pings = [pg.uuid() for _ in range(10)]
        keys = [key(turn * 100 + number, 1) for number in range(10)]
        for one in keys:
            assert (await pg.store().claim(one, b"", 1)).won
        calls = [
            pg.store(worker).open_lead(pg.new_lead(worker, ping=pings[number]), keys[number])
            for worker in (1, 2)
            for number in (range(10) if worker == 1 else range(9, -1, -1))
        ]
        found = await together(*calls)
        assert sum(one is None for one in found) == 10
        assert all(one is None or isinstance(one, (UUID, ClaimLost)) for one in found), found


# --- who hangs up ---------------------------------------------------------------------------------


async def _hung_up(doing: "asyncio.Task[object]") -> None:
    doing.cancel()
    with suppress(asyncio.CancelledError):
        await doing


async def _is_waited_for(pg: PostgresBooks) -> None:
    """Until somebody waits for a lock that our own connection holds, as others see it."""
    sql = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE $1 = ANY (pg_blocking_pids(pid)))"
    mine = pg.sql.get_server_pid()
    while not await pg.store().db.fetchval(sql, mine):  # noqa: ASYNC110 - the event is in Postgres
        await asyncio.sleep(0)


async def _time_enough(pg: PostgresBooks) -> None:
    """For a call that does not wait to come to its end: as long as a hundred take."""
    for _ in range(100):
        await pg.store().db.fetchval("SELECT 1")


async def test_a_lead_taken_back_while_it_is_being_stored_is_gone(pg: PostgresBooks) -> None:
    store, lead, rival = pg.store(), pg.new_lead(), pg.uuid()
    holding = pg.sql.transaction()
    await holding.start()
    await pg.sql.execute(
        """INSERT INTO lead (id, ping_id, seller, vertical, test, state, min_price, owner, answer_by, request, person)
        VALUES ($1, $2, 1, 'auto', false, 'open', 0, 1, now(), '', '')""",
        rival, lead.ping_id,
    )  # fmt: skip
    opening = asyncio.create_task(store.open_lead(lead, None))
    await _is_waited_for(pg)
    await _hung_up(opening)  # type: ignore[arg-type]
    taking_back = asyncio.create_task(store.abandon_lead(lead.id, 1))
    await _time_enough(pg)
    await holding.rollback()
    assert await taking_back is True
    row = await store.lead(lead.id)
    assert row is not None
    assert row.state is LeadState.GONE
    assert await store.open_lead(pg.new_lead(ping=lead.ping_id), None) is None


async def test_a_key_freed_while_it_is_being_claimed_is_free(pg: PostgresBooks) -> None:
    store, mine = pg.store(), key(1, 1)
    holding = pg.sql.transaction()
    await holding.start()
    await pg.sql.execute(
        "INSERT INTO claim (seller, path, key, body, owner) VALUES ($1, $2, $3, '', 1)",
        mine.seller, mine.path, mine.key,
    )  # fmt: skip
    claiming = asyncio.create_task(store.claim(mine, b"body", 1))
    await _is_waited_for(pg)
    await _hung_up(claiming)  # type: ignore[arg-type]
    freeing = asyncio.create_task(store.free_claim(mine))
    await _time_enough(pg)
    await holding.rollback()
    await freeing
    assert (await store.claim(key(1, 2), b"body", 1)).won


async def test_what_waits_says_for_how_long(pg: PostgresBooks) -> None:
    """Quotes that wait to be written, and nothing else: what waits for a lead's row does not count."""
    store, lead = pg.store(), (await pg.sale(await pg.one())).lead_id
    quotes = [replace(pg.ping(), id=UUID(int=number)) for number in (1, 2)]
    async with pg.sql.transaction():
        await pg.sql.execute("SELECT FROM lead WHERE id = $1 FOR UPDATE", lead)
        ending = [asyncio.create_task(store.close_lead(closing(lead))) for _ in range(2)]
        await _is_waited_for(pg)
        assert store.waits_s() == 0
    await asyncio.gather(*ending)
    async with pg.sql.transaction():
        await pg.sql.execute("LOCK TABLE ping IN ACCESS EXCLUSIVE MODE")
        putting = [asyncio.create_task(store.put_ping(quotes[0]))]
        await _is_waited_for(pg)
        putting.append(asyncio.create_task(store.put_ping(quotes[1])))
        await asyncio.sleep(0)
        assert store.waits_s() > 0
    await asyncio.gather(*putting)
    assert store.waits_s() == 0


async def test_what_took_too_long_is_not_done_after_all(pg: PostgresBooks) -> None:
    """Its caller has been told that nothing is stored."""
    link = Link(pg.dsn, durable=True, timeout_s=0.2)
    await link.fetch("SET statement_timeout = 0")  # the server does not stop it by itself
    async with pg.sql.transaction():
        await pg.sql.execute("LOCK TABLE api_key IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(StoreUnavailable):
            await link.fetch("INSERT INTO api_key (id, digest, role) VALUES ('x', 'x', 'admin')")
    await _time_enough(pg)

    assert 0 == await pg.sql.fetchval("SELECT count(*) FROM api_key WHERE id = 'x'")
    await link.close()


async def test_who_loses_a_race_for_a_key_of_yesterday_is_not_answered_from_it(
    pg: PostgresBooks,
) -> None:
    """It is being taken over: what stood there until then is nobody's answer."""
    old, mine, others = key(1, 1), key(1, 2), key(1, 3)
    store, other = pg.store(1), pg.store(2)
    assert (await store.claim(old, b"body", 1)).won
    await store.finish_claim(old, 200, b"yesterday's")
    await pg.sql.execute("UPDATE claim SET created_at = now() - interval '25 hours'")
    holding = pg.sql.transaction()
    await holding.start()
    await pg.sql.execute("SELECT FROM claim FOR UPDATE")
    first = asyncio.create_task(store.claim(mine, b"body", 1))
    await _is_waited_for(pg)
    second = asyncio.create_task(other.claim(others, b"body", 2))
    await _time_enough(pg)
    await holding.rollback()

    found = await asyncio.gather(first, second)

    assert sorted(one.won for one in found) == [False, True]
    assert [one.answer for one in found] == [None, None]
