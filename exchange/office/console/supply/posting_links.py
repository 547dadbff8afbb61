"""Links to posting instructions for who has no login: read-only, for some weeks, taken back at any time.

As with every other link Postgres knows a keyed hash of its token only.
"""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from exchange.errors import Refusal
from exchange.sealing import Vault
from exchange.store.database import Database

DAYS: Final = 30
LIVE_MAX: Final = 20  # of one seller in one vertical
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{43}")

_MAKE: Final = """INSERT INTO posting_link (id, digest, seller, vertical, made_by, ends_at)
SELECT $1, $2, $3, $4, $5, now() + make_interval(days => $6)
WHERE (SELECT count(*) FROM posting_link WHERE seller = $3 AND vertical = $4 AND ends_at > now()) < $7 RETURNING id"""
_LIVE: Final = """SELECT id, made_by, made_at, ends_at, opened, opened_at FROM posting_link
WHERE seller = $1 AND vertical = $2 AND ends_at > now() ORDER BY made_at DESC, id"""
_OPEN: Final = """UPDATE posting_link SET opened = opened + 1, opened_at = now()
WHERE digest = $1 AND ends_at > now() RETURNING seller, vertical"""
_REVOKE: Final = "DELETE FROM posting_link WHERE id = $1 AND seller = $2 AND vertical = $3"
_SWEEP: Final = "DELETE FROM posting_link WHERE ends_at < now()"


@dataclass(frozen=True, slots=True)
class PostingLinks:
    """Every link that is in force; one that has ended or was taken back is forgotten."""

    db: Database
    vault: Vault

    async def make(self, seller: str, vertical: str, by: str) -> str:
        """The token of a new link. Refuses with 422 when there are many already."""
        await self.db.execute(_SWEEP)
        token = secrets.token_urlsafe(32)
        made = await self.db.fetchval(
            _MAKE, secrets.token_hex(4), self._digest(token), seller, vertical, by, DAYS, LIVE_MAX
        )
        if made is None:
            said = f"there are {LIVE_MAX} links already: take one back first"
            raise Refusal(422, "invalid_request", said)
        return token

    async def live(self, seller: str, vertical: str) -> list[Mapping[str, Any]]:
        """The newest first; without their tokens, which nobody can read again."""
        return [dict(row) for row in await self.db.fetch(_LIVE, seller, vertical)]

    async def open(self, token: str) -> tuple[str, str] | None:
        """Whose instructions it opens, of which vertical; counted. None: it opens nothing."""
        if not _TOKEN.fullmatch(token):
            return None
        row = await self.db.fetchrow(_OPEN, self._digest(token))
        return None if row is None else (row["seller"], row["vertical"])

    async def revoke(self, id_: str, seller: str, vertical: str) -> bool:
        """Opens nothing from now on. False: there was none of these two."""
        return await self.db.execute(_REVOKE, id_, seller, vertical) == "DELETE 1"

    def _digest(self, token: str) -> bytes:
        return self.vault.blind("posting-link", token)
