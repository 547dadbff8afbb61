"""Deposits: money that a buyer brings, booked once per key."""

from dataclasses import dataclass
from uuid import UUID, uuid4, uuid5

import orjson

from exchange.store.database import Database

_SPACE = UUID("6f2f9a3e-6d0a-5a53-9d0c-0d9b4f6c7e11")  # of refs made from keys
_FIRST = """SELECT t.amount, t.note, c.answer FROM transfer t LEFT JOIN claim c ON c.run = t.ref AND c.seller = 0
WHERE t.ref = $1 AND t.kind = 'deposit'"""
_BUYER = "SELECT id FROM buyer WHERE slug = $1"
# What is left of a prepaid buyer's credit: all deposits less holds and sales. Null: postpaid.
_LEFT = """SELECT b.lim - b.used FROM cap c JOIN bucket b ON b.cap_id = c.id WHERE c.owner = $1 AND c.kind = 'credit'"""
# The answer is kept as long as sellers' are: the ref, and so the deposit, stays known for good.
_KEEP = """INSERT INTO claim (seller, path, key, body, owner, run, status, answer)
VALUES (0, $1, $2, '', 0, $3, 201, $4) ON CONFLICT DO NOTHING"""


@dataclass(frozen=True, slots=True)
class Deposited:
    """`same` False: the key was used for another deposit, and nothing was booked."""

    ref: UUID
    available_micros: int | None  # None: postpaid
    same: bool = True


async def book_deposit(
    db: Database, buyer: str, amount_micros: int, note: str, *, path: str, key: str | None
) -> Deposited:
    """Book it, or say what was booked under this key before. The buyer exists."""
    ref = uuid4() if key is None else uuid5(_SPACE, f"{path}|{key}")
    async with db.connection() as connection, connection.transaction():
        # As the booking itself does: of two with one key, the second finds the first.
        await connection.execute("SELECT pg_advisory_xact_lock(7001, 0)")
        buyer_id = await connection.fetchval(_BUYER, buyer)
        first = await connection.fetchrow(_FIRST, ref)
        if first is not None:
            same = (first[0], first[1]) == (amount_micros, note)
            if first[2] is not None:
                return Deposited(ref, orjson.loads(first[2]), same)
            return Deposited(ref, await connection.fetchval(_LEFT, buyer_id), same)
        await connection.execute(
            "SELECT deposit($1, $2, $3, $4)", ref, buyer_id, amount_micros, note
        )
        left = await connection.fetchval(_LEFT, buyer_id)
        if key is not None:
            await connection.execute(_KEEP, path, key, ref, orjson.dumps(left))
    return Deposited(ref, left)
