"""The connections to one origin of one contract endpoint, and the calls waiting for one."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections.abc import Callable
from typing import Final

from buyers.guard import Target
from buyers.wire.call import Call, make_call
from buyers.wire.connection import Connection
from buyers.wire.dial import Dialler
from buyers.wire.resuming import Resumption
from buyers.wire.values import Counters, Done, Failure, WireLimits

_NEVER: Final = math.inf
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
        "_idle_timeout_s",
        "_limits",
        "_max_idle",
        "_on_empty",
        "_tls",
        "_waiting",
        "connections",
        "dials",
        "loop",
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
        self.loop = loop
        self.target = target
        self._dialler = dialler
        self._tls = tls
        self._limits: WireLimits = dialler.limits
        self._max_idle = dialler.limits.max_idle  # nobody, once closed
        self._idle_timeout_s = dialler.limits.idle_timeout_s
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

    @property
    def in_flight(self) -> int:
        """Calls that wait for a connection, or for an answer on one."""
        return len(self._waiting) + sum(one.busy for one in self.connections)

    def send(
        self, payload: bytes, done: Done, deadline: float, tag: int, idle_max_s: float | None
    ) -> Call:
        """As `Wire.send`: on the connection used last, if it is fresh enough and nothing has come in
        on it, or on the first that is free or comes up."""
        now = self.loop.time()
        call = make_call(self, payload, done, tag, now)
        if deadline != _NEVER and not self._bound(call, deadline):
            return call
        idle, limit_s = self._idle, self._idle_timeout_s
        if idle_max_s is not None and idle_max_s < limit_s:
            limit_s = idle_max_s
        while idle and idle[-1].idle_since > now - limit_s:
            connection = idle.pop()
            if connection.quiet():
                self._counters.reused += 1
                connection.start(call)
                return call
            connection.discard()
        self._wait(call)
        return call

    def _bound(self, call: Call, deadline: float) -> bool:
        """Whether there is time left; the call ends by then, or soon, if there is none."""
        if deadline > call.started and not self._closed:
            call.extend(deadline)
            return True
        reason = Failure.CANCELLED if self._closed else Failure.TIMED_OUT
        self.loop.call_soon(call.fail, reason)
        self._check_empty()  # it may have been opened for this call
        return False

    def _wait(self, call: Call) -> None:
        """For the next connection that is free or comes up; there is a dial for everybody who waits."""
        failure = None
        if self._closed:
            failure = Failure.CANCELLED
        elif len(self.dials) <= len(self._waiting):
            if len(self.connections) + len(self.dials) < self._limits.max_open:
                self._dial()
            else:
                failure = Failure.POOL_FULL
        if failure is not None:
            self.loop.call_soon(call.fail, failure)
            return
        self._counters.waited += 1
        self._waiting[call] = None

    def leave(self, call: Call) -> None:
        """The call waits no more."""
        self._waiting.pop(call, None)

    def release(self, connection: Connection, now: float) -> None:
        """A connection can take a request: the longest waiting call's, or it becomes idle."""
        idle = self._idle
        if self._waiting or len(idle) >= self._max_idle:
            self._pass_on(connection, now)
        else:
            connection.idle_since = now
            idle.append(connection)

    def _pass_on(self, connection: Connection, now: float) -> None:
        if self._waiting and not self._closed:
            call = next(iter(self._waiting))
            del self._waiting[call]
            self._counters.waited_s += now - call.started
            connection.start(call)
        else:
            connection.discard()

    def reap(self, now: float) -> None:
        """Closes what has been idle for too long."""
        oldest = now - self._idle_timeout_s
        for connection in [held for held in self._idle if held.idle_since <= oldest]:
            connection.discard()

    def shut(self) -> None:
        """Ends every call as cancelled and closes every connection; dials run on."""
        self._closed = True
        self._max_idle = 0
        for call in list(self._waiting):
            self.loop.call_soon(call.fail, Failure.CANCELLED)
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

    def _dial(self) -> None:
        dial = self._dialler.dial(self.target, self._tls, self._connection)
        task = self.loop.create_task(dial)
        self.dials.add(task)
        task.add_done_callback(self._dialled)

    def _connection(self) -> Connection:
        return Connection(self.loop, self, self._limits)

    def _dialled(self, task: Dial) -> None:
        self.dials.discard(task)
        outcome = self._outcome(task)
        if isinstance(outcome, Failure):
            self._failed(outcome)
        elif outcome.alive and (self._tls is not None or outcome.quiet()):
            self.release(outcome, self.loop.time())
        else:
            outcome.discard()  # it spoke first (TLS does, of itself), or has hung up
            self._failed(Failure.UNREACHABLE)

    def _failed(self, failure: Failure) -> None:
        """Ends the longest waiting call, unless another dial may still serve it."""
        losers = list(self._waiting)[: max(0, len(self._waiting) - len(self.dials))]
        for call in losers:
            self.loop.call_soon(call.fail, failure)
            del self._waiting[call]
        self._check_empty()

    def _outcome(self, task: Dial) -> Connection | Failure:
        if task.cancelled():
            return Failure.CANCELLED
        error = task.exception()
        if error is None:
            return task.result()
        context = {"message": "dialling a buyer failed", "exception": error, "task": task}
        self.loop.call_exception_handler(context)
        return Failure.UNREACHABLE

    def _check_empty(self) -> None:
        if not (self.connections or self.dials or self._waiting):
            self._on_empty()
