"""Erasing persons: what is destroyed of a lead, in one transaction, and what is remembered of that.

A lead with a post under way, or one of unknown outcome, may have to be sent again: it is written down and
waits (exchange/chores/erasing.py). Lock order: (7006, 2), attempts by id, leads by id, their pings.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import orjson

from exchange.erasure import (
    bare_answer,
    bare_detail,
    bare_ping,
    bare_receipt,
    personal_names,
    unnamed,
)
from exchange.errors import StoreUnavailable
from exchange.ids import write_id
from exchange.persons import Kind
from exchange.receipt import read
from exchange.sealing import SealBroken, Sealed, Vault
from exchange.store.database import Database
from exchange.store.events import NOTE
from exchange.store.rows import AttemptState, ErasureRow, Recipient

Why = Literal["request", "retention"]
BY_CHORES: Final = "chores"

# ruff: noqa: S608 - statements are made of our own words only
_OPEN: Final = "state IN ('intent', 'unconfirmed')"
_BUSY: Final = (
    f"l.state = 'open' OR EXISTS (SELECT 1 FROM attempt WHERE lead_id = l.id AND {_OPEN})"
)
_ALONE: Final = "SELECT pg_advisory_xact_lock(7006, 2)"
_LOCK_ATTEMPTS: Final = "SELECT 1 FROM attempt WHERE lead_id = ANY ($1) ORDER BY id FOR UPDATE"
_LOCK_LEADS: Final = "SELECT 1 FROM lead WHERE id = ANY ($1) ORDER BY id FOR UPDATE"
_LEADS: Final = f"""SELECT l.id, l.ping_id, l.test, l.person_key, l.person, l.external_id, l.receipt, l.answer, {_BUSY},
  l.person_key IS NULL AND EXISTS (SELECT 1 FROM erasure WHERE lead_id = l.id AND done_at IS NOT NULL)
FROM lead l WHERE l.id = ANY ($1) ORDER BY l.id"""
# A ping that was let go and posted again is the other lead's.
_PINGS: Final = """SELECT p.id, p.receipt FROM {} p WHERE p.id = ANY ($1) AND NOT EXISTS (
  SELECT 1 FROM lead o WHERE o.ping_id = p.id AND o.id <> ALL ($2) AND o.state <> 'gone' AND o.person_key IS NOT NULL)
ORDER BY p.id FOR UPDATE OF p"""
_BARE_PINGS: Final = """UPDATE {} p SET receipt = w.receipt, external_id = w.external_id
FROM unnest($1::uuid[], $2::bytea[], $3::text[]) w(id, receipt, external_id) WHERE p.id = w.id"""
_DETAILS: Final = (
    "SELECT id, detail FROM attempt WHERE lead_id = ANY ($1) AND detail IS NOT NULL ORDER BY id"
)
_BARE_ATTEMPTS: Final = """UPDATE attempt t SET detail = w.detail FROM unnest($1::uuid[], $2::bytea[]) w(id, detail)
WHERE t.id = w.id"""
_BARE_LEADS: Final = """UPDATE lead l SET person_key = NULL, person = '', phone_index = NULL, email_index = NULL,
  external_id = w.external_id, receipt = w.receipt, answer = w.answer
FROM unnest($1::uuid[], $2::text[], $3::bytea[], $4::bytea[]) w(id, external_id, receipt, answer) WHERE l.id = w.id"""
_BARE_RETURNS: Final = """UPDATE sale_return SET note = '', decision_note = CASE WHEN decision_note IS NOT NULL THEN '' END
WHERE lead_id = ANY ($1)"""
# Who asked first is remembered, also when somebody asks again while it waits.
_RECORD: Final = """INSERT INTO erasure AS e (lead_id, why, by, asked_at, done_at)
SELECT id, $3, $4, coalesce($5, now()), CASE WHEN done THEN clock_timestamp() END
FROM unnest($1::uuid[], $2::boolean[]) w(id, done) ORDER BY id
ON CONFLICT (lead_id) DO UPDATE SET done_at = coalesce(excluded.done_at, e.done_at)"""
_COUNT: Final = """INSERT INTO erasure_count AS c (why, n)
SELECT why, count(*) FROM erasure WHERE lead_id = ANY ($1) GROUP BY why ORDER BY why
ON CONFLICT (why) DO UPDATE SET n = c.n + excluded.n"""
# But a person who asks goes before his age.
_ASK: Final = """INSERT INTO erasure AS e (lead_id, why, by, asked_at)
SELECT id, $2, $3, coalesce($4, now()) FROM lead WHERE id = ANY ($1) ORDER BY id
ON CONFLICT (lead_id) DO UPDATE SET why = excluded.why, by = excluded.by, asked_at = excluded.asked_at
WHERE e.done_at IS NULL AND e.why = 'retention' AND excluded.why = 'request' RETURNING lead_id"""
_TESTS: Final = "SELECT id, test FROM lead WHERE id = ANY ($1) ORDER BY id"
_FOUND: Final = "SELECT id FROM lead WHERE {}_index = ANY ($1) ORDER BY id"
_COLUMNS: Final = "e.lead_id, l.test, e.why, e.by, e.asked_at, e.done_at"
_STANDING: Final = f"""SELECT l.id, l.test, l.state = 'open', {_COLUMNS} FROM lead l
LEFT JOIN erasure e ON e.lead_id = l.id WHERE l.id = ANY ($1) ORDER BY l.id"""
_SENT: Final = """SELECT a.lead_id, a.id, y.slug, a.contract, a.state, a.created_at
FROM attempt a JOIN buyer y ON y.id = a.buyer_id WHERE a.lead_id = ANY ($1) AND a.state <> 'not_sent'
ORDER BY a.lead_id, a.created_at, a.id"""
# Posts of tests are in no book: the receipt has them.
_TESTED: Final = (
    "SELECT id, receipt, created_at FROM lead WHERE id = ANY ($1) AND test AND receipt IS NOT NULL"
)
_BUYERS: Final = "SELECT c.slug, y.slug FROM contract c JOIN buyer y ON y.id = c.buyer_id WHERE c.slug = ANY ($1)"
_JOINED: Final = f"SELECT {_COLUMNS} FROM erasure e JOIN lead l ON l.id = e.lead_id"
_ONE: Final = f"{_JOINED} WHERE e.lead_id = $1"
# Those that wait are few, among the millions that retention erased: they are found by an index of their own.
_PAGE: Final = f"""WITH e AS {{}} MATERIALIZED (SELECT * FROM erasure {{}}) SELECT {_COLUMNS} FROM e JOIN lead l ON l.id = e.lead_id
WHERE (e.asked_at, e.lead_id) < ($1::timestamptz, $2::uuid) ORDER BY e.asked_at DESC, e.lead_id DESC LIMIT $3"""
_PAGES: Final = {
    None: _PAGE.format("NOT", ""),
    True: _PAGE.format("", "WHERE done_at IS NULL"),
    False: _PAGE.format("NOT", "WHERE done_at IS NOT NULL"),
}
_SINCE: Final = f"""{_JOINED} WHERE (e.asked_at, e.lead_id) > ($1::timestamptz, $2::uuid)
ORDER BY e.asked_at, e.lead_id LIMIT 1000"""
_READY: Final = f"""SELECT e.lead_id, e.why, e.by, e.asked_at FROM erasure e JOIN lead l ON l.id = e.lead_id
WHERE e.done_at IS NULL AND e.lead_id > $1 AND NOT ({_BUSY}) ORDER BY e.lead_id LIMIT $2"""
FIRST: Final = UUID(int=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """Who wants persons erased, and why. `at` None: now; a moment: it was asked then, and is done again."""

    why: Why
    by: str
    at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a lead's erasure stands."""

    lead_id: UUID
    test: bool
    row: ErasureRow | None  # None: nobody asked for it
    is_open: bool  # it is being sold: more buyers may get it
    recipients: tuple[Recipient, ...]  # in the order of their posts

    @property
    def waits_for(self) -> tuple[str, ...]:
        """Contracts whose post has no outcome; nobody ever asks about a test's."""
        if self.test:
            return ()
        return tuple(one.contract for one in self.recipients if one.state.is_open)

    @property
    def waits(self) -> bool:
        return self.is_open or bool(self.waits_for)

    @property
    def done(self) -> bool:
        return self.row is not None and self.row.done_at is not None


async def leads_of(db: Database, kind: Kind, indexes: Sequence[bytes]) -> list[UUID]:
    """Every lead of a person, oldest first: tests and such as were stopped, too."""
    return [row[0] for row in await db.fetch(_FOUND.format(kind), list(indexes))]


async def standings(db: Database, ids: Sequence[UUID]) -> list[Standing]:
    """How these leads stand, oldest first; those that there are."""
    sent = await _tested(db, ids)
    for lead_id, id_, buyer, contract, state, at in await db.fetch(_SENT, list(ids)):
        known = AttemptState(state)
        one = Recipient(attempt_id=id_, buyer=buyer, contract=contract, state=known, at=at)
        sent.setdefault(lead_id, []).append(one)
    return [
        Standing(
            lead_id=id_, test=test, is_open=is_open, recipients=tuple(sent.get(id_, ())),
            row=None if row[0] is None else _row(row),
        )
        for id_, test, is_open, *row in await db.fetch(_STANDING, list(ids))
    ]  # fmt: skip


async def _tested(db: Database, ids: Sequence[UUID]) -> dict[UUID, list[Recipient]]:
    """Whom tests were posted to, by lead; `at` is the lead's moment, for no other is known."""
    posts = [
        (id_, one, at)
        for id_, receipt, at in await db.fetch(_TESTED, list(ids))
        for one in read(receipt).get("attempts", ())
        if one["state"] != AttemptState.NOT_SENT
    ]
    slugs = {one["contract"] for _, one, _ in posts}
    buyers = dict(map(tuple, await db.fetch(_BUYERS, list(slugs)))) if slugs else {}
    sent: dict[UUID, list[Recipient]] = {}
    for lead_id, one, at in posts:
        slug, attempt = one["contract"], UUID(hex=one["attempt_id"].removeprefix("att_"))
        to = Recipient(attempt_id=attempt, buyer=buyers[slug], contract=slug, state=AttemptState(one["state"]), at=at)  # fmt: skip
        sent.setdefault(lead_id, []).append(to)
    return sent


async def erase(db: Database, vault: Vault, ids: Sequence[UUID], asking: Asking) -> list[Standing]:
    """Erase these leads' persons, each in a transaction of its own; how they stand then. All are written
    down first, and in the audit: what cannot be done now, because a post is open or somebody else holds
    the rows, the chores do. The same again changes nothing. Raises StoreUnavailable."""
    async with db.connection() as connection, connection.transaction():
        asked = await connection.fetch(_ASK, list(ids), asking.why, asking.by, asking.at)
        named = await connection.fetch(_TESTS, [row[0] for row in asked])
        for id_, test in named:
            lead = write_id("lead", id_, test=test)
            await connection.execute(NOTE, asking.by, "erased", lead, "{}")
    with suppress(StoreUnavailable):
        for id_ in ids:
            async with db.connection() as connection, connection.transaction():
                await erase_some(connection, vault, [id_], asking)
    return await standings(db, ids)


async def erase_some(connection: Any, vault: Vault, ids: Sequence[UUID], asking: Asking) -> int:
    """Erase what can be and write down what has to wait, in the caller's transaction; how many were
    erased. Those that had been before are left alone."""
    await connection.execute(_ALONE)
    await connection.execute(_LOCK_ATTEMPTS, list(ids))
    await connection.execute(_LOCK_LEADS, list(ids))
    # Neither a lead nor a post that has ended ever changes: these locks only keep the order of the house.
    leads = [_Lead(*row) for row in await connection.fetch(_LEADS, list(ids))]
    meant = [one for one in leads if not one.done]
    ready = [one for one in meant if not one.busy]
    if ready:
        await _bare(connection, vault, ready)
    if meant:
        await connection.execute(
            _RECORD, [one.id for one in meant], [not one.busy for one in meant], asking.why, asking.by, asking.at
        )  # fmt: skip
        await connection.execute(_COUNT, [one.id for one in ready])
    return len(ready)


class _Lead(NamedTuple):
    id: UUID
    ping_id: UUID
    test: bool
    person_key: bytes | None
    person: bytes
    external_id: str | None
    receipt: bytes | None
    answer: bytes | None
    busy: bool
    done: bool


async def _bare(connection: Any, vault: Vault, leads: Sequence[_Lead]) -> None:
    """Nothing that says who it was stays. Whom sellers' own ids name is seen while the person can be opened."""
    ids = [one.id for one in leads]
    persons = {one.id: _opened(vault, one) for one in leads}
    names = {one.id: frozenset(persons[one.id] or ()) for one in leads}
    # Of two leads of one ping, one was stopped: the other knows its person.
    of_ping = {
        one.ping_id: one for one in sorted(leads, key=lambda one: persons[one.id] is not None)
    }
    for table in ("ping", "kept_ping"):
        found = await connection.fetch(_PINGS.format(table), list(of_ping), ids)
        bared = []
        for id_, receipt in found:
            lead = of_ping[id_]
            names[lead.id] = personal_names(read(receipt), persons[lead.id])
            bare = bare_ping(receipt, persons[lead.id])
            bared.append((id_, bare, orjson.loads(bare).get("external_id")))
        await connection.execute(_BARE_PINGS.format(table), *_columns(bared, 3))
    said = [(id_, bare_detail(raw)) for id_, raw in await connection.fetch(_DETAILS, ids)]
    await connection.execute(_BARE_ATTEMPTS, *_columns(said, 2))
    rows = [
        (
            one.id,
            unnamed(one.external_id, persons[one.id], names[one.id]),
            one.receipt and bare_receipt(one.receipt),
            one.answer and bare_answer(one.answer),
        )
        for one in leads
    ]
    await connection.execute(_BARE_LEADS, *_columns(rows, 4))
    await connection.execute(_BARE_RETURNS, ids)


def _opened(vault: Vault, lead: _Lead) -> dict[str, Any] | None:
    """None: it was sealed under another master key, or stopped before anything left."""
    try:
        return vault.open(str(lead.id), Sealed(lead.person_key, lead.person))
    except SealBroken:
        return None


def _columns(rows: Sequence[Sequence[Any]], width: int) -> list[list[Any]]:
    return [[row[place] for row in rows] for place in range(width)]


async def ready_erasures(connection: Any, after: UUID, limit: int) -> list[tuple[UUID, Asking]]:
    """Those that need not wait any more, by lead."""
    rows = await connection.fetch(_READY, after, limit)
    return [(id_, Asking(why=why, by=by, at=at)) for id_, why, by, at in rows]


async def erasure_of(db: Database, lead_id: UUID) -> ErasureRow | None:
    row = await db.fetchrow(_ONE, lead_id)
    return None if row is None else _row(row)


async def erasures_page(
    db: Database, before: tuple[datetime, UUID], waiting: bool | None, limit: int
) -> list[ErasureRow]:
    """Newest first. `waiting` None: whichever. `before`: moment and lead of the page's last."""
    return [_row(row) for row in await db.fetch(_PAGES[waiting], *before, limit)]


async def erasures_since(db: Database, since: datetime) -> list[ErasureRow]:
    """Everything that was asked for from this moment on, oldest first."""
    found: list[ErasureRow] = []
    after = (since, FIRST)
    while rows := [_row(row) for row in await db.fetch(_SINCE, *after)]:
        found += rows
        after = (rows[-1].asked_at, rows[-1].lead_id)
    return found


def _row(row: Iterable[Any]) -> ErasureRow:
    return ErasureRow(**dict(zip(ErasureRow.__slots__, row, strict=True)))
