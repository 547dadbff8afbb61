"""One worker's process: awards and settles through the lanes of a store of its own, many leads at once.

Prints a line for every so many reservations, then `raced`; on a line on its input it sweeps up what is
left of every limit, and prints what it counted as JSON. What the store told it is written to a file.
"""

import asyncio
import struct
import sys
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import IO, Final
from uuid import UUID

import orjson
import uvloop

from exchange.errors import StoreUnavailable
from exchange.store.postgres import PostgresStore
from exchange.store.rows import (
    AttemptState,
    AwardOrder,
    Closing,
    LeadState,
    Settled,
    Settlement,
    Verdict,
)
from tests.race.market import PRICES, STEP, Course, lead_id

RECORD: Final = struct.Struct(">16sBBHB")  # attempt, kind, code, contract, price in steps
AWARDED, SETTLED, DOUBTED = range(3)
VERDICTS: Final = tuple(Verdict)
STATES: Final = tuple(AttemptState)
_TOLD_EVERY: Final = 500
_WAITING_MAX: Final = 100  # unconfirmed attempts that wait for their word
_OUTCOMES: Final = (("accepted", 72), ("rejected", 14), ("not_sent", 5), ("unconfirmed", 9))
_LEADS: Final = (("one", 68), ("contested", 14), ("shared", 10), ("twice", 4), ("cancelled", 4))
_FULL: Final = {Verdict.CAP_SALES, Verdict.CAP_SPEND, Verdict.CREDIT}


class Racer:
    """The leads of one worker, and what became of them."""

    def __init__(self, course: Course, acks: IO[bytes]) -> None:
        self._course = course
        self._acks = acks
        self._rng = Random(f"{course.seed}/{course.worker}")
        self._store = PostgresStore(course.dsn, name=f"racer-{course.worker}")
        self._left = course.reservations
        self._leads = self._orders = self._told = 0
        self._waiting: deque[AwardOrder] = deque()
        self._doubted: list[AwardOrder] = []
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []

    async def race(self) -> None:
        await asyncio.gather(*(self._trade() for _ in range(self._course.tasks)))
        while self._waiting:
            await self._confirm()
        for order in self._doubted:
            await self._undo(order)

    async def sweep(self) -> None:
        """Take the last unit that fits, of every contract: nothing is given back any more."""
        await asyncio.gather(*(self._sweep(one) for one in self._course.contracts))
        await self._store.close()

    # --- one lead ---------------------------------------------------------------------------------

    async def _trade(self) -> None:
        while self._left > 0:
            kind = self._draw(_LEADS)
            lead = lead_id(self._course.worker, self._leads)
            self._leads += 1
            await getattr(self, f"_{kind}")(lead)
            if kind == "one" and self._rng.random() < 0.01:
                await self._close(lead)
            if len(self._waiting) > _WAITING_MAX:
                await self._confirm()

    async def _one(self, lead: UUID) -> None:
        """One after the other, until somebody has it."""
        for contract in self._some(3):
            if await self._try(self._order(lead, contract)) or self._rng.random() < 0.6:
                return

    async def _contested(self, lead: UUID) -> None:
        """Three at once, and one at most may have it."""
        orders = [self._order(lead, contract) for contract in self._some(3)]
        verdicts = await asyncio.gather(*map(self._award, orders))
        if verdicts.count(Verdict.GRANTED) > 1:
            self.faults.append(f"lead {lead} was awarded more than once")
        await self._deliver_all(orders, verdicts)

    async def _shared(self, lead: UUID) -> None:
        """Each place at once; who refuses is replaced."""
        shares = self._rng.choice((2, 3))
        orders = [
            self._order(lead, contract, slot, shares)
            for slot, contract in enumerate(self._some(shares), 1)
        ]
        verdicts = await asyncio.gather(*map(self._award, orders))
        await self._deliver_all(orders, verdicts)
        await self._try(self._order(lead, self._some(1)[0], shares, shares))

    async def _twice(self, lead: UUID) -> None:
        """The same attempt once more; rarely twice at once, for then the store takes the batch apart."""
        order = self._order(lead, self._some(1)[0])
        times = 1 + (self._rng.random() < 0.02)
        verdicts = await asyncio.gather(*(self._award(order) for _ in range(times)))
        granted = verdicts.count(Verdict.GRANTED)
        if granted > 1:
            self.faults.append(f"attempt {order.id} was granted more than once")
        if granted:
            await self._deliver(order)
            if (again := await self._award(order)) not in {Verdict.REPEAT, None}:
                self.faults.append(f"attempt {order.id} was {again} when it was repeated")

    async def _cancelled(self, lead: UUID) -> None:
        """Whoever waits goes away; what he asked for may have been done."""
        order = self._order(lead, self._some(1)[0])
        self._count()
        task = asyncio.create_task(self._store.award(order))
        for _ in range(self._rng.randrange(4)):
            await asyncio.sleep(0)
        if not task.done():
            task.cancel()
        self.counts["cancelled"] += 1
        self._doubted.append(order)
        self._ack(order, DOUBTED, 0)
        await asyncio.wait([task])

    async def _close(self, lead: UUID) -> None:
        """A lead that has ended is awarded to nobody."""
        states = {row.state for row in await self._store.attempts(lead)}
        sold = AttemptState.ACCEPTED in states
        if any(state.is_open for state in states):
            return
        state = LeadState.SOLD if sold else LeadState.UNSOLD
        closing = Closing(
            lead_id=lead, owner=self._course.worker, state=state, reason=None, receipt=b"r", answer=b"a"
        )  # fmt: skip
        await self._store.close_lead(closing)
        verdict = await self._award(self._order(lead, self._some(1)[0]))
        if verdict not in {Verdict.CLOSED, None}:
            self.faults.append(f"lead {lead} had ended, and its award was {verdict}")

    # --- one attempt ------------------------------------------------------------------------------

    async def _try(self, order: AwardOrder) -> bool:
        """Whether the lead is, or may be, sold by it."""
        if await self._award(order) is not Verdict.GRANTED:
            return False
        return await self._deliver(order)

    async def _award(self, order: AwardOrder) -> Verdict | None:
        """None: nobody knows."""
        self._count()
        try:
            verdict = await self._store.award(order)
        except StoreUnavailable:
            self.counts["in_doubt"] += 1
            self._doubted.append(order)
            self._ack(order, DOUBTED, 0)
            return None
        self.counts[verdict.value] += 1
        self._ack(order, AWARDED, VERDICTS.index(verdict))
        return verdict

    async def _deliver_all(
        self, orders: Sequence[AwardOrder], verdicts: Sequence[Verdict | None]
    ) -> None:
        granted = [
            order
            for order, verdict in zip(orders, verdicts, strict=True)
            if verdict is Verdict.GRANTED
        ]
        await asyncio.gather(*map(self._deliver, granted))

    async def _deliver(self, order: AwardOrder) -> bool:
        """Whether its buyer has it, or may have."""
        outcome = AttemptState(self._draw(_OUTCOMES))
        if self._rng.random() < 0.02:
            answer = await self._ask(_settlement(order, outcome, fence=7))
            if answer is not Settled.FENCED:
                self.faults.append(f"attempt {order.id} was settled by a stranger: {answer}")
        await self._settle(order, outcome)
        if outcome is AttemptState.UNCONFIRMED:
            self._waiting.append(order)
        elif self._rng.random() < 0.02:
            other = AttemptState.REJECTED if outcome is AttemptState.ACCEPTED else outcome
            if await self._ask(_settlement(order, other)) != outcome.value:
                self.faults.append(f"attempt {order.id} was {outcome}, and changed its state")
        return not outcome.has_failed

    async def _confirm(self) -> None:
        outcome = self._rng.choice((AttemptState.ACCEPTED, AttemptState.REJECTED))
        await self._settle(self._waiting.popleft(), outcome)

    async def _settle(self, order: AwardOrder, outcome: AttemptState) -> None:
        answer = await self._ask(_settlement(order, outcome))
        self.counts[f"settled_{outcome}"] += 1
        if answer not in {Settled.OK, outcome.value}:  # the latter: asked again, nobody knew
            self.faults.append(f"attempt {order.id} was granted to us, and settled {answer}")
        self._ack(order, SETTLED, STATES.index(outcome))

    async def _undo(self, order: AwardOrder) -> None:
        """Give back what was perhaps granted, and nobody was told of."""
        answer = await self._ask(_settlement(order, AttemptState.NOT_SENT))
        if answer in {Settled.OK, Settled.NOT_SENT}:
            self._ack(order, SETTLED, STATES.index(AttemptState.NOT_SENT))
            self.counts["doubted_granted"] += 1

    async def _ask(self, settlement: Settlement) -> Settled:
        """Until it is answered."""
        while True:
            try:
                return await self._store.settle(settlement)
            except StoreUnavailable:
                self.counts["settled_again"] += 1

    async def _sweep(self, contract: int) -> None:
        while True:
            lead = lead_id(self._course.worker, self._leads)
            self._leads += 1
            order = self._order(lead, contract, price=STEP)
            verdict = await self._award(order)
            if verdict is Verdict.GRANTED:
                self.counts["swept"] += 1
                await self._settle(order, AttemptState.ACCEPTED)
            elif verdict in _FULL:
                return
            elif verdict is None:
                await self._undo(order)
            elif verdict is not Verdict.BUSY:
                self.faults.append(f"the last award of contract {contract} was {verdict}")
                return

    # --- draws and notes --------------------------------------------------------------------------

    def _order(
        self, lead: UUID, contract: int, slot: int = 0, shares: int = 1, price: int | None = None
    ) -> AwardOrder:
        self._orders += 1
        number = (2 << 120) | (self._course.worker << 112) | (self._orders << 32)
        price = price or self._rng.choice(PRICES)
        return AwardOrder(
            id=UUID(int=number | self._rng.getrandbits(32)), lead_id=lead, contract_id=contract,
            price_micros=price, payout_micros=price * 4 // 5, seller_account=self._course.payable,
            margin_account=self._course.margin, tier="auction", bid_id=None, owner=self._course.worker,
            slot=slot, shares=shares,
        )  # fmt: skip

    def _some(self, count: int) -> list[int]:
        return self._rng.sample(self._course.contracts, count)

    def _draw(self, weights: Sequence[tuple[str, int]]) -> str:
        names, shares = zip(*weights, strict=True)
        drawn: str = self._rng.choices(names, shares)[0]
        return drawn

    def _count(self) -> None:
        self._left -= 1
        self._told += 1
        self.counts["reservations"] += 1
        if self._told == _TOLD_EVERY:
            self._told = 0
            print("at", self.counts["reservations"], flush=True)

    def _ack(self, order: AwardOrder, kind: int, code: int) -> None:
        steps = order.price_micros // STEP
        self._acks.write(RECORD.pack(order.id.bytes, kind, code, order.contract_id, steps))


def _settlement(order: AwardOrder, outcome: AttemptState, fence: int = 0) -> Settlement:
    return Settlement(id=order.id, fence=fence, outcome=outcome, detail=b"{}")


async def _run(course: Course) -> None:
    with Path(course.acks).open("wb") as acks:  # noqa: ASYNC230 - nobody else is on this loop
        racer = Racer(course, acks)
        await racer.race()
        print("raced", flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        await racer.sweep()
    told = {"counts": racer.counts, "faults": racer.faults[:20], "leads": racer._leads}
    print(orjson.dumps(told).decode(), flush=True)


if __name__ == "__main__":
    document = orjson.loads(sys.argv[1])
    document["contracts"] = tuple(document["contracts"])
    uvloop.run(_run(Course(**document)))
