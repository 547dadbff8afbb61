"""Copies the books of a running database for `exchange verify`: one snapshot, nothing locked."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import asyncpg

from exchange.books import (
    BookedAccount,
    BookedAttempt,
    BookedBucket,
    BookedBuyer,
    BookedLead,
    BookedReturn,
    BookedTransfer,
    Snapshot,
)
from exchange.errors import StoreUnavailable
from exchange.store.database import AWAY, CALL_TIMEOUT_S

Value = TypeVar("Value")
_PREFETCH = 5000  # rows a round trip

_ACCOUNTS = "SELECT id, kind, owner, currency FROM account"
_BUYERS = "SELECT id, slug, currency, available, held, prepaid FROM buyer ORDER BY id"
_TRANSFERS = "SELECT ref, kind, debit, credit, amount FROM transfer"
_BUCKETS = """SELECT b.id, cap.owner, cap.kind, b.money, b.transient, b.lim, b.used
FROM bucket b JOIN cap ON cap.id = b.cap_id ORDER BY b.id"""
_LEADS = "SELECT id, state, test FROM lead"
_ATTEMPTS = """SELECT id, lead_id, buyer_id, seller_account, margin_account, slot, shares, state, price, payout, buckets,
  created_at, next_try_at FROM attempt"""
_BUCKETS_AT = 10
_RETURNS = "SELECT id, attempt_id, status, reverse_payout, buckets FROM sale_return"
_RECEIPTS = """SELECT receipt FROM (SELECT id, receipt FROM ping UNION ALL SELECT id, receipt FROM kept_ping) p
ORDER BY id DESC LIMIT $1"""
_PRICES = """SELECT a.lead_id, a.contract, a.price, l.request FROM attempt a JOIN lead l ON l.id = a.lead_id
WHERE a.tier = 'auction' ORDER BY a.id DESC LIMIT $1"""


@dataclass(frozen=True, slots=True)
class Receipts:
    pings: list[bytes]
    prices: list[tuple[UUID, str, int, bytes]]  # lead, contract, booked price, the lead's request


async def read_snapshot(dsn: str) -> Snapshot:
    """Everything that the invariants speak of, as one transaction saw it.

    Reads over a connection of its own, for as long as it takes. Raises StoreUnavailable.
    """
    try:
        connection = await asyncpg.connect(dsn, timeout=CALL_TIMEOUT_S)
        try:
            async with connection.transaction(isolation="repeatable_read", readonly=True):
                return await _read(connection)
        finally:
            await connection.close(timeout=CALL_TIMEOUT_S)
    except AWAY as error:
        raise StoreUnavailable("the database went away during the audit") from error


async def read_receipts(dsn: str, newest: int) -> Receipts:
    """The newest receipts and what was booked on their offers, for the replay of I10."""
    try:
        connection = await asyncpg.connect(dsn, timeout=CALL_TIMEOUT_S)
        try:
            pings = await connection.fetch(_RECEIPTS, newest)
            prices = await connection.fetch(_PRICES, newest)
        finally:
            await connection.close(timeout=CALL_TIMEOUT_S)
    except AWAY as error:
        raise StoreUnavailable("the database went away during the audit") from error
    return Receipts([row[0] for row in pings], [tuple(row) for row in prices])


async def _read(connection: "asyncpg.Connection[asyncpg.Record]") -> Snapshot:
    return Snapshot(
        at=await connection.fetchval("SELECT now()"),
        accounts=await _all(connection, _ACCOUNTS, BookedAccount),
        buyers=await _all(connection, _BUYERS, BookedBuyer),
        transfers=await _all(connection, _TRANSFERS, BookedTransfer),
        buckets=await _all(connection, _BUCKETS, BookedBucket),
        leads=await _all(connection, _LEADS, BookedLead),
        attempts=await _all(connection, _ATTEMPTS, _attempt),
        returns=await _all(connection, _RETURNS, _return),
    )


async def _all(
    connection: "asyncpg.Connection[asyncpg.Record]", sql: str, value: Callable[..., Value]
) -> tuple[Value, ...]:
    return tuple([value(*row) async for row in connection.cursor(sql, prefetch=_PREFETCH)])


def _attempt(*columns: Any) -> BookedAttempt:
    values = list(columns)
    values[_BUCKETS_AT] = tuple(values[_BUCKETS_AT])
    return BookedAttempt(*values)


def _return(*columns: Any) -> BookedReturn:
    id_, attempt, status, reverse_payout, buckets = columns
    return BookedReturn(id_, attempt, status, reverse_payout, tuple(buckets))
