"""Reads the catalogue from its documents, and writes documents: all or nothing."""

import secrets
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson

from buyers.contract import Buyer, Contract
from buyers.money import parse_micros
from buyers.signing import new_secret
from exchange.catalogue import Catalogue, Market, market_of
from exchange.documents import (
    MASK,
    buyer_value,
    contract_value,
    plan_value,
    seller_value,
)
from exchange.sealing import Vault
from exchange.store.database import Database
from exchange.verticals import read_vertical

KINDS = ("vertical", "plan", "seller", "buyer", "contract")

_READ = """
SELECT d.kind, d.slug, d.id, d.body::text, d.secret, d.version,
       coalesce(b.paused, c.paused, false) AS paused
FROM document d
LEFT JOIN buyer b ON d.kind = 'buyer' AND b.id = d.id
LEFT JOIN contract c ON d.kind = 'contract' AND c.id = d.id
WHERE NOT d.deleted ORDER BY d.kind, d.slug"""


@dataclass(frozen=True, slots=True)
class StoredDocument:
    id: int
    body: dict[str, Any]
    secret: bytes | None
    version: int
    paused: bool


Documents = dict[str, dict[str, StoredDocument]]


async def read_documents(db: Database) -> Documents:
    """Every document in force, by kind and slug."""
    found: Documents = {kind: {} for kind in KINDS}
    for kind, slug, id_, body, secret, version, paused in await db.fetch(_READ):
        found[kind][slug] = StoredDocument(id_, orjson.loads(body), secret, version, paused)
    return found


async def load_catalogue(db: Database, vault: Vault, known: Catalogue) -> Catalogue:
    """The snapshot as it is now. What did not change since `known` is not compiled again."""
    documents = await read_documents(db)
    accounts = await db.fetch(
        "SELECT id, kind, owner, currency FROM account WHERE kind IN ('payable', 'margin')"
    )
    paused = await db.fetchval("SELECT paused FROM house")
    version = max((one.version for kind in KINDS for one in documents[kind].values()), default=0)
    sellers = {
        one.id: seller_value(one.id, one.body, active=True) for one in documents["seller"].values()
    }
    buyers = {
        slug: buyer_value(one.id, one.body, active=not one.paused)
        for slug, one in documents["buyer"].items()
    }
    return Catalogue(
        version=version,
        markets=_markets(documents, buyers, vault, known),
        sellers=sellers,
        sellers_by_slug={seller.slug: seller for seller in sellers.values()},
        buyers={buyer.id: buyer for buyer in buyers.values()},
        payable={
            (owner, currency): id_ for id_, kind, owner, currency in accounts if kind == "payable"
        },
        margin={currency: id_ for id_, kind, _, currency in accounts if kind == "margin"},
        paused=paused,
    )


def _markets(
    documents: Documents, buyers: Mapping[str, Buyer], vault: Vault, known: Catalogue
) -> dict[str, Market]:
    plans = {slug: plan_value(one.body) for slug, one in documents["plan"].items()}
    verticals = {slug: read_vertical(one.body) for slug, one in documents["vertical"].items()}
    contracts: dict[str, list[Contract]] = defaultdict(list)
    for slug, one in documents["contract"].items():
        vertical = verticals[one.body["vertical"]]
        buyer = buyers[one.body["buyer"]]
        assert one.secret is not None, "every stored contract has a secret"
        secret = vault.open_text(f"contract:{slug}", one.secret)
        contract = contract_value(one.id, one.body, buyer, vertical, secret, active=not one.paused)
        contracts[vertical.slug].append(contract)
    return {
        slug: market_of(vertical, plans.get(slug), contracts[slug], known.markets.get(slug))
        for slug, vertical in verticals.items()
    }


@dataclass(frozen=True, slots=True)
class Change:
    """One line of the diff that `exchange apply` prints."""

    kind: str
    slug: str
    verb: str  # added, changed, unchanged
    fields: tuple[str, ...] = ()  # changed properties
    secret: str | None = None  # a generated signing secret, shown this once


async def write_documents(
    db: Database, vault: Vault, wanted: list[tuple[str, dict[str, Any]]], *, by: str, dry_run: bool
) -> list[Change]:
    """Upsert canonical, checked documents in one transaction. `dry_run` rolls it back."""
    changes = []
    async with db.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        try:
            await connection.execute("SELECT pg_advisory_xact_lock(7001, 0)")
            for kind, body in sorted(wanted, key=lambda one: KINDS.index(one[0])):
                changes.append(await _write_one(connection, vault, kind, dict(body), by))
            await _accounts(connection)
        except BaseException:
            await transaction.rollback()
            raise
        await (transaction.rollback() if dry_run else transaction.commit())
    return changes


async def _write_one(
    connection: Any, vault: Vault, kind: str, body: dict[str, Any], by: str
) -> Change:
    slug = body["vertical"] if kind == "plan" else body["slug"]
    row = await connection.fetchrow(
        "SELECT id, body::text, secret FROM document WHERE kind = $1 AND slug = $2 FOR UPDATE",
        kind,
        slug,
    )
    sealed, shown = None, None
    if kind == "contract":
        sealed, shown = _secret(vault, slug, body, row["secret"] if row else None)
    before = orjson.loads(row["body"]) if row else {}
    fields = tuple(sorted(k for k in body.keys() | before.keys() if body.get(k) != before.get(k)))
    same_secret = (
        row is None
        or kind != "contract"
        or _opened(vault, slug, sealed) == _opened(vault, slug, row["secret"])
    )
    if row is not None and not fields and same_secret:
        return Change(kind, slug, "unchanged")
    id_, version = await connection.fetchrow(
        """INSERT INTO document (kind, slug, body, secret) VALUES ($1, $2, $3::text::jsonb, $4)
        ON CONFLICT (kind, slug) DO UPDATE SET body = EXCLUDED.body, secret = EXCLUDED.secret, deleted = false,
          version = nextval('catalogue_version'), changed_at = now() RETURNING id, version""",
        kind, slug, orjson.dumps(body).decode(), sealed,
    )  # fmt: skip
    await connection.execute(
        "INSERT INTO document_history (kind, slug, version, body, changed_by) VALUES ($1, $2, $3, $4::text::jsonb, $5)",
        kind, slug, version, orjson.dumps(body).decode(), by,
    )  # fmt: skip
    if kind == "buyer":
        await _write_buyer(connection, id_, body, is_new=row is None)
    elif kind == "contract":
        await _write_contract(connection, id_, body)
    return Change(kind, slug, "changed" if row else "added", fields if row else (), shown)


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
        """INSERT INTO contract (id, slug, buyer_id, active) VALUES ($1, $2, $3, $4)
        ON CONFLICT (id) DO UPDATE SET active = EXCLUDED.active""",
        id_, body["slug"], buyer, body["active"],
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
