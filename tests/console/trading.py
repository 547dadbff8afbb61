"""Real trade under the office of the tests: a worker, reference buyers, and what a seller sends."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from random import Random
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from buyers.reference.server import ReferenceBuyers
from buyers.reference.temper import Temper
from buyers.wire import Wire, WireLimits
from exchange.house import House
from exchange.http.access import KeyRing, StoredKeys
from exchange.http.problems import net_under
from exchange.http.sellers import SellerDesk
from exchange.observe import Silent
from exchange.settings import Settings
from exchange.store.postgres import PostgresStore
from tests.console.offices import ConsoleOffice
from tests.offices import GUARD, MICROS, NoNames, Side, a_buyer, a_contract

SECRET = "whsec_" + "YWNtZS1jYWxpZm9ybmlhLWF1dG8h"
PERSON = {"phone": "+15125550123"}
LEAD = {
    "vertical": "roofing", "fields": {"state": "TX", **PERSON}, "sub_id": "fb-7",
    "max_wait_ms": 10_000,
}  # fmt: skip


def a_temper(name: str, price: int, **more: Any) -> Temper:
    """A buyer that bids this many dollars and takes what it is sent."""
    both = {"price_min_micros": price * MICROS, "price_max_micros": price * MICROS}
    return Temper(name=name, secret=SECRET, **(both | more))


# Who is asked, the best first. Two more contracts of the market lead to hosts that nobody knows.
TEMPERS = (
    a_temper("top", 20, reject=1, reject_reasons=("no capacity",)),
    a_temper("good", 12),
    a_temper("low", 7),
    a_temper("shy", 9, decline=1),
    a_temper("slow", 18, delay_ms=(400, 400)),
)
# On a busy machine too only the buyer meant to be missed is.
PATIENT = {"name": "auction", "mode": "auction", "window_ms": 4_000}
OWNER = {"top": "acme", "good": "zenith", "low": "lowell", "shy": "shyly", "slow": "slowly"}


@dataclass(frozen=True, slots=True)
class Trade:
    """`sell` is the worker's listener, called with the seller's key."""

    sell: Side
    house: House
    buyers: ReferenceBuyers

    async def lead(self, **more: Any) -> str:
        """A lead that was sold, or not, by now."""
        answer = await self.sell("POST", "/v1/leads", LEAD | more)
        assert answer.status == 200, answer.body
        return str(answer.body["lead_id"])


@asynccontextmanager
async def open_trade(desk: ConsoleOffice) -> AsyncIterator[Trade]:
    """Five buyers that answer, one that is not asked for its filter, and one that is off."""
    buyers = ReferenceBuyers(TEMPERS)
    url = await buyers.start()
    for slug in ("lowell", "shyly", "slowly"):
        await _made(desk, "/v1/buyers", a_buyer(slug))
    for name, owner in OWNER.items():
        await _made(desk, "/v1/contracts", _contract(name, owner, f"{url}/{name}"))
    await _made(desk, "/v1/plans", {"vertical": "roofing", "tiers": [PATIENT]})
    away = [{"field": "state", "op": "eq", "value": "CA"}]
    await _made(
        desk, "/v1/contracts", _contract("west", "lowell", f"{url}/low") | {"filters": away}
    )
    await _made(desk, "/v1/contracts", _contract("off", "shyly", f"{url}/shy") | {"active": False})
    async with _worker(desk) as (sell, house):
        yield Trade(sell, house, buyers)
    await buyers.stop()


def _contract(name: str, owner: str, url: str) -> dict[str, Any]:
    endpoint = {
        "ping_url": f"{url}/ping", "post_url": f"{url}/post", "secret": SECRET, "accepts_test": True,
        "ping_timeout_ms": 150 if name == "slow" else 4_000,
    }  # fmt: skip
    return a_contract(name, owner, endpoint=endpoint)


async def _made(desk: ConsoleOffice, path: str, body: dict[str, Any]) -> None:
    answer = await desk.market.admin("POST", path, body)
    assert answer.status == 201, answer.body


@asynccontextmanager
async def _worker(desk: ConsoleOffice) -> AsyncIterator[tuple[Side, House]]:
    market = desk.market
    store = PostgresStore(market.store.db.dsn, name="worker 1")
    await store.warm()
    house = House(
        settings=Settings(), store=store, vault=market.vault, guard=GUARD, observer=Silent(),
        transport=Wire(guard=GUARD, limits=WireLimits(), resolver=NoNames()), worker=1,
        random_bytes=Random(7).randbytes, catalogue=await market.catalogue(), loaded=True,
    )  # fmt: skip
    app = web.Application(middlewares=[net_under(Silent())])
    ring = KeyRing(StoredKeys(store.db), market.vault, remembers=False)
    app.add_routes(SellerDesk(house, ring).routes())
    async with TestClient(TestServer(app)) as client:
        yield Side(client, market.keys["roofquotes"]), house
        assert await house.drain(10) == 0
    await house.transport.close()  # type: ignore[attr-defined]
    await store.close()
