"""A market's contracts in their slots, and which of them have no room just now."""

from datetime import UTC, datetime, timedelta
from typing import Final

from exchange.eligibility.screening import Entry
from exchange.eligibility.values import Skipped, Usage
from exchange.reasons import SkipReason

_MINUTE: Final = timedelta(minutes=1)


class Row:
    """A contract in its slot, which it leaves when no view has it any more."""

    __slots__ = ("_left", "_told", "closed", "contract", "filters", "slot")

    def __init__(self, entry: Entry, slot: int, left: list[int]) -> None:
        self.contract, self.filters = entry
        self.slot = slot
        self._left = left
        self.closed = Skipped(self.contract.slug, SkipReason.CLOSED)
        self._told: dict[SkipReason, Skipped] = {}

    def __del__(self) -> None:
        self._left.append(self.slot)

    def skipped(self, reason: SkipReason) -> Skipped:
        """That it is, for a reason that says all: the same value each time."""
        told = self._told.get(reason)
        if told is None:
            told = self._told[reason] = Skipped(self.contract.slug, reason)
        return told


def rows_of(mask: int, rows: list[Row | None]) -> list[Row]:
    """From the last slot to the first: the mask becomes shorter as it is used up."""
    found = []
    while mask:
        slot = mask.bit_length() - 1
        mask ^= 1 << slot
        row = rows[slot]
        assert row is not None, "a view's mask has the slots of its rows"
        found.append(row)
    return found


class Room:
    """Who is closed and who is full, as masks: each contract is looked at when it is first asked
    about, and again when that may have changed: hours with the minute, caps with the usage."""

    __slots__ = ("_closed", "_from", "_full", "_paced", "_seen", "_until", "_usage", "_weighed")

    def __init__(self) -> None:
        self._from = self._until = datetime.min.replace(tzinfo=UTC)  # of a minute
        self._usage: Usage | None = None
        self._seen = self._closed = self._weighed = self._full = self._paced = 0

    def closed(self, fit: int, rows: list[Row | None], now: datetime) -> int:
        """Whose schedule says no: it begins and ends with minutes."""
        if not self._from <= now < self._until:
            self._from = now.replace(second=0, microsecond=0)
            self._until = self._from + _MINUTE
            self._seen = self._closed = 0
        unseen = fit ^ (fit & self._seen)
        for row in rows_of(unseen, rows):
            schedule = row.contract.schedule
            if schedule is not None and not schedule.is_open(now):
                self._closed |= 1 << row.slot
        self._seen |= unseen
        return fit & self._closed

    def limited(self, fit: int, rows: list[Row | None], usage: Usage) -> tuple[int, int]:
        """Who has a cap that is used up, and of the others who has one that is spread over the day."""
        if usage is not self._usage:
            self._usage, self._weighed, self._full, self._paced = usage, 0, 0, 0
        if not (usage.full or usage.paced):
            return 0, 0
        unseen = fit ^ (fit & self._weighed)
        for row in rows_of(unseen, rows):
            if row.contract.id in usage.full:
                self._full |= 1 << row.slot
            elif row.contract.id in usage.paced:
                self._paced |= 1 << row.slot
        self._weighed |= unseen
        return fit & self._full, fit & self._paced
