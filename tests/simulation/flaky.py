"""The books behind a slow and unreliable line: calls take time, are refused, or lose their answer."""

import asyncio
from random import Random
from typing import Any

from exchange.errors import StoreUnavailable
from exchange.store.memory import MemoryStore

_ASYNC = (
    "put_ping", "ping", "put_late_bids", "open_lead", "lead", "attempts", "close_lead",
    "abandon_lead", "award", "settle", "usage", "turns", "claim", "finish_claim", "tie_claim",
    "leads_by_external_id", "free_claim", "beat", "adopt", "due", "stray_intents", "idle_leads", "lease_rate", "lease_pings",
    "reversals", "owe_callback",
)  # fmt: skip


class FlakyStore:
    """One worker's connection to the shared books."""

    def __init__(self, store: MemoryStore, rng: Random) -> None:
        self._store = store
        self._rng = rng
        self.refuses = 0.0  # probability that a call never reaches the books
        self.loses = 0.0  # probability that it does and nobody hears of it
        for name in _ASYNC:
            setattr(self, name, self._through(getattr(store, name)))

    def now(self) -> Any:
        return self._store.now()

    def _through(self, method: Any) -> Any:
        async def call(*args: Any) -> Any:
            await asyncio.sleep(self._rng.uniform(0.0001, 0.003))
            if self._rng.random() < self.refuses:
                raise StoreUnavailable("refused by the simulation")
            result = await method(*args)
            await asyncio.sleep(self._rng.uniform(0.0001, 0.002))
            if self._rng.random() < self.loses:
                raise StoreUnavailable("answer lost by the simulation")
            return result

        return call
