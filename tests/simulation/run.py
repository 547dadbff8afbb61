"""One seed, from nothing to the auditor's verdict."""

import asyncio
from dataclasses import dataclass, field

from tests.simulation.auditor import audit
from tests.simulation.world import World
from tests.virtual import VirtualLoop


@dataclass
class Result:
    """What a seed came to. Equal digests mean that it was replayed to the letter."""

    digest: str
    ended: dict[str, int]
    unconfirmed: int
    virtual_s: float
    faults: list[str] = field(default_factory=list)


def simulate(seed: int, leads: int = 20) -> Result:
    """Trade `leads` leads per seller under the seed's faults and audit everybody's books."""
    loop = VirtualLoop()
    asyncio.set_event_loop(loop)
    try:
        world = World(seed, loop)
        loop.run_until_complete(world.run(leads))
        states = [one.state for one in world.store.snapshot().attempts]
        return Result(
            world.digest,
            dict(sorted(world.ended.items())),
            states.count("unconfirmed"),
            loop.time(),
            audit(world),
        )
    finally:
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
        asyncio.set_event_loop(None)
        loop.close()
