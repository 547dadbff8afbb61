"""Reads the catalogue from its documents."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from buyers.contract import Buyer, Contract
from exchange.catalogue import Catalogue, Market, market_of
from exchange.documents import (
    buyer_value,
    contract_value,
    plan_value,
    seller_value,
)
from exchange.sealing import Vault
from exchange.store.database import Database
from exchange.verticals import read_vertical

KINDS = ("vertical", "plan", "seller", "buyer", "contract")

_READ: Final = """
SELECT d.kind, d.slug, d.id, d.body::text, d.secret, d.version,
       coalesce(b.paused, c.paused, false) AS paused, d.deleted
FROM document d
LEFT JOIN buyer b ON d.kind = 'buyer' AND b.id = d.id
LEFT JOIN contract c ON d.kind = 'contract' AND c.id = d.id """
# What is retired buys and sells nothing more; leads that are open need it to come to their end.
_IN_FORCE: Final = """WHERE NOT d.deleted OR d.kind IN ('vertical', 'seller', 'buyer') OR d.id IN (
  SELECT contract_id FROM attempt WHERE state IN ('intent', 'unconfirmed')) ORDER BY d.kind, d.slug"""
# One contract and what it stands on, by what is stored and by what is wanted.
_OF_CONTRACT: Final = """
WHERE (d.kind = 'contract' AND d.slug = $1)
  OR (d.kind IN ('vertical', 'plan') AND d.slug IN ($2, (SELECT body->>'vertical' FROM document WHERE kind = 'contract' AND slug = $1)))
  OR (d.kind = 'buyer' AND d.slug IN ($3, (SELECT body->>'buyer' FROM document WHERE kind = 'contract' AND slug = $1)))"""
_VERSION: Final = "SELECT coalesce(max(version), 0) FROM document"


class Fetches(Protocol):
    """A database, or a connection of one inside a transaction."""

    async def fetch(self, sql: str, *args: Any) -> list[Any]: ...


@dataclass(frozen=True, slots=True)
class StoredDocument:
    id: int
    body: dict[str, Any]
    secret: bytes | None
    version: int
    paused: bool
    deleted: bool = False  # retired


Documents = dict[str, dict[str, StoredDocument]]


@dataclass(frozen=True, slots=True)
class ContractScope:
    """What a change of one contract has to look at, instead of everything."""

    slug: str
    vertical: str
    buyer: str


async def read_documents(db: Fetches, scope: ContractScope | None = None) -> Documents:
    """Every document by kind and slug, the retired ones too; or those of a scope."""
    if scope is None:
        return _by_kind(await db.fetch(_READ))
    return _by_kind(await db.fetch(_READ + _OF_CONTRACT, scope.slug, scope.vertical, scope.buyer))


def _by_kind(rows: Iterable[Iterable[Any]]) -> Documents:
    found: Documents = {kind: {} for kind in KINDS}
    for kind, slug, id_, body, *rest in rows:
        found[kind][slug] = StoredDocument(id_, orjson.loads(body), *rest)
    return found


async def load_catalogue(db: Database, vault: Vault, known: Catalogue) -> Catalogue:
    """The snapshot as it is now. What did not change since `known` is not compiled again."""
    version = await db.fetchval(_VERSION)  # first: what is read next is at least that new
    documents = _by_kind(await db.fetch(_READ + _IN_FORCE))
    accounts = await db.fetch(
        "SELECT id, kind, owner, currency FROM account WHERE kind IN ('payable', 'margin')"
    )
    paused = await db.fetchval("SELECT paused FROM house")
    sellers = {
        one.id: seller_value(one.id, one.body, active=not one.deleted)
        for one in documents["seller"].values()
    }
    buyers = {
        slug: buyer_value(one.id, one.body, active=not (one.paused or one.deleted))
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
        trades = not (one.paused or one.deleted)
        contract = contract_value(one.id, one.body, buyer, vertical, secret, active=trades)
        contracts[vertical.slug].append(contract)
    return {
        slug: market_of(vertical, plans.get(slug), contracts[slug], known.markets.get(slug))
        for slug, vertical in verticals.items()
    }
