"""A contract's terms in words: filters as sentences, hours as a week, price and tier as a line. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from exchange.schedules import DAYS

Body = Mapping[str, Any]

SHOWN_MAX: Final = 12  # values of a list that are named at once
_IS: Final = {
    "eq": "is", "ne": "is given and not", "in": "is one of", "not_in": "is given and none of",
    "lt": "is below", "lte": "is at most", "gt": "is above", "gte": "is at least",
    "between": "is between", "prefix": "begins with", "zip_within": "is within",
}  # fmt: skip
DAY_NAMES: Final = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_PERIODS: Final = {"hour": "an hour", "day": "a day", "week": "a week", "month": "a month", "total": "in all"}  # fmt: skip
CAP_WORDS: Final = {
    "sales": "sales", "spend": "spend", "pings": "pings", "concurrent": "posts open at once",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sentence:
    """One condition. Of a long list the first values, and how many there are in all."""

    field: str
    says: str
    values: tuple[str, ...] = ()
    count: int = 0

    @property
    def more(self) -> int:
        return self.count - len(self.values)

    def __str__(self) -> str:
        listed = ", ".join(self.values) + (f" and {self.more:,} more" if self.more else "")
        return " ".join(part for part in (self.field, self.says, listed) if part)


@dataclass(frozen=True, slots=True)
class Group:
    """`any`: one of the parts is enough; `not`: its part must not hold."""

    kind: str
    parts: tuple["Sentence | Group", ...]

    @property
    def says(self) -> str:
        return (
            "At least one of these"
            if self.kind == "any"
            else "Must not hold (fine where it is not given)"
        )

    def __str__(self) -> str:
        joint = " or ".join(map(str, self.parts))
        return f"({joint})" if self.kind == "any" else f"not ({joint})"


def sentences(filters: Iterable[Any]) -> tuple[Sentence | Group, ...]:
    """Every filter; all of them must hold. What no filter could be is said so, never an error."""
    return tuple(map(_said, filters))


def _said(one: Any) -> Sentence | Group:
    match one:
        case {"any": list(parts)}:
            return Group("any", sentences(parts))
        case {"not": part}:
            return Group("not", (_said(part),))
        case {"field": str(field), "op": "exists", "value": value}:
            return Sentence(field_words(field), "is given" if value else "is not given")
        case {"field": str(field), "op": "between", "value": [low, high]}:
            return Sentence(field_words(field), f"is between {plain(low)} and {plain(high)}")
        case {"field": str(field), "op": "zip_within", "value": {"zip": code, "miles": miles}}:
            says = f"is within {plain(miles)} miles of"
            return Sentence(field_words(field), says, (plain(code),), 1)
        case {"field": str(field), "op": str(op), "value": list(values)}:
            named = tuple(plain(one) for one in values[:SHOWN_MAX])
            return Sentence(field_words(field), _IS.get(op, op), named, len(values))
        case {"field": str(field), "op": str(op), "value": value}:
            return Sentence(field_words(field), _IS.get(op, op), (plain(value),), 1)
        case _:
            return Sentence("something", "that this version cannot read")


def field_words(dotted: str) -> str:
    """`drivers.0.age` as "drivers 1 › age": places in lists are counted from one, as people do."""
    words: list[str] = []
    for part in dotted.split("."):
        if part.isascii() and part.isdecimal() and words:
            words[-1] += f" {int(part) + 1}"
        else:
            words.append(part.replace("_", " "))
    return " › ".join(words)


def plain(value: Any) -> str:
    """A condition's value as somebody would say it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "nothing" if value is None else str(value)


def price_words(pricing: Body, currency: str) -> str:
    """`bids 2.00 to 80.00 USD`, `fixed 12.50 USD`."""
    if pricing["mode"] == "fixed":
        return f"fixed {pricing['price']} {currency}"
    low, high = pricing.get("min"), pricing.get("max")
    if low and high:
        return f"bids {low} to {high} {currency}"
    if high:
        return f"bids up to {high} {currency}"
    return f"bids from {low} {currency}" if low else "bids freely"


def cap_words(cap: Body, currency: str) -> str:
    """`100 sales a day`, `5000.00 USD spend a month`."""
    period = _PERIODS.get(cap.get("period") or "", "")
    amount = f"{cap['limit']} {currency}" if cap["kind"] == "spend" else f"{cap['limit']:,}"
    paced = ", spread over the day" if cap.get("pace") else ""
    return f"{amount} {CAP_WORDS[cap['kind']]} {period}".strip() + paced


def period_words(period: str | None) -> str:
    return _PERIODS.get(period or "", "")


def timezone_of(body: Body) -> str:
    """By whose clock the periods of a contract or a buyer begin."""
    clock = body if "timezone" in body else body.get("schedule") or {}
    return str(clock.get("timezone") or "UTC")


@dataclass(frozen=True, slots=True)
class Day:
    """One weekday: ranges in minutes of the day, the last one excluded, in order."""

    name: str
    ranges: tuple[tuple[int, int], ...]

    @property
    def says(self) -> str:
        if not self.ranges:
            return "closed"
        if self.ranges == ((0, 1440),):
            return "all day"
        return ", ".join(f"{_clock(first)}–{_clock(last)}" for first, last in self.ranges)


def week_of(schedule: Body | None) -> tuple[Day, ...]:
    """Seven days from Monday. With `hours` a day that is not named is closed; without, all are open."""
    hours = schedule.get("hours") if schedule else None
    if hours is None:
        return tuple(Day(name, ((0, 1440),)) for name in DAY_NAMES)
    return tuple(
        Day(name, tuple(sorted(map(minutes_of, hours.get(day) or ()))))
        for day, name in zip(DAYS, DAY_NAMES, strict=True)
    )


def minutes_of(text: str) -> tuple[int, int]:
    """`09:00-17:30` of a stored schedule."""
    first, last = (int(one[:2]) * 60 + int(one[3:]) for one in text.split("-"))
    return first, last


def week_words(days: Sequence[Day]) -> list[tuple[str, str]]:
    """Neighbouring days of the same hours together: `Monday–Friday`, `09:00–17:00`."""
    found: list[tuple[str, str]] = []
    start = 0
    for at in range(1, len(days) + 1):
        if at == len(days) or days[at].ranges != days[start].ranges:
            names = (
                days[start].name if at - start == 1 else f"{days[start].name}–{days[at - 1].name}"
            )
            found.append((names, days[start].says))
            start = at
    return found


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
