"""Reads everything there is to tell of a lead or a ping."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from uuid import UUID

from exchange.ids import read_id
from exchange.receipt import read
from exchange.store.postgres import PostgresStore
from exchange.store.rows import LeadRow
from exchange.story import Booked, Story, tell

Record = Mapping[str, Any]
Recall = Callable[[Record], Awaitable[Record]]
LookUp = Callable[[UUID, Record], Awaitable[Booked]]


async def find_story(
    store: PostgresStore, text: str, recall: Recall, look_up: LookUp | None = None
) -> tuple[Story, LeadRow | None] | None:
    """What became of a lead, or of a ping and the lead it was posted as; None: there is none.

    `recall` names those that a ping's receipt only counts; `look_up` reads what only the books know.
    """
    lead_ids, ping_ids = read_id("lead", text), read_id("ping", text)
    lead = await store.lead(lead_ids[0]) if lead_ids else None
    ping_id = lead.ping_id if lead else ping_ids[0] if ping_ids else None
    ping = await store.ping(ping_id) if ping_id else None
    ids = lead_ids or ping_ids
    if ping is None or ping_id is None or ids is None or ping.row.test != ids[1]:
        return None
    if lead is None and ping.lead_id is not None:
        lead = await store.lead(ping.lead_id)
    record = await recall(read(ping.row.receipt))
    attempts = await store.attempts(lead.id) if lead else []
    late = await store.late_bids(ping_id)
    booked = await look_up(lead.id if lead else UUID(int=0), record) if look_up else None
    return tell(ping, record, late, lead, attempts, booked), lead
