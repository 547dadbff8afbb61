"""Keeps a load on the exchange while somebody else looks: a profiler, `top`, `perf`."""

import asyncio

from benchmarks import rig
from benchmarks.market import Market, ping_bodies, quick
from benchmarks.pings import OTHERS, texts
from benchmarks.sides import exchange_side

_EACH_S = 5.0


async def hold(
    seconds: float, *, seed: int, connections: int = 16, buyers: int = 10, others: int = OTHERS
) -> None:
    """Prints process ids, then the cost of every few seconds of a closed loop."""
    market = Market(buyers=tuple(quick(buyers)), others=others)
    order = {"kind": "closed", "connections": connections, "seconds": min(seconds, _EACH_S)}
    order["bodies"] = texts(ping_bodies(1000, seed))
    async with rig.gun(pin=True) as gun, rig.started(market, pin=True) as house:
        print(
            f"worker {house.worker}  office {house.office}  postgres {house.postmaster}", flush=True
        )
        side = exchange_side(house)
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            side.told["held"] = [await side.fire(gun, order)]
            parts = {part: side.cpu_ms("held", part) for part in ("worker", "postgres", "office")}
            told = side.told["held"][0]
            print(
                f"{told.per_s:.0f} pings/s  p50 {told.said['p50_ms']:.2f} ms  p99 "
                f"{told.said['p99_ms']:.2f} ms  CPU per ping, ms: whole {told.cpu_ms:.3f}  "
                + "  ".join(f"{name} {value or 0:.3f}" for name, value in parts.items())
                + f"  load generator {1000 * told.said['cpu_s'] / told.said['answered']:.3f}",
                flush=True,
            )
