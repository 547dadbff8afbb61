"""Durable sales in two steps, with batching and without: each of ten buyers wins now and then, so that
not all sales queue for one buyer's cap.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Final

from benchmarks import rig
from benchmarks.findings import Findings, Goal, ratio, row, shown
from benchmarks.market import Market, ping_bodies, post_rests, quick
from benchmarks.pings import pinned, texts
from benchmarks.sides import (
    Side,
    all_complaints,
    all_notes,
    alternate,
    exchange_side,
    facts_of,
    hash_of,
)
from exchange.settings import setting_names

_SETTING: Final = "store.batch_max"


@dataclass(frozen=True, slots=True, kw_only=True)
class SalesSize:
    pin: bool = True
    connections: tuple[int, ...] = (64, 2)
    seconds: float = 5.0
    rounds: int = 3
    others: int = 990
    bodies: int = 2000


QUICK: Final = SalesSize(seconds=2, rounds=2, bodies=500)


async def sales(seed: int, size: SalesSize = SalesSize()) -> Findings:
    """A ping, then its post, sold before the next ping of that connection; two exchanges in turn."""
    market = Market(buyers=tuple(quick(10, price="10.00~40.00")), others=size.others)
    bodies = ping_bodies(size.bodies, seed)
    rests = texts(post_rests(size.bodies, seed))
    order: dict[str, Any] = {"kind": "closed", "bodies": texts(bodies)}
    async with AsyncExitStack() as stack:
        gun = await stack.enter_async_context(rig.gun(pin=size.pin))
        sides = []
        for name, environment in (
            ("batched", {}),
            ("one by one", {"EXCHANGE_STORE_BATCH_MAX": "1"}),
        ):
            start = rig.started(market, pin=size.pin, environment=environment)
            sides.append(exchange_side(await stack.enter_async_context(start), name))
        for width in size.connections:
            for side in sides:
                posts = {"posts": [side.head("/v1/leads"), rests], "connections": width}
                side.extra = posts
                await side.fire(gun, order | {"seconds": min(0.5, size.seconds)})
            await alternate(
                gun, sides, f"{width}", order | {"seconds": size.seconds}, rounds=size.rounds
            )
    return _findings(size, sides, hash_of(bodies, size))


def _findings(size: SalesSize, sides: list[Side], work: str) -> Findings:
    rows = []
    for width in size.connections:
        level = f"{width}"
        rows.append(row(f"{width} conn.: sales/s", *(side.per_s(level) for side in sides)))
        rows.append(row("  p50, ms", *(side.said(level, "p50_ms") for side in sides)))
        rows.append(row("  p99, ms", *(side.said(level, "p99_ms") for side in sides)))
        rows.append(row("  CPU per sale, ms", *(side.cpu_ms(level) for side in sides)))
        rows += [row(f"  of which {part}", *(side.cpu_ms(level, part) for side in sides))
                 for part in ("worker", "postgres")]  # fmt: skip
    most, least = f"{max(size.connections)}", f"{min(size.connections)}"
    faster = ratio(*(side.per_s(most) for side in sides))
    slower = ratio(*(side.said(least, "p50_ms") for side in sides))
    notes = list(all_notes(sides, "sold"))
    if _SETTING not in setting_names():
        notes.append(f"there is no setting {_SETTING}: both ran the same code")
    return Findings(
        scenario="sales",
        about=f"two-step sales, every commit durable, 10 buyers at once, median of {size.rounds} × "
        f"{size.seconds:g} s; {pinned(size.pin)}",
        columns=(*(side.name for side in sides), "ratio"),
        rows=tuple(rows),
        work=work,
        complaints=all_complaints(sides),
        notes=tuple(notes),
        facts=facts_of(sides),
        goals=(
            Goal(text=f"sales/s of those one by one, {most} connections", target="≥ 2",
                 figure=shown(faster), met=faster is not None and faster >= 2),
            Goal(text=f"p50 of those one by one, {least} connections", target="≤ 1",
                 figure=shown(slower), met=slower is not None and slower <= 1.05),
        ),
    )  # fmt: skip
