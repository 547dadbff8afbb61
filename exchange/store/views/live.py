"""What the live page reads: a minute at a time, by the ids of pings, and what the chores have added up.

Every figure belongs to the minute of its ping, as in reports: a lead that is posted a minute later is
counted where its ping is.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from exchange.store.database import Database
from exchange.store.views.walk import first_id

HOUSE: Final = ("house", 0)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)
DAY: Final = timedelta(days=1)
Scope = tuple[str, int]  # ("house", 0), ("seller", id) or ("buyer", id)

_PINGS: Final = """SELECT seller, count(*), count(price) FROM ping
WHERE id >= $1 AND id < $2 AND NOT test GROUP BY 1"""
_LEADS: Final = """SELECT seller, count(*), count(*) FILTER (WHERE state = 'sold'), count(*) FILTER (WHERE state = 'unsold'),
  percentile_disc(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - created_at) * 1000)::float8,
  percentile_disc(0.95) WITHIN GROUP (ORDER BY extract(epoch FROM closed_at - created_at) * 1000)::float8
FROM lead WHERE ping_id >= $1 AND ping_id < $2 AND state <> 'gone' AND NOT test GROUP BY GROUPING SETS ((), (seller))"""
_POSTS: Final = """SELECT l.seller, a.buyer_id, y.currency, count(*) FILTER (WHERE a.state <> 'not_sent'), count(*) FILTER (WHERE a.state = 'accepted'),
  count(*) FILTER (WHERE a.state = 'rejected'),
  coalesce(sum(a.price) FILTER (WHERE a.state = 'accepted'), 0)::bigint, coalesce(sum(a.payout) FILTER (WHERE a.state = 'accepted'), 0)::bigint
FROM lead l JOIN attempt a ON a.lead_id = l.id JOIN buyer y ON y.id = a.buyer_id
WHERE l.ping_id >= $1 AND l.ping_id < $2 AND l.state <> 'gone' AND NOT l.test GROUP BY 1, 2, 3"""
# An hour is whole when a ping behind it is counted, and its sales are settled.
_STATE: Final = """SELECT greatest(least(hour_of(pings_upto), sales_upto), 'epoch'::timestamptz),
  EXISTS (SELECT 1 FROM ping WHERE id > pings_upto AND id < first_id($1))
  OR EXISTS (SELECT 1 FROM lead WHERE ping_id >= first_id(sales_upto) AND ping_id < first_id($1) AND state <> 'gone')
FROM report_state"""
_SUMS: Final = """SELECT start, currency, sum(pings)::bigint, sum(quotes)::bigint, sum(leads)::bigint, sum(sold)::bigint,
  sum(posts - not_sent)::bigint, sum(accepted)::bigint, sum(rejected)::bigint, sum(revenue)::bigint, sum(payout)::bigint FROM report_sum
WHERE span = 'hour' AND by = $1 AND start >= $2 AND start < $3 AND (%s) GROUP BY 1, 2"""
_OF: Final = {
    "house": ("seller", "true OR seller = $4"),
    "seller": ("seller", "seller = $4"),
    "buyer": ("contract", "contract IN (SELECT id FROM contract WHERE buyer_id = $4)"),
}
_NEWEST: Final = "SELECT id FROM lead WHERE id > $1 ORDER BY id DESC LIMIT $2"


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Counts of some time, of one scope. Money is micros, by currency."""

    pings: int = 0
    quotes: int = 0
    leads: int = 0
    sold: int = 0
    unsold: int = 0
    posts: int = 0  # that came to their buyer, or may have
    accepted: int = 0
    rejected: int = 0
    revenue: Mapping[str, int] = field(default_factory=dict)
    payout: Mapping[str, int] = field(default_factory=dict)
    p50_ms: float | None = None  # of a lead, from its post to its answer; of one minute only
    p95_ms: float | None = None

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            **{name: getattr(self, name) + getattr(other, name) for name in _COUNTS},
            revenue=_sum(self.revenue, other.revenue),
            payout=_sum(self.payout, other.payout),
        )


_COUNTS: Final = ("pings", "quotes", "leads", "sold", "unsold", "posts", "accepted", "rejected")
NOTHING: Final = Tally()


def _sum(one: Mapping[str, int], other: Mapping[str, int]) -> dict[str, int]:
    return {name: one.get(name, 0) + other.get(name, 0) for name in {**one, **other}}


def total(tallies: Iterable[Tally]) -> Tally:
    return sum(tallies, NOTHING)


async def tally_minute(db: Database, minute: datetime) -> dict[Scope, Tally]:
    """What came of the pings of one minute, for everybody whom it concerns."""
    low, high = first_id(minute), first_id(minute + MINUTE)
    found: dict[Scope, dict[str, Any]] = {}

    def book(scope: Scope, **counts: Any) -> None:
        one = found.setdefault(scope, {})
        for name, value in counts.items():
            one[name] = _grown(one.get(name), value)

    for seller, pings, quotes in await db.fetch(_PINGS, low, high):
        for scope in (HOUSE, ("seller", seller)):
            book(scope, pings=pings, quotes=quotes)
    for seller, leads, sold, unsold, p50, p95 in await db.fetch(_LEADS, low, high):
        scope = HOUSE if seller is None else ("seller", seller)
        book(scope, leads=leads, sold=sold, unsold=unsold, p50_ms=p50, p95_ms=p95)
    for seller, buyer, currency, posts, accepted, rejected, price, payout in await db.fetch(
        _POSTS, low, high
    ):
        for scope in (HOUSE, ("seller", seller), ("buyer", buyer)):
            book(
                scope,
                posts=posts,
                accepted=accepted,
                rejected=rejected,
                revenue={currency: price},
                payout={currency: payout},
            )
    return {scope: Tally(**counts) for scope, counts in found.items()}  # fmt: skip


def _grown(before: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return _sum(before or {}, value)
    return value if before is None or value is None else before + value


async def summed_upto(db: Database, now: datetime) -> tuple[datetime, datetime | None]:
    """Sums tell of hours before this one, minutes of what came since; and, where pings or sales before
    it are still to be added up, from which hour on. None: nothing is."""
    latest = now.replace(minute=0, second=0, microsecond=0) - HOUR
    row = await db.fetchrow(_STATE, latest)
    assert row is not None, "report_state has its one row"
    whole, is_behind = row
    return max(whole, latest), whole if is_behind else None


async def summed_hours(
    db: Database, scope: Scope, begin: datetime, end: datetime
) -> dict[datetime, Tally]:
    """Whole hours of the sums, by their start."""
    by, where = _OF[scope[0]]
    hours: dict[datetime, Tally] = {}
    for start, currency, *counts, revenue, payout in await db.fetch(
        _SUMS % where, by, begin, end, scope[1]
    ):
        pings, quotes, leads, sold, posts, accepted, rejected = counts
        one = Tally(
            pings=pings, quotes=quotes, leads=leads, sold=sold, posts=posts, accepted=accepted,
            rejected=rejected, revenue={currency: revenue}, payout={currency: payout},
        )  # fmt: skip
        hours[start] = hours.get(start, NOTHING) + one
    return hours


async def newest_leads(db: Database, since: datetime, limit: int) -> list[UUID]:
    """Leads that came since then, the newest first."""
    return [row[0] for row in await db.fetch(_NEWEST, first_id(since), limit)]
