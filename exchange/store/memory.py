"""The books in memory: the verified twin of PostgresStore, for the simulation and for tests.

Every worker of a simulated exchange shares one MemoryStore. A call is atomic because it never
awaits; delays, refusals and lost answers are for whoever wraps it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from buyers.contract import Cap, CapKind
from exchange.books import (
    BookedAccount,
    BookedAttempt,
    BookedBucket,
    BookedBuyer,
    BookedLead,
    Snapshot,
    broken_invariants,
)
from exchange.store.memory_leads import MemoryLeads
from exchange.store.memory_returns import MemoryReturns
from exchange.store.memory_rows import (
    MemoryAttempt,
    MemoryBuyer,
    MemoryContract,
    MemoryLead,
    period_left_s,
)
from exchange.store.rows import Adopted, AttemptRow, AttemptState, LeadState

_LEFT = datetime.min.replace(tzinfo=UTC)  # in good order
_SILENT, _GIVEN_UP = timedelta(seconds=1.2), timedelta(seconds=10)
_LEASE = timedelta(seconds=60)
_DUE_MAX, _IDLE_MAX = 20, 100


class MemoryStore(MemoryLeads, MemoryReturns):
    """`wall_s` is the store's clock. What is not in the Store protocol sets up or looks inside."""

    def __init__(self, wall_s: Callable[[], float]) -> None:
        super().__init__(wall_s)
        self._beats: dict[int, datetime] = {}
        self._sessions: set[int] = set()  # workers that hold their session lock
        self._rates: dict[int, Counter[int]] = {}  # by owner: granted in each second

    # --- setting up, and faults -------------------------------------------------------------------

    def add_buyer(
        self, id_: int, slug: str, currency: str = "USD", prepaid_credit_micros: int | None = None,
        timezone: str = "UTC", caps: Iterable[Cap] = (),
    ) -> None:  # fmt: skip
        """`prepaid_credit_micros` None: postpaid. Buyers and contracts share one id space."""
        prepaid = prepaid_credit_micros is not None
        available, held = (self.account(kind, id_, currency) for kind in ("available", "held"))
        self._buyers[id_] = MemoryBuyer(
            id=id_, slug=slug, currency=currency, available=available, held=held, prepaid=prepaid
        )
        if prepaid_credit_micros is not None:
            self.set_cap(id_, CapKind.CREDIT, "total", "UTC", 0)
            self.deposit(id_, prepaid_credit_micros)
        self._set_caps(id_, timezone, caps)

    def add_contract(
        self, id_: int, slug: str, buyer_id: int, caps: Iterable[Cap] = (), timezone: str = "UTC",
        dedupe_days: int = 0,
    ) -> None:  # fmt: skip
        self._contracts[id_] = MemoryContract(
            id=id_, slug=slug, buyer=self._buyers[buyer_id], dedupe_days=dedupe_days
        )
        self._set_caps(id_, timezone, caps)

    def pause(self, kind: str, slug: str, paused: bool = True) -> None:
        """`kind` is buyer, contract or all."""
        if kind == "all":
            self._house_paused = paused
            return
        places = self._buyers if kind == "buyer" else self._contracts
        (found,) = (one for one in places.values() if one.slug == slug)
        found.paused = paused

    def crash(self, worker: int) -> None:
        """A worker's process died: its session lock is free, and it beats no more."""
        self._sessions.discard(worker)

    async def leave(self, worker: int) -> None:
        self._sessions.discard(worker)
        left = any(lead.owner == worker for lead in self._open_leads.values())
        left = left or any(one.owner == worker for one in self._open_attempts.values())
        left = left or any(
            c.owner == worker and c.status is None and c.lead_id is None
            for c in self._claims.values()
        )
        if left:
            self._beats[worker] = _LEFT
        else:
            self._beats.pop(worker, None)

    async def close(self) -> None:
        """There is nothing to close."""

    def verify(self) -> list[str]:
        """What contradicts I1 to I6; empty when the books are sound."""
        return broken_invariants(self.snapshot())

    def snapshot(self) -> Snapshot:
        buckets = (b for caps in self._caps.values() for c in caps for b in c.buckets.values())
        return Snapshot(
            at=self.now(),
            accounts=tuple(BookedAccount(id_, *name) for name, id_ in self._accounts.items()),
            buyers=tuple(
                BookedBuyer(b.id, b.slug, b.currency, b.available, b.held, b.prepaid)
                for b in self._buyers.values()
            ),
            transfers=tuple(self._transfers),
            buckets=tuple(
                BookedBucket(
                    b.id, b.cap.owner, b.cap.kind.value, b.money, b.transient, b.lim, b.used
                )
                for b in buckets
            ),
            leads=tuple(
                BookedLead(id_, lead.state.value, lead.new.test)
                for id_, lead in self._leads.items()
            ),
            attempts=tuple(_booked(attempt) for attempt in self._attempts.values()),
            returns=self._booked_returns(),
        )

    # --- workers ----------------------------------------------------------------------------------

    async def beat(self, worker: int) -> None:
        self._sessions.add(worker)
        self._beats[worker] = self.now()

    async def adopt(self, worker: int) -> Adopted:
        dead = {id_ for id_ in self._beats if id_ != worker and self._is_dead(id_)}
        if not dead:
            return Adopted()
        left = [lead for lead in self._open_leads.values() if lead.owner in dead]
        started = [lead for lead in left if self._by_lead[lead.new.id] and not lead.new.test]
        idle = [lead for lead in left if not self._by_lead[lead.new.id]]
        self._let_go(idle)
        keys = [
            key
            for key, claim in self._claims.items()
            if claim.owner in dead and claim.status is None and claim.lead_id is None
        ]
        for key in keys:
            del self._claims[key]
        interrupted = self._interrupt(dead, worker)
        for lead in started:
            lead.owner = worker
        for lead in (*started, *self._ended_last(dead)):
            await self.owe_callback(lead.new.id)
        for id_ in dead:
            del self._beats[id_]
        ids = tuple(lead.new.id for lead in started)
        return Adopted(ids, interrupted, len(idle) + len(keys))

    def _ended_last(self, dead: set[int]) -> list[MemoryLead]:
        """Leads that ended in their worker's last second: nobody knows whether their sellers heard."""
        last = {id_: beat for id_ in dead if (beat := self._beats[id_]) != _LEFT}
        return [
            lead
            for lead in self._leads.values()
            if lead.state in {LeadState.SOLD, LeadState.UNSOLD}
            and lead.owner in last
            and lead.closed_at is not None
            and lead.closed_at > last[lead.owner] - timedelta(seconds=1)
            and self._by_lead[lead.new.id]
        ]

    def _is_dead(self, worker: int) -> bool:
        silence = self.now() - self._beats[worker]
        return silence > _GIVEN_UP or (silence > _SILENT and worker not in self._sessions)

    def _interrupt(self, dead: set[int], worker: int) -> int:
        """Where an intent's lead went nobody knows: it may have been sent; who asked has not heard."""
        now = self.now()
        for attempt in self._open_attempts.values():
            due = attempt.next_try_at
            if attempt.owner in dead and due is not None and now < due <= now + _LEASE:
                attempt.owner, attempt.next_try_at = worker, now
        intents = [
            attempt
            for attempt in self._open_attempts.values()
            if attempt.owner in dead and attempt.state is AttemptState.INTENT
        ]
        for attempt in intents:
            attempt.state, attempt.owner = AttemptState.UNCONFIRMED, worker
            attempt.fence += 1
            attempt.next_try_at = self.now()
            attempt.detail = attempt.detail or b'{"reason":"interrupted"}'
        return len(intents)

    async def due(self, worker: int, attempt: UUID | None = None) -> list[AttemptRow]:
        now = self.now()
        waiting = [
            one
            for one in self._open_attempts.values()
            if one.state is AttemptState.UNCONFIRMED
            and (
                one.order.id == attempt
                if attempt
                else one.next_try_at is not None and one.next_try_at <= now
            )
        ]
        waiting.sort(key=lambda one: one.next_try_at or now)
        for one in waiting[:_DUE_MAX]:
            one.fence, one.tries = one.fence + 1, one.tries + 1
            one.owner, one.next_try_at = worker, now + _LEASE
        return [self._attempt_row(one) for one in waiting[:_DUE_MAX]]

    async def stray_intents(self, worker: int, younger_than_s: float) -> list[AttemptRow]:
        before = self.now() - timedelta(seconds=younger_than_s)
        return [
            self._attempt_row(one)
            for one in self._open_attempts.values()
            if one.owner == worker and one.state is AttemptState.INTENT and one.created_at < before
        ]

    async def idle_leads(self, worker: int, younger_than_s: float) -> list[UUID]:
        before = self.now() - timedelta(seconds=younger_than_s)
        found = [
            id_
            for id_, lead in self._open_leads.items()
            if lead.owner == worker
            and (
                not any(one.state.is_open for one in self._by_lead[id_])
                or any(one.state is AttemptState.ACCEPTED for one in self._by_lead[id_])
            )
            and (self._by_lead[id_] or lead.created_at < before)
        ]
        return found[:_IDLE_MAX]

    async def lease_rate(self, owner: int, rate: int, want: int, second: int) -> int:
        """Units granted of a second's `rate`, at most `want`; of this one or the next."""
        if not -1 <= second - int(self._wall_s()) <= 2:
            return 0
        used = self._rates.setdefault(owner, Counter())
        if second < max(used, default=0) - 1:
            return 0
        for over in [one for one in used if one < second - 1]:
            del used[over]
        granted = max(0, min(want, rate - used[second]))
        used[second] += granted
        return granted

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        """Units of every cap on pings of a contract and its buyer, and how long they are good for."""
        caps = [c for c in self._caps_of(self._contracts[contract]) if c.kind is CapKind.PINGS]
        buckets = [self._open_bucket(cap) for cap in caps]
        granted = max(0, min([want, *(bucket.lim - bucket.used for bucket in buckets)]))
        for bucket in buckets:
            bucket.used += granted
        left_s = [period_left_s(cap.period, cap.tz, self.now()) for cap in caps]
        return granted, min(left_s, default=0.0)


def _booked(attempt: MemoryAttempt) -> BookedAttempt:
    order = attempt.order
    return BookedAttempt(
        order.id, order.lead_id, attempt.buyer.id, order.seller_account, order.margin_account, order.slot, order.shares,
        attempt.state.value, order.price_micros, order.payout_micros, tuple(attempt.buckets),
        attempt.created_at, attempt.next_try_at,
    )  # fmt: skip
