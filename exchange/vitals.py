"""A look at one worker: what its pools, queues and loop are doing now."""

import asyncio
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

from buyers.wire import Wire
from exchange.house import House
from exchange.http.valve import Valve
from exchange.observe import Vitals
from exchange.store.postgres import PostgresStore

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_STATM: Final = Path("/proc/self/statm")


def look(house: House, wire: Wire, store: PostgresStore, valve: Valve, lag_s: float) -> Vitals:
    """Takes what the valve has counted with it: one look a second, by one looker."""
    refused, seen = valve.take_seen()
    return Vitals(
        wire=wire.stats(),
        lag_s=lag_s,
        tasks=len(asyncio.all_tasks()),
        catalogue=house.catalogue.version,
        left_alone=house.vigil.left_alone(),
        refused=refused,
        seen=seen,
        waiting=store.lanes.waiting(),
        quote_waits_s=store.waits_s(),
        connections=store.db.connections(),
        database_away=house.database_away,
        cpu_s=time.process_time(),
        resident_bytes=_resident(),
    )


def _resident() -> int:
    """0 where the system does not tell."""
    with suppress(OSError, IndexError, ValueError):
        return int(_STATM.read_bytes().split()[1]) * _PAGE_BYTES
    return 0
