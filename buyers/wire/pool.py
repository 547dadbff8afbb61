"""The connections to one origin of one contract endpoint, and the calls waiting for one."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

from buyers.guard import Target
from buyers.wire.call import Call
from buyers.wire.connection import Connection
from buyers.wire.dial import Dialler
from buyers.wire.resuming import Resumption
from buyers.wire.values import Counters, Failure, WireLimits

Dial = asyncio.Task[Connection | Failure]


class Pool:
    """Idle connections are used last in, first out; a call waits only for a dial under way.

    There are never fewer dials than waiting calls. A dial outlives the call that caused it, and
    whatever connection comes up first serves whoever waits longest.
    """

    __slots__ = (
        "_closed",
        "_counters",
        "_dialler",
        "_idle",
        "_limits",
        "_loop",
        "_on_empty",
        "_tls",
        "_waiting",
        "connections",
        "dials",
        "target",
    )

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        target: Target,
        dialler: Dialler,
        tls: Resumption | None,
        counters: Counters,
        on_empty: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.target = target
        self._dialler = dialler
        self._tls = tls
        self._limits: WireLimits = dialler.limits
        self._counters = counters
        self._on_empty = on_empty
        self._closed = False
        self._idle: list[Connection] = []  # the longest idle first
        self._waiting: dict[Call, None] = {}  # an ordered set
        self.connections: set[Connection] = set()
        self.dials: set[Dial] = set()

    @property
    def idle(self) -> int:
        """Connections ready for a request."""
        return len(self._idle)

    def start(self, call: Call, idle_max_s: float | None) -> None:
        """Sends now on an idle connection, or as soon as a dial has come up."""
        connection = self._take(call.started, idle_max_s) if self._idle else None
        if connection is not None:
            self._counters.reused += 1
            connection.start(call)
            return
        if len(self.dials) <= len(self._waiting):
            if len(self.connections) + len(self.dials) >= self._limits.max_open:
                self._loop.call_soon(call.fail, Failure.POOL_FULL)
                return
            self._dial()
        self._counters.waited += 1
        self._waiting[call] = None

    def leave(self, call: Call) -> None:
        """The call waits no more."""
        self._waiting.pop(call, None)

    def release(self, connection: Connection) -> None:
        """A connection can take a request: the longest waiting call's, or it becomes idle."""
        if self._waiting and not self._closed:
            call = next(iter(self._waiting))
            del self._waiting[call]
            self._counters.waited_s += self._loop.time() - call.started
            connection.start(call)
        elif self._closed or len(self._idle) >= self._limits.max_idle:
            connection.discard()
        else:
            connection.idle_since = self._loop.time()
            self._idle.append(connection)

    def reap(self, now: float) -> None:
        """Closes what has been idle for too long."""
        oldest = now - self._limits.idle_timeout_s
        for connection in [held for held in self._idle if held.idle_since <= oldest]:
            connection.discard()

    def shut(self) -> None:
        """Ends every call as cancelled and closes every connection; dials run on."""
        self._closed = True
        for call in list(self._waiting):
            self._loop.call_soon(call.fail, Failure.CANCELLED)
        for connection in list(self.connections):
            connection.cancel()

    # a connection calls these ----------------------------------------------------------------

    def joined(self, connection: Connection, *, resumed: bool) -> None:
        """It is up; by an earlier TLS session, if `resumed`."""
        self._counters.opened += 1
        self._counters.resumed += resumed
        self.connections.add(connection)

    def keep_session(self, tls: ssl.SSLObject) -> None:
        """A connection made by a full TLS handshake has carried an answer."""
        if self._tls is not None:
            self._tls.keep(tls)

    def retired(self, connection: Connection) -> None:
        """It will take no more requests."""
        if connection in self._idle:
            self._idle.remove(connection)

    def lost(self, connection: Connection) -> None:
        """Its socket is closed."""
        self.connections.discard(connection)
        self._check_empty()

    # -----------------------------------------------------------------------------------------

    def _take(self, now: float, idle_max_s: float | None) -> Connection | None:
        """The connection used last, if it is fresh enough and nothing has come in on it."""
        idle = self._idle
        limit = self._limits.idle_timeout_s
        if idle_max_s is not None and idle_max_s < limit:
            limit = idle_max_s
        fresh = now - limit
        while idle and idle[-1].idle_since > fresh:
            connection = idle.pop()
            if connection.quiet():
                return connection
            connection.discard()
        return None

    def _dial(self) -> None:
        dial = self._dialler.dial(self.target, self._tls, self._connection)
        task = self._loop.create_task(dial)
        self.dials.add(task)
        task.add_done_callback(self._dialled)

    def _connection(self) -> Connection:
        return Connection(self._loop, self, self._limits)

    def _dialled(self, task: Dial) -> None:
        self.dials.discard(task)
        outcome = self._outcome(task)
        if isinstance(outcome, Failure):
            self._failed(outcome)
        elif outcome.alive and (self._tls is not None or outcome.quiet()):
            self.release(outcome)
        else:
            outcome.discard()  # it spoke first (TLS does, of itself), or has hung up
            self._failed(Failure.UNREACHABLE)

    def _failed(self, failure: Failure) -> None:
        """Ends the longest waiting call, unless another dial may still serve it."""
        losers = list(self._waiting)[: max(0, len(self._waiting) - len(self.dials))]
        for call in losers:
            self._loop.call_soon(call.fail, failure)
            del self._waiting[call]
        self._check_empty()

    def _outcome(self, task: Dial) -> Connection | Failure:
        if task.cancelled():
            return Failure.CANCELLED
        error = task.exception()
        if error is None:
            return task.result()
        context = {"message": "dialling a buyer failed", "exception": error, "task": task}
        self._loop.call_exception_handler(context)
        return Failure.UNREACHABLE

    def _check_empty(self) -> None:
        if not (self.connections or self.dials or self._waiting):
            self._on_empty()
