"""What the trade tells about itself. Metrics and the log are readers of this; nobody else is."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from buyers.wire import WireStats


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """How a worker is, sampled once a second. `refused` and `seen` count since the last sample."""

    wire: WireStats
    lag_s: float  # how late the event loop is
    tasks: int
    catalogue: int  # the version in force
    left_alone: Mapping[str, int]  # breakers that are not closed, by call
    refused: int  # pings, for overload
    seen: int  # pings, refused or not
    waiting: Mapping[str, int]  # items that wait to be written, by queue
    quote_waits_s: float
    connections: Mapping[str, int]  # of the database pool: open, idle, max
    database_away: bool
    cpu_s: float  # since the process began
    resident_bytes: int


class Observer(Protocol):
    """Receives finished facts: receipts and ends of leads. Must be quick and must not raise."""

    def pinged(self, receipt: Mapping[str, Any]) -> None:
        """An auction ended; the receipt as it is stored."""

    def closed(self, record: Mapping[str, Any]) -> None:
        """A lead ended, or was answered as pending; one wide record without personal data."""

    def sending(self, award_ms: float, left_ms: float) -> None:
        """An award was granted and its post is about to be sent: how long the award took, and what
        is left of the seller's time."""

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None:
        """One delivery ended."""

    def late(self, buyer: str, late_ms: float) -> None:
        """A bid came after the close."""

    def breaker(self, contract: str, call: str, to: str) -> None:
        """An endpoint's breaker opened or closed; call is ping or post, to is open or closed."""

    def held_back(self, contract: str, reason: str, count: int) -> None:
        """So many times a contract was skipped for its endpoint's health, or would have been."""

    def refused(self, code: str) -> None:
        """A request was stopped at the door."""

    def recovered(self, what: str, count: int) -> None:
        """Something a dead worker left was taken over."""

    def broke(self, where: str, error: BaseException) -> None:
        """A bug: somebody should look. The traceback never holds a person's data."""


class Silent:
    """An observer for tests and tools."""

    def pinged(self, receipt: Mapping[str, Any]) -> None: ...

    def closed(self, record: Mapping[str, Any]) -> None: ...

    def sending(self, award_ms: float, left_ms: float) -> None: ...

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None: ...

    def late(self, buyer: str, late_ms: float) -> None: ...

    def breaker(self, contract: str, call: str, to: str) -> None: ...

    def held_back(self, contract: str, reason: str, count: int) -> None: ...

    def refused(self, code: str) -> None: ...

    def recovered(self, what: str, count: int) -> None: ...

    def broke(self, where: str, error: BaseException) -> None:
        raise error
