"""What people do that is in no document's history: one line each, for the audit."""

from typing import Final

import orjson

from exchange.store.database import Database

NOTE: Final = (
    "INSERT INTO console_event (by, what, subject, detail) VALUES ($1, $2, $3, $4::text::jsonb)"
)


async def note(db: Database, by: str, what: str, subject: str, /, **detail: object) -> None:
    """`by`: user:LOGIN, key:ID, cli or demo; `what`: one word with underscores. Neither secrets nor
    persons."""
    await db.execute(NOTE, by, what, subject, orjson.dumps(detail).decode())
