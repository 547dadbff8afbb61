"""Writes documents: judged and written in one transaction, all or nothing; retires them."""

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import orjson

from buyers.money import parse_micros
from buyers.signing import new_secret
from exchange.documents import MASK
from exchange.sealing import Vault
from exchange.store.catalogue import (
    KINDS,
    ContractScope,
    Documents,
    StoredDocument,
    read_documents,
)
from exchange.store.database import Database

Wanted = list[tuple[str, dict[str, Any]]]
Decide = Callable[[Documents], Wanted]  # canonical documents to write; raises to write nothing

# Writers of documents wait for one another here, so that each judges what it will find. Awards wait
# (7001) only while something is written, not while it is judged.
_WRITERS: Final = "SELECT pg_advisory_xact_lock(7003, 0)"
_AWARDS: Final = "SELECT pg_advisory_xact_lock(7001, 0)"
_HISTORY: Final = """INSERT INTO document_history (kind, slug, version, body, changed_by)
VALUES ($1, $2, $3, $4::text::jsonb, $5)"""
_UPSERT: Final = """INSERT INTO document (kind, slug, body, secret) VALUES ($1, $2, $3::text::jsonb, $4)
ON CONFLICT (kind, slug) DO UPDATE SET body = EXCLUDED.body, secret = EXCLUDED.secret, deleted = false,
  version = nextval('catalogue_version'), changed_at = now() RETURNING id, version"""
_RETIRE: Final = """UPDATE document SET deleted = true, version = nextval('catalogue_version'), changed_at = now()
WHERE kind = $1 AND slug = $2 RETURNING id, version"""


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


async def write_documents(
    db: Database,
    vault: Vault,
    decide: Decide,
    *,
    by: str,
    dry_run: bool = False,
    scope: ContractScope | None = None,
) -> list[Change]:
    """Upsert what `decide` makes of what is stored, in one transaction. `dry_run` rolls it back."""
    changes = []
    async with db.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute(_WRITERS)
            stored = await read_documents(connection, scope)
            wanted = decide(stored)
            await connection.execute(_AWARDS)
            for kind, body in sorted(wanted, key=lambda one: KINDS.index(one[0])):
                before = stored[kind].get(_name(kind, body))
                changes.append(await _write_one(connection, vault, kind, dict(body), before, by))
            await _accounts(connection)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
    return changes


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
        await connection.execute(_AWARDS)
        id_, version = await connection.fetchrow(_RETIRE, kind, slug)
        await connection.execute(_HISTORY, kind, slug, version, "null", by)
        if kind in {"buyer", "contract"}:
            await connection.execute(
                f"UPDATE {kind} SET active = false WHERE id = $1",  # noqa: S608 - one of two words
                id_,
            )


def _name(kind: str, body: dict[str, Any]) -> str:
    name: str = body["vertical" if kind == "plan" else "slug"]
    return name


async def _write_one(
    connection: Any,
    vault: Vault,
    kind: str,
    body: dict[str, Any],
    stored: StoredDocument | None,
    by: str,
) -> Change:
    slug = _name(kind, body)
    sealed, shown = None, None
    if kind == "contract":
        sealed, shown = _secret(vault, slug, body, stored.secret if stored else None)
    standing = stored if stored and not stored.deleted else None
    before = standing.body if standing else {}
    fields = tuple(sorted(k for k in body.keys() | before.keys() if body.get(k) != before.get(k)))
    if standing and not fields and _same_secret(vault, slug, sealed, standing.secret):
        return Change(kind, slug, "unchanged", version=standing.version, body=body)
    text = orjson.dumps(body).decode()
    id_, version = await connection.fetchrow(_UPSERT, kind, slug, text, sealed)
    await connection.execute(_HISTORY, kind, slug, version, text, by)
    if kind == "buyer":
        await _write_buyer(connection, id_, body, is_new=stored is None)
    elif kind == "contract":
        await _write_contract(connection, id_, body)
    verb = "changed" if standing else "added"
    return Change(kind, slug, verb, fields if standing else (), shown, version, body)


def _same_secret(vault: Vault, slug: str, one: bytes | None, other: bytes | None) -> bool:
    return one == other or _opened(vault, slug, one) == _opened(vault, slug, other)


def _opened(vault: Vault, slug: str, sealed: bytes | None) -> str | None:
    return None if sealed is None else vault.open_text(f"contract:{slug}", sealed)


def _secret(
    vault: Vault, slug: str, body: dict[str, Any], stored: bytes | None
) -> tuple[bytes, str | None]:
    """The sealed secret, and the secret itself when it was generated just now."""
    endpoint = body["endpoint"] = dict(body["endpoint"])
    given = endpoint.pop("secret", None)
    if given in {None, MASK} and stored is not None:
        return stored, None
    generated = new_secret(secrets.token_bytes(32)) if given in {None, MASK} else None
    return vault.seal_text(f"contract:{slug}", generated or given), generated


async def _write_buyer(connection: Any, id_: int, body: dict[str, Any], *, is_new: bool) -> None:
    currency = body["currency"]
    if is_new:
        ids = [
            await connection.fetchval(
                "INSERT INTO account (kind, owner, currency) VALUES ($1, $2, $3) RETURNING id",
                kind,
                id_,
                currency,
            )
            for kind in ("available", "held")
        ]
        prepaid = body["credit"] is not None
        await connection.execute(
            """INSERT INTO buyer (id, slug, active, currency, available, held, prepaid)
            VALUES ($1, $2, $3, $4, $5, $6, $7)""",
            id_, body["slug"], body["active"], currency, *ids, prepaid,
        )  # fmt: skip
        if prepaid:
            await connection.execute("SELECT set_cap($1, 'credit', 'total', 'UTC', 0)", id_)
            opening = parse_micros(body["credit"])
            await connection.execute(
                "SELECT deposit($1, $2, $3, 'opening deposit')", uuid4(), id_, opening
            )
    else:
        await connection.execute("UPDATE buyer SET active = $2 WHERE id = $1", id_, body["active"])
    await _write_caps(connection, id_, body["caps"], body["timezone"])


async def _write_contract(connection: Any, id_: int, body: dict[str, Any]) -> None:
    buyer = await connection.fetchval("SELECT id FROM buyer WHERE slug = $1", body["buyer"])
    await connection.execute(
        """INSERT INTO contract (id, slug, buyer_id, active, dedupe_days) VALUES ($1, $2, $3, $4, $5)
        ON CONFLICT (id) DO UPDATE SET active = EXCLUDED.active, dedupe_days = EXCLUDED.dedupe_days""",
        id_, body["slug"], buyer, body["active"], body["dedupe_days"],
    )  # fmt: skip
    timezone = (body["schedule"] or {}).get("timezone", "UTC")
    await _write_caps(connection, id_, body["caps"], timezone)


async def _write_caps(
    connection: Any, owner: int, caps: list[dict[str, Any]], timezone: str
) -> None:
    """What is listed is set, keeping its use; what is not listed any more is dropped."""
    wanted = {(cap["kind"], cap["period"] or "total"): cap["limit"] for cap in caps}
    for kind, period in await connection.fetch(
        "SELECT kind, period FROM cap WHERE owner = $1 AND kind NOT IN ('credit', 'share')", owner
    ):
        if (kind, period) not in wanted:
            await connection.execute("SELECT drop_cap($1, $2, $3)", owner, kind, period)
    for (kind, period), limit in wanted.items():
        units = parse_micros(limit) if kind == "spend" else limit
        await connection.execute(
            "SELECT set_cap($1, $2, $3, $4, $5)", owner, kind, period, timezone, units
        )


async def _accounts(connection: Any) -> None:
    """What every vertical's currency needs, and what percentage tiers count with."""
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
    for owner, period in await connection.fetch(
        """SELECT c.id, tier->>'period' FROM document c JOIN document p ON p.kind = 'plan' AND p.slug = c.body->>'vertical',
          jsonb_array_elements(p.body->'tiers') tier
        WHERE c.kind = 'contract' AND tier->>'name' = c.body->>'tier' AND tier->>'mode' = 'percentage'
          AND NOT EXISTS (SELECT 1 FROM cap WHERE owner = c.id AND kind = 'share' AND period = tier->>'period')"""
    ):
        await connection.execute("SELECT set_cap($1, 'share', $2, 'UTC', $3)", owner, period, 2**62)
