"""API keys: 256 random bits, stored as a keyed HMAC, shown once, revocable."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exchange.sealing import Vault
from exchange.store.database import Database

_LIVE = "SELECT id, role, owner, digest FROM api_key WHERE revoked_at IS NULL"
_PAGE = 500
PASSING: Final = "try"  # begins the id of a key that lives for one request
_SWEEP: Final = "DELETE FROM api_key WHERE id LIKE $1 AND created_at < now() - interval '5 minutes'"


@dataclass(frozen=True, slots=True)
class Key:
    id: str
    role: str  # admin, seller or buyer
    owner: str | None  # a seller's or buyer's slug


@dataclass(frozen=True, slots=True)
class ListedKey:
    key: Key
    created_at: datetime
    revoked_at: datetime | None


async def live_keys(db: Database) -> dict[bytes, Key]:
    """Every key that opens something, by digest; read a page at a time, for the loop's sake.

    One that is made or revoked meanwhile may be missed: whoever reloads on a change does so again.
    """
    found: dict[bytes, Key] = {}
    after, pages = "", True
    while pages:
        rows = await db.fetch(f"{_LIVE} AND id > $1 ORDER BY id LIMIT {_PAGE}", after)
        found.update((bytes(r[3]), Key(r[0], r[1], r[2])) for r in rows)
        pages = len(rows) == _PAGE
        after = rows[-1][0] if pages else after
    return found


async def find_key(db: Database, digest: bytes) -> Key | None:
    row = await db.fetchrow(f"{_LIVE} AND digest = $1", digest)
    return None if row is None else Key(row[0], row[1], row[2])


async def put_key(db: Database, key: Key, digest: bytes) -> None:
    """Store a key; one that is there already comes to life again."""
    await db.execute(
        """INSERT INTO api_key (id, digest, role, owner) VALUES ($1, $2, $3, $4)
        ON CONFLICT (digest) DO UPDATE SET revoked_at = NULL WHERE api_key.revoked_at IS NOT NULL""",
        key.id, digest, key.role, key.owner,
    )  # fmt: skip


async def set_key(db: Database, key: Key, digest: bytes) -> None:
    """Store the key that a setting gives: what the setting gave before is none any more, nor are
    the sessions that were begun with it."""
    await db.execute(
        """WITH moved AS (UPDATE api_key SET digest = $2 WHERE id = $1 AND digest <> $2
          AND NOT EXISTS (SELECT 1 FROM api_key WHERE digest = $2) RETURNING id)
        DELETE FROM console_session USING moved WHERE key_id = moved.id""",
        key.id, digest,
    )  # fmt: skip
    await put_key(db, key, digest)


async def create_key(db: Database, vault: Vault, role: str, owner: str | None) -> tuple[str, str]:
    """A new key's id, and the key itself, which nobody can read again."""
    key_id = secrets.token_hex(4)
    key = f"lx_{role}_{key_id}_{secrets.token_urlsafe(32)}"
    await put_key(db, Key(key_id, role, owner), vault.key_digest(key))
    return key_id, key


async def owner_exists(db: Database, role: str, owner: str) -> bool:
    """Whether a seller or buyer of that slug is in force."""
    found = await db.fetchval(
        "SELECT true FROM document WHERE kind = $1 AND slug = $2 AND NOT deleted", role, owner
    )
    return found is True


async def revoke_key(db: Database, key_id: str) -> bool:
    """False when there is no such live key."""
    done = await db.execute(
        "UPDATE api_key SET revoked_at = now() WHERE id = $1 AND revoked_at IS NULL", key_id
    )
    return done == "UPDATE 1"


async def list_keys(db: Database) -> list[ListedKey]:
    """Every key but passing ones, oldest first."""
    rows = await db.fetch(
        """SELECT id, role, owner, created_at, revoked_at FROM api_key WHERE id NOT LIKE $1
        ORDER BY created_at, id""",
        f"{PASSING}%",
    )
    return [ListedKey(Key(r[0], r[1], r[2]), r[3], r[4]) for r in rows]


@asynccontextmanager
async def passing_key(db: Database, vault: Vault, role: str, owner: str) -> AsyncIterator[str]:
    """A key that lives as long as it is used: for a request of ours in somebody's name. What a
    crash left of one is swept by the next."""
    key_id = f"{PASSING}{secrets.token_hex(4)}"
    key = f"lx_{role}_{key_id}_{secrets.token_urlsafe(32)}"
    await db.execute(_SWEEP, f"{PASSING}%")
    await put_key(db, Key(key_id, role, owner), vault.key_digest(key))
    try:
        yield key
    finally:
        await asyncio.shield(db.execute("DELETE FROM api_key WHERE id = $1", key_id))
