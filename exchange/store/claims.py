"""Idempotency keys: claimed before any buyer is asked, answered alike for 24 hours."""

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from exchange.store.database import Link
from exchange.store.lanes import Lanes
from exchange.store.rows import Claim, ClaimKey

# Everywhere rows of claim are locked in the order of their key. Who loses sees what stands there, as the
# statement found it; nothing, when it was claimed or freed just now.
_CLAIM: Final = """
WITH k AS (SELECT * FROM unnest($1::int[], $2::text[], $3::text[], $4::bytea[], $5::int[], $6::uuid[]) WITH ORDINALITY
    k(seller, path, key, body, owner, run, i)),
won AS (
  INSERT INTO claim (seller, path, key, body, owner, run) SELECT seller, path, key, body, owner, run FROM k ORDER BY 1, 2, 3
  ON CONFLICT (seller, path, key) DO UPDATE SET body = EXCLUDED.body, owner = EXCLUDED.owner, run = EXCLUDED.run, lead_id = NULL,
    status = NULL, answer = NULL, created_at = now() WHERE claim.created_at < now() - interval '24 hours'
  RETURNING seller, path, key)
SELECT w.key IS NOT NULL, c.body = k.body, c.status, c.answer, c.lead_id
FROM k LEFT JOIN won w USING (seller, path, key)
LEFT JOIN claim c ON w.key IS NULL AND c.seller = k.seller AND c.path = k.path AND c.key = k.key
  AND c.created_at >= now() - interval '24 hours'  -- else another has just taken it over, unseen
ORDER BY k.i"""
# A status ends a claim, none frees it; either only for the request that holds it.
_END: Final = """
WITH held AS MATERIALIZED (
  SELECT c.seller, c.path, c.key, k.status, k.answer FROM unnest($1::int[], $2::text[], $3::text[], $4::uuid[], $5::int[], $6::bytea[])
    k(seller, path, key, run, status, answer) JOIN claim c USING (seller, path, key)
  WHERE c.run IS NOT DISTINCT FROM k.run AND c.status IS NULL ORDER BY c.seller, c.path, c.key FOR UPDATE OF c),
ended AS (
  UPDATE claim c SET status = h.status, answer = h.answer FROM held h
  WHERE c.seller = h.seller AND c.path = h.path AND c.key = h.key AND h.status IS NOT NULL),
freed AS (
  DELETE FROM claim c USING held h
  WHERE c.seller = h.seller AND c.path = h.path AND c.key = h.key AND h.status IS NULL AND c.lead_id IS NULL)
SELECT count(*) FROM held"""
_TRIES: Final = 3


class _Wish(NamedTuple):
    key: ClaimKey
    body: bytes
    owner: int


class _End(NamedTuple):
    key: ClaimKey
    status: int | None  # None: the key is free again
    answer: bytes | None


class Claims:
    """The idempotency half of the store."""

    def __init__(self, lanes: Lanes) -> None:
        # Neither may be lost: Postgres restarts by itself when one of its processes is killed, and the
        # request whose claim went with it would go on beside its own repeat.
        self._claims = lanes.lane("claims", self._claim, durable=True, marks=_marks)
        self._ends = lanes.lane("ends of claims", self._end, durable=True, marks=_marks)

    async def claim(self, key: ClaimKey, body: bytes, owner: int) -> Claim:
        # Who was first may have been invisible, or may free the key just then: then it is tried again.
        for _ in range(_TRIES):
            found = await self._claims.submit(_Wish(key, body, owner))
            if found is not None:
                return found
        return Claim(won=False)

    async def finish_claim(self, key: ClaimKey, status: int, answer: bytes) -> None:
        await self._ends.submit(_End(key, status, answer))

    async def free_claim(self, key: ClaimKey) -> None:
        await self._claims.passed(key)  # who claimed it may have been cancelled meanwhile
        await self._ends.submit(_End(key, None, None))

    async def _claim(self, link: Link, batch: Sequence[_Wish]) -> Sequence[Claim | None]:
        rows = await link.fetch(
            _CLAIM,
            *_columns(batch),
            [wish.body for wish in batch],
            [wish.owner for wish in batch],
            [wish.key.run for wish in batch],
        )
        return [_standing(*row) for row in rows]

    async def _end(self, link: Link, batch: Sequence[_End]) -> Sequence[None]:
        await link.fetch(
            _END,
            *_columns(batch),
            [end.key.run for end in batch],
            [end.status for end in batch],
            [end.answer for end in batch],
        )
        return [None] * len(batch)


def _marks(item: _Wish | _End) -> tuple[ClaimKey]:
    return (item.key,)


def _columns(batch: Sequence[_Wish] | Sequence[_End]) -> list[list[Any]]:
    keys = [item.key for item in batch]
    return [[key.seller for key in keys], [key.path for key in keys], [key.key for key in keys]]


def _standing(won: bool, same: bool | None, status: Any, answer: Any, lead_id: Any) -> Claim | None:
    if won:
        return Claim(won=True)
    if same is None:
        return None
    return Claim(won=False, same_body=same, status=status, answer=answer, lead_id=lead_id)
