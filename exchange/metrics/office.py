"""What the office adds to a scrape: a reading of the books, and of its own machine."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import prometheus_client

from exchange.metrics import series
from exchange.metrics.exposition import Known, WorkerFiles
from exchange.metrics.series import Series
from exchange.metrics.text import family

CONTENT_TYPE: Final = prometheus_client.CONTENT_TYPE_PLAIN_0_0_4
Rows = Sequence[tuple[tuple[str, ...], float]]  # labels' values, value


@dataclass(frozen=True, slots=True, kw_only=True)
class BooksSeen:
    """The books at one moment."""

    known: Known = field(default_factory=dict)
    money: Sequence[tuple[str, str, int, int, int]] = ()  # vertical, currency, sales, price, payout
    open: Mapping[str, int] = field(default_factory=dict)  # attempts by state
    held: Rows = ()
    oldest_s: float = 0.0
    waiting: int = 0
    leads_open: int = 0
    erased: Rows = ()
    erasures_waiting: int = 0
    caps: Rows = ()
    credit: Rows = ()
    breakers: Rows = ()
    returns: Rows = ()
    callbacks: Mapping[str, int] = field(default_factory=dict)  # open ones: waiting, due
    alive: int = 0
    backends: Rows = ()
    backends_max: int = 0
    size_bytes: int = 0
    transaction_s: float = 0.0
    events: Rows = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class HouseSeen:
    """The office's own machine. None: it cannot be told."""

    workers: int
    disk: tuple[int, int] | None  # free, of
    audit: "AuditSeen | None"
    callbacks: Mapping[str, int] = field(default_factory=dict)  # made, by outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditSeen:
    """The last audit; None of it where another office does the chores."""

    broken: Mapping[str, int]  # by invariant
    at_s: float
    took_s: float


class OfficeMetrics:
    """All workers' series and the office's. One scrape at a time."""

    def __init__(self, folder: Path) -> None:
        self._files = WorkerFiles(folder)
        self._known: Known = {}
        self._text_s = 0.0

    def scrape(self, books: BooksSeen | None, house: HouseSeen, books_s: float) -> bytes:
        """Everything, as text. `books` None: the database is away, and what is read in it is left
        out. `books_s`: how long reading took."""
        began_s = time.perf_counter()
        if books is not None:
            self._known = books.known
        parts = [self._files.render(self._known)]
        if books is not None:
            parts += _of_books(books)
        parts += _of_house(house, books is not None)
        parts.append(_rows(series.SCRAPE_TOOK, [(("books",), books_s), (("text",), self._text_s)]))
        text = "".join(parts).encode()
        self._text_s = time.perf_counter() - began_s
        return text


def _of_books(seen: BooksSeen) -> Iterator[str]:
    yield _one(series.DATABASE_UP, 1)
    for one, place in ((series.SALES, 2), (series.REVENUE, 3), (series.PAYOUT, 4)):
        yield _rows(one, [(row[:2], row[place]) for row in seen.money])
    yield _rows(series.MARGIN, [(row[:2], row[3] - row[4]) for row in seen.money])
    yield _rows(
        series.OPEN, [((state,), seen.open.get(state, 0)) for state in ("intent", "unconfirmed")]
    )
    yield _rows(series.HELD, seen.held)
    yield _one(series.OLDEST, seen.oldest_s)
    yield _one(series.WAITING, seen.waiting)
    yield _one(series.LEADS_OPEN, seen.leads_open)
    yield _rows(series.ERASED, seen.erased)
    yield _one(series.ERASURES_WAIT, seen.erasures_waiting)
    yield _rows(series.CAP_USED, seen.caps)
    yield _rows(series.CREDIT, seen.credit)
    yield _rows(series.BREAKER_OPEN, seen.breakers)
    yield _rows(series.RETURNS, seen.returns)
    yield _rows(
        series.CALLBACKS_OPEN, [((s,), seen.callbacks.get(s, 0)) for s in ("waiting", "due")]
    )
    yield _one(series.ALIVE, seen.alive)
    yield _rows(series.BACKENDS, seen.backends)
    yield _one(series.BACKENDS_MOST, seen.backends_max)
    yield _one(series.DATABASE_SIZE, seen.size_bytes)
    yield _one(series.LONGEST, seen.transaction_s)
    yield _rows(series.DATABASE_EVENTS, seen.events)


def _of_house(seen: HouseSeen, database_up: bool) -> Iterator[str]:
    if not database_up:
        yield _one(series.DATABASE_UP, 0)
    yield _one(series.WANTED, seen.workers)
    yield _rows(series.CALLBACKS, [((name,), count) for name, count in seen.callbacks.items()])
    if seen.disk is not None:
        yield _one(series.DISK_FREE, seen.disk[0])
        yield _one(series.DISK_SIZE, seen.disk[1])
    if (audit := seen.audit) is not None:
        yield _rows(series.VIOLATIONS, [((name,), count) for name, count in audit.broken.items()])
        yield _one(series.AUDITED_AT, audit.at_s)
        yield _one(series.AUDIT_TOOK, audit.took_s)


def _one(one: Series, value: float) -> str:
    return family(one, [((), value)])


def _rows(one: Series, rows: Any) -> str:
    return family(one, rows)
