"""A market of one test's own: a vertical, a seller, reference buyers, and an auditor of both books."""

import asyncio
import itertools
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from ipaddress import ip_network
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import orjson

from buyers.guard import Guard
from buyers.money import parse_micros
from buyers.reference.book import Book
from buyers.reference.reading import read_tempers
from buyers.reference.server import ReferenceBuyers
from exchange.apply import Wanted, apply
from exchange.operating import verify
from exchange.store.database import Database
from exchange.store.keys import Key, put_key
from tests.acceptance.exchanges import LOOPBACK, Exchange, eventually
from tests.making import SECRET

_numbers = itertools.count(1)
# However busy the machine: each bid is waited for.
PATIENT = [
    {"name": "auction", "mode": "auction", "window_ms": 5000}, {"name": "rest", "mode": "priority"},
]  # fmt: skip
WAITED_FOR = {"ping_timeout_ms": 5000}
PING = {"zip": "90210", "state": "CA", "age": 40}
PERSON = {"first_name": "Ada", "phone": "+12025550143", "email": "ada@example.com"}
FIELDS = PING | PERSON
_SCHEMA = [
    {"name": "zip", "type": "zip", "stage": "ping", "required": True},
    {"name": "state", "type": "state", "stage": "ping"},
    {"name": "age", "type": "integer", "stage": "ping", "min": 16, "max": 110},
    {"name": "credit", "type": "enum", "stage": "ping", "values": ["good", "fair"]},
    {"name": "first_name", "type": "string", "stage": "post", "required": True, "max": 60},
    {"name": "phone", "type": "phone", "stage": "post", "required": True},
    {"name": "email", "type": "email", "stage": "post"},
    {"name": "income", "type": "integer", "stage": "post", "min": 0},
]


@dataclass(frozen=True)
class Stand:
    """One buyer with one contract. `at` is where it listens, if not among the reference buyers."""

    name: str
    pricing: Mapping[str, Any]
    temper: Mapping[str, Any]
    endpoint: Mapping[str, Any]
    buyer: Mapping[str, Any]
    contract: Mapping[str, Any]
    at: str | None = None


def bids(
    name: str,
    price: str = "10.00",
    *,
    at: str | None = None,
    temper: Mapping[str, Any] = {},
    endpoint: Mapping[str, Any] = {},
    buyer: Mapping[str, Any] = {},
    **contract: Any,
) -> Stand:
    """A buyer in the auction that always bids the same, unless its temper says otherwise."""
    prices = {"price_min": price, "price_max": price}
    return Stand(name, {"mode": "bid"}, prices | dict(temper), endpoint, buyer, contract, at)


def buys(name: str, price: str = "3.00", *, tier: str = "rest", **more: Any) -> Stand:
    """A buyer at a fixed price; in the waterfall unless told otherwise."""
    usual = bids(name, **more)
    contract = {"tier": tier, **usual.contract}
    return replace(usual, pricing={"mode": "fixed", "price": price}, contract=contract)


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.raw)

    def __getitem__(self, name: str) -> Any:
        return self.json[name]


@dataclass
class Market:
    """What a test trades on."""

    exchange: Exchange
    vertical: str
    key: str
    session: aiohttp.ClientSession
    db: Database
    reference: ReferenceBuyers
    stands: tuple[Stand, ...]

    def slug(self, name: str) -> str:
        return f"{name}-{self.vertical}"

    def book(self, name: str) -> Book:
        """What this buyer was sent and decided."""
        return self.reference.books[self.slug(name)]

    def change(self, name: str, **properties: Any) -> None:
        """Change a buyer's temper."""
        desk = self.reference._desks[self.slug(name)]
        desk.change(replace(desk.temper, **properties))

    async def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        once: str | None = None,
        seconds: float = 40,
    ) -> Answer:
        """One request on a connection of its own; bytes are sent as they are."""
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        if once is not None:
            headers["Idempotency-Key"] = once
        data = body if isinstance(body, bytes) or body is None else orjson.dumps(body)
        async with self.session.request(
            method,
            self.exchange.url + path,
            data=data,
            headers=headers,
            timeout=aiohttp.ClientTimeout(seconds),
            allow_redirects=False,
        ) as response:
            return Answer(response.status, dict(response.headers), await response.read())

    async def ping(self, fields: Mapping[str, Any] = PING, **more: Any) -> Answer:
        once, key = more.pop("once", None), more.pop("key", None)
        body = {"vertical": self.vertical, "fields": dict(fields), **more}
        return await self.call("POST", "/v1/pings", body, once=once, key=key)

    async def post(
        self, ping_id: str | None = None, fields: Mapping[str, Any] = FIELDS, **more: Any
    ) -> Answer:
        """Two steps with a ping, one step without."""
        once, key = more.pop("once", None), more.pop("key", None)
        head = {"vertical": self.vertical} if ping_id is None else {"ping_id": ping_id}
        body = head | {"fields": dict(fields), **more}
        return await self.call("POST", "/v1/leads", body, once=once, key=key)

    async def persevere(self, once: str, seconds: float = 60, **more: Any) -> Answer:
        """A one-step lead, retried with its key as the contract says until it is answered."""

        async def tried() -> Answer | None:
            try:
                answer = await self.post(once=once, **more)
            except (aiohttp.ClientError, TimeoutError):
                return None
            return None if answer.status in {409, 429, 503} else answer

        found: Answer = await eventually(tried, seconds)
        return found

    async def lead(self, lead_id: str) -> Answer:
        return await self.call("GET", f"/v1/leads/{lead_id}")

    async def ended(self, lead_id: str, seconds: float = 15) -> Answer:
        """The lead once it is no longer pending."""

        async def look() -> Answer | None:
            try:
                answer = await self.lead(lead_id)
            except aiohttp.ClientError:
                return None
            return answer if answer.status == 200 and answer["outcome"] != "pending" else None

        found: Answer = await eventually(look, seconds)
        return found

    async def why(self, some_id: str) -> str:
        done = await self.exchange.command("why", some_id)
        assert (0, "") == (done.returncode, done.stderr)
        return done.stdout

    async def attempts(self) -> list[dict[str, Any]]:
        """Every attempt of this market's contracts, as the ledger has it."""
        contracts = [self.slug(stand.name) for stand in self.stands]
        rows = await self.db.fetch(
            "SELECT id, lead_id, contract, state, price, payout FROM attempt WHERE contract = ANY ($1)",
            contracts,
        )
        return [dict(row) for row in rows]

    async def audit(self) -> dict[str, str]:
        """Hold both sides' books against each other; returns who bought each lead that was sold."""
        assert [] == (await verify(self.exchange.dsn))[0]
        attempts = await self.attempts()
        bought: dict[str, str] = {}
        for stand in self.stands:
            if stand.at is not None:
                continue
            slug, book = self.slug(stand.name), self.book(stand.name)
            mine = [one for one in attempts if one["contract"] == slug]
            known = {f"att_{one['id'].hex}" for one in mine}
            assert {entry.webhook_id for entry in book.posts} <= known  # I8
            assert 0 == sum(entry.bodies_differed for entry in book.posts)
            theirs = Counter(
                (e.webhook_id, e.lead_id, parse_micros(e.price)) for e in book.accepted()
            )
            ours = Counter(
                (f"att_{one['id'].hex}", f"lead_{one['lead_id'].hex}", one["price"])
                for one in mine
                if one["state"] == "accepted"
            )
            assert theirs == ours  # I7
            for entry in book.accepted():
                assert entry.lead_id not in bought, "an exclusive lead in two inboxes"
                bought[entry.lead_id] = stand.name
        return bought


@asynccontextmanager
async def a_market(
    exchange: Exchange,
    *stands: Stand,
    tiers: list[dict[str, Any]] | None = None,
    schema: list[dict[str, Any]] = _SCHEMA,
    seller: Mapping[str, Any] = {},
    margin: str = "20",
    **head: Any,
) -> AsyncIterator[Market]:
    """Open a market and wait until every worker knows it. `head` are properties of the vertical."""
    vertical = f"v{next(_numbers)}"
    tempers = [{"name": f"{one.name}-{vertical}", "secret": SECRET, **one.temper} for one in stands]
    reference = ReferenceBuyers(read_tempers({"tempers": tempers}) if tempers else ())
    db = Database(exchange.dsn)
    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=True))
    try:
        base_url = await reference.start()
        wanted = _documents(vertical, stands, base_url, tiers, seller)
        wanted[0][1].update(fields=schema, margin={"percent": margin, "fixed": "0"}, **head)
        key = f"lx_seller_{uuid4().hex}"
        guard = Guard(allowed_networks=(ip_network(LOOPBACK),))
        await apply(db, exchange.vault, guard, wanted, by="test")
        await put_key(
            db, Key(uuid4().hex[:8], "seller", f"s-{vertical}"), exchange.vault.key_digest(key)
        )
        await known_everywhere(exchange, db, session)
        yield Market(exchange, vertical, key, session, db, reference, stands)
    finally:
        await session.close()
        await reference.stop()
        await db.close()


async def known_everywhere(
    exchange: Exchange, db: Database, session: aiohttp.ClientSession, seconds: float = 20
) -> None:
    """Wait until every worker trades by the catalogue as it is stored now."""
    version = await db.fetchval("SELECT coalesce(max(version), 0) FROM document")
    seen: set[str] = set()

    async def look() -> bool:
        async def one() -> None:
            async with session.get(f"{exchange.url}/healthz") as response:
                told = orjson.loads(await response.read())
            if told["catalogue"] >= version:
                seen.add(told["worker"])

        await asyncio.gather(*(one() for _ in range(4)), return_exceptions=True)
        return len(seen) == exchange.workers

    await eventually(look, seconds)


async def ask(dsn: str, sql: str, *values: Any) -> Any:
    """One value out of the database, over a connection of its own."""
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(sql, *values)
    finally:
        await connection.close()


def _documents(
    vertical: str,
    stands: tuple[Stand, ...],
    base_url: str,
    tiers: list[dict[str, Any]] | None,
    seller: Mapping[str, Any],
) -> Wanted:
    usual = [{"name": "auction", "mode": "auction"}, {"name": "rest", "mode": "priority"}]
    wanted: Wanted = [
        ("vertical", {"slug": vertical, "name": vertical}),
        ("plan", {"vertical": vertical, "tiers": tiers or usual}),
        ("seller", {
            "slug": f"s-{vertical}", "name": "Seller", "verticals": [vertical],
            "rate_per_s": 100_000, **seller,
        }),
    ]  # fmt: skip
    for one in stands:
        slug = f"{one.name}-{vertical}"
        at = one.at or f"{base_url}/{slug}"
        endpoint = {"post_url": f"{at}/post", "secret": SECRET, **one.endpoint}
        if one.pricing["mode"] == "bid":
            endpoint["ping_url"] = f"{at}/ping"
        if endpoint.get("status_url") == "yes":
            endpoint["status_url"] = f"{at}/status"
        wanted.append(("buyer", {"slug": slug, "name": one.name, **one.buyer}))
        wanted.append(
            ("contract", {
                "slug": slug, "buyer": slug, "vertical": vertical, "pricing": one.pricing,
                "endpoint": endpoint, **one.contract,
            })
        )  # fmt: skip
    return wanted
