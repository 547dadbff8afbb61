"""Both listeners' handlers over a real database, with a small market and a key for everybody."""

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_network
from typing import Any
from uuid import UUID

import orjson
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from buyers.guard import Guard
from buyers.wire import Wire, WireLimits
from exchange.apply import apply
from exchange.catalogue import EMPTY, Catalogue
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.admin import AdminDesk
from exchange.http.buyers import BuyerDesk
from exchange.http.problems import net_under
from exchange.ids import new_uuid, write_id
from exchange.observe import Silent
from exchange.receipt import VERSION
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.catalogue import load_catalogue
from exchange.store.keys import create_key
from exchange.store.postgres import PostgresStore
from exchange.store.rows import (
    AttemptState,
    AwardOrder,
    LateBid,
    NewLead,
    PingRow,
    Settled,
    Settlement,
    Verdict,
)

MICROS = 1_000_000
GUARD = Guard(allowed_networks=(ip_network("127.0.0.0/8"),))

VERTICAL = {
    "slug": "roofing", "name": "Roofing", "margin": {"percent": "20"},
    "fields": [
        {"name": "state", "type": "state", "stage": "ping", "required": True},
        {"name": "phone", "type": "phone", "stage": "post", "required": True},
    ],
}  # fmt: skip
SELLER = {"slug": "roofquotes", "name": "Roof Quotes", "verticals": ["roofing"]}


def a_buyer(slug: str, **more: Any) -> dict[str, Any]:
    return {"slug": slug, "name": slug.title(), **more}


def a_contract(slug: str, buyer: str | None = None, **more: Any) -> dict[str, Any]:
    body = {
        "slug": slug, "vertical": "roofing", "pricing": {"mode": "bid"},
        "endpoint": {"ping_url": "https://acme.example/ping", "post_url": "https://acme.example/post"},
    }  # fmt: skip
    return body | ({"buyer": buyer} if buyer else {}) | more


@dataclass(kw_only=True)
class Answer:
    status: int
    body: Any
    headers: Any

    @property
    def etag(self) -> str:
        return self.headers["ETag"]

    @property
    def code(self) -> str:
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        return self.body["code"]

    @property
    def errors(self) -> set[tuple[str, str]]:
        """Path and code of each."""
        return {(one["path"], one["code"]) for one in self.body["errors"]}


class Side:
    """One listener, called with one key."""

    def __init__(self, client: TestClient, key: str | None) -> None:
        self._client = client
        self._key = key

    def with_key(self, key: str | None) -> "Side":
        return Side(self._client, key)

    async def __call__(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if self._key is not None:
            sent["Authorization"] = f"Bearer {self._key}"
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        async with self._client.request(method, path, data=raw, headers=sent) as response:
            found = await response.read()
            return Answer(
                status=response.status,
                body=orjson.loads(found) if found else None,
                headers=response.headers,
            )


@dataclass(kw_only=True)
class Offices:
    """The market: vertical roofing, seller roofquotes, buyers acme (100.00 of credit) and zenith."""

    store: PostgresStore
    vault: Vault
    admin: Side
    acme: Side
    zenith: Side
    keys: dict[str, str] = field(default_factory=dict)

    async def catalogue(self) -> Catalogue:
        return await load_catalogue(self.store.db, self.vault, EMPTY)

    async def lead(self, *, external_id: str | None = None) -> tuple[UUID, str]:
        """A ping with a late bid, posted: an open lead. Its id, and as it is written."""
        seller = (await self.catalogue()).sellers_by_slug["roofquotes"].id
        ping, lead = self._uuid(), self._uuid()
        receipt = {
            "v": VERSION, "ping_id": write_id("ping", ping), "currency": "USD", "floor": 2 * MICROS,
            "rules": {"margin_ppm": 200_000, "margin_fixed": 0, "floor": 0, "second_price": False},
            "asked": [["acme-1", 1, "acme", 5.0, "bid", None, 10 * MICROS]],
            "offers": [], "ranking": [], "winning": 0, "skipped": [],
            "fields": {"state": "TX", "price": 7}, "answer": {"outcome": "bid", "price": "8.00"},
        }  # fmt: skip
        row = PingRow(
            id=ping, seller=seller, expires_at=datetime.now(UTC) + timedelta(minutes=2),
            price_micros=8 * MICROS, external_id=external_id, test=False, receipt=orjson.dumps(receipt),
        )  # fmt: skip
        await self.store.put_ping(row)
        late = LateBid(ping=ping, contract="zenith-1", price_micros=9 * MICROS, late_ms=40)
        await self.store.put_late_bids([late])
        person = self.vault.seal(str(lead), {"phone": "+15125550123"})
        new = NewLead(
            id=lead, ping_id=ping, seller=seller, vertical="roofing", test=False, min_price_micros=MICROS,
            external_id=external_id, owner=1, answer_in_ms=15_000, request=b"{}", person=person,
            phone_index=None, email_index=None,
        )  # fmt: skip
        assert await self.store.open_lead(new, None) is None
        return lead, write_id("lead", lead)

    async def attempt(
        self, lead: UUID, contract: str = "acme-1", price: int = 10, slot: int = 0, shares: int = 1
    ) -> UUID:
        """An award of this lead: the intent to post it."""
        catalogue = await self.catalogue()
        found = catalogue.markets["roofing"].contract(contract)
        assert found is not None
        seller = catalogue.sellers_by_slug["roofquotes"].id
        order = AwardOrder(
            id=self._uuid(), lead_id=lead, contract_id=found[0].id, price_micros=price * MICROS,
            payout_micros=price * MICROS * 4 // 5, seller_account=catalogue.payable[seller, "USD"],
            margin_account=catalogue.margin["USD"], tier="auction", bid_id=None, owner=1,
            slot=slot, shares=shares,
        )  # fmt: skip
        assert await self.store.award(order) is Verdict.GRANTED
        return order.id

    async def settle(self, attempt: UUID, outcome: str) -> None:
        word = Settlement(
            id=attempt, fence=0, outcome=AttemptState(outcome),
            detail=orjson.dumps({"buyer_ref": "A-7", "price_said_micros": 9 * MICROS}),
        )  # fmt: skip
        assert await self.store.settle(word) is Settled.OK

    async def sale(self, contract: str = "acme-1") -> str:
        """A lead sold under this contract."""
        lead, text = await self.lead()
        await self.settle(await self.attempt(lead, contract), "accepted")
        return text

    def _uuid(self) -> UUID:
        return new_uuid(int(datetime.now(UTC).timestamp() * 1000), os.urandom)


class NoNames:
    """A resolver that knows nobody: only addresses can be called, and no name server is asked."""

    async def resolve(self, host: str, port: int) -> list[str]:
        raise OSError(f"no such host: {host}:{port}")


@asynccontextmanager
async def open_offices(dsn: str) -> AsyncIterator[Offices]:
    store, vault = PostgresStore(dsn, name="office"), Vault(b"k" * 32, os.urandom)
    wanted = [
        ("vertical", VERTICAL), ("seller", SELLER),
        ("buyer", a_buyer("acme", credit="100.00")), ("buyer", a_buyer("zenith")),
        ("contract", a_contract("acme-1", "acme", caps=[
            {"kind": "sales", "period": "day", "limit": 5}, {"kind": "spend", "period": "month", "limit": "50"},
            {"kind": "concurrent", "limit": 3}])),
        ("contract", a_contract("zenith-1", "zenith", adjustment="0.9")),
    ]  # fmt: skip
    await apply(store.db, vault, GUARD, wanted, by="apply")
    owners = {"admin": None, "acme": "acme", "zenith": "zenith", "roofquotes": "roofquotes"}
    keys = {}
    for name, owner in owners.items():
        role = {"admin": "admin", "roofquotes": "seller"}.get(name, "buyer")
        _, keys[name] = await create_key(store.db, vault, role, owner)
    ring = KeyRing(StoredKeys(store.db), vault, remembers=False)
    wire = Wire(guard=GUARD, limits=WireLimits(), resolver=NoNames())
    office = _client(AdminDesk(store, vault, GUARD, HttpSettings(), ring, wire).routes())
    public = _client(BuyerDesk(store, vault, GUARD, HttpSettings(), ring, wire).routes())
    async with office, public:
        yield Offices(
            store=store, vault=vault, admin=Side(office, keys["admin"]), keys=keys,
            acme=Side(public, keys["acme"]), zenith=Side(public, keys["zenith"]),
        )  # fmt: skip
    await wire.close()
    await store.close()


def _client(routes: list[web.RouteDef]) -> TestClient:
    app = web.Application(middlewares=[net_under(Silent())])
    app.add_routes(routes)
    return TestClient(TestServer(app))
