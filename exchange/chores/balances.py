"""Adds transfers up by account: altogether, by the day and by the hour.

Transfers are only ever written, and bear the time at which their transaction began. So they are added up
in steps, each up to a moment before which every transaction has ended; the step and its end are one
transaction. An hour that is over is added up once more: should ever a transfer have slipped in behind, it
is found, booked and told.
"""

import asyncio
import logging
from datetime import datetime, timedelta
from typing import Any, Final

from exchange import log
from exchange.chores.leader import Chore

_STEP: Final = timedelta(minutes=5)
_BACKLOG_STEP: Final = timedelta(hours=1)  # a step of what is long over
_HOUR: Final = timedelta(hours=1)
_AGAIN: Final = timedelta(minutes=15)  # after an hour
TURN_S: Final = 10.0

_STATE: Final = "SELECT upto, checked_upto, now() AS now FROM ledger_state"
# Nobody is at work any more who began before this. Who may not see others' sessions waits ten minutes.
_HORIZON: Final = """SELECT least(now() - interval '15 s', min(CASE WHEN backend_type IS NULL OR state IS NULL
    THEN now() - interval '10 minutes' ELSE xact_start - interval '1 s' END))
FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
  AND coalesce(backend_type, 'client backend') = 'client backend'"""
_SIDES: Final = """SELECT account, kind, sum(debited)::bigint AS debited, sum(credited)::bigint AS credited, count(*) AS moves FROM (
    SELECT debit AS account, kind, amount AS debited, 0 AS credited FROM transfer WHERE at >= $1 AND at < $2
    UNION ALL SELECT credit, kind, 0, amount FROM transfer WHERE at >= $1 AND at < $2) side GROUP BY 1, 2"""
# What is added is added at all three levels. $3: the hour of all of it.
_LEVELS: Final = """(VALUES ('hour', $3::timestamptz), ('day', date_trunc('day', $3::timestamptz, 'UTC')), ('total', '-infinity')) level(span, start)
ORDER BY 1, 2, 3, 4
ON CONFLICT (account, span, start, kind) DO UPDATE SET debited = ledger_sum.debited + excluded.debited,
  credited = ledger_sum.credited + excluded.credited, moves = ledger_sum.moves + excluded.moves"""
_INTO: Final = "INSERT INTO ledger_sum (account, span, start, kind, debited, credited, moves) "
# ruff: noqa: S608 - statements are made of our own words only
_ADD: Final = f"""{_INTO} SELECT s.account, level.span, level.start, s.kind, s.debited, s.credited, s.moves
FROM ({_SIDES}) s CROSS JOIN {_LEVELS}"""
_DIFFER: Final = f"""SELECT account, kind, coalesce(n.debited, 0) - coalesce(o.debited, 0) AS debited,
  coalesce(n.credited, 0) - coalesce(o.credited, 0) AS credited, coalesce(n.moves, 0) - coalesce(o.moves, 0) AS moves
FROM ({_SIDES}) n FULL JOIN (SELECT * FROM ledger_sum WHERE span = 'hour' AND start = $3) o USING (account, kind)
WHERE (n.debited, n.credited, n.moves) IS DISTINCT FROM (o.debited, o.credited, o.moves)"""
_MEND: Final = f"""{_INTO} SELECT s.account, level.span, level.start, s.kind, s.debited, s.credited, s.moves
FROM ({_DIFFER}) s CROSS JOIN {_LEVELS}"""
_UPTO: Final = "UPDATE ledger_state SET upto = $1 WHERE upto = $2"
_NOBODY: Final = "UPDATE 0"
_CHECKED: Final = "UPDATE ledger_state SET checked_upto = $1 WHERE checked_upto = $2"


class Balances:
    """Its chore is called by one office at a time."""

    def __init__(self, *, turn_s: float = TURN_S) -> None:
        self._turn_s = turn_s

    def chores(self) -> dict[str, Chore]:
        return {"balances": self.turn}

    async def turn(self, connection: Any) -> None:
        loop = asyncio.get_running_loop()
        ends_s = loop.time() + self._turn_s
        # What was added since the last vacuum would be read whole by every look at a few minutes.
        await connection.execute("SELECT brin_summarize_new_values('transfer_at')")
        state = await connection.fetchrow(_STATE)
        upto, checked = state["upto"], state["checked_upto"]
        horizon = await horizon_of(connection)
        while (step := next_step(upto, horizon, state["now"])) is not None and loop.time() < ends_s:
            async with connection.transaction():
                if await connection.execute(_UPTO, step, upto) == _NOBODY:
                    return  # another office was quicker
                await connection.execute(_ADD, upto, step, _hour(upto))
            upto = step
        while checked + _HOUR + _AGAIN <= upto and loop.time() < ends_s:
            async with connection.transaction():
                if await connection.execute(_CHECKED, checked + _HOUR, checked) == _NOBODY:
                    return
                mended = await connection.execute(_MEND, checked, checked + _HOUR, checked)
            if mended != "INSERT 0 0":
                log.event("transfers came late", logging.WARNING, hour=checked.isoformat())
            checked += _HOUR


async def horizon_of(connection: Any) -> datetime:
    """Everything that bears a time before this one is committed, or never will be."""
    found: datetime = await connection.fetchval(_HORIZON)
    return found


def _hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


def next_step(upto: datetime, horizon: datetime, now: datetime) -> datetime | None:
    """Where the next step ends: never in another hour than it begins; None: nothing is over yet."""
    wide = now - upto > 2 * _BACKLOG_STEP
    end = min(upto + (_BACKLOG_STEP if wide else _STEP), _hour(upto) + _HOUR)
    return end if end <= horizon else None
