"""Idempotency keys: claimed before any buyer is asked, answered alike for 24 hours."""

from exchange.store.database import Database
from exchange.store.rows import Claim, ClaimKey

_CLAIM = """
INSERT INTO claim (seller, path, key, body, owner, run) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (seller, path, key) DO UPDATE SET body = EXCLUDED.body, owner = EXCLUDED.owner, run = EXCLUDED.run, lead_id = NULL,
  status = NULL, answer = NULL, created_at = now() WHERE claim.created_at < now() - interval '24 hours'
RETURNING true"""
_READ = """SELECT body = $4, status, answer, lead_id FROM claim WHERE seller = $1 AND path = $2 AND key = $3"""
_FINISH = """UPDATE claim SET status = $4, answer = $5 WHERE seller = $1 AND path = $2 AND key = $3 AND run IS NOT DISTINCT FROM $6
  AND status IS NULL"""
_FREE = """DELETE FROM claim WHERE seller = $1 AND path = $2 AND key = $3 AND run IS NOT DISTINCT FROM $4
  AND status IS NULL AND lead_id IS NULL"""


class Claims:
    """The idempotency half of the store."""

    def __init__(self, db: Database) -> None:
        self._claim_db = db

    async def claim(self, key: ClaimKey, body: bytes, owner: int) -> Claim:
        async with self._claim_db.connection() as connection:
            # The holder may free the key between the two statements: then it is tried again.
            for _ in range(3):
                if await connection.fetchval(
                    _CLAIM, key.seller, key.path, key.key, body, owner, key.run
                ):
                    return Claim(won=True)
                row = await connection.fetchrow(_READ, key.seller, key.path, key.key, body)
                if row is not None:
                    same, status, answer, lead_id = row
                    return Claim(
                        won=False, same_body=same, status=status, answer=answer, lead_id=lead_id
                    )
        return Claim(won=False)

    async def finish_claim(self, key: ClaimKey, status: int, answer: bytes) -> None:
        await self._claim_db.execute(
            _FINISH, key.seller, key.path, key.key, status, answer, key.run
        )

    async def free_claim(self, key: ClaimKey) -> None:
        await self._claim_db.execute(_FREE, key.seller, key.path, key.key, key.run)
