"""The same books twice: builders over MemoryStore and over a PostgresStore for each worker."""

import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from random import Random
from uuid import UUID

import asyncpg
import pytest

from buyers.contract import Cap, CapKind
from exchange.books import BookedBucket, Snapshot, broken_invariants
from exchange.returns import ReturnPolicy, ReturnReason, ReturnStatus
from exchange.sealing import Sealed
from exchange.store.audit import read_snapshot
from exchange.store.memory import MemoryStore
from exchange.store.postgres import PostgresStore
from exchange.store.returns import decide_return, request_return
from exchange.store.rows import (
    AttemptState,
    AwardOrder,
    ClaimKey,
    Closing,
    Decision,
    LeadState,
    NewLead,
    PingRow,
    Requested,
    ReturnRow,
    ReturnWish,
    Settled,
    Settlement,
    Verdict,
)
from exchange.store.store import Store

MICROS = 1_000_000
A_POLICY = ReturnPolicy(
    window_days=7, percent_ppm=1_000_000, reasons=frozenset(ReturnReason), automatic=False,
    reverse_payout=True, restore_cap=False,
)  # fmt: skip
PRICE, PAYOUT = 10 * MICROS, 8 * MICROS
SELLER = 900_000


def cap(kind: str, limit: int, period: str = "total") -> Cap:
    return Cap(kind=CapKind(kind), period=period, limit=limit)


@dataclass(frozen=True, slots=True)
class Party:
    """A buyer or a contract."""

    id: int
    slug: str


class Books(ABC):
    """A store with a catalogue: what a test says of the books, in its own words."""

    def __init__(self, seed: int = 0) -> None:
        self._random = Random(seed)
        self._parties = 0
        self.payable = self.margin = 0

    def uuid(self) -> UUID:
        return UUID(int=self._random.getrandbits(128))

    def _party(self, slug: str) -> Party:
        self._parties += 1
        return Party(self._parties, slug)

    # --- what differs -----------------------------------------------------------------------------

    @abstractmethod
    def store(self, worker: int = 1) -> Store: ...
    @abstractmethod
    async def open(self) -> None: ...
    @abstractmethod
    async def close(self) -> None: ...
    @abstractmethod
    async def snapshot(self) -> Snapshot: ...
    @abstractmethod
    async def _add_buyer(self, party: Party, credit: int | None, currency: str) -> None: ...
    @abstractmethod
    async def _add_contract(self, party: Party, buyer: Party, dedupe_days: int) -> None: ...
    @abstractmethod
    async def set_cap(self, owner: Party, cap: Cap, timezone: str = "UTC") -> None: ...
    @abstractmethod
    async def drop_cap(self, owner: Party, kind: str, period: str = "total") -> None: ...
    @abstractmethod
    async def pace(self, owner: Party, kind: str) -> None:
        """Spread the daily cap of this kind over the day."""

    @abstractmethod
    async def reserve(self, buyer: Party, amount: int) -> None: ...
    @abstractmethod
    async def dedupe_vertical(self, slug: str, days: int) -> None: ...
    @abstractmethod
    async def deposit(self, buyer: Party, amount: int) -> None: ...
    @abstractmethod
    async def pause(self, kind: str, slug: str, paused: bool = True) -> None: ...
    @abstractmethod
    async def pass_time(self, seconds: float) -> None:
        """Everything written so far was written that much earlier; periods stay as they are."""

    @abstractmethod
    async def end_days(self) -> None:
        """The day is over for every daily cap; nothing else is later."""

    @abstractmethod
    async def die(self, worker: int) -> None: ...
    @abstractmethod
    async def ask_return(self, wish: ReturnWish, policy: ReturnPolicy | None) -> Requested: ...
    @abstractmethod
    async def want_callbacks(self) -> None:
        """The seller of every lead has a callback_url from now on."""

    @abstractmethod
    async def owed(self, lead_id: UUID) -> tuple[bool, int | None]:
        """Whether a callback is owed, and how many posts were open in what its seller was told."""

    @abstractmethod
    async def decide_return(self, decision: Decision) -> ReturnRow | None: ...

    # --- what does not ----------------------------------------------------------------------------

    async def buyer(
        self,
        slug: str,
        *,
        credit: int | None = None,
        caps: Iterable[Cap] = (),
        timezone: str = "UTC",
        currency: str = "USD",
    ) -> Party:
        party = self._party(slug)
        await self._add_buyer(party, credit, currency)
        for one in caps:
            await self.set_cap(party, one, timezone)
        return party

    async def contract(
        self, slug: str, buyer: Party, *, caps: Iterable[Cap] = (), dedupe_days: int = 0
    ) -> Party:
        party = self._party(slug)
        await self._add_contract(party, buyer, dedupe_days)
        for one in caps:
            await self.set_cap(party, one)
        return party

    async def one(self, *caps: Cap, credit: int | None = None) -> Party:
        """A contract with these caps, of a buyer that has nothing else."""
        buyer = await self.buyer(f"buyer-{self._parties}", credit=credit)
        return await self.contract(f"contract-{self._parties}", buyer, caps=caps)

    def new_lead(
        self,
        worker: int = 1,
        *,
        ping: UUID | None = None,
        test: bool = False,
        person: tuple[bytes | None, bytes | None] = (b"p", b"e"),
    ) -> NewLead:
        return NewLead(
            id=self.uuid(), ping_id=ping or self.uuid(), seller=SELLER, vertical="auto", test=test,
            min_price_micros=0, external_id="x-1", owner=worker, answer_in_ms=15_000, request=b"{}",
            person=Sealed(b"key", b"person"), phone_index=person[0], email_index=person[1],
        )  # fmt: skip

    async def lead(
        self,
        worker: int = 1,
        *,
        key: ClaimKey | None = None,
        ping: UUID | None = None,
        test: bool = False,
        person: tuple[bytes | None, bytes | None] = (b"p", b"e"),
    ) -> UUID:
        lead = self.new_lead(worker, ping=ping, test=test, person=person)
        assert await self.store(worker).open_lead(lead, key) is None
        return lead.id

    def order(
        self,
        lead_id: UUID,
        contract: Party,
        *,
        price: int = PRICE,
        payout: int = PAYOUT,
        worker: int = 1,
        id_: UUID | None = None,
        slot: int = 0,
        shares: int = 1,
        day_over: float | None = None,
    ) -> AwardOrder:
        return AwardOrder(
            id=id_ or self.uuid(), lead_id=lead_id, contract_id=contract.id, price_micros=price,
            payout_micros=payout, seller_account=self.payable, margin_account=self.margin,
            tier="auction", bid_id=None, owner=worker, slot=slot, shares=shares, day_over=day_over,
        )  # fmt: skip

    async def award(self, lead_id: UUID, contract: Party, **options: float) -> Verdict:
        order = self.order(lead_id, contract, **options)  # type: ignore[arg-type]
        return await self.store(order.owner).award(order)

    async def sell(self, contract: Party, *, price: int = PRICE, worker: int = 1) -> Verdict:
        """An award for a new lead."""
        return await self.award(
            await self.lead(worker), contract, price=price, payout=price // 2, worker=worker
        )

    async def intent(self, contract: Party, *, worker: int = 1, price: int = PRICE) -> AwardOrder:
        """A granted award for a new lead."""
        lead_id = await self.lead(worker)
        order = self.order(lead_id, contract, price=price, payout=price // 2, worker=worker)
        assert await self.store(worker).award(order) is Verdict.GRANTED
        return order

    async def settle(
        self,
        attempt: UUID,
        outcome: str,
        *,
        fence: int = 0,
        next_s: float | None = None,
        worker: int = 1,
    ) -> Settled:
        return await self.store(worker).settle(
            Settlement(
                id=attempt,
                fence=fence,
                outcome=AttemptState(outcome),
                detail=f'"{outcome}"'.encode(),
                next_try_s=next_s,
            )
        )

    async def sale(
        self, contract: Party, *, price: int = PRICE, payout: int = PAYOUT
    ) -> AwardOrder:
        """A lead sold under this contract."""
        order = self.order(await self.lead(), contract, price=price, payout=payout)
        assert await self.store().award(order) is Verdict.GRANTED
        assert await self.settle(order.id, "accepted") is Settled.OK
        return order

    async def give_back(
        self, order: AwardOrder, policy: ReturnPolicy | None = A_POLICY, reason: str = "fraud"
    ) -> Requested:
        wish = ReturnWish(
            id=self.uuid(), attempt_id=order.id, contract_id=order.contract_id,
            reason=ReturnReason(reason), note="no such number", by="key:1",
        )  # fmt: skip
        return await self.ask_return(wish, policy)

    async def returned(
        self, order: AwardOrder, *, reverse: bool = True, restore: bool = False
    ) -> UUID:
        """An approved return of this sale."""
        asked = await self.give_back(order)
        assert asked.row is not None, asked
        decision = Decision(
            id=asked.row.id, approved=True, by="key:2", note="", reverse_payout=reverse,
            restore_cap=restore,
        )  # fmt: skip
        row = await self.decide_return(decision)
        assert row is not None
        assert row.status is ReturnStatus.APPROVED
        return row.id

    async def end(
        self,
        lead_id: UUID,
        state: str = "unsold",
        *,
        answer: bytes = b"end",
        owner: int = 1,
        owed: int = 0,
    ) -> object:
        return await self.store().close_lead(
            Closing(
                lead_id=lead_id,
                owner=owner,
                state=LeadState(state),
                reason=None,
                receipt=b"r",
                answer=answer,
                owed=owed,
            )
        )

    def ping(self, expires_in_s: float = 120) -> PingRow:
        return PingRow(
            id=self.uuid(), seller=SELLER, expires_at=self.store().now() + timedelta(seconds=expires_in_s),
            price_micros=PAYOUT, external_id=None, test=False, receipt=b"{}",
        )  # fmt: skip

    async def bucket(self, owner: Party, kind: str) -> BookedBucket:
        """The only bucket of that kind."""
        found = [
            b for b in (await self.snapshot()).buckets if (b.owner, b.kind) == (owner.id, kind)
        ]
        assert len(found) == 1, found
        return found[0]

    async def used(self, owner: Party, kind: str) -> int:
        return (await self.bucket(owner, kind)).used

    async def balance(self, buyer: Party, kind: str) -> int:
        books = await self.snapshot()
        (account,) = (a.id for a in books.accounts if (a.kind, a.owner) == (kind, buyer.id))
        return sum(
            t.amount * ((t.credit == account) - (t.debit == account)) for t in books.transfers
        )

    async def broken(self) -> list[str]:
        return broken_invariants(await self.snapshot())


class MemoryBooks(Books):
    def __init__(self, seed: int = 0, wall_s: Callable[[], float] = time.time) -> None:
        super().__init__(seed)
        self.memory = MemoryStore(wall_s)
        self.payable = self.memory.account("payable", SELLER, "USD")
        self.margin = self.memory.account("margin", 0, "USD")

    def store(self, worker: int = 1) -> Store:
        return self.memory

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def snapshot(self) -> Snapshot:
        return self.memory.snapshot()

    async def _add_buyer(self, party: Party, credit: int | None, currency: str) -> None:
        self.memory.add_buyer(party.id, party.slug, currency, credit)

    async def _add_contract(self, party: Party, buyer: Party, dedupe_days: int) -> None:
        self.memory.add_contract(party.id, party.slug, buyer.id, dedupe_days=dedupe_days)

    async def set_cap(self, owner: Party, cap: Cap, timezone: str = "UTC") -> None:
        self.memory.set_cap(owner.id, cap.kind, cap.period, timezone, cap.limit)

    async def drop_cap(self, owner: Party, kind: str, period: str = "total") -> None:
        self.memory.drop_cap(owner.id, CapKind(kind), period)

    async def pace(self, owner: Party, kind: str) -> None:
        found = self.memory._cap(owner.id, CapKind(kind), "day")
        assert found is not None
        found.paced = True

    async def reserve(self, buyer: Party, amount: int) -> None:
        self.memory.set_reserve(buyer.id, amount)

    async def dedupe_vertical(self, slug: str, days: int) -> None:
        self.memory.dedupe_vertical(slug, days)

    async def deposit(self, buyer: Party, amount: int) -> None:
        self.memory.deposit(buyer.id, amount)

    async def pause(self, kind: str, slug: str, paused: bool = True) -> None:
        self.memory.pause(kind, slug, paused)

    async def die(self, worker: int) -> None:
        self.memory.crash(worker)

    async def ask_return(self, wish: ReturnWish, policy: ReturnPolicy | None) -> Requested:
        return await self.memory.request_return(wish, policy)

    async def want_callbacks(self) -> None:
        self.memory.called_back.add(SELLER)

    async def owed(self, lead_id: UUID) -> tuple[bool, int | None]:
        return lead_id in self.memory.owed, self.memory.owed.get(lead_id)

    async def decide_return(self, decision: Decision) -> ReturnRow | None:
        return await self.memory.decide_return(decision)

    async def end_days(self) -> None:
        for caps in self.memory._caps.values():
            for one in caps:
                if one.period == "day":
                    one.buckets = {at - timedelta(days=1): b for at, b in one.buckets.items()}

    async def pass_time(self, seconds: float) -> None:
        store, back = self.memory, timedelta(seconds=seconds)
        for attempt in store._attempts.values():
            attempt.created_at -= back
            attempt.next_try_at = attempt.next_try_at and attempt.next_try_at - back
            attempt.settled_at = attempt.settled_at and attempt.settled_at - back
        for lead in store._leads.values():
            lead.created_at -= back
            lead.answer_by -= back
        for claim in store._claims.values():
            claim.created_at -= back
        store._beats = {worker: at - back for worker, at in store._beats.items()}
        store._pings = {
            id_: (at - back, replace(row, expires_at=row.expires_at - back))
            for id_, (at, row) in store._pings.items()
        }


class PostgresBooks(Books):
    """A store for each worker, since each is a process of its own."""

    def __init__(self, dsn: str, seed: int = 0) -> None:
        super().__init__(seed)
        self.dsn = dsn
        self._stores: dict[int, PostgresStore] = {}

    def store(self, worker: int = 1) -> PostgresStore:
        if worker not in self._stores:
            self._stores[worker] = PostgresStore(self.dsn, name=f"worker-{worker}")
        return self._stores[worker]

    async def open(self) -> None:
        self.sql = await asyncpg.connect(self.dsn)
        account = "INSERT INTO account (kind, owner, currency) VALUES ($1, $2, 'USD') RETURNING id"
        self.payable = await self.sql.fetchval(account, "payable", SELLER)
        self.margin = await self.sql.fetchval(account, "margin", 0)

    async def close(self) -> None:
        for store in self._stores.values():
            with suppress(asyncpg.InterfaceError):
                await store.close()
        await self.sql.close()

    async def snapshot(self) -> Snapshot:
        return await read_snapshot(self.dsn)

    async def _add_buyer(self, party: Party, credit: int | None, currency: str) -> None:
        account = "INSERT INTO account (kind, owner, currency) VALUES ($1, $2, $3) RETURNING id"
        available, held = [
            await self.sql.fetchval(account, kind, party.id, currency)
            for kind in ("available", "held")
        ]
        await self.sql.execute(
            """INSERT INTO buyer (id, slug, active, currency, available, held, prepaid)
            VALUES ($1, $2, true, $3, $4, $5, $6)""",
            party.id, party.slug, currency, available, held, credit is not None,
        )  # fmt: skip
        if credit is not None:
            await self.set_cap(party, cap("credit", 0))
            await self.deposit(party, credit)

    async def _add_contract(self, party: Party, buyer: Party, dedupe_days: int) -> None:
        await self.sql.execute(
            "INSERT INTO contract (id, slug, buyer_id, active, dedupe_days) VALUES ($1, $2, $3, true, $4)",
            party.id, party.slug, buyer.id, dedupe_days,
        )  # fmt: skip

    async def set_cap(self, owner: Party, cap: Cap, timezone: str = "UTC") -> None:
        await self.sql.execute(
            "SELECT set_cap($1, $2, $3, $4, $5)",
            owner.id, cap.kind.value, cap.period, timezone, cap.limit,
        )  # fmt: skip

    async def drop_cap(self, owner: Party, kind: str, period: str = "total") -> None:
        await self.sql.execute("SELECT drop_cap($1, $2, $3)", owner.id, kind, period)

    async def pace(self, owner: Party, kind: str) -> None:
        sql = "UPDATE cap SET paced = true WHERE owner = $1 AND kind = $2 AND period = 'day'"
        await self.sql.execute(sql, owner.id, kind)

    async def reserve(self, buyer: Party, amount: int) -> None:
        sql = "UPDATE cap SET reserve = $2 WHERE owner = $1 AND kind = 'credit'"
        await self.sql.execute(sql, buyer.id, amount)

    async def dedupe_vertical(self, slug: str, days: int) -> None:
        await self.sql.execute(
            "INSERT INTO vertical (slug, dedupe_days) VALUES ($1, $2)", slug, days
        )

    async def deposit(self, buyer: Party, amount: int) -> None:
        await self.sql.execute("SELECT deposit($1, $2, $3, NULL)", self.uuid(), buyer.id, amount)

    async def pause(self, kind: str, slug: str, paused: bool = True) -> None:
        if kind == "all":
            await self.sql.execute("UPDATE house SET paused = $1", paused)
        else:
            await self.sql.execute(f"UPDATE {kind} SET paused = $2 WHERE slug = $1", slug, paused)

    async def ask_return(self, wish: ReturnWish, policy: ReturnPolicy | None) -> Requested:
        return await request_return(self.store().db, wish, policy)

    async def want_callbacks(self) -> None:
        await self.sql.execute(
            """INSERT INTO document (id, kind, slug, body)
            VALUES ($1, 'seller', 's', '{"slug": "s", "callback_url": "https://s.example/"}')""",
            SELLER,
        )

    async def owed(self, lead_id: UUID) -> tuple[bool, int | None]:
        row = await self.sql.fetchrow("SELECT told FROM callback WHERE lead_id = $1", lead_id)
        return row is not None, row and row["told"]

    async def decide_return(self, decision: Decision) -> ReturnRow | None:
        return await decide_return(self.store().db, decision)

    async def end_days(self) -> None:
        for days in (-1000, 999):  # far away first: no bucket passes through another's place
            await self.sql.execute(
                """UPDATE bucket b SET start = start + $1::int * interval '1 day' FROM cap
                WHERE cap.id = b.cap_id AND cap.period = 'day'""",
                days,
            )

    async def die(self, worker: int) -> None:
        pulse = await self.store(worker)._pulse.connection()
        await self.sql.execute("SELECT pg_terminate_backend($1, 5000)", pulse.get_server_pid())
        pulse.terminate()

    async def pass_time(self, seconds: float) -> None:
        for table, columns in _TIMES.items():
            changes = ", ".join(f"{column} = {column} - $1::interval" for column in columns)
            await self.sql.execute(f"UPDATE {table} SET {changes}", timedelta(seconds=seconds))


_TIMES = {
    "attempt": ("created_at", "next_try_at", "settled_at"),
    "sale_return": ("requested_at",),
    "lead": ("created_at", "answer_by"),
    "claim": ("created_at",),
    "worker": ("beat_at",),
    "ping": ("at", "expires_at"),
}


async def opened(books: Books) -> AsyncIterator[Books]:
    """Whatever a test did to them, they must be sound at its end."""
    await books.open()
    try:
        yield books
        assert await books.broken() == []
    finally:
        await books.close()


@pytest.fixture
async def memory_books() -> AsyncIterator[Books]:
    async for books in opened(MemoryBooks()):
        yield books


@pytest.fixture
async def postgres_books(database: str) -> AsyncIterator[Books]:
    async for books in opened(PostgresBooks(database)):
        yield books


@pytest.fixture(params=["memory", "postgres"])
def books(request: pytest.FixtureRequest) -> Books:
    found: Books = request.getfixturevalue(f"{request.param}_books")
    return found
