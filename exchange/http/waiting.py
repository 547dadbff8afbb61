"""Answers for leads that somebody else is selling, or sold before."""

import asyncio
from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

import orjson

from buyers.money import format_micros
from exchange.deadline import Deadline
from exchange.house import House
from exchange.http.problems import Answer
from exchange.ids import write_id
from exchange.lead import Lead
from exchange.store.rows import AttemptRow, AttemptState, LeadRow, LeadState, Reversal

_LOOK_EVERY_S: Final = 0.05
_COMMIT_MS: Final = 10.0  # for which a 202 waits when the seller's time is over


async def answer_of_lead(house: House, lead_id: UUID, deadline: Deadline) -> Answer | None:
    """The final answer, waited for until the deadline; then 202 if an intent exists.

    None: the lead is gone, or nothing of it has begun yet. A lead that only waits for its buyer's
    word is answered at once: nobody works on it.
    """
    while True:
        row = await house.store.lead(lead_id)
        if row is None or row.state is LeadState.GONE:
            return None
        if row.answer is not None:
            return Answer(row.answer)
        attempts = await house.store.attempts(lead_id)
        waits = any(one.state is AttemptState.UNCONFIRMED for one in attempts)
        if waits or deadline.left_ms(house.now_s()) <= 0:
            return await pending(house, row, deadline) if attempts else None
        left_s = deadline.left_ms(house.now_s()) / 1000
        await asyncio.sleep(min(_LOOK_EVERY_S, left_s))


async def pending(house: House, lead: LeadRow | Lead, deadline: Deadline) -> Answer:
    """202: an outcome will come; poll GET /v1/leads/{id} every 2 s, or wait for the callback, which is
    owed from here on."""
    seller = lead.seller if isinstance(lead.seller, int) else lead.seller.id
    if owed := owe(house, lead.id, seller):
        left_ms = max(deadline.left_ms(house.now_s()), _COMMIT_MS)
        await asyncio.wait([owed], timeout=left_ms / 1000)
    body = {
        "lead_id": write_id("lead", lead.id, test=lead.test),
        "ping_id": write_id("ping", lead.ping_id, test=lead.test),
        "outcome": "pending",
    }
    return Answer(orjson.dumps(body), 202, retry_after_s=2)


def owe(house: House, lead_id: UUID, seller_id: int) -> "asyncio.Task[Any] | None":
    """Commit that a callback is owed, for sure, however long the database takes. Should this worker die
    before, recovery commits it (store/workers.py). None: this seller has no callback."""
    seller = house.catalogue.sellers.get(seller_id)
    if seller is None or seller.callback_url is None:
        return None
    return house.own(house.insist(lambda: house.store.owe_callback(lead_id)), "owe")


def lead_timeline(
    row: LeadRow,
    attempts: list[AttemptRow],
    reversals: Sequence[Reversal] = (),
    currency: str = "USD",
) -> list[dict[str, Any]]:
    """A lead as its seller may see it: what happened when, no buyers, no prices but his own."""

    def since_ms(moment: Any) -> int:
        return int((moment - row.created_at).total_seconds() * 1000)

    events: list[dict[str, Any]] = [{"at_ms": 0, "event": "received"}]
    for number, one in enumerate(attempts, 1):
        events.append({"at_ms": since_ms(one.created_at), "event": "posted", "attempt": number})
        if one.settled_at is not None:
            at_ms = since_ms(one.settled_at)
            events.append({"at_ms": at_ms, "event": one.state.value, "attempt": number})
        elif one.state is AttemptState.UNCONFIRMED:
            events.append({"at_ms": None, "event": one.state.value, "attempt": number})
    if row.closed_at is not None:
        events.append({"at_ms": since_ms(row.closed_at), "event": row.state.value})
    numbers = {one.id: number for number, one in enumerate(attempts, 1)}
    for lost in reversals:  # the answer stays what it was; this is what came after
        amount = format_micros(lost.amount_micros, currency)
        at_ms, number = since_ms(lost.at), numbers[lost.attempt_id]
        events.append({"at_ms": at_ms, "event": "returned", "attempt": number, "amount": amount})
    return events
