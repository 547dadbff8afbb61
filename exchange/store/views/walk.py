"""Finds ids of leads by any filter, along the index that leads to the fewest others.

Ids are UUIDv7: every index that ends with one is a list in the order of time.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from exchange.store.database import Database
from exchange.store.rows import AttemptState, LeadState

FIRST: Final = UUID(int=0)
LAST: Final = UUID(int=2**128 - 1)
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
    person: tuple[str, bytes] | None = None  # `phone` or `email`, and its blind index
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

    $1 and $2 bound the ids, both exclusive; $3 is how many; the values follow.
    """

    streams: str  # FROM …: makes one row a stream
    where: str  # of one stream
    values: tuple[Any, ...]
    judged: frozenset[str]
    table: str = "lead"
    id: str = "id"

    def sql(self, *, forth: bool) -> str:
        order = "ASC" if forth else "DESC"
        return f"""SELECT x.id FROM {self.streams} CROSS JOIN LATERAL (
  SELECT {self.id} AS id FROM {self.table} WHERE {self.where} AND {self.id} > $1 AND {self.id} < $2
  ORDER BY {self.id} {order} LIMIT $3) x ORDER BY x.id {order} LIMIT $3"""


_STATES: Final = [state.value for state in LeadState]


def _way(wanted: Filters, verticals: Sequence[str], sellers: Sequence[int]) -> _Way:
    """The index that leads to the fewest rows besides those that are wanted."""
    states = [wanted.state.value] if wanted.state else _STATES
    if wanted.person is not None:
        kind, index = wanted.person
        return _Way("(SELECT 1) s", f"{kind}_index = $4", (index,), frozenset({"person"}))
    if wanted.external_id is not None:
        return _Way(
            "unnest($4::int[]) s(seller)", "seller = s.seller AND external_id = $5",
            ([wanted.seller] if wanted.seller is not None else list(sellers), wanted.external_id),
            frozenset({"seller", "external_id"}),
        )  # fmt: skip
    is_rare = wanted.state in {LeadState.OPEN, LeadState.GONE}  # rarer than any buyer's posts
    if wanted.buyer is not None and not is_rare:
        return _Way(
            "unnest($4::text[]) s(state)", "buyer_id = $5 AND state = s.state",
            ([one.value for one in wanted.post], wanted.buyer), frozenset({"buyer"}),
            "attempt", "lead_id",
        )  # fmt: skip
    if wanted.reason is not None and not is_rare:
        return _Way("(SELECT 1) s", "reason = $4", (wanted.reason,), frozenset({"reason"}))
    if wanted.test and not is_rare:
        return _Way("(SELECT 1) s", "test", (), frozenset({"test"}))
    if wanted.seller is not None:
        return _Way(
            "unnest($4::text[]) s(state)", "seller = $5 AND state = s.state",
            (states, wanted.seller), frozenset({"seller", "state"}),
        )  # fmt: skip
    if wanted.vertical is not None or wanted.state is not None:
        return _Way(
            "unnest($4::text[]) v(vertical) CROSS JOIN unnest($5::text[]) s(state)",
            "vertical = v.vertical AND state = s.state",
            ([wanted.vertical] if wanted.vertical else list(verticals), states),
            frozenset({"vertical", "state"}),
        )  # fmt: skip
    return _Way("(SELECT 1) s", "true", (), frozenset())


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
        values.append(wanted.person[1])
        where.append(f"{wanted.person[0]}_index = ${len(values) + 1}")
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
