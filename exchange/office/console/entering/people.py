"""Users in Postgres: logins, roles, passwords, one-time codes. A login is never used again."""

import asyncio
import re
import secrets
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from exchange.errors import Problem
from exchange.office.console.entering import totp
from exchange.office.console.entering.passwords import hash_password, is_password
from exchange.office.console.viewer import EVERYONE, STAFF, Role
from exchange.sealing import Vault
from exchange.store.database import Database
from exchange.store.keys import owner_exists

_LOGIN: Final = re.compile(r"[a-z0-9][a-z0-9._@-]{0,63}")
_HASHES_AT_ONCE: Final = 2  # each takes 32 MiB
_RECOVERY_CODES: Final = 10
_COLUMNS: Final = (
    "login, role, owner, password IS NOT NULL, totp IS NOT NULL, created_at, retired_at"
)
_SEEN: Final = "(SELECT max(seen_at) FROM console_session s WHERE s.login = console_user.login)"
_PAGE: Final = (
    f"SELECT {_COLUMNS}, {_SEEN} FROM console_user ORDER BY retired_at IS NOT NULL, login"  # noqa: S608 - constants
)
_ADD: Final = (
    "INSERT INTO console_user (login, role, owner) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING"
)
_RETIRE: Final = "UPDATE console_user SET retired_at = now(), password = NULL, totp = NULL WHERE login = $1 AND retired_at IS NULL"
_RESET: Final = (
    "UPDATE console_user SET password = NULL, totp = NULL WHERE login = $1 AND retired_at IS NULL"
)
_CODES: Final = "INSERT INTO console_recovery (login, digest) SELECT $1, unnest($2::bytea[])"
# The code's step is passed by whoever is first with it.
_TAKE_STEP: Final = "UPDATE console_user SET totp_step = $2 WHERE login = $1 AND totp_step < $2"


@dataclass(frozen=True, slots=True)
class User:
    login: str
    role: Role
    owner: str | None
    has_password: bool
    has_totp: bool
    created_at: datetime
    retired_at: datetime | None
    seen_at: datetime | None = None


class People:
    """Everything about users but their sessions."""

    def __init__(self, db: Database, vault: Vault) -> None:
        self._db = db
        self._vault = vault
        self._hashing = asyncio.Semaphore(_HASHES_AT_ONCE)

    async def all(self) -> list[User]:
        """Live ones by login, then the retired."""
        return [User(*row) for row in await self._db.fetch(_PAGE)]

    async def find(self, login: str) -> User | None:
        """A live user; None when there is none, or a retired one."""
        row = await self._db.fetchrow(
            f"SELECT {_COLUMNS} FROM console_user WHERE login = $1 AND retired_at IS NULL",  # noqa: S608 - a constant
            login,
        )
        return None if row is None else User(*row)

    async def add(self, login: str, role: str, owner: str | None) -> list[Problem]:
        """A new user without a password: it enters by a one-time link. What is wrong; []: done."""
        problems = await self._problems(login, role, owner)
        if problems:
            return problems
        if await self._db.execute(_ADD, login, role, owner) == "INSERT 0 0":
            return [Problem("login", "exists", "exists, or existed: a login is never used again")]
        return []

    async def _problems(self, login: str, role: str, owner: str | None) -> list[Problem]:
        problems = []
        if not _LOGIN.fullmatch(login):
            text = (
                "must be 1 to 64 of a-z, 0-9, dot, dash, underscore and @, a letter or digit first"
            )
            problems.append(Problem("login", "bad_format", text))
        if role not in EVERYONE:
            problems.append(Problem("role", "not_allowed", f"is one of {', '.join(EVERYONE)}"))
        elif role in STAFF and owner is not None:
            problems.append(
                Problem("owner", "not_allowed", f"must be empty: a user of role {role} has none")
            )
        elif role not in STAFF and owner is None:
            problems.append(Problem("owner", "required", f"is the slug of the {role}"))
        elif role not in STAFF and (
            "\0" in str(owner) or not await owner_exists(self._db, role, str(owner))
        ):
            problems.append(Problem("owner", "not_found", f"there is no such {role}"))
        return problems

    async def retire(self, login: str) -> bool:
        """Ends all sessions and the login for good. False when there is no such live user."""
        return await self._end(_RETIRE, login)

    async def reset(self, login: str) -> bool:
        """Takes password, one-time codes and sessions away: a new link lets the user in again.
        False when there is no such live user."""
        return await self._end(_RESET, login)

    async def _end(self, sql: str, login: str) -> bool:
        async with self._db.connection() as connection, connection.transaction():
            if await connection.execute(sql, login) == "UPDATE 0":
                return False
            for table in ("console_session", "console_once", "console_recovery"):
                await connection.execute(f"DELETE FROM {table} WHERE login = $1", login)  # noqa: S608 - three words
        return True

    async def is_password(self, login: str, password: str) -> bool:
        """As slow for a login that does not exist."""
        stored = await self._db.fetchval(
            "SELECT password FROM console_user WHERE login = $1 AND retired_at IS NULL", login
        )
        async with self._hashing:
            return await asyncio.to_thread(is_password, password, stored)

    async def set_password(self, login: str, password: str) -> None:
        """`password` has been looked at: password_problem()."""
        async with self._hashing:
            stored = await asyncio.to_thread(hash_password, password)
        await self._db.execute(
            "UPDATE console_user SET password = $2 WHERE login = $1", login, stored
        )

    async def is_code(self, login: str, code: str) -> bool:
        """A one-time code that was not used yet, or a recovery code, which is used up by it."""
        sealed = await self._db.fetchval("SELECT totp FROM console_user WHERE login = $1", login)
        if sealed is None:
            return False
        step = totp.step_of(self._secret(login, sealed), code, time.time())
        if step is not None:
            return await self._db.execute(_TAKE_STEP, login, step) == "UPDATE 1"
        used = "DELETE FROM console_recovery WHERE login = $1 AND digest = $2"
        return await self._db.execute(used, login, self._recovery(login, code)) == "DELETE 1"

    async def begin_totp(self, login: str, secret: bytes, code: str) -> list[str] | None:
        """Ask for codes from now on, if this one proves that a device has the secret: the recovery
        codes, which nobody can read again; None: it does not."""
        step = totp.step_of(secret, code, time.time())
        if step is None:
            return None
        codes = [_new_code() for _ in range(_RECOVERY_CODES)]
        digests = [self._recovery(login, one) for one in codes]
        sealed = self._vault.seal_text(_purpose(login), secret.hex())
        async with self._db.connection() as connection, connection.transaction():
            await self._drop(connection, login)
            await connection.execute(
                "UPDATE console_user SET totp = $2, totp_step = $3 WHERE login = $1",
                login,
                sealed,
                step,
            )
            await connection.execute(_CODES, login, digests)
        return codes

    async def end_totp(self, login: str) -> None:
        async with self._db.connection() as connection, connection.transaction():
            await self._drop(connection, login)

    async def _drop(self, connection: "asyncpg.Connection[asyncpg.Record]", login: str) -> None:
        await connection.execute("UPDATE console_user SET totp = NULL WHERE login = $1", login)
        await connection.execute("DELETE FROM console_recovery WHERE login = $1", login)

    def _secret(self, login: str, sealed: bytes) -> bytes:
        return bytes.fromhex(self._vault.open_text(_purpose(login), sealed))

    def _recovery(self, login: str, code: str) -> bytes:
        plain = "".join(code.lower().split()).replace("-", "")
        return self._vault.blind("console-recovery", f"{login}|{plain}")


def _purpose(login: str) -> str:
    return f"totp:{login}"


def _new_code() -> str:
    """50 bits, easy to write down."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(5)) for _ in range(2))
