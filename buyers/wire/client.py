"""The HTTP/1.1 client for pings and posts: a pool per endpoint, one deadline, one result."""

from __future__ import annotations

import asyncio
import ssl
from functools import partial

from buyers.guard import Guard, Target
from buyers.wire.call import Call
from buyers.wire.dial import Dialler
from buyers.wire.pool import Pool
from buyers.wire.resolver import CachingResolver, Resolver
from buyers.wire.resuming import Resumptions
from buyers.wire.values import Counters, Done, WireLimits, WireStats

_Key = tuple[str, str, str, int, bool]


class Wire:
    """Never raises for a buyer's faults: every call ends in one Reply.

    Used from one event loop. No redirects, no decompression, no cookies, no retries.
    """

    def __init__(
        self,
        *,
        guard: Guard,
        limits: WireLimits,
        resolver: Resolver | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        self._own_resolver: CachingResolver | None = None  # ours to close
        if resolver is None:
            resolver = self._own_resolver = CachingResolver()
        self._dialler = Dialler(
            guard=guard,
            resolver=resolver,
            limits=limits,
        )
        self._resumptions = Resumptions(ssl_context or _verifying_context())
        self._limits = limits
        self._counters = Counters()
        self._pools: dict[_Key, Pool] = {}
        self._last_used: dict[str, Pool] = {}  # by name: mostly the one wanted next
        self._reaper: asyncio.TimerHandle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._drained: asyncio.Future[None] | None = None
        self._closed = False

    def send(
        self,
        target: Target,
        payload: bytes,
        done: Done,
        pool: str,
        deadline: float,
        tag: int = 0,
        idle_max_s: float | None = None,
    ) -> Call:
        """Writes a complete rendered request and calls `done` once, later, with `tag` and its result.

        `pool`: connections are never shared between pools. `deadline`: loop time by which the call
        has ended; `math.inf` sets no timer, the caller abandons. `tag`: by which a caller tells his
        calls apart. `idle_max_s`: use a connection only if idle for less.
        """
        home = self._last_used.get(pool)
        if home is None or home.target is not target:
            home = self._pool(pool, target)
        return home.send(payload, done, deadline, tag, idle_max_s)

    def stats(self) -> WireStats:
        """The counters now; walks the pools."""
        pools = self._pools.values()
        return WireStats(
            open=sum(len(pool.connections) for pool in pools),
            idle=sum(pool.idle for pool in pools),
            dialling=sum(len(pool.dials) for pool in pools),
            in_flight=sum(pool.in_flight for pool in pools),
            opened=self._counters.opened,
            resumed=self._counters.resumed,
            reused=self._counters.reused,
            waited=self._counters.waited,
            waited_s=self._counters.waited_s,
        )

    async def close(self) -> None:
        """Ends every call as cancelled, waits (bounded) for dials, closes every socket."""
        self._closed = True
        if self._reaper is not None:
            self._reaper.cancel()
        for pool in list(self._pools.values()):
            pool.shut()
        await self._finish_dials()
        if self._pools and self._loop is not None:
            self._drained = self._loop.create_future()
            await asyncio.wait([self._drained], timeout=self._limits.close_timeout_s)
        if self._own_resolver is not None:
            await self._own_resolver.close()
        await asyncio.sleep(0)  # the last `done` callbacks

    async def _finish_dials(self) -> None:
        """A dial is left to end by itself; only one that will not is cancelled."""
        dials = [dial for pool in self._pools.values() for dial in pool.dials]
        if not dials:
            return
        _, late = await asyncio.wait(dials, timeout=self._limits.close_timeout_s)
        for dial in late:
            dial.cancel()
        if late:
            await asyncio.wait(late, timeout=self._limits.close_timeout_s)

    def _pool(self, name: str, target: Target) -> Pool:
        """The pool of this name for this origin, opened if need be; once closed, one that is shut."""
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        key = (name, target.scheme, target.host, target.port, target.needs_allowed)
        pool = self._pools.get(key)
        if pool is None:
            tls = self._resumptions.of(key) if target.scheme == "https" else None
            forget = partial(self._forget, key)
            pool = Pool(loop, target, self._dialler, tls, self._counters, forget)
            if self._closed:
                pool.shut()
                return pool
            self._pools[key] = pool
            if self._reaper is None:
                self._reaper = loop.call_later(self._limits.idle_timeout_s / 4, self._reap, loop)
        pool.target = target  # the same origin; whoever keeps his Target is recognised by it
        self._last_used[name] = pool
        return pool

    def _forget(self, key: _Key) -> None:
        """An empty pool goes: contracts come and go, and their URLs with them."""
        pool = self._pools.pop(key, None)
        if pool is not None and self._last_used.get(key[0]) is pool:
            del self._last_used[key[0]]
        if not self._pools and self._drained is not None and not self._drained.done():
            self._drained.set_result(None)

    def _reap(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        for pool in list(self._pools.values()):
            pool.reap(now)
        self._reaper = None
        if self._pools:
            self._reaper = loop.call_later(self._limits.idle_timeout_s / 4, self._reap, loop)


def _verifying_context() -> ssl.SSLContext:
    """Certificates and host names verified, TLS 1.2 or later, HTTP/1.1 only."""
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    return context
