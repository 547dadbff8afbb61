"""The books in Postgres: the halves put together over one pool and a pinned connection for each lane."""

from typing import Final

from exchange.store.claims import Claims
from exchange.store.database import Database, Link
from exchange.store.lane import BATCH_MAX
from exchange.store.lanes import Lanes
from exchange.store.leads import Leads
from exchange.store.ledger import Ledger
from exchange.store.pings import Pings
from exchange.store.rates import RateLeases
from exchange.store.returns import Returns
from exchange.store.workers import Workers

# What every sale passes; the others are connected when somebody uses a key, or bids late.
_EVERY_SALE: Final = frozenset({"quotes", "looks", "openings", "awards", "settlements", "closings"})


class PostgresStore(Pings, Leads, Claims, Ledger, Workers, RateLeases, Returns):
    """One per process. `name` is what /healthz and the worker table call it."""

    def __init__(
        self, dsn: str, *, name: str, connections_max: int = 4, batch_max: int = BATCH_MAX
    ) -> None:
        self.db = Database(dsn, connections_max=connections_max)
        self.lanes = Lanes(dsn, batch_max)
        # A heart that is slow to notice keeps sellers waiting.
        self._pulse_link = Link(dsn, durable=False, timeout_s=3.0)
        Pings.__init__(self, self.db, self.lanes, self.now)
        Leads.__init__(self, self.db, self.lanes)
        Claims.__init__(self, self.lanes)
        Ledger.__init__(self, self.db, self.lanes)
        Workers.__init__(self, self.db, self._pulse_link, name)
        RateLeases.__init__(self, self.db)
        Returns.__init__(self, self.db)

    def waits_s(self) -> float:
        """How long the quote that has waited longest to be written has waited: what a new one must
        expect. What waits for locks or for the disk in other lanes is nothing to a ping."""
        return self._quotes.waits_s()

    async def warm(self) -> None:
        await self.lanes.warm(_EVERY_SALE)

    async def close(self) -> None:
        await self.lanes.close()
        await self._pulse_link.close()
        await self.db.close()
