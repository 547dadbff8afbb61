"""How far a contract's day has come: what a cap that is spread over the day allows so far."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from buyers.contract import Contract, Schedule

_DAY_MIN = 24 * 60
_ALWAYS = ((0, _DAY_MIN),)


def day_over(contract: Contract, now: datetime) -> float | None:
    """The part of the contract's open day that is over, above 0 and at most 1; None when none of its
    caps is paced, or when it is closed all day. `now` is an aware instant."""
    if not any(cap.paced for cap in contract.caps):
        return None
    return open_share(contract.schedule or Schedule(timezone="UTC"), now)


def allowed(limit: int, day_over: float) -> int:
    """Units of a paced cap that may be used by now: its share of the day, rounded up."""
    return min(limit, -int(-limit * day_over // 1))


def open_share(schedule: Schedule, now: datetime) -> float | None:
    """Elapsed open time by all open time of the local day, in real minutes: an hour that a clock
    change repeats counts twice, one that it skips not at all. None: closed all day."""
    zone = ZoneInfo(schedule.timezone)
    local = now.astimezone(zone)
    if local.date() in schedule.holidays:
        return None
    ranges = _ALWAYS if schedule.hours is None else schedule.hours[local.weekday()]
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
    total = over = 0.0
    for first, last in ranges:
        begins, ends = (_instant(midnight, minute, zone) for minute in (first, last))
        total += max(0.0, ends - begins)
        over += min(max(0.0, now.timestamp() - begins), max(0.0, ends - begins))
    if not total:
        return None
    return max(over / total, 1 / (_DAY_MIN * 60))


def _instant(midnight: datetime, minute: int, zone: ZoneInfo) -> float:
    """When a local wall time comes, in seconds since the epoch; 24:00 is the next day's midnight."""
    day, rest = divmod(minute, _DAY_MIN)
    wall = midnight.replace(tzinfo=None) + timedelta(days=day, minutes=rest)
    return wall.replace(tzinfo=zone).timestamp()
