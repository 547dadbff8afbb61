"""The books in Postgres: the halves put together over one pool and four pinned connections."""

from exchange.store.claims import Claims
from exchange.store.database import Database, Link
from exchange.store.leads import Leads
from exchange.store.ledger import Ledger
from exchange.store.pings import Pings
from exchange.store.rates import RateLeases
from exchange.store.returns import Returns
from exchange.store.workers import Workers


class PostgresStore(Pings, Leads, Claims, Ledger, Workers, RateLeases, Returns):
    """One per process. `name` is what /healthz and the worker table call it."""

    def __init__(self, dsn: str, *, name: str, connections_max: int = 4) -> None:
        self.db = Database(dsn, connections_max=connections_max)
        # Quotes may be lost with the machine; awards and settlements may not.
        quick = Link(dsn, durable=False)
        awards, settlements = Link(dsn, durable=True), Link(dsn, durable=True)
        # A heart that is slow to notice keeps sellers waiting.
        pulse = Link(dsn, durable=False, timeout_s=3.0)
        self._links = (quick, awards, settlements, pulse)
        Pings.__init__(self, self.db, quick)
        Leads.__init__(self, self.db)
        Claims.__init__(self, self.db)
        Ledger.__init__(self, self.db, awards, settlements)
        Workers.__init__(self, self.db, pulse, name)
        RateLeases.__init__(self, self.db)
        Returns.__init__(self, self.db)

    async def warm(self) -> None:
        """Connect the lanes before anybody uses them: the first quote shall not wait for it."""
        for link in self._links[:3]:
            await link.connection()

    async def close(self) -> None:
        for lane in (self._pings, self._awards, self._settlements):
            await lane.close()
        for link in self._links:
            await link.close()
        await self.db.close()
