"""Shared leads, paced caps, a reserve of credit and one sale per person in the books, on both stores."""

import asyncio
from collections import Counter

import asyncpg
import pytest

from exchange.reasons import SkipReason
from exchange.store.rows import Settled, Verdict
from tests.ledgers import PRICE, Books, Party, PostgresBooks, cap
from tests.test_ledger import ANN, BOB

GRANTED, SOLD = Verdict.GRANTED, Verdict.ALREADY_SOLD


async def three(books: Books) -> list[Party]:
    return [await books.one() for _ in range(3)]


async def test_a_lead_is_shared_by_as_many_as_were_promised(books: Books) -> None:
    """Each place once; a third place among two does not exist."""
    ann, bob, cyd = await three(books)
    lead_id = await books.lead()

    assert await books.award(lead_id, ann, slot=1, shares=2) is GRANTED
    assert await books.award(lead_id, bob, slot=1, shares=2) is SOLD
    assert await books.award(lead_id, bob, slot=2, shares=2) is GRANTED
    assert await books.award(lead_id, cyd, slot=1, shares=2) is SOLD
    rows = await books.store().attempts(lead_id)
    assert {(row.slot, row.shares) for row in rows} == {(1, 2), (2, 2)}


async def test_a_shared_lead_is_never_sold_exclusively_as_well(books: Books) -> None:
    """Nor the other way round, nor to another number of buyers than was promised."""
    ann, bob, _ = await three(books)
    shared, exclusive = await books.lead(), await books.lead()
    assert await books.award(shared, ann, slot=1, shares=3) is GRANTED
    assert await books.award(exclusive, ann) is GRANTED

    assert await books.award(shared, bob) is SOLD
    assert await books.award(shared, bob, slot=2, shares=2) is SOLD
    assert await books.award(exclusive, bob, slot=1, shares=2) is SOLD
    assert await books.award(exclusive, bob, slot=1, shares=1) is SOLD
    assert await books.award(shared, bob, slot=2, shares=3) is GRANTED


async def test_one_buyer_has_one_share(books: Books) -> None:
    """Whatever contract it comes under."""
    buyer = await books.buyer("acme")
    first, second = await books.contract("a1", buyer), await books.contract("a2", buyer)
    lead_id = await books.lead()

    assert await books.award(lead_id, first, slot=1, shares=2) is GRANTED
    assert await books.award(lead_id, second, slot=2, shares=2) is SOLD


async def test_a_place_is_free_again_when_its_buyer_refused(books: Books) -> None:
    """And the whole lead when all did: then it may be sold exclusively."""
    ann, bob, cyd = await three(books)
    lead_id = await books.lead()
    orders = [books.order(lead_id, one, slot=n, shares=2) for n, one in enumerate((ann, bob), 1)]
    for order in orders:
        assert await books.store().award(order) is GRANTED

    assert await books.settle(orders[0].id, "rejected") is Settled.OK
    replacing = books.order(lead_id, cyd, slot=1, shares=2)
    assert await books.store().award(replacing) is GRANTED
    for order in (orders[1], replacing):
        assert await books.settle(order.id, "not_sent") is Settled.OK
    assert await books.award(lead_id, ann) is GRANTED


async def test_each_share_is_paid_and_counted_by_itself(books: Books) -> None:
    """Two sales of one lead: two holds, two caps, two prices."""
    limited = [await books.one(cap("sales", 1), credit=2 * PRICE) for _ in range(2)]
    lead_id = await books.lead()
    orders = [books.order(lead_id, one, slot=n, shares=2) for n, one in enumerate(limited, 1)]
    for order in orders:
        assert await books.store().award(order) is GRANTED
        assert await books.settle(order.id, "accepted") is Settled.OK

    assert await books.end(lead_id, "sold") == b"end"
    assert [1, 1] == [await books.used(one, "sales") for one in limited]
    assert await books.broken() == []


async def test_members_of_a_set_are_awarded_together(books: Books) -> None:
    """In one batch or in several: never two in one place, never one twice."""
    contracts = [await books.one() for _ in range(6)]
    lead_id = await books.lead()
    orders = [
        books.order(lead_id, one, slot=1 + n % 3, shares=3) for n, one in enumerate(contracts)
    ]

    verdicts = await asyncio.gather(*(books.store().award(order) for order in orders))

    assert Counter({GRANTED: 3, SOLD: 3}) == Counter(verdicts)


async def test_exclusive_and_shared_awards_race_for_one_lead(books: Books) -> None:
    """Whoever comes first decides how the lead is sold."""
    contracts = [await books.one() for _ in range(6)]
    for _ in range(20):
        lead_id = await books.lead()
        orders = [
            books.order(lead_id, one, slot=n % 3, shares=2 if n % 3 else 1)
            for n, one in enumerate(contracts)
        ]
        verdicts = await asyncio.gather(*(books.store().award(order) for order in orders))
        slots = sorted(o.slot for o, v in zip(orders, verdicts, strict=True) if v is GRANTED)
        assert slots in ([0], [1], [2], [1, 2], [])


@pytest.mark.parametrize(
    ("day_over", "granted"), [(0.0001, 1), (0.1, 1), (0.11, 2), (0.5, 5), (1.0, 10), (None, 10)]
)
async def test_a_paced_cap_gives_out_what_the_day_so_far_allows(
    books: Books, day_over: float | None, granted: int
) -> None:
    """Its share of ten, rounded up; never more than the cap."""
    contract = await books.one(cap("sales", 10, "day"))
    await books.pace(contract, "sales")

    verdicts = [
        await books.award(await books.lead(), contract, day_over=day_over) for _ in range(12)
    ]  # fmt: skip

    full = Verdict.CAP_SALES if granted == 10 else Verdict.PACED
    assert verdicts == [GRANTED] * granted + [full] * (12 - granted)


async def test_a_paced_cap_on_spend_counts_money(books: Books) -> None:
    """Half a day allows half the money: of 45 two sales at 10."""
    contract = await books.one(cap("spend", int(4.5 * PRICE), "day"))
    await books.pace(contract, "spend")

    verdicts = [await books.award(await books.lead(), contract, day_over=0.5) for _ in range(3)]

    assert verdicts == [GRANTED, GRANTED, Verdict.PACED]


async def test_pings_see_what_a_paced_cap_has_used(books: Books) -> None:
    """Used and limit, by contract; judged by the day when a ping is screened."""
    contract = await books.one(cap("sales", 10, "day"))
    await books.pace(contract, "sales")
    await books.award(await books.lead(), contract, day_over=0.5)

    assert {contract.id: ((1, 10),)} == (await books.store().usage()).paced


async def test_a_reserve_of_credit_is_never_spent(books: Books) -> None:
    """30 of credit with 15 to be left: one sale at 10, and the rest is for show."""
    contract = await books.one(credit=3 * PRICE)
    buyer = Party(contract.id - 1, "")
    await books.reserve(buyer, PRICE + PRICE // 2)

    assert [GRANTED, Verdict.CREDIT] == [await books.sell(contract) for _ in range(2)]
    await books.deposit(buyer, PRICE)
    assert [GRANTED, Verdict.CREDIT] == [await books.sell(contract) for _ in range(2)]
    await books.reserve(buyer, 2 * PRICE)
    assert SkipReason.CREDIT is (await books.store().usage()).full[contract.id]


async def test_a_person_is_sold_once_in_a_vertical(books: Books) -> None:
    """To anybody, by phone or by e-mail, leads in flight included; a refused one does not count."""
    ann, bob, _ = await three(books)
    await books.dedupe_vertical("auto", 30)
    first = books.order(await books.lead(person=ANN), ann)
    assert await books.store().award(first) is GRANTED

    by_phone = await books.lead(person=(ANN[0], BOB[1]))
    assert await books.award(by_phone, bob) is Verdict.DUPLICATE_IN_VERTICAL
    assert await books.award(await books.lead(person=BOB), bob) is GRANTED
    assert await books.settle(first.id, "rejected") is Settled.OK
    assert await books.award(await books.lead(person=(ANN[0], None)), bob) is GRANTED


async def test_shares_of_one_lead_are_no_duplicates(books: Books) -> None:
    """One sale to several buyers is one sale of the person."""
    ann, bob, _ = await three(books)
    await books.dedupe_vertical("auto", 30)
    lead_id = await books.lead(person=ANN)

    assert await books.award(lead_id, ann, slot=1, shares=2) is GRANTED
    assert await books.award(lead_id, bob, slot=2, shares=2) is GRANTED


async def test_a_person_may_be_sold_again_after_the_verticals_days(books: Books) -> None:
    ann, bob, _ = await three(books)
    await books.dedupe_vertical("auto", 1)
    assert await books.award(await books.lead(person=ANN), ann) is GRANTED
    await books.pass_time(86_000)
    assert await books.award(await books.lead(person=ANN), bob) is Verdict.DUPLICATE_IN_VERTICAL
    await books.pass_time(500)
    assert await books.award(await books.lead(person=ANN), bob) is GRANTED


async def test_two_leads_of_one_person_race(books: Books) -> None:
    """One of ten, whoever buys, in one batch or in several."""
    contracts = [await books.one() for _ in range(10)]
    await books.dedupe_vertical("auto", 30)
    orders = [books.order(await books.lead(person=ANN), one) for one in contracts]

    verdicts = await asyncio.gather(*(books.store().award(order) for order in orders))

    assert Counter({GRANTED: 1, Verdict.DUPLICATE_IN_VERTICAL: 9}) == Counter(verdicts)


async def test_who_is_called_a_duplicate_of_a_lead_that_nobody_bought_is_asked_about_again(
    books: Books,
) -> None:
    """In one batch: the first lead of the person meets a full cap, the second is bought."""
    full, free = await books.one(cap("sales", 0)), await books.one()
    await books.dedupe_vertical("auto", 30)
    orders = [books.order(await books.lead(person=ANN), one) for one in (full, free)]

    verdicts = await asyncio.gather(*(books.store().award(order) for order in orders))

    assert [Verdict.CAP_SALES, GRANTED] == verdicts


AWARD = """SELECT award_many(ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[$3::int], '{0}', '{1}', '{10000000}', '{8000000}',
  ARRAY[$4::int], ARRAY[$5::int], '{t}', ARRAY[NULL::text], ARRAY[NULL::float8], 1)"""


async def test_an_award_that_looked_for_no_room_gets_none(postgres_books: PostgresBooks) -> None:
    """It was passed by because the lead was another's; that one is refused before the award is written."""
    books = postgres_books
    first, full = await books.one(), await books.one(cap("sales", 1))
    assert await books.sell(full) is GRANTED
    order = books.order(await books.lead(), first)
    assert await books.store().award(order) is GRANTED
    holder, other = [await asyncpg.connect(books.dsn) for _ in range(2)]
    try:
        async with (
            holder.transaction()
        ):  # the award waits for the lead, between looking and writing
            await holder.execute("SELECT FROM lead WHERE id = $1 FOR UPDATE", order.lead_id)
            arguments = (books.uuid(), order.lead_id, full.id, books.payable, books.margin)
            work = asyncio.ensure_future(other.fetchval(AWARD, *arguments))
            while not await books.sql.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                pass
            assert await books.settle(order.id, "rejected") is Settled.OK
        assert await work == ["already_sold"]
        assert await books.used(full, "sales") == 1
    finally:
        await holder.close()
        await other.close()
