"""What reports read: sums by the hour and the day (exchange/chores/rollup.py), grouped one way."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from exchange.chores.cells import FIGURES, day_after
from exchange.store.database import Database

# ruff: noqa: S608 - statements are made of our own words only
GROUPS: Final = ("seller", "buyer", "contract", "vertical", "hour", "day")
_OVER_TIME: Final = frozenset({"hour", "day"})
_OF_CONTRACTS: Final = frozenset({"buyer", "contract"})
_KEYS: Final = {
    "seller": "r.seller", "buyer": "c.buyer_id", "contract": "r.contract", "vertical": "r.vertical",
    # Where midnight is within an hour, that hour is the new day's, as it is in periods.
    "hour": "r.start", "day": "date_trunc('day', (r.start + interval '30 minutes') AT TIME ZONE $5) AT TIME ZONE $5",
}  # fmt: skip
_CELLS: Final = "SELECT {0} AS start, vertical, currency, seller, contract, {1} FROM report_{0} WHERE contract > 0 AND"
_SPANS: Final = "SELECT start, vertical, currency, seller, contract, {} FROM report_sum WHERE"
_MONEY: Final = frozenset({"bid_sum", "revenue", "payout", "returned_revenue", "returned_payout"})
# Postgres adds bigints as decimals, ten times as slowly; no count of ours comes near 2^53.
_SUM: Final = {True: "sum(r.%s)", False: "sum(r.%s::float8)"}
_STATE: Final = "SELECT days_upto, at FROM report_state"
_NAMES: Final = "SELECT id, slug, body->>'name' FROM document WHERE kind = ANY ($1)"
_IDS: Final = "SELECT id FROM document WHERE kind = $1 AND slug = $2"
_SLUGS: Final = "SELECT slug FROM document WHERE kind = $1 AND NOT deleted ORDER BY slug"
_CONTRACTS_OF: Final = "SELECT id FROM contract WHERE buyer_id = $1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """`start` to before `end`, both on the hour; None: of all."""

    by: str  # one of GROUPS
    start: datetime
    end: datetime
    zone: str  # whose days they are
    seller: int | None = None
    buyer: int | None = None
    contract: int | None = None
    vertical: str | None = None

    @property
    def is_of_contracts(self) -> bool:
        """Whether it is about whoever was asked, not about pings: those are nobody's."""
        return self.by in _OF_CONTRACTS or self.buyer is not None or self.contract is not None

    @property
    def sums(self) -> str:
        """Which of the sums answer it: the smallest that know enough."""
        if not self.is_of_contracts:
            return "seller"
        return "both" if self.seller is not None or self.by == "seller" else "contract"


@dataclass(frozen=True, slots=True)
class Line:
    key: Any  # of what it was grouped by: an id, a slug, a moment
    currency: str
    figures: Mapping[str, int]


async def counted_upto(db: Database) -> datetime:
    """Sums are right up to then. 1970: nothing was ever counted."""
    row = await db.fetchrow(_STATE)
    assert row is not None, "there is one row"
    at: datetime = row["at"]
    return at


async def answer(db: Database, asked: Question, names: Sequence[str] = FIGURES) -> list[Line]:
    """One line for each group and currency, in no order; groups of which nothing is known have none.
    `names`: which figures are wanted; adding all of them up costs twice as much."""
    state = await db.fetchrow(_STATE)
    assert state is not None, "there is one row"
    day1, day2 = _whole_days(asked, state["days_upto"])
    values: list[Any] = [asked.start, day1, day2, asked.end]
    if asked.by == "day":
        values.append(asked.zone)
    narrow = ""
    for text, value in await _conditions(db, asked):
        values.append(value)
        narrow += f" AND {text % len(values)}"
    rows = await db.fetch(_statement(asked, narrow, names), *values)
    return [Line(row["key"], row["currency"], {name: row[name] for name in names}) for row in rows]


async def _conditions(db: Database, asked: Question) -> list[tuple[str, Any]]:
    contracts = None
    if asked.contract is not None:
        contracts = [asked.contract]
    if asked.buyer is not None:
        own = [row[0] for row in await db.fetch(_CONTRACTS_OF, asked.buyer)]
        contracts = own if contracts is None else [id_ for id_ in contracts if id_ in own]
    found = (
        ("seller = $%d", asked.seller),
        ("contract = ANY ($%d)", contracts),
        ("vertical = $%d", asked.vertical),
    )
    return [(text, value) for text, value in found if value is not None]


def _statement(asked: Question, narrow: str, names: Sequence[str]) -> str:
    """$1 to $2 and $3 to $4 by the hour, $2 to $3 by whole days. Conditions stand in each part: there
    they find their indexes."""
    some = ", ".join(names)

    def part(span: str, low: str, high: str) -> str:
        if asked.sums == "both":
            at = f"{span} >= {low} AND {span} < {high}"
            return f"{_CELLS.format(span, some)} {at}{narrow}"
        of = f"by = '{asked.sums}' AND span = '{span}'"
        return f"{_SPANS.format(some)} {of} AND start >= {low} AND start < {high}{narrow}"

    rows = " UNION ALL ".join((part("hour", "$1", "$2"), part("day", "$2", "$3"), part("hour", "$3", "$4")))  # fmt: skip
    join = "JOIN contract c ON c.id = r.contract" if asked.by == "buyer" else ""
    sums = ", ".join(f"{_SUM[name in _MONEY] % name}::bigint AS {name}" for name in names)
    key = _KEYS[asked.by]
    return f"SELECT {key} AS key, r.currency, {sums} FROM ({rows}) r {join} GROUP BY 1, 2"


def _whole_days(asked: Question, made_upto: datetime) -> tuple[datetime, datetime]:
    """The days, in UTC, whose sums can be taken instead of their hours'; none where hours must be told
    apart. What is before and after them is taken by the hour."""
    if asked.by == "hour" or (asked.by == "day" and asked.zone != "UTC"):
        return asked.end, asked.end
    first = day_after(asked.start.astimezone(UTC))
    end = min(asked.end.astimezone(UTC), made_upto)
    last = end.replace(hour=0, minute=0, second=0, microsecond=0)
    return (first, last) if first < last else (asked.end, asked.end)


def hours_of(start: datetime, end: datetime) -> list[datetime]:
    """Every hour from one moment to before another."""
    number = int((end - start) / timedelta(hours=1))
    return [start + timedelta(hours=at) for at in range(number)]


async def names_of(db: Database, *kinds: str) -> dict[int, tuple[str, str]]:
    """Slug and name of everybody of these kinds, the retired ones too, by id."""
    return {row[0]: (row[1], row[2] or row[1]) for row in await db.fetch(_NAMES, list(kinds))}


async def slugs_of(db: Database, kind: str) -> list[str]:
    return [row[0] for row in await db.fetch(_SLUGS, kind)]


async def id_of(db: Database, kind: str, slug: str) -> int | None:
    """None: there is, and was, no such document."""
    found: int | None = await db.fetchval(_IDS, kind, slug)
    return found
