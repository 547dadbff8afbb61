"""Pauses by an operator: beside a document's own `active`, and not its owner's to take back."""

from typing import Literal

import orjson

from exchange.store.database import Database
from exchange.store.events import NOTE


async def set_paused(
    db: Database, kind: Literal["buyer", "contract"], slug: str, *, paused: bool, by: str, why: str
) -> bool:
    """Offer nothing new to a buyer or under a contract, or take that back; every worker knows within
    a second, and every award looks again. Written into the audit. False: there is no such one."""
    async with db.connection() as connection, connection.transaction():
        done = await connection.execute(
            f"UPDATE {kind} SET paused = $1 WHERE slug = $2",  # noqa: S608 - one of two words
            paused,
            slug,
        )
        if done == "UPDATE 0":
            return False
        what = "paused" if paused else "resumed"
        detail = orjson.dumps({"reason": why} if why else {}).decode()
        await connection.execute(NOTE, by, what, f"{kind} {slug}", detail)
    return True
