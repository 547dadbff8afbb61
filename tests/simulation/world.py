"""Draws a market, sellers and faults from a seed, lets them trade, and brings the world to rest."""

import asyncio
import hashlib
from dataclasses import replace
from ipaddress import ip_network
from random import Random
from typing import Any

from aiohttp import web

from buyers.contract import (
    Buyer,
    Cap,
    CapKind,
    Condition,
    Contract,
    Endpoint,
    Op,
    Pricing,
    PricingMode,
)
from buyers.guard import Guard
from buyers.money import MICROS
from buyers.reference.temper import Temper
from buyers.signing import new_secret, read_secret
from exchange.catalogue import Catalogue, market_of
from exchange.house import House
from exchange.http.access import KeyRing
from exchange.http.problems import net_under
from exchange.http.sellers import SellerDesk
from exchange.ids import read_id
from exchange.observe import Silent
from exchange.plan import Plan, Tier, TierMode
from exchange.recovery import keep_beating, keep_watch
from exchange.sealing import Vault
from exchange.sellers import Seller
from exchange.settings import Settings
from exchange.store.keys import Key
from exchange.store.memory import MemoryStore
from exchange.verticals import read_vertical
from tests.simulation.flaky import FlakyStore
from tests.simulation.market import Faults, Market
from tests.simulation.traders import KEYS, Trader

BEGAN_S = 1_790_000_000.0  # an evening in September 2026, UTC
STATES = ("CA", "TX", "NY", "OH", "VT")
VERTICAL = {
    "slug": "loans",
    "name": "Loans",
    "currency": "USD",
    "margin": {"percent": "20", "fixed": "0.10"},
    "fields": [
        {"name": "state", "type": "state", "stage": "ping", "required": True},
        {
            "name": "amount",
            "type": "integer",
            "min": 100,
            "max": 50000,
            "stage": "ping",
            "required": True,
        },
        {"name": "email", "type": "email", "stage": "post", "required": True},
        {"name": "income", "type": "integer", "stage": "post"},
    ],
}


class Worker:
    """One process of the exchange: it can die at any moment and leaves what it had begun."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.alive = True
        self.store = FlakyStore(world.store, world.rng)
        self.store.refuses, self.store.loses = world.refuses, world.loses
        self.house = House(
            settings=Settings(),
            store=self.store,  # type: ignore[arg-type]
            transport=world.market,
            vault=world.vault,
            guard=world.guard,
            observer=Noting(world),
            worker=number,
            random_bytes=world.rng.randbytes,
            wall_s=world.wall_s,
            failpoint=self._failpoint,
            catalogue=world.catalogue,
            loaded=True,
        )
        keys = KeyRing(Keys(world.vault), world.vault)  # type: ignore[arg-type]
        self.answers = _Netted(SellerDesk(self.house, keys))
        self._requests: dict[asyncio.Task[Any], None] = {}
        self._services = [
            asyncio.create_task(keep_beating(self.house)),
            asyncio.create_task(keep_watch(self.house)),
        ]

    def take(self, request: Any) -> "asyncio.Task[Any]":
        task = asyncio.create_task(request)
        self._requests[task] = None
        task.add_done_callback(lambda ended: self._requests.pop(ended, None))
        return task

    def die(self) -> None:
        """kill -9: nothing of it runs any more; what it wrote stays, what it sent arrives."""
        if not self.alive:
            return
        self.alive = False
        self.world.note("worker died")
        self.world.store.crash(self.house.worker)
        for task in (*self._requests, *self.house._tasks, *self._services):
            task.cancel()

    async def stop(self) -> None:
        for service in self._services:
            service.cancel()
        await asyncio.wait(self._services)

    def _failpoint(self, name: str) -> None:
        if not self.alive:
            raise asyncio.CancelledError
        if self.world.rng.random() < self.world.dies:
            self.world.note(f"killed at {name}")
            self.die()
            raise asyncio.CancelledError


class Keys:
    def __init__(self, vault: Vault) -> None:
        self._live = {
            vault.key_digest(key): Key(name, "seller", name) for name, key in KEYS.items()
        }

    async def live(self) -> dict[bytes, Key]:
        return self._live

    async def find(self, digest: bytes) -> Key | None:
        return self._live.get(digest)


class _Netted:
    """The desk's handlers under the same net as on the listener."""

    def __init__(self, desk: SellerDesk) -> None:
        self._desk = desk
        self._net = net_under(Silent())

    def __getattr__(self, name: str) -> Any:
        place = self._desk.pings if name.endswith("ping") else self._desk.leads
        handler = getattr(place, name)

        async def call(request: web.Request) -> Any:
            return await self._net(request, handler)

        return call


class Noting(Silent):
    """Every fact goes into the digest that proves a seed to replay exactly."""

    def __init__(self, world: "World") -> None:
        self._world = world

    def closed(self, record: Any) -> None:
        self._world.note(f"{record['lead_id']} {record['outcome']} {record['price_micros']}")
        self._world.ended[record["outcome"]] = self._world.ended.get(record["outcome"], 0) + 1

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None:
        self._world.note(f"post {buyer} {outcome} {reason}")

    def broke(self, where: str, error: BaseException) -> None:
        self._world.bugs.append(f"{where}: {error!r}")


class World:
    """Everything there is, out of one seed."""

    def __init__(self, seed: int, loop: asyncio.AbstractEventLoop) -> None:
        self.seed = seed
        self.rng = Random(seed)
        self._loop = loop
        self._digest = hashlib.sha256()
        self.bugs: list[str] = []
        self.ended: dict[str, int] = {}
        self.dies = self.rng.choice([0.0, 0.005, 0.02])
        self.refuses = self.rng.choice([0.0, 0.01, 0.05])
        self.loses = self.rng.choice([0.0, 0.01, 0.03])
        self.hang_up = self.rng.choice([0.0, 0.05])
        self.shares = self.rng.choice([0.0, 0.3, 0.9])  # of the contracts
        self.vault = Vault(self.rng.randbytes(32), self.rng.randbytes)
        self.store = MemoryStore(self.wall_s)
        self.guard = Guard(allowed_networks=(ip_network("127.0.0.0/8"),))
        tempers = [self._temper(number) for number in range(self.rng.randint(2, 7))]
        faults = Faults(*(self.rng.choice([0.0, 0.02, 0.08]) for _ in range(3)))
        self.market = Market({one.name: one for one in tempers}, self.rng, self.wall_s, faults)
        self.market.on_post = self._posted
        self.idempotent = {
            name: self.rng.random() < 0.6 and temper.dedupes
            for name, temper in self.market.tempers.items()
        }
        self.dedupes = {name for name in self.market.tempers if self.rng.random() < 0.4}
        self.catalogue = self._catalogue()
        self.workers: list[Worker] = []
        self._made = 0
        self.sellers = [Trader(self, name, Random(f"{seed}/{name}")) for name in KEYS]

    def wall_s(self) -> float:
        return BEGAN_S + self._loop.time()

    def note(self, line: str) -> None:
        self._digest.update(f"{self._loop.time():.6f} {line}\n".encode())

    @property
    def digest(self) -> str:
        return self._digest.hexdigest()[:16]

    def some_worker(self, rng: Random) -> Worker | None:
        alive = [worker for worker in self.workers if worker.alive]
        return rng.choice(alive) if alive else None

    def draw_fields(self, rng: Random) -> dict[str, Any]:
        return {
            "state": rng.choice(STATES),
            "amount": rng.randint(100, 50_000),
            "email": f"person{rng.randint(1, 40)}@example.com",
            "income": rng.randint(0, 9000),
        }

    async def run(self, leads: int) -> None:
        """Trade under faults; then no more faults, and time for everything to settle."""
        self.workers = [self._hire() for _ in range(self.rng.randint(1, 3))]
        keeper = asyncio.create_task(self._replace_the_dead())
        await asyncio.gather(*(seller.trade(leads) for seller in self.sellers))
        self.rest()
        await asyncio.sleep(5)
        keeper.cancel()
        # The house shrinks to one worker: it takes over whatever the others had.
        alive = [worker for worker in self.workers if worker.alive]
        for worker in alive[1:]:
            worker.die()
        await asyncio.sleep(220)
        for worker in self.workers:
            if worker.alive:
                await worker.stop()

    def rest(self) -> None:
        """Faults end; buyers answer. What is left open now must come to its end."""
        self.dies = self.refuses = self.loses = self.hang_up = 0.0
        self.market.faults = Faults()
        for worker in self.workers:
            worker.store.refuses = worker.store.loses = 0.0
        calm = {
            "post_stall": 0.0,
            "post_garble": 0.0,
            "post_reset": 0.0,
            "post_error": 0.0,
            "post_stall_then_accept": 0.0,
        }
        self.market.tempers = {n: replace(t, **calm) for n, t in self.market.tempers.items()}

    def _hire(self) -> Worker:
        self._made += 1
        return Worker(self, self._made)

    async def _replace_the_dead(self) -> None:
        while True:
            await asyncio.sleep(0.3)
            self.workers = [one if one.alive else self._hire() for one in self.workers]

    def _posted(self, webhook_id: str, body: Any) -> None:
        """I8: no person leaves without a committed intent."""
        found = read_id("att", webhook_id)
        known = found and found[0] in self.store._attempts
        if not known:
            self.bugs.append(f"I8: {webhook_id} left without an intent")

    def _temper(self, number: int) -> Temper:
        rng = self.rng
        low = rng.randint(1, 12) * MICROS
        return Temper(
            name=f"b{number}",
            secret=new_secret(rng.randbytes(24)),
            seed=rng.randint(0, 10**6),
            price_min_micros=low,
            price_max_micros=low + rng.randint(0, 8) * MICROS,
            delay_ms=rng.choice([(1, 20), (5, 200), (100, 700)]),
            decline=rng.choice([0.0, 0.3]),
            ping_stall=rng.choice([0.0, 0.1]),
            ping_garble=rng.choice([0.0, 0.1]),
            post_delay_ms=rng.choice([(5, 50), (50, 900), (200, 3000)]),
            reject=rng.choice([0.0, 0.2, 0.5]),
            post_stall=rng.choice([0.0, 0.05]),
            post_stall_then_accept=rng.choice([0.0, 0.05]),
            post_garble=rng.choice([0.0, 0.05]),
            post_error=rng.choice([0.0, 0.05]),
            books_when_stalling=rng.random() < 0.5,
            dedupes=rng.random() < 0.8,
            knows_status=rng.random() < 0.5,
        )

    def _caps(self) -> tuple[Cap, ...]:
        drawn = []
        if self.rng.random() < 0.3:
            drawn.append(
                Cap(
                    kind=CapKind.SALES,
                    period=self.rng.choice(["hour", "day"]),
                    limit=self.rng.randint(0, 5),
                )
            )
        if self.rng.random() < 0.2:
            drawn.append(
                Cap(kind=CapKind.SPEND, period="day", limit=self.rng.randint(5, 60) * MICROS)
            )
        if self.rng.random() < 0.2:
            drawn.append(Cap(kind=CapKind.CONCURRENT, period="total", limit=self.rng.randint(1, 2)))
        return tuple(drawn)

    def _catalogue(self) -> Catalogue:
        vertical = read_vertical(VERTICAL)
        modes = [TierMode.PRIORITY, TierMode.PRICE, TierMode.ROUND_ROBIN, TierMode.WEIGHTED]
        plan = Plan(
            vertical="loans",
            tiers=(
                Tier(name="auction", mode=TierMode.AUCTION, window_ms=self.rng.choice([200, 500])),
                Tier(name="first", mode=self.rng.choice(modes)),
                Tier(name="last", mode=self.rng.choice(modes)),
            ),
        )
        contracts, buyers = [], {}
        for number, temper in enumerate(self.market.tempers.values()):
            buyer = self._buyer(number, temper)
            buyers[buyer.id] = buyer
            contracts += [
                self._contract(buyer, temper, place) for place in range(self.rng.randint(1, 2))
            ]
        sellers = {
            number: Seller(
                id=number,
                slug=name,
                name=name,
                verticals=frozenset({"loans"}),
                margin=None,
                rate_per_s=10**6,
                active=True,
                callback_url=f"https://{name}.example/hook",
            )
            for number, name in enumerate(KEYS, 9001)
        }
        self.store.called_back |= sellers.keys()
        return Catalogue(
            version=1,
            markets={"loans": market_of(vertical, plan, contracts)},
            sellers=sellers,
            sellers_by_slug={one.slug: one for one in sellers.values()},
            buyers=buyers,
            payable={(id_, "USD"): self.store.account("payable", id_, "USD") for id_ in sellers},
            margin={"USD": self.store.account("margin", 0, "USD")},
        )

    def _buyer(self, number: int, temper: Temper) -> Buyer:
        credit = self.rng.choice([None, None, 20, 100])
        caps = self._caps()
        id_ = 100 + number
        self.store.add_buyer(
            id_, temper.name, "USD", None if credit is None else credit * MICROS, "UTC", caps
        )
        return Buyer(
            id=id_,
            slug=temper.name,
            name=temper.name,
            currency="USD",
            timezone="UTC",
            active=True,
            caps=caps,
        )

    def _contract(self, buyer: Buyer, temper: Temper, place: int) -> Contract:
        fixed = self.rng.random() < 0.4
        caps = self._caps()
        id_ = 1000 + buyer.id * 10 + place
        slug = f"{buyer.slug}-{place}"
        dedupe_days = 30 if buyer.slug in self.dedupes else 0
        self.store.add_contract(id_, slug, buyer.id, caps, dedupe_days=dedupe_days)
        base = f"http://127.0.0.1:9/{temper.name}"
        filters = []
        if self.rng.random() < 0.5:
            filters.append(
                Condition(field="state", op=Op.IN, value=frozenset(self.rng.sample(STATES, 3)))
            )
        if self.rng.random() < 0.3:
            filters.append(Condition(field="income", op=Op.GTE, value=3000))
        return Contract(
            id=id_,
            slug=slug,
            buyer=buyer,
            vertical="loans",
            active=True,
            tier=self.rng.choice(["auction", "first", "last"]) if fixed else "auction",
            priority=self.rng.randint(1, 3),
            weight=self.rng.randint(1, 100),
            percent_ppm=None,
            adjustment_ppm=self.rng.choice([1_000_000, 900_000, 1_100_000]),
            endpoint=Endpoint(
                dialect="standard_v1",
                ping_url=f"{base}/ping",
                post_url=f"{base}/post",
                status_url=f"{base}/status" if temper.knows_status else None,
                ping_timeout_ms=self.rng.choice([150, 400]),
                post_timeout_ms=self.rng.choice([1000, 5000]),
                idempotent=self.idempotent[temper.name],
                accepts_test=False,
            ),
            secret=read_secret(temper.secret),
            pricing=Pricing(mode=PricingMode.FIXED, price_micros=self.rng.randint(1, 8) * MICROS)
            if fixed
            else Pricing(mode=PricingMode.BID),
            filters=tuple(filters),
            caps=caps,
            is_shared=(is_shared := self.rng.random() < self.shares),
            max_shares=self.rng.choice([1, 2, 3, 3]) if is_shared else 1,
        )
