"""The books: one suite on memory and on real Postgres. After each test the invariants hold."""

import asyncio
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import asyncpg
import pytest

from exchange.books import overdue
from exchange.reasons import SkipReason
from exchange.store.memory_rows import bucket_start
from exchange.store.rows import (
    Adopted,
    AttemptState,
    Claim,
    ClaimKey,
    LateBid,
    LeadState,
    Settled,
    Verdict,
)
from tests.ledgers import (
    PAYOUT,
    PRICE,
    SELLER,
    Books,
    MemoryBooks,
    PostgresBooks,
    cap,
)

KEY = ClaimKey(SELLER, "/v1/leads", "k-1")

ANN, BOB = (b"ann's phone", b"ann's mail"), (b"bob's phone", b"bob's mail")


async def state_of(books: Books, lead_id: object) -> list[str]:
    return [a.state.value for a in await books.store().attempts(lead_id)]  # type: ignore[arg-type]


# --- the verdicts of an award ---------------------------------------------------------------------


async def test_granted_repeat_and_already_sold(books: Books) -> None:
    contract, other = await books.one(), await books.one()
    lead_id = await books.lead()
    order = books.order(lead_id, contract)
    assert await books.store().award(order) is Verdict.GRANTED
    assert await books.store().award(order) is Verdict.REPEAT
    assert await books.award(lead_id, contract) is Verdict.ALREADY_SOLD
    assert await books.award(lead_id, other) is Verdict.ALREADY_SOLD
    assert await books.settle(order.id, "rejected") is Settled.OK
    assert await books.store().award(order) is Verdict.REPEAT
    assert await books.award(lead_id, contract) is Verdict.GRANTED
    first, second = await books.store().attempts(lead_id)
    assert (first.id, first.state, first.detail) == (order.id, AttemptState.REJECTED, b'"rejected"')
    assert (second.state, second.settled_at, second.fence) == (AttemptState.INTENT, None, 0)
    assert (second.price_micros, second.payout_micros) == (PRICE, PAYOUT)


async def test_a_lead_that_is_not_ours_or_not_open_is_closed(books: Books) -> None:
    contract = await books.one()
    assert await books.award(books.uuid(), contract) is Verdict.CLOSED
    others = await books.lead(worker=2)
    assert await books.award(others, contract, worker=1) is Verdict.CLOSED
    ended = await books.lead()
    assert await books.end(ended) == b"end"
    assert await books.award(ended, contract) is Verdict.CLOSED


@pytest.mark.parametrize("what", ["buyer", "contract", "all"])
async def test_nothing_is_sold_to_what_is_paused(books: Books, what: str) -> None:
    buyer = await books.buyer("acme")
    contract = await books.contract("acme-auto", buyer)
    slug = {"buyer": "acme", "contract": "acme-auto", "all": ""}[what]
    await books.pause(what, slug)
    assert await books.sell(contract) is Verdict.PAUSED
    await books.pause(what, slug, False)
    assert await books.sell(contract) is Verdict.GRANTED
    assert await books.sell(await books.one()) is Verdict.GRANTED


@pytest.mark.parametrize("owner", ["buyer", "contract"])
@pytest.mark.parametrize(
    ("kind", "limit", "period", "verdict"),
    [
        ("sales", 1, "day", Verdict.CAP_SALES),
        ("spend", PRICE + 1, "month", Verdict.CAP_SPEND),
        ("concurrent", 1, "total", Verdict.CAP_CONCURRENT),
    ],
)
async def test_each_cap_ends_sales(
    books: Books, owner: str, kind: str, limit: int, period: str, verdict: Verdict
) -> None:
    caps = [cap(kind, limit, period)]
    buyer = await books.buyer("acme", caps=caps if owner == "buyer" else [])
    contract = await books.contract("a", buyer, caps=caps if owner == "contract" else [])
    order = await books.intent(contract)
    assert await books.sell(contract) is verdict
    assert await books.settle(order.id, "accepted") is Settled.OK
    again = Verdict.GRANTED if kind == "concurrent" else verdict
    assert await books.sell(contract) is again
    assert await books.used(buyer if owner == "buyer" else contract, kind) == (
        PRICE if kind == "spend" else 1
    )


async def test_credit_is_a_limit_and_a_deposit_raises_it(books: Books) -> None:
    buyer = await books.buyer("acme", credit=2 * PRICE)
    contract = await books.contract("a", buyer)
    sold = await books.intent(contract)
    assert await books.settle(sold.id, "accepted") is Settled.OK
    assert await books.sell(contract, price=PRICE + 1) is Verdict.CREDIT
    held = await books.intent(contract)
    assert await books.sell(contract, price=1) is Verdict.CREDIT
    assert (await books.store().usage()).full == {contract.id: SkipReason.CREDIT}
    assert (await books.balance(buyer, "available"), await books.balance(buyer, "held")) == (
        0,
        PRICE,
    )
    await books.deposit(buyer, 5)
    assert await books.sell(contract, price=5) is Verdict.GRANTED
    assert await books.settle(held.id, "rejected") is Settled.OK
    assert await books.balance(buyer, "available") == PRICE


async def test_a_deposit_of_a_postpaid_buyer_is_booked_and_limits_nothing(books: Books) -> None:
    buyer = await books.buyer("acme")
    contract = await books.contract("a", buyer)
    await books.deposit(buyer, 5)
    await books.deposit(buyer, 0)
    assert await books.sell(contract) is Verdict.GRANTED
    assert await books.balance(buyer, "available") == 5 - PRICE


async def test_all_limits_or_none(books: Books) -> None:
    buyer = await books.buyer("acme", credit=100 * PRICE, caps=[cap("sales", 2, "month")])
    first = await books.contract("a", buyer, caps=[cap("sales", 1), cap("spend", 50 * PRICE)])
    second = await books.contract("b", buyer, caps=[cap("sales", 9)])
    assert await books.sell(first) is Verdict.GRANTED
    assert await books.sell(first) is Verdict.CAP_SALES
    assert (await books.used(first, "spend"), await books.used(buyer, "sales")) == (PRICE, 1)
    assert await books.sell(second) is Verdict.GRANTED
    assert await books.sell(second) is Verdict.CAP_SALES  # the buyer's
    assert (await books.used(second, "sales"), await books.used(buyer, "credit")) == (1, 2 * PRICE)
    assert (await books.store().usage()).full == {
        first.id: SkipReason.CAP_SALES,
        second.id: SkipReason.CAP_SALES,
    }


async def test_of_several_full_limits_the_oldest_is_named(books: Books) -> None:
    contract = await books.one(cap("concurrent", 0), cap("spend", 0), cap("sales", 0))
    assert await books.sell(contract) is Verdict.CAP_CONCURRENT
    assert (await books.store().usage()).full == {contract.id: SkipReason.CAP_CONCURRENT}
    buyer = await books.buyer("acme", caps=[cap("spend", 0)])
    younger = await books.contract("a", buyer, caps=[cap("sales", 0)])
    assert await books.sell(younger) is Verdict.CAP_SPEND
    assert (await books.store().usage()).full[younger.id] is SkipReason.CAP_SPEND


async def test_a_share_counts_and_limits_nothing(books: Books) -> None:
    contract, idle = await books.one(cap("share", 2**62, "day")), await books.one()
    assert (await books.store().turns([contract.id], "day")).sold == {contract.id: 0}
    order = await books.intent(contract)
    lost = await books.intent(contract)
    assert await books.settle(lost.id, "not_sent") is Settled.OK
    turns = await books.store().turns([contract.id, idle.id], "day")
    assert turns.sold == {contract.id: 1}
    (attempt,) = await books.store().attempts(order.lead_id)
    assert turns.last_turn == {contract.id: pytest.approx(attempt.created_at.timestamp())}
    assert (await books.store().turns([contract.id], None)).sold == {}


async def test_turns_are_taken_by_who_sold_last(books: Books) -> None:
    contracts = [await books.one() for _ in range(3)]
    for contract in (contracts[1], contracts[0], contracts[2], contracts[1]):
        assert await books.sell(contract) is Verdict.GRANTED
    last = (await books.store().turns([c.id for c in contracts], None)).last_turn
    assert sorted(last, key=last.__getitem__) == [
        c.id for c in (contracts[0], *contracts[2:], contracts[1])
    ]


# --- settling -------------------------------------------------------------------------------------


@pytest.mark.parametrize("outcome", ["rejected", "not_sent"])
async def test_a_failure_gives_everything_back(books: Books, outcome: str) -> None:
    buyer = await books.buyer("acme", credit=PRICE, caps=[cap("concurrent", 1)])
    contract = await books.contract("a", buyer, caps=[cap("sales", 1, "day"), cap("spend", PRICE)])
    order = await books.intent(contract)
    assert await books.settle(order.id, outcome) is Settled.OK
    for owner, kind in ((buyer, "credit"), (buyer, "concurrent"), (contract, "sales")):
        assert await books.used(owner, kind) == 0
    assert await books.award(order.lead_id, contract) is Verdict.GRANTED
    assert await state_of(books, order.lead_id) == [outcome, "intent"]


async def test_a_sale_is_split_between_seller_and_house(books: Books) -> None:
    contract = await books.one()
    for payout in (PAYOUT, 0, PRICE):
        order = books.order(await books.lead(), contract, payout=payout)
        assert await books.store().award(order) is Verdict.GRANTED
        assert await books.settle(order.id, "accepted") is Settled.OK
    kinds = Counter(t.kind for t in (await books.snapshot()).transfers)
    assert kinds == {"hold": 3, "sale": 2, "margin": 2}


@pytest.mark.parametrize("outcome", ["accepted", "rejected"])
async def test_unconfirmed_keeps_holding_until_somebody_says(books: Books, outcome: str) -> None:
    buyer = await books.buyer("acme", credit=PRICE, caps=[cap("concurrent", 1)])
    contract = await books.contract("a", buyer, caps=[cap("sales", 1)])
    other = await books.one()
    order = await books.intent(contract)
    for next_s in (5.0, None, 0.0):
        assert await books.settle(order.id, "unconfirmed", next_s=next_s) is Settled.OK
        assert await books.used(buyer, "concurrent") == await books.used(contract, "sales") == 1
        assert await books.award(order.lead_id, other) is Verdict.ALREADY_SOLD
        assert await books.end(order.lead_id) is None
    assert await books.settle(order.id, "not_sent") is Settled.UNCONFIRMED
    assert await books.settle(order.id, outcome) is Settled.OK
    assert await books.used(buyer, "concurrent") == 0
    assert await books.used(contract, "sales") == (1 if outcome == "accepted" else 0)


@pytest.mark.parametrize("end", ["accepted", "rejected", "not_sent"])
async def test_a_terminal_state_never_changes(books: Books, end: str) -> None:
    order = await books.intent(await books.one(cap("sales", 5), credit=PRICE))
    assert await books.settle(order.id, end) is Settled.OK
    for outcome in ("accepted", "rejected", "not_sent", "unconfirmed"):
        for fence in (0, 1):
            assert await books.settle(order.id, outcome, fence=fence) is Settled(end)
    assert await state_of(books, order.lead_id) == [end]


async def test_unknown_and_fenced(books: Books) -> None:
    order = await books.intent(await books.one())
    assert await books.settle(books.uuid(), "accepted") is Settled.UNKNOWN
    assert await books.settle(order.id, "accepted", fence=1) is Settled.FENCED
    assert await state_of(books, order.lead_id) == ["intent"]


async def test_words_said_at_once_of_one_attempt_follow_each_other(books: Books) -> None:
    contract = await books.one()
    for _ in range(5):
        order, other = await books.intent(contract), await books.intent(contract)
        said = await asyncio.gather(
            books.settle(other.id, "accepted"),  # alone: the rest is the next batch
            books.settle(order.id, "unconfirmed"),
            books.settle(order.id, "accepted"),
            books.settle(order.id, "rejected"),
        )
        assert list(said) == [Settled.OK, Settled.OK, Settled.OK, Settled.ACCEPTED]


# --- caps that change -----------------------------------------------------------------------------


async def test_a_cap_may_be_lowered_below_its_use(books: Books) -> None:
    contract = await books.one(cap("sales", 3, "day"))
    orders = [await books.intent(contract) for _ in range(3)]
    await books.set_cap(contract, cap("sales", 1, "day"))
    assert await books.sell(contract) is Verdict.CAP_SALES
    bucket = await books.bucket(contract, "sales")
    assert (bucket.lim, bucket.used) == (1, 3)
    for order in orders[:2]:
        assert await books.settle(order.id, "rejected") is Settled.OK
    assert await books.sell(contract) is Verdict.CAP_SALES
    await books.set_cap(contract, cap("sales", 2, "day"))
    assert await books.sell(contract) is Verdict.GRANTED


@pytest.mark.parametrize("kind", ["sales", "spend", "concurrent"])
async def test_a_new_cap_starts_from_what_the_period_sold(books: Books, kind: str) -> None:
    buyer = await books.buyer("acme")
    contract, sibling = await books.contract("a", buyer), await books.contract("b", buyer)
    past = await books.intent(contract)
    assert await books.settle(past.id, "accepted") is Settled.OK
    await books.pass_time(40 * 86_400)
    for outcome in ("accepted", "rejected", "unconfirmed"):
        order = await books.intent(contract)
        assert await books.settle(order.id, outcome) is Settled.OK
    begun = await books.intent(sibling)
    units = 2 if kind == "concurrent" else 3
    limit = (units + 1) * (PRICE if kind == "spend" else 1)
    await books.set_cap(buyer, cap(kind, limit, "month"))
    assert await books.used(buyer, kind) == units * (PRICE if kind == "spend" else 1)
    assert await books.sell(contract) is Verdict.GRANTED
    assert await books.sell(sibling) is Verdict(f"cap_{kind}")
    assert await books.settle(begun.id, "rejected") is Settled.OK
    assert await books.sell(sibling) is Verdict.GRANTED


async def test_another_time_zone_is_another_cap_and_a_dropped_one_is_forgotten(
    books: Books,
) -> None:
    contract = await books.one(cap("sales", 2, "month"))
    order, kept = await books.intent(contract), await books.intent(contract)
    await books.set_cap(contract, cap("sales", 2, "month"), "Asia/Tokyo")
    assert await books.used(contract, "sales") <= 2
    assert await books.settle(order.id, "rejected") is Settled.OK
    await books.drop_cap(contract, "sales", "month")
    assert await books.settle(kept.id, "rejected") is Settled.OK
    assert [b for b in (await books.snapshot()).buckets if b.kind == "sales"] == []
    assert await books.sell(contract) is Verdict.GRANTED


# --- races ----------------------------------------------------------------------------------------


async def test_the_last_unit_is_sold_once(books: Books) -> None:
    contract = await books.one(cap("sales", 7, "day"))
    leads = [await books.lead(worker) for worker in (1, 2) for _ in range(25)]
    verdicts = await asyncio.gather(
        *(books.award(lead, contract, worker=1 + i // 25) for i, lead in enumerate(leads))
    )
    assert Counter(verdicts) == {Verdict.GRANTED: 7, Verdict.CAP_SALES: 43}
    assert await books.used(contract, "sales") == 7


async def test_races_of_several_buyers_for_credit_and_caps(books: Books) -> None:
    rich = await books.buyer("rich", caps=[cap("spend", 11 * PRICE, "month")])
    poor = await books.buyer("poor", credit=5 * PRICE + 1)
    contracts = [await books.contract(f"c{i}", buyer) for i, buyer in enumerate([rich, poor, rich])]
    leads = [await books.lead(worker) for _ in range(30) for worker in (1, 2, 3)]

    async def trade(i: int) -> None:
        worker = 1 + i % 3
        order = books.order(leads[i], contracts[i // 3 % 3], worker=worker)
        verdict = await books.store(worker).award(order)
        if verdict is Verdict.GRANTED and i % 5 == 0:
            assert await books.settle(order.id, "rejected", worker=worker) is Settled.OK
        if verdict is Verdict.GRANTED and i % 5 == 1:
            assert await books.settle(order.id, "accepted", worker=worker) is Settled.OK

    await asyncio.gather(*(trade(i) for i in range(90)))
    assert await books.used(rich, "spend") <= 11 * PRICE
    assert await books.used(poor, "credit") <= 5 * PRICE + 1
    for contract in contracts:
        while await books.sell(contract) is Verdict.GRANTED:
            pass
    assert await books.used(rich, "spend") == 11 * PRICE
    assert await books.used(poor, "credit") == 5 * PRICE


async def test_one_of_two_awards_for_a_lead_is_granted(books: Books) -> None:
    contracts = [await books.one(cap("sales", 100)) for _ in range(2)]
    for _ in range(20):
        lead_id = await books.lead()
        verdicts = await asyncio.gather(*(books.award(lead_id, c) for c in contracts))
        assert sorted(verdicts) == [Verdict.ALREADY_SOLD, Verdict.GRANTED]
    assert sum([await books.used(c, "sales") for c in contracts]) == 20


@pytest.mark.parametrize("end", ["close", "abandon"])
async def test_a_lead_does_not_end_under_an_award(books: Books, end: str) -> None:
    contract = await books.one()
    for _ in range(30):
        lead_id = await books.lead()
        ended, verdict = await asyncio.gather(
            books.end(lead_id) if end == "close" else books.store().abandon_lead(lead_id, 1),
            books.award(lead_id, contract),
        )
        assert (verdict is Verdict.GRANTED) != bool(ended)


# --- idempotency keys -----------------------------------------------------------------------------


async def test_a_key_is_won_once_and_answered_alike_for_24_hours(books: Books) -> None:
    store = books.store()
    assert await store.claim(KEY, b"one", 1) == Claim(won=True)
    assert await store.claim(KEY, b"one", 2) == Claim(won=False)
    assert await store.claim(KEY, b"two", 2) == Claim(won=False, same_body=False)
    await store.free_claim(KEY)
    assert await store.claim(KEY, b"two", 2) == Claim(won=True)
    await store.finish_claim(KEY, 200, b"answer")
    await store.finish_claim(KEY, 500, b"never")
    await store.free_claim(KEY)
    final = Claim(won=False, status=200, answer=b"answer")
    assert await store.claim(KEY, b"two", 1) == final
    await books.pass_time(86_390)
    assert await store.claim(KEY, b"two", 1) == final
    await books.pass_time(20)
    assert await store.claim(KEY, b"three", 1) == Claim(won=True)
    assert (await store.claim(KEY, b"three", 1)).status is None


async def test_one_of_many_wins_a_key(books: Books) -> None:
    claims = await asyncio.gather(
        *(books.store(1 + i % 3).claim(KEY, b"b", 1 + i % 3) for i in range(30))
    )
    assert Counter(claim.won for claim in claims) == {True: 1, False: 29}


async def test_a_key_is_tied_to_its_lead(books: Books) -> None:
    store, other = books.store(), ClaimKey(SELLER, "/v1/leads", "k-2")
    ping = books.uuid()
    assert (await store.claim(KEY, b"b", 1)).won
    lead_id = await books.lead(key=KEY, ping=ping)
    assert await store.claim(KEY, b"b", 1) == Claim(won=False, lead_id=lead_id)
    await store.free_claim(KEY)
    assert (await store.claim(KEY, b"b", 1)).lead_id == lead_id
    assert (await store.claim(other, b"b", 1)).won
    assert await store.open_lead(books.new_lead(ping=ping), other) == lead_id
    assert await store.claim(other, b"b", 1) == Claim(won=False, lead_id=lead_id)
    assert await store.open_lead(books.new_lead(ping=ping), None) == lead_id
    third = ClaimKey(SELLER, "/v1/leads", "k-3")
    assert (await store.claim(third, b"b", 1)).won
    await store.tie_claim(third, lead_id)
    assert (await store.claim(third, b"b", 1)).lead_id == lead_id


# --- pings and leads ------------------------------------------------------------------------------


async def test_a_ping_is_found_with_its_age_and_its_lead(books: Books) -> None:
    store, ping = books.store(), books.ping(expires_in_s=120)
    assert await store.ping(ping.id) is None
    await store.put_ping(ping)
    found = await store.ping(ping.id)
    assert found is not None
    assert (found.row, found.expired, found.lead_id) == (ping, False, None)
    assert 0 <= found.age_s < 60
    lead_id = await books.lead(ping=ping.id)
    await books.pass_time(121)
    found = await store.ping(ping.id)
    assert found is not None
    assert (found.expired, found.lead_id) == (True, lead_id)
    assert found.age_s > 120


async def test_late_bids_are_kept_once(books: Books) -> None:
    store = books.store()
    assert isinstance(books, MemoryBooks | PostgresBooks)
    ping = books.uuid()
    late = [LateBid(ping=ping, contract=slug, price_micros=1, late_ms=3) for slug in ("b", "a")]
    await store.put_late_bids(late)
    await store.put_late_bids(late)
    await store.put_late_bids([])
    reader = books.memory if isinstance(books, MemoryBooks) else books.store()
    assert await reader.late_bids(ping) == late[::-1]


async def test_only_the_first_ending_of_a_lead_counts(books: Books) -> None:
    lead_id = await books.lead()
    opened = await books.store().lead(lead_id)
    assert opened is not None
    assert (opened.state, opened.answer, opened.closed_at) == (LeadState.OPEN, None, None)
    assert 14 < opened.seconds_left <= 15
    assert await books.end(lead_id, answer=b"first") == b"first"
    assert await books.end(lead_id, "sold", answer=b"second") == b"first"
    ended = await books.store().lead(lead_id)
    assert ended is not None
    assert (ended.state, ended.answer, ended.receipt) == (LeadState.UNSOLD, b"first", b"r")
    assert ended.closed_at is not None
    assert await books.end(books.uuid()) is None
    assert await books.store().lead(books.uuid()) is None


async def test_a_lead_is_not_unsold_while_an_attempt_is_open_or_accepted(books: Books) -> None:
    order = await books.intent(await books.one())
    assert await books.end(order.lead_id) is None
    assert await books.settle(order.id, "accepted") is Settled.OK
    assert await books.end(order.lead_id) is None
    assert await books.end(order.lead_id, "sold") == b"end"


async def test_an_abandoned_lead_frees_its_key_and_its_ping(books: Books) -> None:
    store, ping = books.store(), books.uuid()
    assert (await store.claim(KEY, b"b", 1)).won
    lead_id = await books.lead(key=KEY, ping=ping)
    assert not await store.abandon_lead(lead_id, 2)
    assert await store.abandon_lead(lead_id, 1)
    assert not await store.abandon_lead(lead_id, 1)
    gone = await store.lead(lead_id)
    assert gone is not None
    assert (gone.state, gone.reason, gone.person.key) == (LeadState.GONE, "seller_gone", None)
    assert await store.leads_by_external_id(SELLER, "x-1") == []
    assert (await store.claim(KEY, b"other", 1)).won
    again = await books.lead(key=KEY, ping=ping)
    assert [lead.id for lead in await store.leads_by_external_id(SELLER, "x-1")] == [again]
    order = books.order(again, await books.one())
    assert await store.award(order) is Verdict.GRANTED
    assert await books.settle(order.id, "not_sent") is Settled.OK
    assert not await store.abandon_lead(again, 1)


# --- recovery -------------------------------------------------------------------------------------


async def test_what_a_dead_worker_left_is_taken_over(books: Books) -> None:
    contract, old, new = await books.one(cap("concurrent", 9)), books.store(1), books.store(2)
    await old.beat(1)
    await new.beat(2)
    intent, failed = await books.intent(contract), await books.intent(contract)
    assert await books.settle(failed.id, "rejected") is Settled.OK
    keys = [ClaimKey(SELLER, "/v1/leads", name) for name in ("lead", "bare", "done")]
    for key in keys:
        assert (await old.claim(key, b"b", 1)).won
    idle = await books.lead(key=keys[0])
    test = await books.lead(test=True)
    await old.finish_claim(keys[2], 200, b"a")
    assert (await new.adopt(2)).freed == 0
    await books.pass_time(2)
    assert (await new.adopt(2)).freed == 0  # silent, but its session lives
    await new.beat(2)
    await books.die(1)
    adopted = await new.adopt(2)
    assert set(adopted.leads) == {intent.lead_id, failed.lead_id}
    assert (adopted.interrupted, adopted.freed) == (1, 3)
    assert (await new.adopt(2)).freed == 0
    for lead_id, state, owner in (
        (idle, "gone", 1),
        (test, "gone", 1),
        (intent.lead_id, "open", 2),
    ):
        row = await new.lead(lead_id)
        assert row is not None
        assert (row.state, row.owner) == (state, owner)
    assert [(await new.claim(key, b"b", 2)).won for key in keys] == [True, True, False]
    (attempt,) = await new.attempts(intent.lead_id)
    assert (attempt.state, attempt.fence) == (AttemptState.UNCONFIRMED, 1)
    assert attempt.detail == b'{"reason":"interrupted"}'
    # The old one was not dead after all: it can do no harm.
    assert await books.settle(intent.id, "accepted") is Settled.FENCED
    assert await books.award(failed.lead_id, contract, worker=1) is Verdict.CLOSED
    assert await books.award(idle, contract, worker=1) is Verdict.CLOSED
    assert await books.award(failed.lead_id, contract, worker=2) is Verdict.GRANTED
    assert [row.id for row in await new.due(2)] == [intent.id]
    assert await books.settle(intent.id, "accepted", fence=2, worker=2) is Settled.OK


async def test_a_frozen_worker_is_given_up_after_ten_seconds(books: Books) -> None:
    await books.store(1).beat(1)
    order = await books.intent(await books.one())
    for seconds, leads in ((9, ()), (2, (order.lead_id,))):
        await books.pass_time(seconds)
        await books.store(2).beat(2)
        assert (await books.store(2).adopt(2)).leads == leads


async def test_what_is_due_is_claimed_once(books: Books) -> None:
    contract = await books.one()
    orders = [await books.intent(contract) for _ in range(4)]
    for order, next_s in zip(orders, (0.0, 30.0, None, 0.0), strict=True):
        assert await books.settle(order.id, "unconfirmed", next_s=next_s) is Settled.OK
    await books.pass_time(1)
    claimed = await asyncio.gather(books.store(1).due(1), books.store(2).due(2))
    rows = {row.id: row for batch in claimed for row in batch}
    assert set(rows) == {orders[0].id, orders[3].id}
    assert sum(map(len, claimed)) == 2
    assert {(row.fence, row.tries) for row in rows.values()} == {(1, 1)}
    assert await books.store(1).due(1) == []
    await books.pass_time(40)
    (row,) = await books.store(1).due(1)
    assert row.id == orders[1].id
    (row,) = await books.store(1).due(1, orders[2].id)  # named: it is asked about now
    assert (row.id, row.fence) == (orders[2].id, 1)
    assert await books.store(1).due(1, books.uuid()) == []
    assert await books.settle(orders[0].id, "accepted") is Settled.FENCED
    assert await books.settle(orders[0].id, "accepted", fence=1) is Settled.OK
    assert await books.store(1).due(1, orders[0].id) == []
    await books.pass_time(61)  # nobody came back with an answer
    assert {row.id for row in await books.store(2).due(2)} == {o.id for o in orders[1:]}


async def test_strays_and_idle_leads(books: Books) -> None:
    contract, store = await books.one(), books.store(1)
    stray, tried = await books.intent(contract), await books.intent(contract)
    fresh = await books.lead()
    await books.lead(worker=2)
    assert await books.settle(tried.id, "rejected") is Settled.OK
    assert await store.stray_intents(1, 10) == []
    assert await store.idle_leads(1, 10) == [tried.lead_id]
    await books.pass_time(11)
    assert [row.id for row in await store.stray_intents(1, 10)] == [stray.id]
    assert await store.stray_intents(2, 10) == []
    assert set(await store.idle_leads(1, 10)) == {tried.lead_id, fresh}
    assert await books.end(tried.lead_id) == b"end"
    assert await store.idle_leads(1, 10) == [fresh]


async def test_the_audit_names_what_nobody_takes_up(books: Books) -> None:
    contract = await books.one()
    orders = [await books.intent(contract) for _ in range(3)]
    assert await books.settle(orders[1].id, "unconfirmed", next_s=60) is Settled.OK
    assert await books.settle(orders[2].id, "unconfirmed") is Settled.OK
    await books.pass_time(301)
    assert [str(orders[0].id) in line for line in overdue(await books.snapshot())] == [True]
    await books.pass_time(60)
    assert len(overdue(await books.snapshot())) == 2


async def test_a_rate_is_one_count_for_all(books: Books) -> None:
    """Of this second and of the next, each by itself; of one that is long over, or far ahead, nothing:
    a clock that was set denies nobody his rate."""
    now = math.floor(books.store(1).now().timestamp())  # type: ignore[attr-defined]

    async def leased(second: int) -> list[int]:
        return [await books.store(1 + n % 2).lease_rate(7, 5, 2, second) for n in range(4)]

    assert [0, 0, 0, 0] == await leased(now + 3600)
    assert [2, 2, 1, 0] == await leased(now)
    assert [2, 2, 1, 0] == await leased(now + 1)
    assert [0, 0, 0, 0] == await leased(now)
    assert [0, 0, 0, 0] == await leased(now + 1)
    assert [0, 0, 0, 0] == await leased(now - 3600)


# --- the clock of the caps ------------------------------------------------------------------------


async def test_a_period_that_ends_opens_a_new_bucket() -> None:
    # 23:59:59 in New York, on the eve of a day of 23 hours.
    clock = [datetime(2026, 3, 8, 4, 59, 59, tzinfo=UTC)]

    def wall_s() -> float:
        return clock[0].timestamp()

    books = MemoryBooks(wall_s=wall_s)
    contract = await books.one()
    await books.set_cap(contract, cap("sales", 1, "day"), "America/New_York")
    order = await books.intent(contract)
    assert await books.sell(contract) is Verdict.CAP_SALES
    clock[0] += timedelta(seconds=1)
    assert (await books.store().usage()).full == {}
    assert await books.sell(contract) is Verdict.GRANTED
    clock[0] += timedelta(hours=22, minutes=59, seconds=59)
    assert await books.sell(contract) is Verdict.CAP_SALES
    assert await books.settle(order.id, "rejected") is Settled.OK  # yesterday's unit
    assert await books.sell(contract) is Verdict.CAP_SALES
    clock[0] += timedelta(seconds=1)
    assert await books.sell(contract) is Verdict.GRANTED
    assert await books.broken() == []


async def test_a_release_goes_to_the_very_bucket(database: str) -> None:
    books = PostgresBooks(database)
    await books.open()
    try:
        contract = await books.one(cap("sales", 1, "day"))
        order = await books.intent(contract)
        await books.sql.execute("UPDATE bucket SET start = start - interval '1 day'")
        assert await books.sell(contract) is Verdict.GRANTED
        assert await books.settle(order.id, "rejected") is Settled.OK
        assert [b.used for b in (await books.snapshot()).buckets] == [0, 1]
        assert await books.sell(contract) is Verdict.CAP_SALES
        assert await books.broken() == []
    finally:
        await books.close()


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"
AWARD = """SELECT award_many(ARRAY[$1::uuid], ARRAY[$2::uuid], ARRAY[$3::int], '{0}', '{1}', '{2}', '{1}',
  ARRAY[$4::int], ARRAY[$5::int], '{t}', ARRAY[NULL::text], ARRAY[NULL::float8], 1)"""


@pytest.mark.parametrize("end", ["close", "abandon", "adopt"])
async def test_a_lead_does_not_end_under_an_award_in_flight(database: str, end: str) -> None:
    books = PostgresBooks(database)
    await books.open()
    store, contract, lead_id = books.store(2), await books.one(), await books.lead(worker=1)
    await books.store(1).beat(1)
    await books.die(1)
    await books.pass_time(2)
    awarding = await asyncpg.connect(database)
    try:
        async with awarding.transaction():
            arguments = (books.uuid(), lead_id, contract.id, books.payable, books.margin)
            assert await awarding.fetchval(AWARD, *arguments) == ["granted"]
            if end == "adopt":
                assert await store.adopt(2) == Adopted()  # not now
            else:
                work = books.end(lead_id) if end == "close" else store.abandon_lead(lead_id, 1)
                ending = asyncio.ensure_future(work)
                while not await books.sql.fetchval(WAITING):
                    assert not ending.done()
        if end == "adopt":
            assert await store.adopt(2) == Adopted((lead_id,), 1, 0)
        else:
            assert not await ending
        assert await books.broken() == []
    finally:
        await awarding.close()
        await books.close()


async def test_caps_change_beside_a_settlement_without_a_deadlock(database: str) -> None:
    books = PostgresBooks(database)
    await books.open()
    first, second = cap("sales", 5), cap("spend", 9 * PRICE)
    contract = await books.one(first, second)
    order = await books.intent(contract)
    writer = await asyncpg.connect(database)
    try:
        async with writer.transaction():
            change = "SELECT set_cap($1, $2, 'total', 'UTC', $3)"
            await writer.execute(change, contract.id, "spend", 8 * PRICE)
            settling = asyncio.create_task(books.settle(order.id, "rejected"))
            while not await books.sql.fetchval(WAITING):
                assert not settling.done()
            await writer.execute(change, contract.id, "sales", 4)
        assert await settling is Settled.OK
        assert await books.broken() == []
    finally:
        await writer.close()
        await books.close()


async def test_a_worker_of_another_database_is_not_ours(database: str, postgres_dsn: str) -> None:
    books = PostgresBooks(database)
    await books.open()
    namesake = await asyncpg.connect(postgres_dsn)
    try:
        await namesake.execute("SELECT pg_advisory_lock(7002, 1)")
        await books.store(1).beat(1)
        order = await books.intent(await books.one())
        await books.die(1)
        await books.pass_time(2)
        assert (await books.store(2).adopt(2)).leads == (order.lead_id,)
    finally:
        await namesake.close()
        await books.close()


async def test_both_stores_begin_periods_alike(database: str) -> None:
    begun = datetime(2024, 2, 28, 13, 59, 59, 999_999, tzinfo=UTC)
    moments = [begun + timedelta(hours=7 * i) for i in range(1300)]
    zones = ["UTC", "America/New_York", "Asia/Kolkata", "Australia/Lord_Howe", "America/St_Johns"]
    connection = await asyncpg.connect(database)
    try:
        for zone in zones:
            for period in ("hour", "day", "week", "month"):
                rows = await connection.fetch(
                    "SELECT date_trunc($1, t AT TIME ZONE $2) FROM unnest($3::timestamptz[]) t",
                    period, zone, moments,
                )  # fmt: skip
                assert [row[0] for row in rows] == [bucket_start(period, zone, m) for m in moments]
    finally:
        await connection.close()
    starts = [bucket_start("week", "UTC", moment) for moment in moments]
    assert {(b - a).days for a, b in pairwise(starts)} == {0, 7}
    with pytest.raises(ValueError, match="fortnight"):
        bucket_start("fortnight", "UTC", begun)


# --- dedupe ---------------------------------------------------------------------------------------


async def test_a_buyer_gets_a_person_once_within_its_days(books: Books) -> None:
    """By phone or by e-mail, under any of its contracts; other buyers may have the lead."""
    acme, zenith = await books.buyer("acme"), await books.buyer("zenith")
    first = await books.contract("acme-a", acme, dedupe_days=30)
    second = await books.contract("acme-b", acme, dedupe_days=30)
    other = await books.contract("zenith-a", zenith, dedupe_days=30)
    assert await books.award(await books.lead(person=ANN), first) is Verdict.GRANTED

    same_phone, same_mail = (ANN[0], BOB[1]), (BOB[0], ANN[1])
    assert await books.award(await books.lead(person=same_phone), first) is Verdict.DUPLICATE
    assert await books.award(await books.lead(person=same_mail), second) is Verdict.DUPLICATE
    assert await books.award(await books.lead(person=ANN), other) is Verdict.GRANTED
    assert await books.award(await books.lead(person=BOB), first) is Verdict.GRANTED
    assert await books.award(await books.lead(person=(None, None)), first) is Verdict.GRANTED
    assert await books.award(await books.lead(person=(None, None)), first) is Verdict.GRANTED


async def test_what_was_rejected_is_no_duplicate(books: Books) -> None:
    """The buyer never had it."""
    acme = await books.contract("acme-a", await books.buyer("acme"), dedupe_days=1)
    order = books.order(await books.lead(person=ANN), acme)
    assert await books.store().award(order) is Verdict.GRANTED
    await books.settle(order.id, "rejected")

    assert await books.award(await books.lead(person=ANN), acme) is Verdict.GRANTED


async def test_a_person_may_be_bought_again_after_the_days(books: Books) -> None:
    """Thirty days are thirty days."""
    acme = await books.contract("acme-a", await books.buyer("acme"), dedupe_days=30)
    assert await books.award(await books.lead(person=ANN), acme) is Verdict.GRANTED
    await books.pass_time(29 * 86_400)
    assert await books.award(await books.lead(person=ANN), acme) is Verdict.DUPLICATE
    await books.pass_time(86_400 + 1)

    assert await books.award(await books.lead(person=ANN), acme) is Verdict.GRANTED


async def test_a_person_offered_many_times_at_once_is_bought_once(books: Books) -> None:
    """Through three workers and in whatever batches they form."""
    acme = await books.contract("acme-a", await books.buyer("acme"), dedupe_days=30)
    leads = [await books.lead(1 + n % 3, person=ANN) for n in range(30)]

    verdicts = await asyncio.gather(
        *(books.award(lead, acme, worker=1 + n % 3) for n, lead in enumerate(leads))
    )

    assert Counter(verdicts) == {Verdict.GRANTED: 1, Verdict.DUPLICATE: 29}


# --- rates and caps on pings ----------------------------------------------------------------------


async def test_pings_are_leased_from_every_cap_that_binds_them(books: Books) -> None:
    """The contract's and its buyer's: the smaller room decides, and an award does not care."""
    acme = await books.buyer("acme", credit=None)
    await books.set_cap(acme, cap("pings", 5, "day"))
    contract = await books.contract("acme-a", acme, caps=[cap("pings", 7, "hour")])
    store = books.store()

    leases = [await store.lease_pings(contract.id, 4) for _ in range(3)]

    assert [granted for granted, _ in leases] == [4, 1, 0]
    assert all(0 < valid_s <= 3600 for _, valid_s in leases)
    assert contract.id not in (await store.usage()).full
    assert await books.award(await books.lead(), contract) is Verdict.GRANTED


async def test_leases_raced_by_three_workers_are_never_passed(books: Books) -> None:
    """A hundred units, asked for in threes from everywhere at once."""
    contract = await books.contract(
        "acme-a", await books.buyer("acme"), caps=[cap("pings", 100, "day")]
    )

    leases = await asyncio.gather(
        *(books.store(1 + n % 3).lease_pings(contract.id, 3) for n in range(60))
    )
    second = math.floor(books.store(1).now().timestamp())
    rates = await asyncio.gather(
        *(books.store(1 + n % 3).lease_rate(4711, 10**6, 7, second) for n in range(60))
    )

    assert sum(granted for granted, _ in leases) == 100
    assert sum(rates) == 420


async def test_a_new_cap_on_pings_starts_from_nothing(books: Books) -> None:
    """What was sold says nothing of what was asked."""
    contract = await books.contract("acme-a", await books.buyer("acme"))
    assert await books.award(await books.lead(), contract) is Verdict.GRANTED

    await books.set_cap(contract, cap("pings", 3, "day"))

    assert (await books.store().lease_pings(contract.id, 9))[0] == 3
