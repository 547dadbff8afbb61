"""A buyer and its standing orders, as frozen values. Reading documents is exchange/documents."""

from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo


class PricingMode(StrEnum):
    BID = "bid"  # pinged; pays what it bids
    FIXED = "fixed"  # never pinged; pays its price


@dataclass(frozen=True, slots=True, kw_only=True)
class Pricing:
    mode: PricingMode
    min_micros: int = 0  # bids below are invalid
    max_micros: int | None = None  # bids above are invalid; None: no bound of its own
    price_micros: int = 0  # fixed only


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    dialect: str
    ping_url: str | None  # None: fixed price, nothing to ask
    post_url: str
    status_url: str | None
    ping_timeout_ms: int
    post_timeout_ms: int
    idempotent: bool  # a repeated webhook-id is the same lead
    accepts_test: bool
    max_qps: int | None = None  # pings per second, all workers together
    conflict_means_accepted: bool = False  # certified: 409 to a re-send says it has the lead


class Op(StrEnum):
    EQ = "eq"
    NE = "ne"
    IN = "in"
    NOT_IN = "not_in"
    LT = "lt"
    LTE = "lte"
    GT = "gt"
    GTE = "gte"
    BETWEEN = "between"  # both ends included
    EXISTS = "exists"
    PREFIX = "prefix"
    ZIP_WITHIN = "zip_within"  # within so many miles of a ZIP's centre, both ends included


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    field: str  # dotted into objects and lists: "drivers.0.age"
    op: Op
    value: Any  # normalised: frozenset for in and not_in, pair for between, container of zip_within


@dataclass(frozen=True, slots=True)
class AnyOf:
    """True when one of its filters is."""

    filters: tuple["Filter", ...]


@dataclass(frozen=True, slots=True)
class Not:
    """Negates the result, so it is true where the field is absent."""

    filter: "Filter"


Filter = Condition | AnyOf | Not


class CapKind(StrEnum):
    SALES = "sales"
    SPEND = "spend"
    CONCURRENT = "concurrent"
    PINGS = "pings"  # leased in small parts before pings are written, never held
    CREDIT = "credit"  # not written by anyone: a prepaid buyer's deposits
    SHARE = "share"  # not a limit: counts what a contract sold in a percentage tier


@dataclass(frozen=True, slots=True, kw_only=True)
class Cap:
    kind: CapKind
    period: str  # hour day week month total, in the owner's time zone
    limit: int  # sales and concurrent: leads; spend: micros
    paced: bool = False  # a day's: spread evenly over the open hours


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When a contract takes leads, in local wall time.

    `hours`: seven days from Monday, each a tuple of (first, last) minutes of the day, the last one
    excluded; None: always open but on holidays. An hour that a clock change skips is never open, one
    that it repeats is open twice.
    """

    timezone: str
    hours: tuple[tuple[tuple[int, int], ...], ...] | None = None
    holidays: frozenset[date] = frozenset()  # closed all day

    def is_open(self, at: datetime) -> bool:
        """`at` is an aware instant."""
        local = at.astimezone(ZoneInfo(self.timezone))
        if local.date() in self.holidays:
            return False
        if self.hours is None:
            return True
        minute = local.hour * 60 + local.minute
        return any(first <= minute < last for first, last in self.hours[local.weekday()])


@dataclass(frozen=True, slots=True, kw_only=True)
class Buyer:
    id: int
    slug: str
    name: str
    currency: str
    timezone: str
    active: bool  # false: retired or paused, nothing new is offered
    caps: tuple[Cap, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Contract:
    """A buyer's standing order in one vertical."""

    id: int
    slug: str
    buyer: Buyer
    vertical: str
    active: bool
    tier: str
    priority: int  # lower first
    weight: int  # weighted tiers
    percent_ppm: int | None  # percentage tiers: parts per million
    adjustment_ppm: int  # rank price = bid x this / 1,000,000
    endpoint: Endpoint
    secret: bytes  # signs what we send
    pricing: Pricing
    filters: tuple[Filter, ...] = ()  # all must hold
    caps: tuple[Cap, ...] = ()
    schedule: Schedule | None = None  # None: always open
    sellers_allow: frozenset[str] = frozenset()  # empty: all
    sellers_deny: frozenset[str] = frozenset()
    is_shared: bool = False  # others may buy the same lead
    max_shares: int = 1  # shared: to how many buyers at most, this one included
    version: int = 0  # of its document: what a receipt names
    retired: bool = False  # kept for its open attempts only
    # What every auction asks, said once.
    is_pinged: bool = field(init=False)  # else it has a fixed price
    ping_caps: tuple[Cap, ...] = field(init=False)  # its own and its buyer's caps on pings
    is_metered: bool = field(init=False)  # whether a ping of it needs a lease

    def __post_init__(self) -> None:
        caps = tuple(cap for cap in (*self.caps, *self.buyer.caps) if cap.kind is CapKind.PINGS)
        object.__setattr__(self, "is_pinged", self.pricing.mode is PricingMode.BID)
        object.__setattr__(self, "ping_caps", caps)
        object.__setattr__(self, "is_metered", bool(caps) or self.endpoint.max_qps is not None)
