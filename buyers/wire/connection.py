"""One connection to a buyer: idle, or carrying one call."""

from __future__ import annotations

import asyncio
import select
import socket
import ssl
from typing import TYPE_CHECKING, cast

from buyers.wire.answer import AnswerReader
from buyers.wire.values import Failure, WireLimits

if TYPE_CHECKING:
    from buyers.wire.call import Call
    from buyers.wire.pool import Pool


class Connection(asyncio.Protocol):
    """Writes one request at a time and reads its answer; belongs to one pool for life."""

    __slots__ = ("_call", "_loop", "_poll", "_pool", "_reader", "_tls", "_transport", "idle_since")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, pool: Pool | None, limits: WireLimits
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._reader = AnswerReader(limits)
        self._transport: asyncio.Transport | None = None
        self._call: Call | None = None
        self._poll = select.poll()
        self._tls: ssl.SSLObject | None = None  # until the session it began has been kept
        self.idle_since = 0.0  # loop time

    @property
    def status(self) -> int | None:
        """The status of the answer being read, once its head is complete."""
        return self._reader.status

    @property
    def busy(self) -> bool:
        """Whether it carries a call."""
        return self._call is not None

    @property
    def alive(self) -> bool:
        """Whether neither side has closed it, as far as the loop has noticed."""
        return self._transport is not None

    def quiet(self) -> bool:
        """Whether nothing has arrived while idle: no bytes, no end.

        Asks the kernel, for what arrived in this very turn of the loop has not been read yet, and
        must neither answer the next request nor leave a post unconfirmed.
        """
        transport = self._transport
        return transport is not None and not transport.is_closing() and not self._poll.poll(0)

    def start(self, call: Call) -> None:
        """Sends the call's request."""
        transport = self._transport
        assert transport is not None, "it is alive"
        self._call = call
        call.connection = self
        transport.write(call.payload)

    def discard(self) -> None:
        """Closes at once; whoever waits on it has been or will be told by others."""
        self._call = None
        transport, self._transport = self._transport, None
        if transport is not None:
            transport.abort()
            self._retire()

    def cancel(self) -> None:
        """The wire closes: ends the call, if any, and the connection."""
        if self._call is not None:
            self._loop.call_soon(self._call.fail, Failure.CANCELLED)
        else:
            self.discard()

    # asyncio calls these ---------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poll.register(sock.fileno(), select.POLLIN)
        tls = transport.get_extra_info("ssl_object")
        resumed = tls is not None and bool(tls.session_reused)
        # A server's tickets may be used many times, and reading one costs as much as it saves.
        self._tls = None if resumed else tls
        if self._pool is not None:
            self._pool.joined(self, resumed=resumed)

    def data_received(self, data: bytes) -> None:
        call, reader = self._call, self._reader
        if call is None:
            self.discard()  # unsolicited
            return
        body = reader.body_of_known(data)
        if body is not None:
            self._answered(call, reader.known_status, body, True)
            return
        reader.feed(data)
        if reader.complete:
            self._complete(call)
        elif reader.failure is not None:
            call.fail(reader.failure)

    def eof_received(self) -> None:
        call, reader = self._call, self._reader
        if call is None:
            self.discard()
            return
        reader.feed_eof()
        if reader.complete:
            self._complete(call)
        else:
            call.fail(Failure.RESET)

    def connection_lost(self, exc: Exception | None) -> None:
        call, self._call = self._call, None
        if self._transport is not None:
            self._transport = None
            self._retire()
        if self._pool is not None:
            self._pool.lost(self)
            self._pool = None
        if call is not None:
            call.fail(Failure.RESET)
        self._reader.close()

    # ------------------------------------------------------------------------------------------

    def _complete(self, call: Call) -> None:
        reader = self._reader
        status, body, is_reusable = reader.status, reader.body, reader.reusable
        if is_reusable:
            reader.reset()
        self._answered(call, status, body, is_reusable)

    def _answered(self, call: Call, status: int | None, body: bytes, is_reusable: bool) -> None:
        pool, transport, now = self._pool, self._transport, self._loop.time()
        self._call = None
        if self._tls is not None:
            self._keep_session(self._tls)
        # An answer that came before all of the request had left ends the connection too.
        if (
            is_reusable
            and pool is not None
            and transport is not None
            and not transport.get_write_buffer_size()
        ):
            pool.release(self, now)
        else:
            self.discard()
        call.answer(status, body, now)

    def _keep_session(self, tls: ssl.SSLObject) -> None:
        if self._pool is not None:
            self._pool.keep_session(tls)
        self._tls = None

    def _retire(self) -> None:
        if self._pool is not None:
            self._pool.retired(self)
