"""Sold leads that buyers give back: the policy, the books on both stores, and the API."""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer, make_mocked_request

from buyers.wire import Transport
from exchange.books import Snapshot, broken_invariants
from exchange.documents import ContractDocument, canonical, returns_value
from exchange.errors import DocumentsInvalid
from exchange.house import House
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.problems import net_under
from exchange.http.sellers import SellerDesk
from exchange.ids import read_id
from exchange.observe import Silent
from exchange.office.server import Office
from exchange.process import Orders
from exchange.reasons import RefusedReason
from exchange.returns import ReturnPolicy, ReturnReason, ReturnStatus, refusal
from exchange.settings import Settings
from exchange.store.audit import read_snapshot
from exchange.store.rows import AwardOrder, Closing, Decision, LeadState, Verdict
from tests.ledgers import (
    A_POLICY,
    PAYOUT,
    PRICE,
    SELLER,
    Books,
    MemoryBooks,
    Party,
    PostgresBooks,
    cap,
    opened,
)
from tests.offices import GUARD, Answer, Offices, Side, a_contract, open_offices

DAY_S = 86_400

# --- the policy -----------------------------------------------------------------------------------

TENTH = replace(A_POLICY, percent_ppm=100_000, reasons=frozenset({ReturnReason.FRAUD}))
JUDGED = [
    # policy, reason, age in seconds, sold, returned, verdict
    (None, "fraud", 0, 99, 0, "returns_not_allowed"),
    (TENTH, "other", 9e9, 0, 0, "return_reason_not_allowed"),  # the first of several faults
    (TENTH, "fraud", 7 * DAY_S, 10, 0, None),  # the very end of the window
    (TENTH, "fraud", 7 * DAY_S + 1, 10, 0, "return_window_over"),
    (TENTH, "fraud", 0, 9, 0, "return_limit_reached"),  # a tenth of nine is none
    (TENTH, "fraud", 0, 19, 1, "return_limit_reached"),
    (TENTH, "fraud", 0, 20, 1, None),
    (replace(TENTH, percent_ppm=0), "fraud", 0, 1000, 0, "return_limit_reached"),
    (A_POLICY, "other", 0, 1, 0, None),  # all of them
]


@pytest.mark.parametrize(
    ("policy", "reason", "age_s", "sold", "returned", "verdict"), JUDGED, ids=range(len(JUDGED))
)
def test_a_wish_is_judged_by_reason_window_and_share(
    policy: ReturnPolicy | None, reason: str, age_s: float, sold: int, returned: int, verdict: str
) -> None:
    """In this order; what is left of a share after rounding down."""
    found = refusal(policy, ReturnReason(reason), age_s=age_s, sold=sold, returned=returned)

    assert (RefusedReason(verdict) if verdict else None) == found


def test_every_reason_says_what_it_means() -> None:
    """One sentence each, since operators read them."""
    assert all(reason.text.endswith(".") and len(reason.text) > 20 for reason in ReturnReason)
    assert len(ReturnReason) == len({reason.text for reason in ReturnReason})


def contract_with(**returns: Any) -> dict[str, Any]:
    return a_contract("acme-1", "acme", returns=returns)


def test_a_policy_is_read_with_its_defaults() -> None:
    """Only the window has to be named."""
    body = canonical(ContractDocument, contract_with(window_days=7))

    expected = {
        "window_days": 7, "percent": "100.00", "reasons": None, "approval": "manual",
        "reverse_payout": True, "restore_cap": False,
    }  # fmt: skip
    assert expected == body["returns"]
    assert A_POLICY == returns_value(body)


def test_a_whole_policy_is_read() -> None:
    """Every property in force; null and absent are no policy at all."""
    body = canonical(
        ContractDocument,
        contract_with(
            window_days=30, percent="12.5", reasons=["fraud", "duplicate"], approval="automatic",
            reverse_payout=False, restore_cap=True,
        ),
    )  # fmt: skip

    expected = ReturnPolicy(
        window_days=30, percent_ppm=125_000,
        reasons=frozenset({ReturnReason.FRAUD, ReturnReason.DUPLICATE}),
        automatic=True, reverse_payout=False, restore_cap=True,
    )  # fmt: skip
    assert expected == returns_value(body)
    assert returns_value({"returns": None}) is returns_value({}) is None


BAD_POLICIES: list[tuple[dict[str, Any], dict[str, str]]] = [
    ({}, {"returns.window_days": "required"}),
    ({"window_days": 0}, {"returns.window_days": "out_of_range"}),
    ({"window_days": 366}, {"returns.window_days": "out_of_range"}),
    ({"window_days": 7, "percent": "100.0001"}, {"returns.percent": "out_of_range"}),
    ({"window_days": 7, "percent": "-1"}, {"returns.percent": "negative"}),
    ({"window_days": 7, "reasons": []}, {"returns.reasons": "too_short"}),
    ({"window_days": 7, "reasons": ["boredom"]}, {"returns.reasons.0": "not_allowed"}),
    ({"window_days": 7, "reasons": ["fraud"] * 2}, {"returns.reasons": "duplicate"}),
    ({"window_days": 7, "approval": "maybe"}, {"returns.approval": "not_allowed"}),
    ({"window_days": 7, "colour": 1}, {"returns.colour": "unknown_field"}),
]


@pytest.mark.parametrize(("policy", "expected"), BAD_POLICIES, ids=range(len(BAD_POLICIES)))
def test_a_bad_policy_is_told(policy: dict[str, Any], expected: dict[str, str]) -> None:
    """By path and code."""
    with pytest.raises(DocumentsInvalid) as caught:
        canonical(ContractDocument, contract_with(**policy))

    assert expected == {one.path: one.code for one in caught.value.problems}


# --- the books ------------------------------------------------------------------------------------


async def balances(books: Books, buyer: Party) -> tuple[int, int, int]:
    """What buyer, seller and house have, in micros."""
    seller, house = Party(SELLER, "seller"), Party(0, "house")
    return (
        await books.balance(buyer, "available"),
        await books.balance(seller, "payable"),
        await books.balance(house, "margin"),
    )


async def moved(books: Books, attempt: UUID) -> dict[str, int]:
    """Amounts of what a return booked."""
    return {
        one.kind: one.amount
        for one in (await books.snapshot()).transfers
        if one.ref == attempt and one.kind.startswith("return")
    }


@pytest.mark.parametrize("credit", [None, 3 * PRICE])
@pytest.mark.parametrize(
    ("payout", "reverse", "booked", "after"),
    [
        # seller's share, from the seller?, transfers, (seller, house) after one sale of two came back
        (PAYOUT, True, {"return": PAYOUT, "return_margin": PRICE - PAYOUT}, (PAYOUT, PRICE - PAYOUT)),
        (PAYOUT, False, {"return": PRICE}, (2 * PAYOUT, 2 * (PRICE - PAYOUT) - PRICE)),
        (PRICE, True, {"return": PRICE}, (PRICE, 0)),
        (PRICE, False, {"return": PRICE}, (2 * PRICE, -PRICE)),  # the house goes below nothing
        (0, True, {"return_margin": PRICE}, (0, PRICE)),
    ],
)  # fmt: skip
async def test_an_approved_return_moves_the_money_back(
    books: Books,
    credit: int | None,
    payout: int,
    reverse: bool,
    booked: dict[str, int],
    after: tuple[int, int],
) -> None:
    """From the seller and the house, or all of it from the house; a prepaid buyer may spend it again."""
    buyer = await books.buyer("acme", credit=credit)
    contract = await books.contract("a", buyer)
    first, _ = [await books.sale(contract, payout=payout) for _ in range(2)]

    await books.returned(first, reverse=reverse)

    assert booked == await moved(books, first.id)
    assert ((credit or 0) - PRICE, *after) == await balances(books, buyer)
    if credit is not None:
        bucket = await books.bucket(buyer, "credit")
        assert (3 * PRICE, PRICE) == (bucket.lim, bucket.used)
        assert [Verdict.GRANTED, Verdict.GRANTED, Verdict.CREDIT] == [
            await books.sell(contract) for _ in range(3)
        ]


async def test_a_seller_loses_what_a_reversed_return_took(books: Books) -> None:
    """Nothing while it is pending, and nothing that the house bears."""
    contract = await books.one()
    first, second, free = [
        await books.sale(contract, payout=payout) for payout in (PAYOUT, PAYOUT, 0)
    ]
    await books.give_back(second)
    assert [] == await books.store().reversals(second.lead_id)
    await books.returned(first)
    await books.returned(free)

    (lost,) = await books.store().reversals(first.lead_id)

    assert (first.id, PAYOUT) == (lost.attempt_id, lost.amount_micros)
    assert [] == await books.store().reversals(free.lead_id)
    await books.decide_return(
        Decision(
            id=(await books.give_back(second)).row.id, approved=True, by="k", note="",  # type: ignore[union-attr]
            reverse_payout=False,
        )
    )  # fmt: skip
    assert [] == await books.store().reversals(second.lead_id)


@pytest.mark.parametrize("restore", [False, True])
async def test_caps_get_their_unit_back_where_the_policy_says_so(
    books: Books, restore: bool
) -> None:
    """Sales and spending, of contract and buyer; open posts and shares have nothing to get back."""
    buyer = await books.buyer("acme", caps=[cap("sales", 5, "month"), cap("concurrent", 2)])
    contract = await books.contract(
        "a", buyer, caps=[cap("sales", 1, "day"), cap("spend", PRICE), cap("share", 2**62, "day")]
    )
    order = await books.sale(contract)
    assert await books.sell(contract) is Verdict.CAP_SALES

    await books.returned(order, restore=restore)

    left = 0 if restore else 1
    assert left == await books.used(contract, "sales") == await books.used(buyer, "sales")
    assert left * PRICE == await books.used(contract, "spend")
    assert 1 == await books.used(contract, "share")
    assert 0 == await books.used(buyer, "concurrent")
    verdict = Verdict.GRANTED if restore else Verdict.CAP_SALES
    assert await books.sell(contract) is verdict


async def test_a_unit_of_a_day_that_is_over_stays_used(books: Books) -> None:
    """Only a period that still runs gets it back: here the total, and not yesterday."""
    contract = await books.one(cap("sales", 1, "day"), cap("spend", 5 * PRICE))
    order = await books.sale(contract)
    await books.end_days()
    today = await books.sale(contract)

    await books.returned(order, restore=True)

    used = Counter((b.kind, b.used) for b in (await books.snapshot()).buckets)
    assert {("sales", 1): 2, ("spend", PRICE): 1} == used
    assert await books.sell(contract) is Verdict.CAP_SALES
    await books.returned(today, restore=True)
    assert await books.sell(contract) is Verdict.GRANTED


async def test_a_cap_that_was_dropped_or_moved_gets_nothing_twice(books: Books) -> None:
    """A dropped one is forgotten; one in another zone took the sale over, and gives that unit back."""
    contract = await books.one(cap("sales", 5), cap("spend", 9 * PRICE))
    first, second = await books.sale(contract), await books.sale(contract)
    await books.drop_cap(contract, "spend")
    await books.set_cap(contract, cap("sales", 5), "Asia/Tokyo")
    assert 2 == await books.used(contract, "sales")

    await books.returned(first, restore=True)

    assert 1 == await books.used(contract, "sales")
    await books.set_cap(contract, cap("spend", 9 * PRICE))
    assert PRICE == await books.used(contract, "spend")
    await books.returned(second, restore=True)
    assert 0 == await books.used(contract, "sales") == await books.used(contract, "spend")


@pytest.mark.parametrize(
    ("restore", "kind", "counted"),
    [
        (True, "sales", 1),
        (True, "spend", PRICE),
        (True, "share", 2),
        (False, "sales", 2),
        (False, "spend", 2 * PRICE),
    ],
)
async def test_a_cap_that_begins_does_not_count_what_came_back(
    books: Books, restore: bool, kind: str, counted: int
) -> None:
    """A restored sale is none for caps; any other return, asked for or approved, is still one."""
    contract = await books.one()
    first, second = await books.sale(contract), await books.sale(contract)
    await books.returned(first, restore=restore)
    await books.give_back(second)

    await books.set_cap(contract, cap(kind, 9 * PRICE, "month"))

    assert counted == await books.used(contract, kind)
    await books.set_cap(contract, cap(kind, 9 * PRICE, "month"), "Pacific/Auckland")
    assert counted >= await books.used(contract, kind)  # it may be another month there


async def test_a_returned_lead_was_bought_all_the_same(books: Books) -> None:
    """The buyer knows this person: it gets him once within its days, returned or not."""
    buyer = await books.buyer("acme")
    contract = await books.contract("a", buyer, dedupe_days=30)
    await books.returned(await books.sale(contract), restore=True)

    assert await books.award(await books.lead(), contract) is Verdict.DUPLICATE


async def test_a_policy_may_decide_by_itself(books: Books) -> None:
    """Approved at once, with what it says of payout and caps."""
    contract = await books.one(cap("sales", 1), credit=PRICE)
    order = await books.sale(contract)
    policy = replace(A_POLICY, automatic=True, reverse_payout=False, restore_cap=True)

    done = await books.give_back(order, policy)

    assert done.fresh
    assert done.row is not None
    assert (ReturnStatus.APPROVED, "policy") == (done.row.status, done.row.decided_by)
    assert {"return": PRICE} == await moved(books, order.id)
    assert await books.sell(contract) is Verdict.GRANTED


async def test_a_sale_is_given_back_once(books: Books) -> None:
    """Asked again, also after a denial and after the window: the first one."""
    order = await books.sale(await books.one())
    first = await books.give_back(order)
    assert first.row is not None
    assert (ReturnStatus.PENDING, True) == (first.row.status, first.fresh)
    denial = Decision(id=first.row.id, approved=False, by="key:2", note="it rings")
    assert ReturnStatus.DENIED is (await books.decide_return(denial)).status  # type: ignore[union-attr]
    await books.pass_time(8 * DAY_S)

    again = await books.give_back(order, reason="other")

    assert again.row is not None
    assert (first.row.id, ReturnReason.FRAUD, False) == (
        again.row.id,
        again.row.reason,
        again.fresh,
    )
    assert (ReturnStatus.DENIED, "it rings") == (again.row.status, again.row.decision_note)
    assert {} == await moved(books, order.id)


@pytest.mark.parametrize("first", [True, False])
async def test_the_first_decision_stands(books: Books, first: bool) -> None:
    """The contrary one and the same again change nothing."""
    order = await books.sale(await books.one(cap("sales", 3), credit=PRICE))
    asked = await books.give_back(order)
    assert asked.row is not None
    words = [
        Decision(id=asked.row.id, approved=approved, by=by, note="", restore_cap=True)
        for approved, by in ((first, "a"), (not first, "b"), (first, "c"))
    ]

    rows = [await books.decide_return(word) for word in words]

    assert rows[0] == rows[1] == rows[2]
    assert rows[0] is not None
    assert "a" == rows[0].decided_by
    assert await moved(books, order.id) == (
        {"return": PAYOUT, "return_margin": PRICE - PAYOUT} if first else {}
    )
    assert await books.decide_return(replace(words[0], id=books.uuid())) is None


async def test_the_share_is_of_what_was_awarded_within_the_window(books: Books) -> None:
    """Older sales, denied returns and other contracts count for nothing."""
    contract, other = await books.one(), await books.one()
    half = replace(A_POLICY, percent_ppm=500_000)
    for _ in range(4):
        await books.sale(contract)
        await books.sale(other)
    await books.pass_time(8 * DAY_S)
    orders = [await books.sale(contract) for _ in range(4)]

    asked = [await books.give_back(order, half) for order in orders]

    limit = RefusedReason.RETURN_LIMIT_REACHED
    assert [None, None, limit, limit] == [one.refused for one in asked]
    assert asked[0].row is not None
    await books.decide_return(Decision(id=asked[0].row.id, approved=False, by="k", note=""))
    assert (await books.give_back(orders[2], half)).fresh
    assert limit is (await books.give_back(orders[3], half)).refused


async def test_what_was_confirmed_late_counts_on_both_sides(books: Books) -> None:
    """Five sales of the day before yesterday, confirmed today, and nine of today: a tenth is one."""
    contract = await books.one()
    policy = replace(A_POLICY, window_days=1, percent_ppm=100_000)
    late = [books.order(await books.lead(), contract) for _ in range(5)]
    for order in late:
        assert await books.store().award(order) is Verdict.GRANTED
        await books.settle(order.id, "unconfirmed")
    await books.pass_time(2 * DAY_S)
    for order in late:
        await books.settle(order.id, "accepted")
    for _ in range(9):
        await books.sale(contract)

    asked = [await books.give_back(order, policy) for order in late]

    limit = RefusedReason.RETURN_LIMIT_REACHED
    assert [None, limit, limit, limit, limit] == [one.refused for one in asked]


async def test_the_window_begins_with_the_acceptance(books: Books) -> None:
    """A post that was confirmed days later may be returned until days later."""
    contract = await books.one()
    order = await books.intent(contract)
    await books.settle(order.id, "unconfirmed")
    await books.pass_time(6 * DAY_S)
    await books.settle(order.id, "accepted")
    await books.pass_time(6 * DAY_S)

    assert (await books.give_back(order)).fresh

    late = await books.sale(contract)
    await books.pass_time(7 * DAY_S + 1)
    assert RefusedReason.RETURN_WINDOW_OVER is (await books.give_back(late)).refused
    assert RefusedReason.RETURNS_NOT_ALLOWED is (await books.give_back(late, None)).refused
    only = replace(A_POLICY, reasons=frozenset({ReturnReason.OTHER}))
    assert RefusedReason.RETURN_REASON_NOT_ALLOWED is (await books.give_back(late, only)).refused


async def walk(books: Books, seed: int) -> list[object]:
    """A seeded day of sales, returns, decisions and changing caps; what was answered, without times."""
    random, answers = Random(seed), []
    buyers = [await books.buyer("rich"), await books.buyer("poor", credit=30 * PRICE)]
    contracts = [await books.contract(f"c{i}", buyers[i % 2]) for i in range(4)]
    sold: list[AwardOrder] = []
    asked: list[UUID] = []
    for _ in range(STEPS):
        owner, contract = random.choice([*buyers, *contracts]), random.choice(contracts)
        kind, period = random.choice(["sales", "spend", "share"]), random.choice(["day", "total"])
        match random.choices(["sell", "ask", "decide", "set", "drop", "day"], [8, 5, 4, 3, 1, 1])[
            0
        ]:
            case "sell":
                price = random.choice([1, PRICE])
                order = books.order(
                    await books.lead(), contract, price=price, payout=random.choice([0, 1, price])
                )
                answers.append(await books.store().award(order))
                if answers[-1] is Verdict.GRANTED and random.random() < 0.8:
                    await books.settle(order.id, "accepted")
                    sold.append(order)
            case "ask" if sold:
                done = await books.give_back(random.choice(sold), random.choice(POLICIES))
                asked += [done.row.id] if done.row else []
                answers.append((done.refused, done.fresh, done.row and done.row.status))
            case "decide" if asked:
                flags = {
                    name: random.choice([None, True, False])
                    for name in ("reverse_payout", "restore_cap")
                }
                word = Decision(
                    id=random.choice(asked),
                    approved=random.random() < 0.8,
                    by="k",
                    note="",
                    **flags,
                )
                row = await books.decide_return(word)
                answers.append(row and (row.status, row.reverse_payout, row.restore_cap))
            case "set":
                unit = {"sales": 1, "spend": PRICE, "share": 2**58}[kind]  # a share limits nothing
                limit = random.randrange(2, 9) * unit
                zone = random.choice(["UTC", "UTC", "Asia/Kathmandu"])
                await books.set_cap(owner, cap(kind, limit, period), zone)
            case "drop":
                await books.drop_cap(owner, kind, period)
            case "day":
                await books.end_days()
        assert await books.broken() == [], answers
    return answers


STEPS = 120
POLICIES = [
    A_POLICY,
    replace(A_POLICY, percent_ppm=300_000, reverse_payout=False),
    replace(A_POLICY, automatic=True, restore_cap=True),
]


@pytest.mark.parametrize("seed", range(5))
async def test_both_stores_take_back_alike(database: str, seed: int) -> None:
    """Every answer is the same, so are the books, and they are sound after each step."""
    memory, postgres = MemoryBooks(), PostgresBooks(database)
    async for _ in opened(postgres):
        answers = [await walk(books, seed) for books in (memory, postgres)]

        assert answers[0] == answers[1]
        found = [await books.snapshot() for books in (memory, postgres)]
        assert sums(found[0]) == sums(found[1])
        approved = [one for one in found[0].returns if one.status == "approved"]
        assert len(approved) > 5
        assert any(one.buckets for one in approved)


def sums(books: Snapshot) -> object:
    """The books without ids: each store gives its own."""
    account = {one.id: (one.kind, one.owner) for one in books.accounts}
    return (
        Counter((one.kind, account[one.debit], account[one.credit], one.amount) for one in books.transfers),
        Counter((one.owner, one.kind, one.lim, one.used) for one in books.buckets),
        Counter((one.state, len(one.buckets)) for one in books.attempts),
        Counter((one.status, one.reverse_payout, len(one.buckets)) for one in books.returns),
    )  # fmt: skip


# --- the invariants -------------------------------------------------------------------------------


async def returned_books() -> tuple[Snapshot, UUID]:
    """Sound books with one return that gave a cap its unit back."""
    books = MemoryBooks()
    buyer = await books.buyer("acme", credit=5 * PRICE)
    contract = await books.contract("a", buyer, caps=[cap("sales", 5)])
    order = await books.sale(contract)
    await books.returned(order, restore=True)
    await books.sale(contract)
    snapshot = await books.snapshot()
    assert broken_invariants(snapshot) == []
    return snapshot, order.id


def without(snapshot: Snapshot, kind: str) -> Snapshot:
    kept = tuple(one for one in snapshot.transfers if one.kind != kind)
    return replace(snapshot, transfers=kept)


async def test_the_audit_sees_a_return_that_was_booked_wrongly() -> None:
    """A transfer too few, too many or wrong; a unit given back twice, or to a bucket not of the sale."""
    snapshot, _ = await returned_books()
    (given,) = snapshot.returns
    wrong = {
        "I6": [
            without(snapshot, "return"),
            without(snapshot, "return_margin"),
            replace(snapshot, returns=(replace(given, reverse_payout=False),)),
        ],
        "I4": [
            replace(snapshot, returns=(replace(given, buckets=given.buckets[:1]),)),
            replace(snapshot, returns=(replace(given, buckets=(*given.buckets, 77)),)),
            replace(snapshot, returns=(replace(given, status="pending"),)),
        ],
        "I1": [
            replace(snapshot, returns=(given, given)),
            replace(snapshot, returns=(replace(given, attempt_id=UUID(int=1)),)),
            replace(
                snapshot,
                transfers=(*snapshot.transfers, next(t for t in snapshot.transfers if t.kind == "return")),
            ),
        ],
    }  # fmt: skip
    for number, faults in wrong.items():
        for fault in faults:
            assert any(line.startswith(number) for line in broken_invariants(fault)), number


# --- races ----------------------------------------------------------------------------------------


async def test_two_approvals_book_once(database: str) -> None:
    """Raced over connections of their own, with awards and a changing cap beside them."""
    books = PostgresBooks(database)
    async for _ in opened(books):
        buyer = await books.buyer("acme", credit=100 * PRICE)
        contract = await books.contract(
            "a", buyer, caps=[cap("sales", 99), cap("spend", 99 * PRICE)]
        )
        orders = [await books.sale(contract) for _ in range(8)]
        asked = [(await books.give_back(order)).row for order in orders]
        words = [
            Decision(id=row.id, approved=True, by=by, note="", restore_cap=True)
            for row in asked
            if row is not None
            for by in ("a", "b")
        ]

        await asyncio.gather(
            *(books.decide_return(word) for word in words),
            *(books.sale(contract) for _ in range(8)),
            *(books.set_cap(contract, cap("sales", 99), zone) for zone in ("Asia/Tokyo",)),
        )

        kinds = Counter(one.kind for one in (await books.snapshot()).transfers)
        assert (8, 8) == (kinds["return"], kinds["return_margin"])
        assert 8 == await books.used(contract, "sales")
        assert 8 * PRICE == await books.used(contract, "spend") == await books.used(buyer, "credit")


async def test_an_approval_waits_for_a_cap_that_is_being_changed(database: str) -> None:
    """Else it would miss the bucket that the sale is about to be counted in."""
    books = PostgresBooks(database)
    async for _ in opened(books):
        contract = await books.one(cap("sales", 5))
        order = await books.sale(contract)
        asked = (await books.give_back(order)).row
        assert asked is not None
        word = Decision(id=asked.id, approved=True, by="k", note="", restore_cap=True)
        writer = await asyncpg.connect(database)
        try:
            async with writer.transaction():
                change = "SELECT set_cap($1, $2, 'total', 'UTC', $3)"
                await writer.execute(change, contract.id, "spend", 9 * PRICE)
                deciding = asyncio.create_task(books.decide_return(word))
                while not await books.sql.fetchval(WAITING):
                    assert not deciding.done()
            assert (await deciding) is not None
        finally:
            await writer.close()

        assert 0 == await books.used(contract, "sales") == await books.used(contract, "spend")


WAITING = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_an_approval_and_a_denial_raced_agree(database: str) -> None:
    """Whoever is first; the money follows the status."""
    books = PostgresBooks(database)
    async for _ in opened(books):
        contract = await books.one(credit=100 * PRICE)
        orders = [await books.sale(contract) for _ in range(6)]
        asked = [(await books.give_back(order)).row for order in orders]
        words = [
            Decision(id=row.id, approved=approved, by="k", note="")
            for row in asked
            if row is not None
            for approved in (False, True)
        ]

        rows = await asyncio.gather(*(books.decide_return(word) for word in words))

        statuses = {row.id: row.status for row in rows if row is not None}
        assert [statuses[word.id] for word in words] == [row.status for row in rows if row]
        kinds = Counter(one.kind for one in (await books.snapshot()).transfers)
        assert kinds["return"] == Counter(statuses.values())[ReturnStatus.APPROVED]


async def test_a_share_and_a_sale_are_judged_one_after_the_other(database: str) -> None:
    """Of ten sales at 30 %, three come back however many ask at once; of one sale, one return."""
    books = PostgresBooks(database)
    async for _ in opened(books):
        contract = await books.one()
        orders = [await books.sale(contract) for _ in range(10)]
        third = replace(A_POLICY, percent_ppm=300_000)

        asked = await asyncio.gather(*(books.give_back(o, third) for o in [*orders, *orders]))

        fresh = [one.row for one in asked if one.fresh and one.row]
        assert 3 == len(fresh) == len({row.attempt_id for row in fresh})
        assert 3 == len((await books.snapshot()).returns)


# --- the API --------------------------------------------------------------------------------------

POLICY = {"window_days": 7, "percent": "100", "reasons": ["fraud", "duplicate"]}


@pytest.fixture
async def offices(database: str) -> AsyncIterator[Offices]:
    async with open_offices(database) as found:
        answer = await found.admin("PATCH", "/v1/contracts/acme-1", {"returns": POLICY})
        assert answer.status == 200, answer.body
        yield found
        assert broken_invariants(await read_snapshot(found.store.db.dsn)) == []


async def ask(offices: Offices, lead: str, reason: str = "fraud", **more: Any) -> Answer:
    return await offices.acme("POST", "/v1/returns", {"lead_id": lead, "reason": reason, **more})


async def test_a_buyer_asks_and_an_admin_approves(offices: Offices) -> None:
    """The buyer reads the decision, not whose it was; its credit is back."""
    lead = await offices.sale()
    asked = await ask(offices, lead, note="nobody there")
    assert 201 == asked.status
    id_ = asked.body["return_id"]
    assert read_id("ret", id_) is not None
    expected = {
        "return_id": id_, "lead_id": lead, "contract": "acme-1", "reason": "fraud",
        "note": "nobody there", "status": "pending", "price": "10.00", "currency": "USD",
        "requested_at": asked.body["requested_at"], "decided_at": None, "decided_by": None,
        "decision_note": None,
    }  # fmt: skip
    assert expected == asked.body

    done = await offices.admin("POST", f"/v1/returns/{id_}/approve", {"note": "sorry"})

    assert (200, "approved", "sorry") == (
        done.status, done.body["status"], done.body["decision_note"],
    )  # fmt: skip
    assert done.body["decided_by"].startswith("key:")
    assert ("acme", "8.00", True, False) == (
        done.body["buyer"], done.body["payout"], done.body["reverse_payout"],
        done.body["restore_cap"],
    )  # fmt: skip
    read = await offices.acme("GET", f"/v1/returns/{id_}")
    assert set(expected) == set(read.body)
    assert ("approved", "operator") == (read.body["status"], read.body["decided_by"])
    usage = await offices.acme("GET", "/v1/contracts/acme-1/usage")
    assert "100.00" == usage.body["credit"]["available"]
    assert [1, "10.00"] == [one["used"] for one in usage.body["caps"][:2]]


async def test_an_approval_may_override_the_policy(offices: Offices) -> None:
    """The house bears it, and the caps get their units back."""
    lead = await offices.sale()
    id_ = (await ask(offices, lead)).body["return_id"]
    words = {"note": "", "reverse_payout": False, "restore_cap": True}

    done = await offices.admin("POST", f"/v1/returns/{id_}/approve", words)

    assert (False, True) == (done.body["reverse_payout"], done.body["restore_cap"])
    usage = await offices.acme("GET", "/v1/contracts/acme-1/usage")
    assert [0, "0.00"] == [one["used"] for one in usage.body["caps"][:2]]
    receipt = (await offices.admin("GET", f"/v1/leads/{lead}")).body
    (back,) = [one for one in receipt["transfers"] if one["kind"] == "return"]
    assert ("margin", "available", "acme", "10.00") == (
        back["from"]["account"], back["to"]["account"], back["to"]["owner"], back["amount"],
    )  # fmt: skip
    assert [done.body] == receipt["returns"]


async def test_deciding_twice_the_same_is_200_and_the_contrary_409(offices: Offices) -> None:
    """The first word stands, also over another note."""
    id_ = (await ask(offices, await offices.sale())).body["return_id"]
    path = f"/v1/returns/{id_}"

    first = await offices.admin("POST", f"{path}/deny", {"note": "it rings"})
    again = await offices.admin("POST", f"{path}/deny", {"note": "again"})
    contrary = await offices.admin("POST", f"{path}/approve", {})

    assert (200, "denied", "it rings") == (
        first.status, first.body["status"], first.body["decision_note"],
    )  # fmt: skip
    assert (200, first.body) == (again.status, again.body)
    assert (409, "contrary_outcome") == (contrary.status, contrary.code)


async def test_asking_again_is_answered_with_the_first(offices: Offices) -> None:
    """200 for the same reason, 409 for another, by whomever."""
    lead = await offices.sale()
    first = await ask(offices, lead, note="one")

    again = await ask(offices, lead, note="two")
    other = await ask(offices, lead, "duplicate")
    admin = await offices.admin("POST", "/v1/returns", {"lead_id": lead, "reason": "fraud"})

    assert (200, first.body) == (again.status, again.body)
    assert (409, "already_returned") == (other.status, other.code)
    assert first.body["return_id"] == other.body["return_id"]
    assert (200, first.body["return_id"]) == (admin.status, admin.body["return_id"])


async def test_what_may_not_come_back_is_refused(offices: Offices) -> None:
    """404 for what is not this buyer's sale, whoever's it is; 422 for what the contract says."""
    lead, foreign = await offices.sale(), await offices.sale("zenith-1")
    unsold, open_ = await offices.lead()
    await offices.settle(await offices.attempt(unsold), "rejected")
    for text in (foreign, open_, "lead_" + "0" * 32, lead.replace("lead_", "lead_test_"), "x"):
        answer = await ask(offices, text)
        assert (404, "not_found") == (answer.status, answer.code), text

    asked = await offices.zenith("POST", "/v1/returns", {"lead_id": foreign, "reason": "fraud"})
    assert (422, "returns_not_allowed") == (asked.status, asked.code)
    answer = await ask(offices, lead, "out_of_area")
    assert (422, "return_reason_not_allowed") == (answer.status, answer.code)
    none = POLICY | {"percent": "50"}
    assert 200 == (await offices.admin("PATCH", "/v1/contracts/acme-1", {"returns": none})).status
    answer = await ask(offices, lead)
    assert (422, "return_limit_reached") == (answer.status, answer.code)
    await offices.store.db.execute(
        "UPDATE attempt SET settled_at = settled_at - interval '169 hours'"
    )
    answer = await ask(offices, lead)
    assert (422, "return_window_over") == (answer.status, answer.code)


async def test_a_bad_request_is_told_whole_and_never_echoed(offices: Offices) -> None:
    """Every fault at once."""
    body = {"lead_id": 7, "reason": "secret-word", "note": "x" * 501, "buyer": "acme", "colour": 1}
    answer = await offices.acme("POST", "/v1/returns", body)
    assert 422 == answer.status
    assert {
        ("lead_id", "invalid_type"), ("reason", "not_allowed"), ("note", "too_long"),
        ("buyer", "unknown_field"), ("colour", "unknown_field"),
    } == answer.errors  # fmt: skip
    assert "secret-word" not in str(answer.body)
    id_ = (await ask(offices, await offices.sale())).body["return_id"]
    for verb, wrong in (("deny", {"restore_cap": True}), ("approve", {"restore_cap": 1})):
        answer = await offices.admin("POST", f"/v1/returns/{id_}/{verb}", wrong)
        assert (422, "invalid_request") == (answer.status, answer.code), verb
    for text in ("x", "ret_" + "0" * 32, id_.replace("ret_", "att_")):
        assert 404 == (await offices.admin("POST", f"/v1/returns/{text}/approve", {})).status


async def test_lists_are_paged_and_filtered(offices: Offices) -> None:
    """Newest first; a buyer sees its own, an admin everybody's by status, buyer and contract."""
    await offices.admin("PATCH", "/v1/contracts/zenith-1", {"returns": POLICY})
    own = [(await ask(offices, await offices.sale())).body["return_id"] for _ in range(3)]
    lead = await offices.sale("zenith-1")
    other = await offices.zenith("POST", "/v1/returns", {"lead_id": lead, "reason": "fraud"})
    await offices.admin("POST", f"/v1/returns/{own[0]}/deny", {})

    async def ids(side: Any, query: str) -> list[str]:
        found = await side("GET", f"/v1/returns{query}")
        assert 200 == found.status, found.body
        return [one["return_id"] for one in found.body["items"]]

    newest = own[::-1]
    assert newest == await ids(offices.acme, "")
    assert newest[:2] == await ids(offices.acme, "?status=pending")
    assert [other.body["return_id"], *newest] == await ids(offices.admin, "")
    assert newest == await ids(offices.admin, "?buyer=acme")
    assert [own[0]] == await ids(offices.admin, "?contract=acme-1&status=denied&buyer=acme")
    assert [] == await ids(offices.admin, "?contract=acme-1&buyer=zenith")
    page = await offices.acme("GET", "/v1/returns?limit=2")
    assert [own[0]] == await ids(offices.acme, f"?limit=2&cursor={page.body['next']}")
    assert 404 == (await offices.zenith("GET", f"/v1/returns/{own[0]}")).status
    for query in ("?status=open", "?buyer=zenith", "?cursor=eA==", "?contract=%00"):
        assert 422 == (await offices.acme("GET", f"/v1/returns{query}")).status, query


async def test_every_route_wants_a_key_of_its_role(offices: Offices) -> None:
    """Buyers ask and read; only admins decide, and only on their own listener."""
    paths = [("POST", ""), ("GET", ""), ("GET", "/ret_x")]
    decisions = [("POST", "/ret_x/approve"), ("POST", "/ret_x/deny")]
    for method, path in paths:
        for side, key in ((offices.acme, "admin"), (offices.admin, "acme")):
            answer = await side.with_key(offices.keys[key])(method, f"/v1/returns{path}", b"{}")
            assert (403, "wrong_role") == (answer.status, answer.code), path
    for method, path in decisions:
        answer = await offices.admin.with_key(offices.keys["acme"])(method, f"/v1/returns{path}")
        assert (403, "wrong_role") == (answer.status, answer.code), path
        assert 404 == (await offices.acme(method, f"/v1/returns{path}", b"{}")).status


async def test_only_an_admin_sets_the_policy(offices: Offices) -> None:
    """A buyer sees it, and may write back what it sees."""
    path = "/v1/contracts/acme-1"
    seen = (await offices.acme("GET", path)).body
    assert "100.00" == seen["returns"]["percent"]

    kept = await offices.acme("PUT", path, {**seen, "priority": 3, "active": False})
    left_out = {k: v for k, v in seen.items() if k != "returns"} | {"active": False}
    absent = await offices.acme("PUT", path, left_out)
    changed = await offices.acme("PATCH", path, {"returns": {"percent": "1"}, "active": False})
    nulled = await offices.acme("PATCH", path, {"returns": None, "active": False})
    created = await offices.acme("POST", "/v1/contracts", a_contract("acme-2", returns=POLICY))

    assert (200, seen["returns"]) == (kept.status, kept.body["returns"])
    assert (200, seen["returns"]) == (absent.status, absent.body["returns"])
    for answer in (changed, nulled, created):
        assert (422, {("returns", "not_allowed")}) == (answer.status, answer.errors)


async def test_a_retired_contract_takes_back_what_it_sold(offices: Offices) -> None:
    """Its policy is still the one it had."""
    lead = await offices.sale()
    assert 204 == (await offices.admin("DELETE", "/v1/contracts/acme-1")).status

    assert 201 == (await ask(offices, lead)).status


@asynccontextmanager
async def sellers_side(offices: Offices) -> AsyncIterator[Side]:
    """The seller's handlers over the same books; nothing is sold here."""
    house = House(
        settings=Settings(), store=offices.store, transport=cast("Transport", None), guard=GUARD,
        vault=offices.vault, observer=Silent(), worker=1, random_bytes=os.urandom,
        catalogue=await offices.catalogue(), loaded=True,
    )  # fmt: skip
    ring = KeyRing(StoredKeys(offices.store.db), offices.vault)
    app = web.Application(middlewares=[net_under(Silent())])
    app.add_routes(SellerDesk(house, ring).routes())
    async with TestClient(TestServer(app)) as client:
        yield Side(client, offices.keys["roofquotes"])


@pytest.mark.parametrize("reverse", [True, False])
async def test_a_sellers_timeline_says_what_it_lost(offices: Offices, reverse: bool) -> None:
    """Its own money only; the answer it was given stays what it was."""
    text = await offices.sale()
    ids = read_id("lead", text)
    assert ids is not None
    answer = {"lead_id": text, "outcome": "sold", "price": "8.00", "currency": "USD"}
    closing = Closing(
        lead_id=ids[0], owner=1, state=LeadState.SOLD, reason=None, receipt=b"{}",
        answer=orjson.dumps(answer),
    )  # fmt: skip
    await offices.store.close_lead(closing)
    id_ = (await ask(offices, text)).body["return_id"]
    async with sellers_side(offices) as seller:
        before = (await seller("GET", f"/v1/leads/{text}")).body
        word = {"reverse_payout": reverse}
        await offices.admin("POST", f"/v1/returns/{id_}/approve", word)
        after = (await seller("GET", f"/v1/leads/{text}")).body

    lost = [one for one in after["timeline"] if one not in before["timeline"]]
    assert before | {"timeline": None} == after | {"timeline": None}
    assert answer.items() <= after.items()
    assert [("returned", 1, "8.00")] * reverse == [
        (one["event"], one["attempt"], one["amount"]) for one in lost
    ]
    assert before["timeline"] == after["timeline"][: len(before["timeline"])]


async def test_the_office_counts_returns_by_buyer_and_status(
    offices: Offices, tmp_path: Path
) -> None:
    """Read from the books, so that it holds for every worker and the office together."""
    asked = [(await ask(offices, await offices.sale())).body["return_id"] for _ in range(3)]
    await offices.admin("POST", f"/v1/returns/{asked[0]}/deny", {})
    orders = Orders(
        name="office", dsn=offices.store.db.dsn, master_key="00" * 32, listen="127.0.0.1:1",
        office_listen="127.0.0.1:2", metrics_dir=str(tmp_path), workers=1,
    )  # fmt: skip
    office = Office(Settings(), orders)
    try:
        text = (await office.scrape(make_mocked_request("GET", "/metrics"))).text
    finally:
        await office.store.close()

    assert text is not None
    assert 'exchange_returns{buyer="acme",status="pending"} 2.0' in text
    assert 'exchange_returns{buyer="acme",status="denied"} 1.0' in text


async def test_a_shared_lead_comes_back_from_each_buyer_by_itself(offices: Offices) -> None:
    """Each buyer gives back its own sale; an admin says whose it is."""
    await offices.admin("PATCH", "/v1/contracts/zenith-1", {"returns": POLICY})
    lead, text = await offices.lead()
    for slot, contract in enumerate(("acme-1", "zenith-1"), 1):
        attempt = await offices.attempt(lead, contract, price=slot * 10, slot=slot, shares=2)
        await offices.settle(attempt, "accepted")
    body = {"lead_id": text, "reason": "fraud"}

    unnamed = await offices.admin("POST", "/v1/returns", body)
    named = await offices.admin("POST", "/v1/returns", body | {"buyer": "zenith"})
    own = await ask(offices, text)

    assert (422, {("buyer", "required")}) == (unnamed.status, unnamed.errors)
    assert (201, "zenith", "20.00") == (named.status, named.body["buyer"], named.body["price"])
    assert (201, "acme-1", "10.00") == (own.status, own.body["contract"], own.body["price"])
    for one in (named, own):
        await offices.admin("POST", f"/v1/returns/{one.body['return_id']}/approve", {})
    receipt = (await offices.admin("GET", f"/v1/leads/{text}")).body
    back = [one["kind"] for one in receipt["transfers"]]
    assert (2, 2, 2) == (back.count("return"), back.count("return_margin"), len(receipt["returns"]))
