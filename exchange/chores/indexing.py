"""Leads from before the case of an e-mail address was left out of its index are indexed again, newest first.

Until then `dedupe_days` and the search by person know such a lead by the spelling it came in only.
"""

from typing import Any, Final
from uuid import UUID

from exchange.chores.retention import in_slices
from exchange.persons import without_case
from exchange.sealing import SealBroken, Sealed, Vault

SLICE_MAX: Final = 200  # leads of one transaction
SLICES_MAX: Final = 100  # of one round: 20,000 leads a minute

_BEFORE: Final = "SELECT cased_before FROM retention"
_NEXT: Final = (
    "SELECT id, person_key, person, email_index FROM lead WHERE id < $1 ORDER BY id DESC LIMIT $2"
)
_LOCK: Final = "SELECT 1 FROM lead WHERE id = ANY ($1) ORDER BY id FOR NO KEY UPDATE"
# Not one whose person was erased meanwhile.
_INDEX: Final = """UPDATE lead l SET email_index = w.fresh FROM unnest($1::uuid[], $2::bytea[], $3::bytea[]) w(id, old, fresh)
WHERE l.id = w.id AND l.email_index = w.old"""
_REACHED: Final = """INSERT INTO retention (cased_before) VALUES ($1)
ON CONFLICT (one) DO UPDATE SET cased_before = excluded.cased_before"""
_NEWEST: Final = UUID(int=2**128 - 1)
_DONE: Final = UUID(int=0)


class Indexing:
    """Once through all leads there are, and never again."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault

    async def index_emails(self, connection: Any) -> None:
        """The next few thousand; at once when there are no more."""
        left = SLICES_MAX

        async def index_some() -> bool:
            nonlocal left
            left -= 1
            return await self._slice(connection) and left > 0

        await in_slices(index_some)

    async def _slice(self, connection: Any) -> bool:
        async with connection.transaction():
            before = await connection.fetchval(_BEFORE) or _NEWEST
            if before == _DONE:
                return False
            rows = await connection.fetch(_NEXT, before, SLICE_MAX)
            changed = [(row[0], row[3], fresh) for row in rows if (fresh := self._fresh(*row))]
            if changed:
                ids, old, fresh_ones = map(list, zip(*changed, strict=True))
                await connection.execute(_LOCK, ids)
                await connection.execute(_INDEX, ids, old, fresh_ones)
            await connection.execute(_REACHED, rows[-1][0] if rows else _DONE)
        return bool(rows)

    def _fresh(
        self, lead: UUID, key: bytes | None, body: bytes, index: bytes | None
    ) -> bytes | None:
        """None: it stays as it is, as one does that cannot be opened."""
        if index is None:
            return None
        try:
            person = self._vault.open(str(lead), Sealed(key, body))
        except SealBroken:
            return None
        return without_case(self._vault, person, index)
