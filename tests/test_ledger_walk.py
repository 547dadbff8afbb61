"""Random commands, given to both stores alike: every answer is the same, and so are the books."""

from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from random import Random
from typing import Any
from uuid import UUID

import pytest

from exchange.books import Snapshot
from exchange.errors import ClaimLost
from exchange.store.rows import AttemptRow, AwardOrder, ClaimKey, LeadRow, NewLead
from tests.ledgers import MICROS, SELLER, Books, MemoryBooks, Party, PostgresBooks, cap

SEEDS, STEPS = 8, 150
WORKERS = (1, 2, 3)
Command = tuple[str, Callable[[Books], Awaitable[object]]]


class Walk:
    """Draws commands. Ids are drawn once, so that both stores are told the same."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.buyers: list[Party] = []
        self.contracts: list[Party] = []
        self.leads: list[NewLead] = []
        self.orders: list[AwardOrder] = []
        self.keys = [ClaimKey(SELLER, "/v1/leads", name) for name in "abc"]
        self.maker = MemoryBooks(seed)  # only draws ids

    async def populate(self, books: Books) -> None:
        buyers = [
            await books.buyer("rich", caps=[cap("sales", 9, "day"), cap("concurrent", 4)]),
            await books.buyer("poor", credit=40 * MICROS),
            await books.buyer("plain"),
        ]
        self.buyers = buyers
        self.contracts = [
            await books.contract("a", buyers[0], caps=[cap("spend", 50 * MICROS, "month")]),
            await books.contract("b", buyers[0], caps=[cap("share", 2**62, "day")]),
            await books.contract("c", buyers[1], caps=[cap("sales", 3)]),
            await books.contract("d", buyers[2]),
        ]
        self.maker.payable, self.maker.margin = books.payable, books.margin

    def command(self) -> Command:
        name = self.random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        drawn: Command = (name, getattr(self, f"_{name}")())
        return drawn

    # --- commands ---------------------------------------------------------------------------------

    def _open(self) -> Callable[[Books], Awaitable[object]]:
        again = self.leads and self.random.random() < 0.2
        ping = self.random.choice(self.leads).ping_id if again else None
        lead = self.maker.new_lead(self._worker(), ping=ping, test=self.random.random() < 0.05)
        key = self.random.choice([None, *self.keys])
        self.leads.append(lead)
        return lambda books: _opened(books, lead, key)

    def _award(self) -> Callable[[Books], Awaitable[object]]:
        if self.orders and self.random.random() < 0.1:
            order = self.random.choice(self.orders)
        else:
            lead = self.random.choice(self.leads[-12:])
            price = self.random.choice([1, 3 * MICROS, 10 * MICROS])
            owner = lead.owner if self.random.random() < 0.8 else self._worker()
            order = self.maker.order(
                lead.id, self.random.choice(self.contracts), price=price,
                payout=self.random.choice([0, price // 2, price]), worker=owner,
            )  # fmt: skip
            if not lead.test:  # nobody awards a test
                self.orders.append(order)
            else:
                return self._usage()
        return lambda books: books.store(order.owner).award(order)

    def _settle(self) -> Callable[[Books], Awaitable[object]]:
        attempt = self._attempt()
        outcome = self.random.choice(["accepted", "rejected", "not_sent", "unconfirmed"])
        fence, next_s = self.random.choice([0, 0, 1, 2]), self.random.choice([None, 0.0, 5000.0])
        return lambda books: books.settle(attempt, outcome, fence=fence, next_s=next_s)

    def _set_cap(self) -> Callable[[Books], Awaitable[object]]:
        owner = self.random.choice([*self.buyers, *self.contracts])
        kind = self.random.choice(["sales", "spend", "concurrent"])
        limit = self.random.randrange(6) * (5 * MICROS if kind == "spend" else 1)
        changed = cap(kind, limit, self.random.choice(["day", "month", "total"]))
        zone = self.random.choice(["UTC", "UTC", "America/New_York"])
        return lambda books: books.set_cap(owner, changed, zone)

    def _drop_cap(self) -> Callable[[Books], Awaitable[object]]:
        owner = self.random.choice([*self.buyers, *self.contracts])
        kind = self.random.choice(["sales", "spend", "concurrent"])
        period = self.random.choice(["day", "month", "total"])
        return lambda books: books.drop_cap(owner, kind, period)

    def _deposit(self) -> Callable[[Books], Awaitable[object]]:
        buyer, amount = self.random.choice(self.buyers), self.random.choice([0, 7 * MICROS])
        return lambda books: books.deposit(buyer, amount)

    def _pause(self) -> Callable[[Books], Awaitable[object]]:
        kind, slug = self.random.choice([("all", ""), ("buyer", "rich"), ("contract", "c")])
        paused = self.random.random() < 0.3
        return lambda books: books.pause(kind, slug, paused)

    def _close(self) -> Callable[[Books], Awaitable[object]]:
        lead_id = self.random.choice(self.leads).id

        async def close(books: Books) -> object:
            states = {a.state.value for a in await books.store().attempts(lead_id)}
            return await books.end(lead_id, "sold" if "accepted" in states else "unsold")

        return close

    def _abandon(self) -> Callable[[Books], Awaitable[object]]:
        lead, worker = self.random.choice(self.leads), self._worker()
        return lambda books: books.store().abandon_lead(lead.id, worker)

    def _claim(self) -> Callable[[Books], Awaitable[object]]:
        key, body = self.random.choice(self.keys), self.random.choice([b"one", b"two"])
        worker = self._worker()
        return lambda books: books.store(worker).claim(key, body, worker)

    def _finish(self) -> Callable[[Books], Awaitable[object]]:
        key = self.random.choice(self.keys)
        if self.random.random() < 0.5:
            return lambda books: books.store().finish_claim(key, 200, b"answer")
        return lambda books: books.store().free_claim(key)

    def _beat(self) -> Callable[[Books], Awaitable[object]]:
        worker = self._worker()
        return lambda books: books.store(worker).beat(worker)

    def _die(self) -> Callable[[Books], Awaitable[object]]:
        worker = self._worker()
        return lambda books: books.die(worker)

    def _adopt(self) -> Callable[[Books], Awaitable[object]]:
        worker = self._worker()

        async def adopt(books: Books) -> object:
            adopted = await books.store(worker).adopt(worker)
            return set(adopted.leads), adopted.interrupted, adopted.freed

        return adopt

    def _due(self) -> Callable[[Books], Awaitable[object]]:
        worker = self._worker()
        named = self._attempt() if self.random.random() < 0.5 else None
        return lambda books: books.store(worker).due(worker, named)

    def _recover(self) -> Callable[[Books], Awaitable[object]]:
        worker = self._worker()

        async def recover(books: Books) -> object:
            store = books.store(worker)
            return await store.stray_intents(worker, 10), set(await store.idle_leads(worker, 10))

        return recover

    def _usage(self) -> Callable[[Books], Awaitable[object]]:
        async def usage(books: Books) -> object:
            turns = await books.store().turns([c.id for c in self.contracts], "day")
            order = sorted(turns.last_turn, key=turns.last_turn.__getitem__)
            return (await books.store().usage()).full, order, turns.sold

        return usage

    def _pass_time(self) -> Callable[[Books], Awaitable[object]]:
        seconds = self.random.choice([2, 2, 11, 3600, 90_000])
        return lambda books: books.pass_time(seconds)

    def _worker(self) -> int:
        return self.random.choice(WORKERS)

    def _attempt(self) -> UUID:
        return self.random.choice(self.orders[-15:]).id if self.orders else UUID(int=1)


_WEIGHTS = {
    "open": 14, "award": 22, "settle": 18, "set_cap": 5, "drop_cap": 2, "deposit": 2, "pause": 3,
    "close": 4, "abandon": 3, "claim": 5, "finish": 2, "beat": 3, "die": 2, "adopt": 5, "due": 5,
    "recover": 3, "usage": 4, "pass_time": 3,
}  # fmt: skip


def timeless(answer: Any) -> Any:
    """An answer without the moments in it, and rows that come in no order as a set."""
    match answer:
        case AttemptRow():
            return (
                answer.id, answer.lead_id, answer.contract_id, answer.buyer_id, answer.contract,
                answer.tier, answer.state, answer.price_micros, answer.payout_micros, answer.fence,
                answer.tries, answer.detail, answer.settled_at is None,
            )  # fmt: skip
        case LeadRow():
            return (
                answer.id, answer.ping_id, answer.state, answer.reason, answer.owner, answer.test,
                answer.receipt, answer.answer, answer.person, answer.closed_at is None,
            )  # fmt: skip
        case list():
            return {timeless(one) for one in answer}
        case tuple():
            return tuple(timeless(one) for one in answer)
    return answer


def totals(books: Snapshot) -> object:
    """The books without their ids, which every store gives for itself."""
    account = {one.id: (one.kind, one.owner, one.currency) for one in books.accounts}
    owed: Counter[object] = Counter()
    for one in books.transfers:
        owed[account[one.debit]] -= one.amount
        owed[account[one.credit]] += one.amount
    return (
        +owed,
        -owed,
        Counter((one.kind, one.amount) for one in books.transfers),
        Counter((b.owner, b.kind, b.money, b.transient, b.lim, b.used) for b in books.buckets),
        {one.id: one.state for one in books.leads},
        {one.id: (one.state, len(one.buckets)) for one in books.attempts},
    )


async def _opened(books: Books, lead: NewLead, key: ClaimKey | None) -> object:
    try:
        return await books.store(lead.owner).open_lead(lead, key)
    except ClaimLost:
        return "the key is another's"


@pytest.fixture
async def both(database: str) -> AsyncIterator[tuple[Books, Books]]:
    books = MemoryBooks(), PostgresBooks(database)
    for one in books:
        await one.open()
    yield books
    for one in books:
        await one.close()


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_both_stores_answer_alike(both: tuple[Books, Books], seed: int) -> None:
    walk = Walk(seed)
    for books in both:
        await walk.populate(books)
    walk.maker.payable = both[0].payable
    assert (both[0].payable, both[0].margin) == (both[1].payable, both[1].margin)
    told = [("open", walk._open())]
    for step in range(STEPS):
        name, run = told[0] if step == 0 else walk.command()
        memory, postgres = [timeless(await run(books)) for books in both]
        assert memory == postgres, f"step {step}: {name}"
    for lead in walk.leads:
        for read in (_lead, _attempts):
            memory, postgres = [timeless(await read(books, lead.id)) for books in both]
            assert memory == postgres
    memory, postgres = [await books.snapshot() for books in both]
    assert totals(memory) == totals(postgres)
    assert await both[0].broken() == await both[1].broken() == []


async def _lead(books: Books, lead_id: UUID) -> object:
    return await books.store().lead(lead_id)


async def _attempts(books: Books, lead_id: UUID) -> object:
    return tuple(await books.store().attempts(lead_id))
