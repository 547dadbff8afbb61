"""One structured line per event, JSON, without personal data; a blocked sink never stalls a sale."""

import logging
import queue
import sys
import traceback
from collections.abc import Mapping
from logging.handlers import QueueHandler, QueueListener
from typing import Any, TextIO

import orjson

_QUEUED_MAX = 10_000
_logger = logging.getLogger("exchange")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": self.formatTime(record, "%Y-%m-%dT%H:%M:%S"),
            "level": record.levelname.lower(),
        }
        fields = getattr(record, "fields", {})
        return orjson.dumps({**line, "event": record.getMessage(), **fields}, default=str).decode()


class _Dropping(QueueHandler):
    """Drops what a slow sink cannot take: a line less is better than an auction late."""

    def enqueue(self, record: logging.LogRecord) -> None:
        try:
            self.queue.put_nowait(record)
        except queue.Full:
            return

    def prepare(self, record: logging.LogRecord) -> logging.LogRecord:
        return record  # formatted by the listener's thread; our fields are plain values


def start_log(stream: TextIO | None = None) -> QueueListener:
    """Write to the stream (standard error by default) from a thread of its own; stop() flushes."""
    sink = logging.StreamHandler(stream or sys.stderr)
    sink.setFormatter(_Json())
    waiting: queue.Queue[logging.LogRecord] = queue.Queue(_QUEUED_MAX)
    _logger.handlers = [_Dropping(waiting)]
    _logger.setLevel(logging.INFO)
    _logger.propagate = False
    listener = QueueListener(waiting, sink)
    listener.start()
    return listener


def event(name: str, level: int = logging.INFO, /, **fields: Any) -> None:
    """Log one event; fields are ids, codes and numbers, never bodies."""
    _logger.log(level, name, extra={"fields": fields})


class LogObserver:
    """The reader of the trade's facts that writes them down."""

    def pinged(self, receipt: Mapping[str, Any]) -> None: ...

    def closed(self, record: Mapping[str, Any]) -> None:
        event("sale", **record)

    def sending(self, award_ms: float, left_ms: float) -> None: ...

    def posted(
        self, buyer: str, outcome: str, reason: str | None, elapsed_ms: float | None
    ) -> None: ...

    def late(self, buyer: str, late_ms: float) -> None: ...

    def breaker(self, contract: str, call: str, to: str) -> None:
        event("breaker", logging.WARNING, contract=contract, call=call, to=to)

    def held_back(self, contract: str, reason: str, count: int) -> None: ...

    def refused(self, code: str) -> None: ...

    def recovered(self, what: str, count: int) -> None:
        if count:
            event("recovered", logging.WARNING, what=what, count=count)

    def broke(self, where: str, error: BaseException) -> None:
        """A traceback of places only: an exception's own text may quote what was sent."""
        frames = [
            f"{f.filename.rsplit('/', 2)[-2:]}:{f.lineno}"
            for f in traceback.extract_tb(error.__traceback__)
        ]
        event("fault", logging.ERROR, where=where, error=type(error).__name__, frames=frames[-12:])


class Observers:
    """Tells several observers the same facts."""

    def __init__(self, *observers: Any) -> None:
        self._observers = observers

    def __getattr__(self, name: str) -> Any:
        told = [getattr(one, name) for one in self._observers]

        def tell(*facts: Any) -> None:
            for one in told:
                one(*facts)

        setattr(self, name, tell)  # the next call finds it at once
        return tell
