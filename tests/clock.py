"""A clock for tests, and the same clock inside a test's Postgres: time passes when a test says so; and a
calendar that says which instants are of one period, knowing nothing of the exchange.

Postgres looks for a function in the schemas of the search path in their order, and in `pg_catalog` first
only when the path does not name it. So a database whose path begins with a schema that has a `now()` of
its own uses that one, wherever the schema's SQL says `now()` without a schema: in functions and in
statements. A column's default was bound when the table was made, and is bound anew.
"""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import asyncpg

_MADE = """
CREATE SCHEMA fake;
CREATE TABLE fake.clock (at timestamptz NOT NULL);
INSERT INTO fake.clock VALUES ('2026-01-01Z');
CREATE FUNCTION fake.now() RETURNS timestamptz LANGUAGE sql STABLE AS 'SELECT at FROM fake.clock';
CREATE FUNCTION fake.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE AS 'SELECT at FROM fake.clock';
DO $$
DECLARE d record;
BEGIN
  FOR d IN SELECT adrelid::regclass AS of, attname AS field FROM pg_attrdef JOIN pg_attribute ON attrelid = adrelid AND attnum = adnum
           WHERE pg_get_expr(adbin, adrelid) = 'now()' LOOP
    EXECUTE format('ALTER TABLE %s ALTER COLUMN %I SET DEFAULT fake.now()', d.of, d.field);
  END LOOP;
  EXECUTE format('ALTER DATABASE %I SET search_path = fake, pg_catalog, public', current_database());
END $$;
"""


class Clock:
    """An instant that only tests move."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def wall_s(self) -> float:
        return self.at.timestamp()

    async def set(self, at: datetime) -> None:
        self.at = at.astimezone(UTC)

    async def advance(self, by: timedelta) -> None:
        await self.set(self.at + by)


class PostgresClock(Clock):
    """The clock of one database, for every connection made after `install`."""

    def __init__(self, at: datetime, connection: "asyncpg.Connection[asyncpg.Record]") -> None:
        super().__init__(at)
        self.connection = connection

    @classmethod
    async def install(cls, dsn: str, at: datetime) -> "PostgresClock":
        connection = await asyncpg.connect(dsn)
        try:
            await connection.execute(_MADE)
        finally:
            await connection.close()
        return await cls.join(dsn, at)

    @classmethod
    async def join(cls, dsn: str, at: datetime) -> "PostgresClock":
        """Over another connection, where the clock is installed."""
        clock = cls(at, await asyncpg.connect(dsn))
        await clock.set(at)
        return clock

    async def set(self, at: datetime) -> None:
        await super().set(at)
        await self.connection.execute("UPDATE fake.clock SET at = $1", self.at)

    async def close(self) -> None:
        await self.connection.close()


def local(zone: str, at: datetime) -> datetime:
    """What a clock on the wall shows."""
    return at.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0)


def label(period: str, wall: datetime) -> object:
    """The same for two wall times of one hour, day, ISO week or month, and for no others."""
    match period:
        case "hour":
            return wall.date(), wall.hour
        case "day":
            return wall.date()
        case "week":
            return wall.isocalendar()[:2]
        case "month":
            return wall.year, wall.month
    return "ever"
