"""Writes documents: judged and written in one transaction, all or nothing; retires them."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Final
from uuid import uuid4

import orjson

from buyers.money import parse_micros
from buyers.signing import new_secret
from exchange.documents import MASK
from exchange.sealing import Vault
from exchange.store.caps import CapOwner, NewCap, add_caps, changed_caps, write_caps, write_reserves
from exchange.store.database import Database
from exchange.store.stored import KINDS, ContractScope, Documents, StoredDocument, read_documents

Wanted = list[tuple[str, dict[str, Any]]]
Decide = Callable[[Documents], Wanted]  # canonical documents to write; raises to write nothing

# Writers of documents wait for one another here, so that each judges what it will find, and versions
# are committed in their order. Awards wait (7001) only while what they read is written, at the end.
_WRITERS: Final = "SELECT pg_advisory_xact_lock(7003, 0)"
_AWARDS: Final = "SELECT pg_advisory_xact_lock(7001, 0)"
_UPSERT: Final = """WITH done AS (
  INSERT INTO document (kind, slug, body, secret)
  SELECT kind, slug, body::jsonb, secret
  FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[]) WITH ORDINALITY w(kind, slug, body, secret, n) ORDER BY n
  ON CONFLICT (kind, slug) DO UPDATE SET body = EXCLUDED.body, secret = EXCLUDED.secret, deleted = false,
    version = nextval('catalogue_version'), changed_at = now() RETURNING kind, slug, id, version, body),
history AS (
  INSERT INTO document_history (kind, slug, version, body, changed_by) SELECT kind, slug, version, body, $5 FROM done)
SELECT kind, slug, id, version FROM done"""
_HISTORY: Final = """INSERT INTO document_history (kind, slug, version, body, changed_by)
VALUES ($1, $2, $3, $4::text::jsonb, $5)"""
_RETIRE: Final = """UPDATE document SET deleted = true, version = nextval('catalogue_version'), changed_at = now()
WHERE kind = $1 AND slug = $2 RETURNING id, version"""
_ROWS_MAX: Final = 500  # of one statement
_BYTES_MAX: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the diff that `exchange apply` prints."""

    kind: str
    slug: str
    verb: str  # added, changed, unchanged
    fields: tuple[str, ...] = ()  # changed properties
    secret: str | None = None  # a generated signing secret, shown this once
    version: int = 0
    body: dict[str, Any] = field(default_factory=dict)  # as it is stored, without its secret


@dataclass(frozen=True, slots=True)
class _Ready:
    """A document that differs from what is stored."""

    change: Change
    text: str  # its body
    secret: bytes | None  # sealed
    is_new: bool  # nothing of this name was ever stored


async def write_documents(
    db: Database,
    vault: Vault,
    decide: Decide,
    *,
    by: str,
    dry_run: bool = False,
    scope: ContractScope | None = None,
) -> list[Change]:
    """Upsert what `decide` makes of what is stored, in one transaction. `dry_run` rolls it back.

    Of two documents of one name the last counts. Awards are held up by the last step alone.
    """
    async with db.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(_WRITERS)
            stored = await read_documents(connection, scope)
            wanted = decide(stored)
            named = {(kind, _name(kind, body)): body for kind, body in wanted}
            ready = [
                _ready(vault, kind, slug, dict(body), stored[kind].get(slug))
                for (kind, slug), body in sorted(
                    named.items(), key=lambda one: KINDS.index(one[0][0])
                )
            ]
            written = await _write(
                connection, [one for one in ready if isinstance(one, _Ready)], by
            )
            if written and not dry_run:
                await _accounts(connection)
                await _put_in_force(connection, written)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
    changes = {(one.change.kind, one.change.slug): one.change for one in written}
    return [
        one if isinstance(one, Change) else changes[one.change.kind, one.change.slug]
        for one in ready
    ]


async def retire_document(
    db: Database,
    kind: str,
    slug: str,
    allow: Callable[[Documents], None],
    *,
    by: str,
    scope: ContractScope | None = None,
) -> None:
    """Take a document out of force for good, unless `allow` raises. Open attempts go on to their end."""
    async with db.connection() as connection, connection.transaction():
        await connection.execute(_WRITERS)
        allow(await read_documents(connection, scope))
        id_, version = await connection.fetchrow(_RETIRE, kind, slug)
        await connection.execute(_HISTORY, kind, slug, version, "null", by)
        if kind in {"buyer", "contract"}:
            await connection.execute(_AWARDS)  # those under way end before the change does
            await connection.execute(
                f"UPDATE {kind} SET active = false WHERE id = $1",  # noqa: S608 - one of two words
                id_,
            )


def _name(kind: str, body: dict[str, Any]) -> str:
    name: str = body["vertical" if kind == "plan" else "slug"]
    return name


def _ready(
    vault: Vault, kind: str, slug: str, body: dict[str, Any], stored: StoredDocument | None
) -> Change | _Ready:
    """What is to be written of a document; a change when nothing is."""
    sealed, shown = _secret(vault, f"{kind}:{slug}", kind, body, stored.secret if stored else None)
    standing = stored if stored and not stored.deleted else None
    before = standing.body if standing else {}
    fields = tuple(sorted(k for k in body.keys() | before.keys() if body.get(k) != before.get(k)))
    if standing and not fields and _same_secret(vault, f"{kind}:{slug}", sealed, standing.secret):
        return Change(kind, slug, "unchanged", version=standing.version, body=body)
    verb = "changed" if standing else "added"
    change = Change(kind, slug, verb, fields if standing else (), shown, body=body)
    return _Ready(change, orjson.dumps(body).decode(), sealed, is_new=stored is None)


@dataclass(frozen=True, slots=True)
class _Written:
    """A document as it was stored just now."""

    id: int
    change: Change
    is_new: bool

    @property
    def body(self) -> dict[str, Any]:
        return self.change.body


async def _write(connection: Any, ready: list[_Ready], by: str) -> list[_Written]:
    """Documents and their history: nobody who trades waits for these."""
    written = []
    for part in _slices(ready):
        columns = (
            [one.change.kind for one in part],
            [one.change.slug for one in part],
            [one.text for one in part],
            [one.secret for one in part],
        )
        rows = await connection.fetch(_UPSERT, *columns, by)
        found = {(kind, slug): (id_, version) for kind, slug, id_, version in rows}
        for one in part:
            id_, version = found[one.change.kind, one.change.slug]
            written.append(_Written(id_, replace(one.change, version=version), one.is_new))
    return written


def _slices(ready: list[_Ready]) -> Iterator[list[_Ready]]:
    """Parts that one statement takes quickly; a document that is larger goes alone."""
    part: list[_Ready] = []
    size = 0
    for one in ready:
        if part and (len(part) == _ROWS_MAX or size + len(one.text) > _BYTES_MAX):
            yield part
            part, size = [], 0
        part.append(one)
        size += len(one.text)
    if part:
        yield part


def _same_secret(vault: Vault, purpose: str, one: bytes | None, other: bytes | None) -> bool:
    return one == other or _opened(vault, purpose, one) == _opened(vault, purpose, other)


def _opened(vault: Vault, purpose: str, sealed: bytes | None) -> str | None:
    return None if sealed is None else vault.open_text(purpose, sealed)


def _secret(
    vault: Vault, purpose: str, kind: str, body: dict[str, Any], stored: bytes | None
) -> tuple[bytes | None, str | None]:
    """The sealed secret, and the secret itself when it was generated just now. It is taken out of the
    body. Only what is sent to a contract's endpoint, or to a seller's callback_url, is signed."""
    given = None
    if kind == "contract":
        endpoint = body["endpoint"] = dict(body["endpoint"])
        given = endpoint.pop("secret", None)
    elif kind == "seller":
        given = body.pop("callback_secret", None)
        if body.get("callback_url") is None:
            return None, None
    else:
        return None, None
    if given in {None, MASK} and stored is not None:
        return stored, None
    generated = new_secret(secrets.token_bytes(32)) if given in {None, MASK} else None
    return vault.seal_text(purpose, generated or given), generated


async def _put_in_force(connection: Any, written: list[_Written]) -> None:
    """What awards read, in few statements: from the first to the commit no award goes on."""
    buyers = [one for one in written if one.change.kind == "buyer"]
    contracts = [one for one in written if one.change.kind == "contract"]
    await _open_accounts(connection, buyers)
    caps = await changed_caps(connection, [_cap_owner(one) for one in (*buyers, *contracts)])
    await connection.execute(_AWARDS)
    await _write_buyers(connection, buyers)
    await _write_contracts(connection, contracts)
    await write_caps(connection, caps)
    await write_reserves(connection, [(one.id, _reserve(one.body)) for one in buyers])
    await _write_verticals(connection, [o.body for o in written if o.change.kind == "vertical"])
    await _write_shares(connection)


def _reserve(buyer: dict[str, Any]) -> int:
    """What must be left of its credit; documents of earlier versions do not say."""
    return parse_micros(buyer.get("low_balance_stop") or 0)


async def _write_verticals(connection: Any, verticals: list[dict[str, Any]]) -> None:
    await connection.execute(
        """INSERT INTO vertical (slug, dedupe_days) SELECT slug, days FROM unnest($1::text[], $2::int[]) w(slug, days)
        ON CONFLICT (slug) DO UPDATE SET dedupe_days = EXCLUDED.dedupe_days""",
        [one["slug"] for one in verticals],
        [one.get("dedupe_days") or 0 for one in verticals],
    )


def _cap_owner(one: _Written) -> CapOwner:
    """A contract's periods are its schedule's, a buyer's its own."""
    clock = one.body if one.change.kind == "buyer" else one.body["schedule"] or {}
    return CapOwner(one.id, one.body["caps"], clock.get("timezone", "UTC"), one.is_new)


async def _open_accounts(connection: Any, buyers: list[_Written]) -> None:
    """A new buyer's own."""
    await connection.execute(
        """INSERT INTO account (kind, owner, currency)
        SELECT kind, owner, currency FROM unnest($1::int[], $2::text[]) WITH ORDINALITY w(owner, currency, n),
          unnest(ARRAY['available', 'held']) kind ORDER BY n, kind""",
        [one.id for one in buyers if one.is_new],
        [one.body["currency"] for one in buyers if one.is_new],
    )


async def _write_buyers(connection: Any, buyers: list[_Written]) -> None:
    rows = [
        {
            "id": one.id,
            "slug": one.body["slug"],
            "active": one.body["active"],
            "currency": one.body["currency"],
            "prepaid": one.body["credit"] is not None,
        }
        for one in buyers
    ]
    await connection.execute(
        """INSERT INTO buyer (id, slug, active, currency, available, held, prepaid)
        SELECT w.id, w.slug, w.active, w.currency, a.id, h.id, w.prepaid
        FROM jsonb_to_recordset($1::text::jsonb) w(id int, slug text, active boolean, currency text, prepaid boolean)
        JOIN account a ON a.kind = 'available' AND a.owner = w.id AND a.currency = w.currency
        JOIN account h ON h.kind = 'held' AND h.owner = w.id AND h.currency = w.currency
        ON CONFLICT (id) DO UPDATE SET active = EXCLUDED.active""",
        orjson.dumps(rows).decode(),
    )
    opened = [one for one in buyers if one.is_new and one.body["credit"] is not None]
    await add_caps(connection, [NewCap(one.id, "credit", "total", "UTC", 0) for one in opened])
    await connection.fetch(
        "SELECT deposit(ref, id, micros, 'opening deposit') FROM unnest($1::uuid[], $2::int[], $3::bigint[]) w(ref, id, micros)",
        [uuid4() for _ in opened],
        [one.id for one in opened],
        [parse_micros(one.body["credit"]) for one in opened],
    )


async def _write_contracts(connection: Any, contracts: list[_Written]) -> None:
    rows = [
        {
            "id": one.id,
            "slug": one.body["slug"],
            "buyer": one.body["buyer"],
            "active": one.body["active"],
            "dedupe_days": one.body["dedupe_days"],
        }
        for one in contracts
    ]
    await connection.execute(
        """INSERT INTO contract (id, slug, buyer_id, active, dedupe_days)
        SELECT w.id, w.slug, y.id, w.active, w.dedupe_days
        FROM jsonb_to_recordset($1::text::jsonb) w(id int, slug text, buyer text, active boolean, dedupe_days int)
        JOIN buyer y ON y.slug = w.buyer
        ON CONFLICT (id) DO UPDATE SET active = EXCLUDED.active, dedupe_days = EXCLUDED.dedupe_days""",
        orjson.dumps(rows).decode(),
    )


async def _accounts(connection: Any) -> None:
    """What every vertical's currency needs."""
    await connection.execute(
        """INSERT INTO account (kind, owner, currency)
        SELECT 'payable', s.id, v.currency FROM document s,
          (SELECT DISTINCT body->>'currency' AS currency FROM document WHERE kind = 'vertical') v
        WHERE s.kind = 'seller' ON CONFLICT DO NOTHING"""
    )
    await connection.execute(
        """INSERT INTO account (kind, currency)
        SELECT DISTINCT 'margin', body->>'currency' FROM document WHERE kind = 'vertical' ON CONFLICT DO NOTHING"""
    )


async def _write_shares(connection: Any) -> None:
    """What percentage tiers count with."""
    for owner, period in await connection.fetch(
        """SELECT c.id, tier->>'period' FROM document c JOIN document p ON p.kind = 'plan' AND p.slug = c.body->>'vertical',
          jsonb_array_elements(p.body->'tiers') tier
        WHERE c.kind = 'contract' AND tier->>'name' = c.body->>'tier' AND tier->>'mode' = 'percentage'
          AND NOT EXISTS (SELECT 1 FROM cap WHERE owner = c.id AND kind = 'share' AND period = tier->>'period')"""
    ):
        await connection.execute("SELECT set_cap($1, 'share', $2, 'UTC', $3)", owner, period, 2**62)
