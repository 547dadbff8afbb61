"""Who changed what: versions of documents with the one before, and what is in no document."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import orjson

from exchange.store.database import Database

LAST: Final = 2**63 - 1  # before it is every change

_CHANGES: Final = """SELECT h.version, h.kind, h.slug, h.changed_by, h.changed_at, h.body::text, p.body::text
FROM document_history h LEFT JOIN LATERAL (
  SELECT body FROM document_history WHERE kind = h.kind AND slug = h.slug AND version < h.version
  ORDER BY version DESC LIMIT 1) p ON true
WHERE h.version < $1 AND ($2::text IS NULL OR h.kind = $2) AND ($3::text IS NULL OR h.slug = $3)
  AND ($4::text IS NULL OR h.changed_by = $4)
  AND ($5::timestamptz IS NULL OR h.changed_at >= $5) AND ($6::timestamptz IS NULL OR h.changed_at < $6)
ORDER BY h.version DESC LIMIT $7"""
_EVENTS: Final = """SELECT id, at, by, what, subject, detail::text FROM console_event
WHERE id < $1 AND ($2::text IS NULL OR what = $2) AND ($3::text IS NULL OR subject = $3)
  AND ($4::text IS NULL OR by = $4)
  AND ($5::timestamptz IS NULL OR at >= $5) AND ($6::timestamptz IS NULL OR at < $6)
ORDER BY id DESC LIMIT $7"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Filters of a page of history; None: any. `kind` is a document's, or what was done."""

    kind: str | None = None
    subject: str | None = None  # a slug, or what it was done to
    by: str | None = None
    since: datetime | None = None
    until: datetime | None = None  # exclusive


@dataclass(frozen=True, slots=True)
class Changed:
    """One version of a document. `after` None: retired; `before` None: created, or was retired."""

    version: int
    kind: str
    slug: str
    by: str
    at: datetime
    after: dict[str, Any] | None
    before: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Event:
    id: int
    at: datetime
    by: str
    what: str
    subject: str
    detail: dict[str, Any]


async def changes_page(db: Database, wanted: Wanted, before: int, limit: int) -> list[Changed]:
    """Changes of documents, newest first; `before` is the version of the page before's last."""
    rows = await db.fetch(_CHANGES, before, *_values(wanted), limit)
    return [
        Changed(*row[:5], *(orjson.loads(text or "null") for text in row[5:]))
        for row in map(tuple, rows)
    ]


async def events_page(db: Database, wanted: Wanted, before: int, limit: int) -> list[Event]:
    """What people did that is in no document, newest first."""
    rows = await db.fetch(_EVENTS, before, *_values(wanted), limit)
    return [Event(*row[:5], *map(orjson.loads, row[5:])) for row in map(tuple, rows)]


def _values(wanted: Wanted) -> tuple[Any, ...]:
    return (wanted.kind, wanted.subject, wanted.by, wanted.since, wanted.until)
