"""A market whose buyers talk about the person wherever they can, and a search for him in every table."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID

import asyncpg
import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer

from exchange.house import House
from exchange.ids import read_id
from tests.console.trading import PATIENT, SECRET, _worker
from tests.offices import Offices, Side, a_contract, open_offices

PERSON = {
    "first_name": "Zebulon", "email": "Zeb.Quirk@Example.com", "phone": "+12125550188",
}  # fmt: skip
ASKED = {"state": "TX", "town": "Quirksville", "born": "1931-02-03"}
# What nobody else's row, id or price says.
TRACES = ("zeb", "quirk", "5550188", "1931-02-03", "granny")
FIELDS = [
    {"name": "state", "type": "state", "stage": "ping", "required": True},
    {"name": "town", "type": "string", "stage": "ping"},
    {"name": "born", "type": "date", "stage": "ping"},
    {"name": "first_name", "type": "string", "stage": "post"},
    {"name": "email", "type": "email", "stage": "post"},
    {"name": "phone", "type": "phone", "stage": "post", "required": True},
]
REFUSED = {"status": "rejected", "reason": "is our granny already"}
TAKEN = {
    "status": "accepted", "buyer_ref": "crm-zeb-77", "redirect_url": "https://buyer.example/thanks?e=zeb.quirk@example.com",
}  # fmt: skip
BIDS = {"top": "20", "good": "12"}  # of acme and of zenith
# The books: none of it may change by an erasure.
MONEY = (
    "SELECT t::text FROM transfer t ORDER BY ref, kind",
    "SELECT t::text FROM bucket t ORDER BY id",
    "SELECT t::text FROM account t ORDER BY id",
    """SELECT (id, lead_id, contract_id, buyer_id, tier, slot, shares, state, price, payout, bid_id, fence, buckets, created_at,
    settled_at, next_try_at)::text FROM attempt ORDER BY id""",
    "SELECT (id, ping_id, seller, vertical, state, reason, min_price, created_at, closed_at, request)::text FROM lead ORDER BY id",
    "SELECT (id, attempt_id, reason, status, buckets)::text FROM sale_return ORDER BY id",
)


@dataclass(kw_only=True)
class Market:
    """`sell` is a worker's listener under the seller's key; `says` what each buyer answers to a post."""

    offices: Offices
    house: House
    sell: Side
    says: dict[str, Any] = field(default_factory=lambda: {"top": REFUSED, "good": TAKEN})
    posts: list[tuple[str, str]] = field(default_factory=list)  # buyer and webhook-id, as they came

    @property
    def admin(self) -> Side:
        return self.offices.admin

    @property
    def dsn(self) -> str:
        return self.offices.store.db.dsn

    async def lead(self, **more: Any) -> dict[str, Any]:
        """What the seller was answered."""
        body = {"vertical": "roofing", "fields": ASKED | PERSON, "sub_id": "fb-7", "max_wait_ms": 10_000} | more  # fmt: skip
        answer = await self.sell("POST", "/v1/leads", body)
        assert answer.status in {200, 202}, answer.body
        return cast("dict[str, Any]", answer.body)

    async def post(self, request: web.Request) -> web.Response:
        name, body = request.match_info["name"], await request.json()
        if body["type"] == "ping":
            return web.json_response({"bid": BIDS[name]})
        self.posts.append((name, request.headers["webhook-id"]))
        says = self.says[name]
        return web.json_response(says) if isinstance(says, dict) else web.Response(status=says)


@asynccontextmanager
async def open_market(dsn: str) -> AsyncIterator[Market]:
    """Two buyers: the better one refuses, the other accepts."""
    async with open_offices(dsn) as offices:
        market = Market(offices=offices, house=cast("House", None), sell=cast("Side", None))
        app = web.Application()
        app.router.add_post("/{name}", market.post)
        async with TestServer(app) as buyers:
            await _stock(offices, f"http://127.0.0.1:{buyers.port}")
            async with _worker(cast("Any", SimpleNamespace(market=offices))) as (sell, house):
                market.house, market.sell = house, sell
                yield market


async def _stock(offices: Offices, url: str) -> None:
    await _done(offices, "PATCH", "/v1/verticals/roofing", {"fields": FIELDS})
    await _done(offices, "PUT", "/v1/plans/roofing", {"tiers": [PATIENT]})
    for slug in ("acme-1", "zenith-1"):
        await _done(offices, "DELETE", f"/v1/contracts/{slug}")
    await _done(offices, "POST", "/v1/buyers/acme/deposits", {"amount": "1000"})
    west = [{"field": "state", "op": "eq", "value": "CA"}]
    await _done(offices, "POST", "/v1/contracts", a_contract("west", "zenith", active=True, filters=west))  # fmt: skip
    for name, owner in (("top", "acme"), ("good", "zenith")):
        endpoint = {
            "ping_url": f"{url}/{name}", "post_url": f"{url}/{name}", "secret": SECRET, "idempotent": True, "accepts_test": True,
            "ping_timeout_ms": 4_000,
        }  # fmt: skip
        returns = {"window_days": 30}
        await _done(offices, "POST", "/v1/contracts", a_contract(name, owner, endpoint=endpoint, returns=returns))  # fmt: skip


async def _done(offices: Offices, method: str, path: str, body: Any = None) -> None:
    answer = await offices.admin(method, path, body)
    assert answer.status < 300, answer.body


def id_of(lead: str) -> UUID:
    ids = read_id("lead", lead)
    assert ids is not None
    return ids[0]


async def traces(dsn: str) -> dict[str, set[str]]:
    """Every column of every table that says something of the person, and what."""
    connection = await asyncpg.connect(dsn)
    try:
        found: dict[str, set[str]] = {}
        for table in await _tables(connection):
            for row in await connection.fetch(f'SELECT * FROM "{table}"'):
                for column, value in row.items():
                    if said := {one for one in TRACES if one in _text(value)}:
                        found.setdefault(f"{table}.{column}", set()).update(said)
        return found
    finally:
        await connection.close()


async def everything(dsn: str) -> dict[str, list[str]]:
    """All rows of all tables but for who beats."""
    connection = await asyncpg.connect(dsn)
    try:
        return {
            table: [row[0] for row in await connection.fetch(f'SELECT t::text FROM "{table}" t ORDER BY 1')]
            for table in await _tables(connection)
        }  # fmt: skip
    finally:
        await connection.close()


async def money(dsn: str) -> list[list[str]]:
    connection = await asyncpg.connect(dsn)
    try:
        return [[row[0] for row in await connection.fetch(sql)] for sql in MONEY]
    finally:
        await connection.close()


async def _tables(connection: Any) -> Iterable[str]:
    """Partitions, and not what they are parts of."""
    rows = await connection.fetch(
        "SELECT relname FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 1"
    )
    assert len(rows) > 40
    return [row[0] for row in rows]


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "ignore").lower()
    return orjson.dumps(value, default=str).decode().lower()
