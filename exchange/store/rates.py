"""Rates held for all workers together: a few units of a second are leased at a time."""

from exchange.store.database import Database


class RateLeases:
    """The rate half of the store."""

    def __init__(self, db: Database) -> None:
        self._rate_db = db

    async def lease_rate(self, owner: int, rate: int, want: int, second: int) -> int:
        """Units granted of a second's `rate`, at most `want`; 0: none are left, or it is long over.
        `second`: since 1970, by the server's clock; this one or the next."""
        granted: int = await self._rate_db.fetchval(
            "SELECT lease_rate($1, $2, $3, $4)", owner, rate, want, second
        )
        return granted

    async def lease_pings(self, contract: int, want: int) -> tuple[int, float]:
        """Units of every cap on pings of a contract and its buyer, and how long they are good for."""
        row = await self._rate_db.fetchrow("SELECT * FROM lease_pings($1, $2)", contract, want)
        assert row is not None, "a function answers"
        return row[0], row[1]
