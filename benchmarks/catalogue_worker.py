"""A worker's loop with its live catalogue, watched: started by benchmarks.catalogue.

It reads one line of JSON, `{"dsn": …, "key": …}`, loads the catalogue and then keeps it; further
lines are how many auctions a second to hold (0: none). After the load, and after every change that
came into force, it writes a line of JSON: the version, when (monotonic clock, which processes of one
machine share), and the longest turn of the loop meanwhile, in wall time and in CPU time of the loop's
thread: on a busy machine only the second is the work's own.
"""

import asyncio
import gc
import json
import resource
import secrets
import sys
import threading
import time
from ipaddress import ip_network
from typing import Any, Final

import orjson
import uvloop

from buyers.guard import Guard, Target
from buyers.wire import Done, InFlight
from exchange.deadline import Deadline
from exchange.fields import STATES
from exchange.house import House
from exchange.http.requests import read_ping
from exchange.observe import Silent
from exchange.pinging import hold_auction
from exchange.sealing import Vault
from exchange.settings import Settings
from exchange.store.catalogue import LiveCatalogue
from exchange.store.postgres import PostgresStore
from exchange.watch import Watch

_ANSWER_S = 0.02
_BID: Final = (200, b'{"bid":"12.50"}', None, True, _ANSWER_S * 1000)


class Turns:
    """How long the loop goes without coming round."""

    def __init__(self) -> None:
        self.wall_ms = self.cpu_ms = 0.0
        self.on = False

    async def watch(self) -> None:
        while True:
            if not self.on:
                await asyncio.sleep(0.001)
                self._wall_s, self._cpu_s = time.perf_counter(), time.thread_time()
                continue
            await asyncio.sleep(0)
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            self.wall_ms = max(self.wall_ms, 1000 * (wall_s - self._wall_s))
            self.cpu_ms = max(self.cpu_ms, 1000 * (cpu_s - self._cpu_s))
            self._wall_s, self._cpu_s = wall_s, cpu_s

    def begin(self) -> None:
        self.wall_ms = self.cpu_ms = 0.0
        self._wall_s, self._cpu_s = time.perf_counter(), time.thread_time()
        self.on = True


class Market:
    """Every buyer bids the same after the same time: nothing leaves the process."""

    def send(
        self, target: Target, payload: bytes, done: Done, pool: str, deadline: float,
        tag: int = 0, idle_max_s: float | None = None,
    ) -> InFlight:  # fmt: skip
        del target, payload, pool, deadline, idle_max_s
        return _Call(asyncio.get_running_loop().call_later(_ANSWER_S, done, tag, *_BID))


class _Call:
    def __init__(self, timer: asyncio.TimerHandle) -> None:
        self._timer = timer

    def abandon(self) -> None:
        self._timer.cancel()

    def extend(self, deadline: float) -> None: ...


class Bench:
    def __init__(self, orders: dict[str, Any]) -> None:
        self.store = PostgresStore(orders["dsn"], name="bench")
        self.house = House(
            settings=Settings(), store=self.store, transport=Market(),
            vault=Vault(bytes.fromhex(orders["key"]), secrets.token_bytes),
            guard=Guard(allowed_networks=(ip_network("127.0.0.0/8"),)), observer=Silent(), worker=1,
            random_bytes=secrets.token_bytes, loaded=True,
        )  # fmt: skip
        self.live = LiveCatalogue(self.store.db, self.house.vault, Silent().broke)
        self.turns = Turns()
        self.held = self.per_s = self.compiled = 0

    async def reload(self) -> None:
        self.turns.begin()
        await self.live.refresh()
        self.house.catalogue = self.live.snapshot
        at_s = time.monotonic()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self.turns.on = False
        said = {
            "version": self.live.snapshot.version, "at_s": at_s, "auctions": self.held,
            "turn_ms": self.turns.wall_ms, "cpu_ms": self.turns.cpu_ms,
            "compiled": self.live.compiled - self.compiled,
            "contracts": sum(len(one.contracts) for one in self.live.snapshot.markets.values()),
            "rss_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }  # fmt: skip
        self.compiled = self.live.compiled
        print(json.dumps(said), flush=True)

    async def auctions(self) -> None:
        """One after the other in every vertical, at an even rate, none waiting for another."""
        number = 0
        while True:
            if not self.per_s:
                await asyncio.sleep(0.01)
                continue
            await asyncio.sleep(1 / self.per_s)
            names = sorted(self.house.catalogue.markets)
            number += 1
            state = sorted(STATES)[number % len(STATES)]
            body = {"vertical": names[number % len(names)], "fields": {"state": state}}
            self.house.own(self._auction(body), "auction")

    async def _auction(self, body: dict[str, Any]) -> None:
        house = self.house
        seller = house.catalogue.sellers_by_slug["bench"]
        read = read_ping(body, seller, house.catalogue, house.vault, one_step=False)
        await hold_auction(house, read.asking, Deadline.after(house.now_s(), 500))
        self.held += 1


async def main(orders: dict[str, Any]) -> None:
    bench, stop, loop = Bench(orders), asyncio.Event(), asyncio.get_running_loop()

    def listen() -> None:
        for line in sys.stdin.buffer:
            bench.per_s = int(line)
        loop.call_soon_threadsafe(stop.set)

    threading.Thread(target=listen, daemon=True).start()
    await bench.store.db.fetchval("SELECT 1")  # connected
    gc.freeze()
    began_s = time.monotonic()
    await bench.live.refresh()  # by itself: who watches the turns takes time too
    print(json.dumps({"took_s": time.monotonic() - began_s}), flush=True)
    bench.live = LiveCatalogue(bench.store.db, bench.house.vault, Silent().broke)
    ticking = asyncio.create_task(bench.turns.watch())
    await bench.reload()
    watch = Watch(bench.store.db, bench.reload, bench.live.distrust)
    tasks = [
        ticking,
        asyncio.create_task(watch.run(Silent().broke)),
        asyncio.create_task(bench.auctions()),
    ]
    await stop.wait()
    await bench.house.drain(2)
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await watch.close()
    await bench.live.close()
    await bench.store.close()


if __name__ == "__main__":
    uvloop.run(main(orjson.loads(sys.stdin.buffer.readline())))
