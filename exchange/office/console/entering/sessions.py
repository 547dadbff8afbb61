"""Sessions, one-time links and tries: opaque tokens of which Postgres knows a keyed hash only."""

import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from exchange.office.console.viewer import Role, Viewer
from exchange.sealing import Vault
from exchange.settings import OfficeSettings
from exchange.store.database import Database

LINK_MINUTES: Final = 10
_CODE_MINUTES: Final = 5
_TRY_MINUTES: Final = 15
_WIDER: Final = 5  # a login from anywhere, or an address for any login, has so many times the tries

_FIND: Final = """SELECT s.id, s.login, s.key_id, coalesce(u.role, k.role) AS role, coalesce(u.owner, k.owner) AS owner,
  s.seen_at < now() - interval '1 minute' AS stale
FROM console_session s
LEFT JOIN console_user u ON u.login = s.login AND u.retired_at IS NULL
LEFT JOIN api_key k ON k.id = s.key_id AND k.revoked_at IS NULL
WHERE s.digest = $1 AND s.ends_at > now() AND s.seen_at > now() - make_interval(hours => $2)
  AND (u.login IS NOT NULL OR k.id IS NOT NULL)"""
_SEEN: Final = "UPDATE console_session SET seen_at = now() WHERE id = $1"
_BEGIN: Final = """INSERT INTO console_session (id, digest, login, key_id, address, agent, ends_at)
VALUES ($1, $2, $3, $4, $5, $6, now() + make_interval(hours => $7))"""
_LIST: Final = """SELECT id, address, agent, began_at, seen_at FROM console_session
WHERE (login = $1 OR key_id = $2) AND ends_at > now() AND seen_at > now() - make_interval(hours => $3)
ORDER BY seen_at DESC, id"""
_END_OTHERS: Final = """DELETE FROM console_session o USING console_session s
WHERE s.id = $1 AND o.id <> s.id AND (o.login = s.login OR o.key_id = s.key_id)"""
_MAKE_ONCE: Final = """INSERT INTO console_once (digest, purpose, login, ends_at)
VALUES ($1, $2, $3, now() + make_interval(mins => $4))"""
_LOOK_ONCE: Final = """SELECT o.login FROM console_once o JOIN console_user u ON u.login = o.login AND u.retired_at IS NULL
WHERE o.digest = $1 AND o.purpose = $2 AND o.ends_at > now()"""
_USE_ONCE: Final = """DELETE FROM console_once o USING console_user u
WHERE u.login = o.login AND u.retired_at IS NULL AND o.digest = $1 AND o.purpose = $2 AND o.ends_at > now() RETURNING o.login"""
# Counted before the password is looked at: many at once cannot all be the first.
_TRY: Final = """INSERT INTO console_try AS t (what) VALUES ($1) ON CONFLICT (what) DO UPDATE SET
  count = CASE WHEN t.since < now() - make_interval(mins => $2) THEN 1 ELSE t.count + 1 END,
  since = CASE WHEN t.since < now() - make_interval(mins => $2) THEN now() ELSE t.since END
RETURNING count, ceil(extract(epoch FROM since + make_interval(mins => $2) - now()))::int AS left_s"""
_SWEEP: Final = (
    "DELETE FROM console_session WHERE ends_at < now()",
    "DELETE FROM console_once WHERE ends_at < now()",
    "DELETE FROM console_try WHERE since < now() - interval '1 day'",
)


@dataclass(frozen=True, slots=True)
class ListedSession:
    id: str
    address: str
    agent: str
    began_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """Where a sign-in comes from, for the list of sessions and for counting tries."""

    address: str
    agent: str


class Sessions:
    """Who is signed in. Every request is looked up: what was ended or revoked is over at once."""

    def __init__(self, db: Database, vault: Vault, settings: OfficeSettings) -> None:
        self._db = db
        self._vault = vault
        self._settings = settings

    async def find(self, token: str, *, touches: bool = True) -> Viewer | None:
        """Whose session this is; None when it is unknown, ended, idle for too long, or its key or
        its user is no more. `touches=False`: being asked about does not keep it alive."""
        row = await self._db.fetchrow(_FIND, self._digest(token), self._settings.idle_hours)
        if row is None:
            return None
        if row["stale"] and touches:
            await self._db.execute(_SEEN, row["id"])
        role: Role = row["role"]
        login = row["login"] or f"key {row['key_id']}"
        return Viewer(login=login, role=role, owner=row["owner"], session=row["id"])

    async def begin(
        self, device: Device, *, login: str | None = None, key_id: str | None = None
    ) -> str:
        """A new session of a user or of a key's holder; the token for the cookie."""
        token = secrets.token_urlsafe(32)
        await self._db.execute(
            _BEGIN, secrets.token_hex(8), self._digest(token), login, key_id, device.address,
            device.agent, self._settings.session_hours,
        )  # fmt: skip
        for statement in _SWEEP:
            await self._db.execute(statement)
        return token

    async def of(self, viewer: Viewer) -> list[ListedSession]:
        """The viewer's own live sessions, last seen first."""
        rows = await self._db.fetch(_LIST, viewer.user, viewer.key_id, self._settings.idle_hours)
        return [ListedSession(*row) for row in rows]

    async def end(self, session: str) -> None:
        await self._db.execute("DELETE FROM console_session WHERE id = $1", session)

    async def end_others(self, session: str) -> int:
        """End every other session of the same user or key; how many."""
        return int((await self._db.execute(_END_OTHERS, session)).split()[1])

    async def make_once(self, purpose: str, login: str) -> str:
        """A token that works once: `enter` for ten minutes, `code` (half of a sign-in) for five."""
        token = secrets.token_urlsafe(32)
        minutes = LINK_MINUTES if purpose == "enter" else _CODE_MINUTES
        await self._db.execute(_MAKE_ONCE, self._digest(token), purpose, login, minutes)
        return token

    async def look_once(self, purpose: str, token: str) -> str | None:
        """Whose token it is, without using it up."""
        return await self._login(_LOOK_ONCE, purpose, token)

    async def use_once(self, purpose: str, token: str) -> str | None:
        """Whose token it was; None when it is unknown, used or too old."""
        return await self._login(_USE_ONCE, purpose, token)

    async def _login(self, sql: str, purpose: str, token: str) -> str | None:
        found = await self._db.fetchval(sql, self._digest(token), purpose)
        return None if found is None else str(found)

    async def count_try(self, login: str, address: str) -> int:
        """Count a try before it is judged. How many seconds to wait; 0: it may be judged. An empty
        login is a key's: one that is guessed at from elsewhere keeps nobody's out."""
        most = self._settings.tries_max
        limits = {f"both:{login}|{address}": most, f"address:{address}": most * _WIDER}
        if login:
            limits[f"login:{login}"] = most * _WIDER
        waits = [0]
        for what, limit in limits.items():
            row = await self._db.fetchrow(_TRY, self._what(what), _TRY_MINUTES)
            assert row is not None, "an upsert that returns"
            waits.append(max(1, row["left_s"]) if row["count"] > limit else 0)
        return max(waits)

    async def forget_tries(self, login: str, address: str) -> None:
        """After a success: the next slip of the pen is the first again."""
        whats = [self._what(f"both:{login}|{address}"), self._what(f"login:{login}")]
        await self._db.execute("DELETE FROM console_try WHERE what = ANY ($1)", whats)

    def _digest(self, token: str) -> bytes:
        return self._vault.blind("console-token", token)

    def _what(self, text: str) -> bytes:
        return self._vault.blind("console-try", text)
