"""Who is alive, and what the dead left: a session lock each, a heartbeat each, and one adoption."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from exchange.store.callbacks import OWE
from exchange.store.database import Database, Link
from exchange.store.ledger import ATTEMPT_COLUMNS, attempt_row
from exchange.store.rows import Adopted, AttemptRow

BEAT_S = 0.5
# A process that died lost its session lock at once; a frozen or cut-off one is given up later.
# A server that restarted has forgotten all locks: recovery gives the living time to come back.
_DEAD = """
SELECT id FROM worker w
WHERE id <> $1 AND (beat_at < now() - interval '10 s' OR (beat_at < now() - interval '1.2 s' AND NOT EXISTS (
  SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND classid = 7002 AND objid = w.id::oid AND granted
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))))"""

_LOCK = "SELECT pg_try_advisory_lock(7002, $1)"
_BEAT = """INSERT INTO worker (id, name) VALUES ($1, $2)
ON CONFLICT (id) DO UPDATE SET beat_at = now() RETURNING clock_timestamp()"""

# Where an intent's lead went nobody knows: it may have been sent. The fence shuts the old owner out.
_TAKE_INTENTS = """
UPDATE attempt SET fence = fence + 1, owner = $1, state = 'unconfirmed', next_try_at = now(),
  detail = coalesce(detail, convert_to('{"reason":"interrupted"}', 'UTF8'))
WHERE id IN (SELECT id FROM attempt WHERE owner = ANY ($2) AND state = 'intent' ORDER BY id FOR UPDATE SKIP LOCKED)
RETURNING id"""
# Who was asking when he died has not heard; otherwise his claim would run for its 60 s.
_TAKE_CLAIMED = """
UPDATE attempt SET owner = $1, next_try_at = now()
WHERE id IN (SELECT id FROM attempt WHERE owner = ANY ($2) AND state = 'unconfirmed' AND next_try_at > now()
               AND next_try_at <= now() + interval '60 s' ORDER BY id FOR UPDATE SKIP LOCKED)"""
_OPEN_LEADS = "SELECT count(*) FROM lead WHERE owner = ANY ($1) AND state = 'open'"
# Locked before it is asked whether they have attempts: an award in flight holds its lead shared.
_LOCK_LEADS = """
SELECT id FROM lead WHERE owner = ANY ($1) AND state = 'open' ORDER BY id FOR UPDATE SKIP LOCKED"""
_TAKE_LEADS = """
UPDATE lead SET owner = $1 WHERE id = ANY ($2) AND state = 'open' AND NOT test
  AND EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id)
RETURNING id"""
_LAST_BEAT = "SELECT min(beat_at) FROM worker WHERE id = ANY ($1) AND beat_at > '-infinity'"
# Leads that ended in their worker's last second: nobody knows whether their sellers were still answered.
# A lead is answered within two minutes, so its id is not much older than its worker's last beat.
_ENDED_LAST = """WITH late AS MATERIALIZED (
  SELECT l.id FROM worker w JOIN lead l ON l.owner = w.id AND l.closed_at > w.beat_at - interval '1 s' AND l.state IN ('sold', 'unsold')
  WHERE w.id = ANY ($1) AND w.beat_at > '-infinity' AND l.id > first_id($2::timestamptz - interval '150 s'))
SELECT id FROM late WHERE (SELECT count(*) FROM attempt WHERE lead_id = late.id) > 0"""
_FREE_LEADS = """
WITH gone AS (
  UPDATE lead SET state = 'gone', reason = 'seller_gone', person_key = NULL, closed_at = now()
  WHERE id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id)
  RETURNING id),
freed AS (DELETE FROM claim WHERE lead_id IN (SELECT id FROM gone))
SELECT count(*) FROM gone"""
_FREE_CLAIMS = """
WITH freed AS (DELETE FROM claim WHERE owner = ANY ($1) AND status IS NULL AND lead_id IS NULL RETURNING 1)
SELECT count(*) FROM freed"""
_FORGET = """DELETE FROM worker w WHERE id = ANY ($1) AND NOT EXISTS (SELECT 1 FROM attempt WHERE owner = w.id AND state = 'intent')
  AND NOT EXISTS (SELECT 1 FROM lead WHERE owner = w.id AND state = 'open')
  AND NOT EXISTS (SELECT 1 FROM claim WHERE owner = w.id AND status IS NULL AND lead_id IS NULL)"""

# A claim of 60 s: should this worker die while it asks, another takes it up after that.
_DUE = f"""
UPDATE attempt SET fence = fence + 1, owner = $1, tries = tries + 1, next_try_at = now() + interval '60 s'
WHERE id IN (SELECT id FROM attempt WHERE state = 'unconfirmed' AND (id = $2 OR ($2 IS NULL AND next_try_at <= now()))
             ORDER BY next_try_at LIMIT 20 FOR UPDATE SKIP LOCKED)
RETURNING {ATTEMPT_COLUMNS}"""  # noqa: S608 - columns are a constant
_STRAY = f"""SELECT {ATTEMPT_COLUMNS} FROM attempt
WHERE owner = $1 AND state = 'intent' AND created_at < now() - $2 * interval '1 second'"""  # noqa: S608

# One sale of a shared lead is enough for its answer, whatever its other posts are waiting for.
_IDLE = """SELECT id FROM lead WHERE owner = $1 AND state = 'open'
  AND (NOT EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id AND state IN ('intent', 'unconfirmed'))
    OR EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id AND state = 'accepted'))
  AND (EXISTS (SELECT 1 FROM attempt WHERE lead_id = lead.id) OR created_at < now() - $2 * interval '1 second')
LIMIT 100"""


class Workers:
    """The recovery half of the store."""

    def __init__(self, db: Database, pulse: Link, name: str) -> None:
        self._worker_db = db
        self._pulse = pulse
        self._name = name
        self._ahead = timedelta(0)  # the server's clock less ours
        self._locked_by: object = None

    def now(self) -> datetime:
        return datetime.now(UTC) + self._ahead

    async def beat(self, worker: int) -> None:
        connection = await self._pulse.connection()
        # A session of ours that the server has not yet missed may still have it: then it serves.
        if self._locked_by is not connection and await self._pulse.fetchval(_LOCK, worker):
            self._locked_by = connection
        theirs: datetime = await self._pulse.fetchval(_BEAT, worker, self._name)
        self._ahead = theirs - datetime.now(UTC)

    async def leave(self, worker: int) -> None:
        """End in good order: what is left open, such as an unconfirmed post, is another's at once."""
        await self._pulse.fetch("UPDATE worker SET beat_at = '-infinity' WHERE id = $1", worker)
        await self._pulse.fetch(_FORGET, [worker])

    async def adopt(self, worker: int) -> Adopted:
        async with self._worker_db.connection() as connection:
            dead = [row[0] for row in await connection.fetch(_DEAD, worker)]
            if not dead:
                return Adopted()
            async with connection.transaction():
                opened = await connection.fetchval(_OPEN_LEADS, dead)
                left = [row[0] for row in await connection.fetch(_LOCK_LEADS, dead)]
                freed = await connection.fetchval(_FREE_LEADS, left)
                freed += await connection.fetchval(_FREE_CLAIMS, dead)
                await connection.execute(_TAKE_CLAIMED, worker, dead)
                interrupted = await connection.fetch(_TAKE_INTENTS, worker, dead)
                leads = [row[0] for row in await connection.fetch(_TAKE_LEADS, worker, left)]
                await connection.execute(OWE, [*leads, *await _ended_last(connection, dead)])
            # Somebody was ending the others: who the dead were is known until that can be seen, and owed.
            if opened == len(left):
                await connection.execute(_FORGET, dead)
        return Adopted(tuple(leads), len(interrupted), freed)

    async def due(self, worker: int, attempt: UUID | None = None) -> list[AttemptRow]:
        return _attempts(await self._worker_db.fetch(_DUE, worker, attempt))

    async def stray_intents(self, worker: int, younger_than_s: float) -> list[AttemptRow]:
        return _attempts(await self._worker_db.fetch(_STRAY, worker, younger_than_s))

    async def idle_leads(self, worker: int, younger_than_s: float) -> list[UUID]:
        return [row[0] for row in await self._worker_db.fetch(_IDLE, worker, younger_than_s)]


async def _ended_last(connection: Any, dead: list[int]) -> list[UUID]:
    last_beat = await connection.fetchval(_LAST_BEAT, dead)
    if last_beat is None:  # they all left in good order
        return []
    return [row[0] for row in await connection.fetch(_ENDED_LAST, dead, last_beat)]


def _attempts(rows: Iterable[Iterable[object]]) -> list[AttemptRow]:
    return [attempt_row(row) for row in rows]
