"""The rows of the books in memory, and where a cap's period begins."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from buyers.contract import CapKind
from exchange.returns import ReturnStatus
from exchange.store.rows import AttemptState, AwardOrder, LeadState, NewLead, ReturnRow

FAILED = frozenset({AttemptState.REJECTED, AttemptState.NOT_SENT})
_EPOCH = datetime(2000, 1, 1)  # noqa: DTZ001 - bucket starts are local wall times


def bucket_start(period: str, timezone: str, at: datetime) -> datetime:
    """The local wall time at which the period that holds `at` began; a week begins on Monday."""
    local = at.astimezone(ZoneInfo(timezone)).replace(tzinfo=None, fold=0)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    match period:
        case "total":
            return _EPOCH
        case "hour":
            return midnight.replace(hour=local.hour)
        case "day":
            return midnight
        case "week":
            return midnight - timedelta(days=midnight.weekday())
        case "month":
            return midnight.replace(day=1)
    raise ValueError(f"no such period: {period}")


def period_left_s(period: str, timezone: str, at: datetime) -> float:
    """Seconds until the next period begins; an hour for `total`, which has no next."""
    start = bucket_start(period, timezone, at)
    match period:
        case "total":
            return 3600.0
        case "month":
            following = (start + timedelta(days=32)).replace(day=1)
        case _:
            following = start + timedelta(**{f"{period}s": 1})
    return (following.replace(tzinfo=ZoneInfo(timezone)) - at).total_seconds()


@dataclass(slots=True, kw_only=True)
class MemoryBuyer:
    id: int
    slug: str
    currency: str
    available: int
    held: int
    prepaid: bool
    paused: bool = False


@dataclass(slots=True, kw_only=True)
class MemoryContract:
    id: int
    slug: str
    buyer: MemoryBuyer
    paused: bool = False
    dedupe_days: int = 0


@dataclass(slots=True)
class MemoryBucket:
    id: int
    cap: "MemoryCap"
    lim: int
    used: int = 0

    @property
    def money(self) -> bool:
        return self.cap.kind in {CapKind.SPEND, CapKind.CREDIT}

    def units(self, price_micros: int) -> int:
        return price_micros if self.money else 1

    @property
    def transient(self) -> bool:
        return self.cap.kind is CapKind.CONCURRENT


@dataclass(slots=True, kw_only=True)
class MemoryCap:
    id: int
    owner: int
    kind: CapKind
    period: str
    tz: str
    lim: int
    paced: bool = False
    reserve: int = 0  # credit: what must be left
    buckets: dict[datetime, MemoryBucket] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class MemoryLead:
    new: NewLead
    owner: int
    created_at: datetime
    answer_by: datetime
    state: LeadState = LeadState.OPEN
    reason: str | None = None
    closed_at: datetime | None = None
    receipt: bytes | None = None
    answer: bytes | None = None


@dataclass(slots=True, kw_only=True)
class MemoryAttempt:
    order: AwardOrder
    buyer: MemoryBuyer
    contract: str
    owner: int
    created_at: datetime
    buckets: list[int]
    state: AttemptState = AttemptState.INTENT
    fence: int = 0
    tries: int = 0
    detail: bytes | None = None
    next_try_at: datetime | None = None
    settled_at: datetime | None = None
    returned: ReturnRow | None = None
    given_back: tuple[int, ...] = ()  # the buckets that its return gave a unit back to

    @property
    def is_live(self) -> bool:
        return self.state not in FAILED

    def counts_for(self, kind: CapKind) -> bool:
        """Whether a cap of this kind that begins now takes it over."""
        if kind is CapKind.CONCURRENT:
            return self.state.is_open
        row = self.returned
        if row is not None and row.status is ReturnStatus.APPROVED:
            back = row.restore_cap and kind in {CapKind.SALES, CapKind.SPEND}
            return self.is_live and not back and kind is not CapKind.CREDIT
        return self.is_live


@dataclass(slots=True, kw_only=True)
class MemoryClaim:
    body: bytes
    owner: int
    created_at: datetime
    run: UUID | None = None
    lead_id: UUID | None = None
    status: int | None = None
    answer: bytes | None = None
