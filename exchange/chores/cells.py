"""What reports count of pings: one cell for each hour, vertical, currency, seller and contract.

Contract 0 is the ping itself, whoever was asked. Pure: rows in, cells out.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from exchange.receipt import read

# Up to how many ms an answer took, one bucket for each and one for what took longer: each bound is the
# one before times the square root of two.
TIME_BOUNDS_MS: Final = (
    5, 7, 10, 14, 20, 28, 40, 57, 80, 113, 160, 226, 320, 453, 640, 905, 1280, 1810, 2560,
)  # fmt: skip
TIMES: Final = tuple(f"t{number}" for number in range(1, len(TIME_BOUNDS_MS) + 2))

# Counted once, when the ping is stored; and what may change as long as something is open.
OF_PINGS: Final = (
    "pings", "quotes", "asked", "bids", "fixed", "no_bids", "invalid", "timed_out", "unreachable",
    "garbled", "failed", "won", "bid_sum", *TIMES,
)  # fmt: skip
OF_SALES: Final = (
    "leads", "sold", "posts", "accepted", "rejected", "not_sent", "waiting", "revenue", "payout",
    "returned", "returned_revenue", "returned_payout",
)  # fmt: skip
FIGURES: Final = (*OF_PINGS, *OF_SALES)
_PLACE: Final = {name: place for place, name in enumerate(FIGURES)}
_T1: Final = _PLACE["t1"]
_PINGS: Final = _PLACE["pings"]
_QUOTES: Final = _PLACE["quotes"]
_ASKED: Final = _PLACE["asked"]
_BIDS: Final = _PLACE["bids"]
_FIXED: Final = _PLACE["fixed"]
_FAILED: Final = _PLACE["failed"]
_WON: Final = _PLACE["won"]
_BID_SUM: Final = _PLACE["bid_sum"]

# Why no answer could be read. What is named here nowhere is our own: pool_full, call_broke, …
_CLASSES: Final = {
    reason: _PLACE[name]
    for name, reasons in {
        "timed_out": ("timed_out",),
        "unreachable": (
            "unreachable", "dns_failed", "tls_failed", "address_blocked", "connection_reset",
        ),
        "garbled": ("garbled", "oversized", "buyer_http_error"),
    }.items()
    for reason in reasons
}  # fmt: skip
_NEEDED: Final = {"vertical", "currency", "ranking", "asked", "offers"}
_SAID: Final = {"bid": _BIDS, "no_bid": _PLACE["no_bids"], "invalid": _PLACE["invalid"]}


class Key(NamedTuple):
    hour: datetime  # UTC, of the ping
    vertical: str
    currency: str
    seller: int
    contract: int  # 0: the ping itself


Cells = dict[Key, list[int]]


class PingSeen(NamedTuple):
    """A stored ping that is no test."""

    id: UUID
    seller: int
    price: int | None
    receipt: bytes


def hour_of(ping: UUID) -> datetime:
    """In which it was made, by its id."""
    return datetime.fromtimestamp((ping.int >> 80) // 3_600_000 * 3600, UTC)


def no_cells() -> Cells:
    return defaultdict(lambda: [0] * len(FIGURES))


def add_pings(cells: Cells, pings: Iterable[PingSeen], contracts: Mapping[str, int]) -> int:
    """Count pings. `contracts`: ids by slug; a contract that nobody knows is not counted. Returns how
    many receipts were not such as the exchange writes: they are left out."""
    unread = 0
    for ping in pings:
        receipt = read(ping.receipt)
        if receipt.keys() >= _NEEDED:
            _count(cells, ping, receipt, contracts)
        else:
            unread += 1
    return unread


def _count(
    cells: Cells, ping: PingSeen, receipt: Mapping[str, Any], contracts: Mapping[str, int]
) -> None:
    lead = (hour_of(ping.id), receipt["vertical"], receipt["currency"], ping.seller)
    own = cells[Key(*lead, 0)]
    own[_PINGS] += 1
    own[_QUOTES] += ping.price is not None
    # Absent: from before leads were shared.
    winning = receipt.get("winning", min(1, len(receipt["ranking"])))
    won = {one["contract"] for one in receipt["ranking"][:winning]}
    for one in receipt["asked"]:
        slug = one["contract"]
        if contract := contracts.get(slug):
            cell = cells[Key(*lead, contract)]
            _count_asked(cell, one)
            cell[_WON] += slug in won
    for one in receipt["offers"]:
        if one.get("fixed") and (contract := contracts.get(one["contract"])):
            cell = cells[Key(*lead, contract)]
            cell[_FIXED] += 1
            cell[_BID_SUM] += one["price"]
            cell[_WON] += one["contract"] in won


def _count_asked(cell: list[int], one: Mapping[str, Any]) -> None:
    """One contract's answer, or that there was none. Only answers have a response time."""
    cell[_ASKED] += 1
    place = _SAID.get(one["result"])
    if place is None:
        cell[_CLASSES.get(one["reason"], _FAILED)] += 1
        return
    cell[place] += 1
    if place == _BIDS:
        cell[_BID_SUM] += one["price"]
    if one["ms"] is not None:
        cell[_T1 + bisect_left(TIME_BOUNDS_MS, one["ms"])] += 1


def add(cells: Cells, key: Key, figures: Mapping[str, int]) -> None:
    """Add named figures to a cell."""
    cell = cells[key]
    for name, count in figures.items():
        cell[_PLACE[name]] += count


def difference(now: Cells, before: Cells) -> Cells:
    """What must be added to `before` to make it `now`; only cells that differ."""
    found = {}
    nothing = [0] * len(FIGURES)
    for key in now.keys() | before.keys():
        new, old = now.get(key, nothing), before.get(key, nothing)
        if new != old:
            found[key] = [a - b for a, b in zip(new, old, strict=True)]
    return found


def day_after(moment: datetime) -> datetime:
    """The first midnight, in UTC, that is not before it."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight if midnight == moment else midnight + timedelta(days=1)
