"""The days of the logs: partitions of ping and late_bid, made ahead, and dropped when they are old.

Whoever changes one waits for its locks only as long as his connection's lock_timeout, because others
queue behind him: nobody's quote shall wait longer than that for a drop.
"""

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

AHEAD_DAYS: Final = 3
# A day that came too late and has more rows than that stays in the default partition.
_MOVED_MAX: Final = 10_000
_LOGS: Final = (("ping", "id"), ("late_bid", "ping"))  # and what is their time
_NAME: Final = re.compile(r"(?:ping|late_bid)_(\d{8})")
_LISTED: Final = """SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
WHERE i.inhparent = to_regclass($1) ORDER BY 1"""
_MAKE: Final = "SELECT make_day($1, $2, $3, $4)"
_DROP: Final = "SELECT drop_day($1, $2)"
_NOW: Final = "SELECT now()"


def days_ahead(today: date) -> list[date]:
    """The days that must have their partitions."""
    return [today + timedelta(days=number) for number in range(AHEAD_DAYS + 1)]


def days_over(days: Iterable[date], today: date, kept_days: int) -> list[date]:
    """Those of which every ping is older than that many days, oldest first."""
    return sorted(day for day in days if day + timedelta(days=kept_days + 1) <= today)


def name_of(log: str, day: date) -> str:
    """The partition's name, as the migration makes it."""
    return f"{log}_{day:%Y%m%d}"


async def today(connection: Any) -> date:
    """By the server's clock, in UTC."""
    now: datetime = await connection.fetchval(_NOW)
    return now.astimezone(UTC).date()


async def days_of(connection: Any, log: str) -> list[date]:
    """The days that have a partition of this log, oldest first."""
    names = [row[0] for row in await connection.fetch(_LISTED, log)]
    found = [match[1] for match in map(_NAME.fullmatch, names) if match]
    return [date.fromisoformat(digits) for digits in found]


async def make_days(connection: Any) -> list[str]:
    """Make what is missing and return the names; what the default partition holds of them moves."""
    made = []
    for log, key in _LOGS:
        there = await days_of(connection, log)
        missing = set(days_ahead(await today(connection))).difference(there)
        # The latest first: what follows must be ready, whatever becomes of a day that has begun.
        made += [
            name_of(log, day)
            for day in sorted(missing, reverse=True)
            if await connection.fetchval(_MAKE, log, key, day, _MOVED_MAX)
        ]
    return made


async def drop_day(connection: Any, day: date) -> None:
    """Drop both logs of a day, and all that was not kept of it. Raises LockNotAvailableError."""
    for log, _ in _LOGS:
        await connection.execute(_DROP, log, day)
