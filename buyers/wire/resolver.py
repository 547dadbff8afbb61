"""Names to addresses, off the hot path: cached, refreshed behind the caller's back."""

import asyncio
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, Protocol

_HOSTS_MAX: Final = 4096
_THREADS: Final = 16  # our own, so that slow name servers starve nobody else's executor

Lookup = Callable[[str, int], list[str]]


class Resolver(Protocol):
    """Looks up a host's addresses. May be cancelled at any time."""

    async def resolve(self, host: str, port: int) -> list[str]:
        """IP literals, best first. Raises OSError when the name has none."""
        ...


def system_lookup(host: str, port: int) -> list[str]:
    """The operating system's answer, duplicates removed, its order kept. Blocks."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(item[4][0]) for item in found))


@dataclass(slots=True)
class _Entry:
    addresses: list[str]
    error: OSError | None
    at: float  # loop time of the lookup's end


class CachingResolver:
    """getaddrinfo with a cache, at most one lookup in flight per host.

    An answer is fresh for `ttl_s`; until `stale_s` it is still given at once while a new lookup
    runs; a failure is remembered for `error_ttl_s`.
    """

    def __init__(
        self,
        *,
        ttl_s: float = 30.0,
        stale_s: float = 300.0,
        error_ttl_s: float = 1.0,
        lookup: Lookup = system_lookup,
    ) -> None:
        self._ttl_s = ttl_s
        self._stale_s = stale_s
        self._error_ttl_s = error_ttl_s
        self._lookup = lookup
        self._entries: dict[str, _Entry] = {}
        self._running: dict[str, asyncio.Task[None]] = {}
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="dns")

    async def resolve(self, host: str, port: int) -> list[str]:
        """The host's addresses. Raises OSError when it has none."""
        entry = self._entries.get(host)
        age = asyncio.get_running_loop().time() - entry.at if entry else float("inf")
        if entry is None or age >= (self._error_ttl_s if entry.error else self._stale_s):
            # wait() neither cancels the shared lookup with us nor raises its error
            await asyncio.wait([self._refresh(host, port)])
            entry = self._entries.get(host)
        elif entry.error is None and age >= self._ttl_s:
            self._refresh(host, port)
        if entry is None:
            raise OSError("the resolver was closed")
        if entry.error:
            raise OSError(str(entry.error)) from entry.error
        return entry.addresses

    async def close(self) -> None:
        """Forgets running lookups; their threads end when the operating system answers."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        running = list(self._running.values())
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running, timeout=1.0)

    def _refresh(self, host: str, port: int) -> asyncio.Task[None]:
        task = self._running.get(host)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._look_up(host, port))
            self._running[host] = task
            task.add_done_callback(lambda _: self._running.pop(host, None))
        return task

    async def _look_up(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        error: OSError | None = None
        addresses: list[str] = []
        try:
            addresses = await loop.run_in_executor(self._threads, self._lookup, host, port)
        except UnicodeError as fault:  # a label getaddrinfo cannot encode
            error = OSError(str(fault))
        except OSError as fault:
            error = fault
        if not addresses and error is None:
            error = OSError("no addresses")
        old = self._entries.pop(host, None)
        if error is not None and old is not None and not old.error:
            stale = loop.time() - old.at < self._stale_s
            if stale:
                self._entries[host] = old  # a name server's hiccup takes nobody off the air
                return
        while len(self._entries) >= _HOSTS_MAX:
            del self._entries[next(iter(self._entries))]
        self._entries[host] = _Entry(addresses, error, loop.time())
