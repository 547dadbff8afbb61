"""Sellers' callbacks: who is owed one, which are due, and what came of each try."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from exchange.store.database import Database
from exchange.store.rows import CallbackRow, CallbackState

# ruff: noqa: S608 - statements are made of our own words only
# Rows of several leads are written in the order of their ids, as everywhere: two who write the same ones, such as
# two workers that take over from the same dead, wait for one another and never each for the other.
# $1: leads. Only whose seller wants to be called back; the 202 wins over what a closing told before it.
OWE: Final = """INSERT INTO callback (lead_id, seller)
SELECT l.id, l.seller FROM lead l JOIN document d ON d.kind = 'seller' AND d.id = l.seller
WHERE l.id = ANY ($1::uuid[]) AND l.state <> 'gone' AND d.body->>'callback_url' IS NOT NULL
ORDER BY l.id
ON CONFLICT (lead_id) DO UPDATE SET told = NULL WHERE callback.state = 'open' AND callback.told IS NOT NULL"""
# $1: leads, $7: how many posts their answers leave open; beside close_leads, in one statement with it.
OWE_REST: Final = """INSERT INTO callback (lead_id, seller, told)
SELECT l.id, l.seller, o.told FROM unnest($1::uuid[], $7::int[]) o(id, told) JOIN lead l ON l.id = o.id WHERE o.told > 0
ORDER BY l.id
ON CONFLICT (lead_id) DO NOTHING"""

# There is something to tell: the lead has ended, and, to who was told that it is sold, all of its posts have.
# A value of its own for each row is looked up by its index; a join might be made by reading all leads there are.
_TELLABLE: Final = """(SELECT l.state FROM lead l WHERE l.id = c.lead_id) <> 'open' AND (c.told IS NULL
  OR (SELECT count(*) FROM attempt a WHERE a.lead_id = c.lead_id AND a.state IN ('intent', 'unconfirmed')) = 0)"""
# A row that is taken is due again when its taker should be done: should he die, another takes it then.
# Each seller's are looked up by themselves, by the index: what somebody who does not answer has due is not read.
# Who has fewest under way goes first: many who hang do not take every place before those who answer.
_TAKE: Final = f"""WITH RECURSIVE owed AS (
  SELECT min(seller) AS seller FROM callback WHERE state = 'open'
  UNION ALL SELECT (SELECT min(c.seller) FROM callback c WHERE c.state = 'open' AND c.seller > o.seller)
  FROM owed o WHERE o.seller IS NOT NULL),
ready AS MATERIALIZED (
  SELECT c.lead_id, c.due_at, coalesce(b.busy, 0) + row_number() OVER (PARTITION BY o.seller ORDER BY c.due_at, c.lead_id) AS place
  FROM owed o LEFT JOIN unnest($1::int[], $2::int[]) b(seller, busy) ON b.seller = o.seller CROSS JOIN LATERAL (
    SELECT c.lead_id, c.due_at FROM callback c
    WHERE c.seller = o.seller AND c.state = 'open' AND c.due_at <= now() AND {_TELLABLE}
    ORDER BY c.due_at, c.lead_id LIMIT greatest(0, $3 - coalesce(b.busy, 0))) c),
mine AS (
  SELECT lead_id FROM callback WHERE state = 'open' AND due_at <= now() AND lead_id IN (
    SELECT lead_id FROM ready ORDER BY place, due_at, lead_id LIMIT $4)
  ORDER BY lead_id FOR UPDATE SKIP LOCKED)
UPDATE callback c SET fence = c.fence + 1, tries = c.tries + 1, due_at = now() + $5 * interval '1 s'
FROM mine WHERE c.lead_id = mine.lead_id
RETURNING c.lead_id, c.seller, c.fence, c.tries"""
_SELLER: Final = (
    "SELECT slug, body->>'callback_url', secret FROM document WHERE kind = 'seller' AND id = $1"
)
_SLUGS: Final = "SELECT id, slug FROM buyer WHERE id = ANY ($1)"
_NOW: Final = "SELECT now()"
_BOOK: Final = """UPDATE callback SET state = $3, told = $4, tries = CASE WHEN $7 THEN 0 ELSE tries END,
  due_at = now() + $5 * interval '1 s', last_status = $6, last_reason = $8, last_at = now()
WHERE lead_id = $1 AND fence = $2 AND state = 'open'"""
_AGAIN: Final = """UPDATE callback SET state = 'open', due_at = now(), tries = 0
WHERE lead_id = $1 AND state <> 'open' RETURNING lead_id"""
_COLUMNS: Final = "c.lead_id, l.test, s.slug, c.state, c.told, c.tries, c.due_at, c.last_status, c.last_reason, c.last_at, c.created_at, l.state"
_FROM: Final = "callback c JOIN lead l ON l.id = c.lead_id JOIN document s ON s.id = c.seller"
_ONE: Final = f"SELECT {_COLUMNS} FROM {_FROM} WHERE c.lead_id = $1"
_LATEST: Final = f"""SELECT {_COLUMNS} FROM {_FROM} WHERE c.seller = $1 ORDER BY c.created_at DESC, c.lead_id LIMIT $2"""
_COUNTS: Final = (
    """SELECT state, count(*) FROM callback WHERE seller = $1 AND state <> 'delivered' GROUP BY 1"""
)
_DROP: Final = """DELETE FROM callback WHERE lead_id IN (
  SELECT lead_id FROM callback WHERE state <> 'open' AND last_at < now() - $1 * interval '1 day'
  ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED)"""


@dataclass(frozen=True, slots=True)
class TakenCallback:
    """One that is ours to make until its lease ends."""

    lead_id: UUID
    seller: int
    fence: int
    tries: int  # this one included


@dataclass(frozen=True, slots=True)
class CalledSeller:
    """Where a seller is called back just now, paused and retired ones too. `url` None: nowhere."""

    slug: str
    url: str | None
    secret: bytes | None  # sealed


@dataclass(frozen=True, slots=True, kw_only=True)
class Booking:
    """What came of one try. `next_s`: seconds until the row is due again, if it stays open."""

    lead_id: UUID
    fence: int
    state: CallbackState
    told: int | None  # as he knows it now
    next_s: float
    anew: bool  # what is told next is something else: its tries are counted from nought
    status: int | None
    reason: str | None


class Callbacks:
    """The rows of callbacks. Every method may raise StoreUnavailable."""

    def __init__(self, db: Database) -> None:
        self._db = db

    async def take(
        self, busy: Mapping[int, int], per_seller: int, most: int, lease_s: float
    ) -> list[TakenCallback]:
        """At most `most` that are due and not another's; of each seller those due longest first, and first
        of all who has fewest under way. `busy`: how many of a seller those are, which together with
        those taken are at most `per_seller`."""
        rows = await self._db.fetch(
            _TAKE, list(busy), list(busy.values()), per_seller, most, lease_s
        )
        return [TakenCallback(*row) for row in rows]

    async def seller(self, id_: int) -> CalledSeller | None:
        row = await self._db.fetchrow(_SELLER, id_)
        return None if row is None else CalledSeller(*row)

    async def buyers(self, ids: Sequence[int]) -> dict[int, str]:
        """Slugs by id."""
        return dict(map(tuple, await self._db.fetch(_SLUGS, list(ids)))) if ids else {}

    async def now(self) -> datetime:
        moment: datetime = await self._db.fetchval(_NOW)
        return moment

    async def book(self, one: Booking) -> bool:
        """False: the row has become another's, who books what he hears."""
        done = await self._db.execute(
            _BOOK, one.lead_id, one.fence, one.state, one.told, one.next_s, one.status, one.anew,
            one.reason,
        )  # fmt: skip
        return done != "UPDATE 0"

    async def again(self, lead_id: UUID) -> bool:
        """One that was delivered or given up is due at once. False: there is none, or it is open."""
        return await self._db.fetchval(_AGAIN, lead_id) is not None

    async def one(self, lead_id: UUID) -> CallbackRow | None:
        row = await self._db.fetchrow(_ONE, lead_id)
        return None if row is None else CallbackRow(*row)

    async def latest(self, seller: int, limit: int) -> list[CallbackRow]:
        """Newest first."""
        return [CallbackRow(*row) for row in await self._db.fetch(_LATEST, seller, limit)]

    async def counts(self, seller: int) -> dict[str, int]:
        """How many are open, and how many were given up."""
        found = dict(map(tuple, await self._db.fetch(_COUNTS, seller)))
        return {"open": found.get("open", 0), "given_up": found.get("given_up", 0)}


async def drop_some(connection: Any, days: int, most: int) -> bool:
    """Forget callbacks that ended longer ago than that, at most so many. False: there were none."""
    done: str = await connection.execute(_DROP, days, most)
    return done != "DELETE 0"
