"""TLS sessions kept, so that a pool's next dial need not go through a full handshake."""

from __future__ import annotations

import ssl
import time
from collections.abc import Callable
from typing import Final

_AGE_MAX_S: Final = 3600.0  # the certificate itself is looked at again at least this often
_KEPT_MAX: Final = 4096


class Resumption:
    """One pool's TLS: the wire's context, and the last session, offered at the next dial.

    It stands in for the context in `create_connection`: asyncio and uvloop ask nothing of one but
    `wrap_bio`. A resumed session shows no certificate; it was verified for the same host and port
    when it was first made. A server that does not know the session any more gets a full handshake.
    """

    __slots__ = ("_clock", "_context", "_session", "_verified_s")

    def __init__(self, context: ssl.SSLContext, clock: Callable[[], float]) -> None:
        self._context = context
        self._clock = clock
        self._session: ssl.SSLSession | None = None
        self._verified_s = 0.0  # when a certificate was last verified, by the clock

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: str | None = None,
    ) -> ssl.SSLObject:
        """As the context's own, and with the session."""
        if self._session is not None and self._clock() - self._verified_s >= _AGE_MAX_S:
            self._session = None
        return self._context.wrap_bio(
            incoming, outgoing, server_side, server_hostname, session=self._session
        )

    def keep(self, tls: ssl.SSLObject) -> None:
        """Remembers the session a full handshake began, once an answer has been read:
        TLS 1.3 sends the ticket after the handshake."""
        session = tls.session
        if session is not None and (tls.version() != "TLSv1.3" or session.has_ticket):
            self._session, self._verified_s = session, self._clock()

    def forget(self) -> None:
        """The last dial failed, perhaps for the session's sake."""
        self._session = None


class Resumptions:
    """A Resumption for every pool, kept beyond the pool's own life, which ends with a quiet time."""

    __slots__ = ("_clock", "_context", "_kept")

    def __init__(
        self, context: ssl.SSLContext, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._context = context
        self._clock = clock
        self._kept: dict[object, Resumption] = {}

    def of(self, key: object) -> Resumption:
        """The one of this pool, by a key that names its host and port."""
        found = self._kept.pop(key, None) or Resumption(self._context, self._clock)
        while len(self._kept) >= _KEPT_MAX:
            del self._kept[next(iter(self._kept))]  # asked for longest ago
        self._kept[key] = found
        return found
