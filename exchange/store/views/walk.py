"""Finds ids of leads by any filter, along the index that leads to the fewest others.

Ids are UUIDv7: every index that ends with one is a list in the order of time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson

from exchange.store.database import Database
from exchange.store.rows import AttemptState, LeadState

FIRST: Final = UUID(int=0)
LAST: Final = UUID(int=2**128 - 1)
# How a post stands of a lead that came to its buyer, or may have.
CAME: Final = (
    AttemptState.ACCEPTED, AttemptState.REJECTED, AttemptState.UNCONFIRMED, AttemptState.INTENT,
)  # fmt: skip
# Whoever filters by two things walks along one index and judges the rest row by row, for so long. What
# is further back is on the next page.
WALK_S: Final = 0.1
_STEP_S: Final = 0.05  # of one statement of a walk
_STEP_MIN: Final = 100  # rows
_STEP_MAX: Final = 300  # that lie on a disk, each at its own place
# ruff: noqa: S608 - statements are made of our own words only


@dataclass(frozen=True, slots=True, kw_only=True)
class Filters:
    """Which leads. None: whichever."""

    vertical: str | None = None
    seller: int | None = None
    buyer: int | None = None  # it was posted to
    post: tuple[AttemptState, ...] = tuple(AttemptState)  # with a buyer: how its post stands
    state: LeadState | None = None
    reason: str | None = None
    test: bool | None = None
    external_id: str | None = None
    sub_id: str | None = None  # the seller's source, as its ping named it
    person: tuple[str, tuple[bytes, ...]] | None = None  # `phone` or `email`, and its blind indexes
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Cursor:
    """Where a page begins: behind this lead, going back in time, or forth."""

    id: UUID = LAST
    forth: bool = False


@dataclass(frozen=True, slots=True)
class _Way:
    """An index to walk along: streams of ids, each in order, and what it has judged already.

    $1 and $2 bound the ids, both exclusive; $3 is how many; the values follow. States are written out,
    each with a stream of its own: Postgres knows how rare each is, and does not look for the few open
    ones among all leads.
    """

    streams: str  # FROM …: makes one row a stream
    where: str  # of one stream
    values: tuple[Any, ...]
    judged: frozenset[str]
    table: str = "lead"
    id: str = "id"
    states: tuple[LeadState | AttemptState, ...] = ()  # none: whichever

    def sql(self, *, forth: bool) -> str:
        order = "ASC" if forth else "DESC"
        each = [f"{self.where} AND state = '{state.value}'" for state in self.states]
        streams = " UNION ALL ".join(
            f"""SELECT x.id FROM {self.streams} CROSS JOIN LATERAL (
  SELECT {self.id} AS id FROM {self.table} WHERE {where} AND {self.id} > $1 AND {self.id} < $2
  ORDER BY {self.id} {order} LIMIT $3) x"""
            for where in each or [self.where]
        )
        return f"SELECT id FROM ({streams}) y ORDER BY id {order} LIMIT $3"


def _way(wanted: Filters, verticals: Sequence[str], sellers: Sequence[int]) -> _Way:
    """The index that leads to the fewest rows besides those that are wanted."""
    states = (wanted.state,) if wanted.state else tuple(LeadState)
    if wanted.person is not None:
        kind, indexes = wanted.person
        return _Way(
            "unnest($4::bytea[]) s(index)", f"{kind}_index = s.index", (list(indexes),), frozenset({"person"})
        )  # fmt: skip
    if wanted.external_id is not None:
        return _Way(
            "unnest($4::int[]) s(seller)", "seller = s.seller AND external_id = $5",
            ([wanted.seller] if wanted.seller is not None else list(sellers), wanted.external_id),
            frozenset({"seller", "external_id"}),
        )  # fmt: skip
    is_rare = wanted.state in {LeadState.OPEN, LeadState.GONE}  # rarer than any buyer's posts
    if wanted.buyer is not None and not is_rare:
        return _Way(
            "(SELECT 1) s", "buyer_id = $4", (wanted.buyer,), frozenset({"buyer"}), "attempt", "lead_id",
            states=wanted.post,
        )  # fmt: skip
    if wanted.reason is not None and not is_rare:
        return _Way("(SELECT 1) s", "reason = $4", (wanted.reason,), frozenset({"reason"}))
    if wanted.test and not is_rare:
        return _Way("(SELECT 1) s", "test", (), frozenset({"test"}))
    if wanted.seller is not None:
        return _Way(
            "(SELECT 1) s", "seller = $4", (wanted.seller,), frozenset({"seller", "state"}),
            states=states,
        )  # fmt: skip
    if wanted.vertical is not None or wanted.state is not None:
        return _Way(
            "unnest($4::text[]) v(vertical)", "vertical = v.vertical",
            ([wanted.vertical] if wanted.vertical else list(verticals),),
            frozenset({"vertical", "state"}), states=states,
        )  # fmt: skip
    return _Way("(SELECT 1) s", "true", (), frozenset())


# It stands in the ping's receipt alone, and no index knows it: sales shall not pay for one. The bytes are
# looked for first, which costs a tenth of parsing a receipt; a field of that name may say the same.
_OF_SUB_ID: Final = """EXISTS (SELECT 1 FROM (
  SELECT receipt FROM ping WHERE id = lead.ping_id UNION ALL SELECT receipt FROM kept_ping WHERE id = lead.ping_id) p
  WHERE CASE WHEN position(${said}::bytea IN p.receipt) > 0
    THEN convert_from(p.receipt, 'UTF8')::jsonb->>'sub_id' = ${text} END)"""


def _rest(wanted: Filters, judged: frozenset[str]) -> tuple[str, list[Any]]:
    """What the way has not judged, of rows whose ids are $1; empty: nothing."""
    where, values = [], []
    for name in ("vertical", "seller", "state", "reason", "test", "external_id"):
        value = getattr(wanted, name)
        if value is not None and name not in judged:
            values.append(value)
            where.append(f"{name} = ${len(values) + 1}")
    if wanted.buyer is not None and "buyer" not in judged:
        values += [wanted.buyer, [one.value for one in wanted.post]]
        where.append(
            f"EXISTS (SELECT 1 FROM attempt a WHERE a.lead_id = lead.id AND a.buyer_id = ${len(values)}"
            f" AND a.state = ANY (${len(values) + 1}))"
        )
    if wanted.person is not None and "person" not in judged:
        values.append(list(wanted.person[1]))
        where.append(f"{wanted.person[0]}_index = ANY (${len(values) + 1})")
    if wanted.sub_id is not None:
        values += [orjson.dumps({"sub_id": wanted.sub_id})[1:-1], wanted.sub_id]
        where.append(_OF_SUB_ID.format(said=len(values), text=len(values) + 1))
    return " AND ".join(where), values


async def walk(
    db: Database,
    verticals: Sequence[str],
    sellers: Sequence[int],
    wanted: Filters,
    at: Cursor,
    want: int,
) -> tuple[list[UUID], UUID | None]:
    """Ids in the direction of the cursor; and where the walk was stopped, if it was, before it had
    found enough."""
    way = _way(wanted, verticals, sellers)
    rest, values = _rest(wanted, way.judged)
    sql, low, high = way.sql(forth=at.forth), *_bounds(wanted, at)
    loop = asyncio.get_running_loop()
    began_s = last_s = loop.time()
    found: dict[UUID, None] = {}  # a buyer may have been posted to twice
    number = _STEP_MIN if rest else want
    while True:
        ids = [row[0] for row in await db.fetch(sql, low, high, number, *way.values)]
        kept = set(ids)
        if rest and ids:
            fitting = f"SELECT id FROM lead WHERE id = ANY ($1) AND {rest}"
            kept = {row[0] for row in await db.fetch(fitting, ids, *values)}
        found |= dict.fromkeys(one for one in ids if one in kept)
        if len(found) >= want or len(ids) < number:
            return list(found)[:want], None
        low, high = (ids[-1], high) if at.forth else (low, ids[-1])
        now_s = loop.time()
        if rest and now_s - began_s > WALK_S:
            return list(found), low if at.forth else high
        number = _step(number, now_s - last_s) if rest else want
        last_s = now_s


def _step(number: int, took_s: float) -> int:
    """As many rows as will take _STEP_S, as quick as the last ones were: some lie on the disk."""
    return max(_STEP_MIN, min(_STEP_MAX, int(number * min(4.0, _STEP_S / max(took_s, 1e-4)))))


def _bounds(wanted: Filters, at: Cursor) -> tuple[UUID, UUID]:
    """Exclusive: an id begins with the moment it was made."""
    low = FIRST if wanted.since is None else UUID(int=max(0, first_id(wanted.since).int - 1))
    high = LAST if wanted.until is None else first_id(wanted.until)
    return (max(low, at.id), high) if at.forth else (low, min(high, at.id))


def first_id(moment: datetime) -> UUID:
    """The least id that can have been made at this moment."""
    return UUID(int=max(0, int(moment.timestamp() * 1000)) << 80)
