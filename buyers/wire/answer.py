"""Reads HTTP/1.1 answers out of a connection's bytes, one at a time and within bounds."""

from typing import Final, NoReturn

import httptools

from buyers.wire.values import Failure, WireLimits

_BODILESS: Final = frozenset({204, 304})
_VERSIONS: Final = frozenset({"1.0", "1.1"})


class _Stop(Exception):
    """Leaves the parser from inside a callback."""


class AnswerReader:
    """Feed it bytes until `complete` or `failure` is set; `reset` before the next request.

    `reusable` tells whether the connection may carry another request. Framing is llhttp's in its
    strict mode (both lengths, two lengths, bad chunks are refused there); the bounds are ours.
    """

    __slots__ = (
        "_chunked",
        "_head",
        "_informational",
        "_length",
        "_limits",
        "_parser",
        "_pieces",
        "_room",
        "_size",
        "_until_close",
        "complete",
        "failure",
        "reusable",
        "status",
    )

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self.reset()
        self._parser = httptools.HttpResponseParser(self)

    def reset(self) -> None:
        """Forgets the last answer. Only right after a reusable one: the parser goes on."""
        self.status: int | None = None
        self.failure: Failure | None = None
        self.complete = False
        self.reusable = False
        self._pieces: list[bytes] = []
        self._size = 0
        self._head = 0
        self._length: bytes | None = None
        self._chunked = False
        self._until_close = False
        self._informational = 0
        # Chunk sizes, extensions and trailers cannot outgrow the body cap a second time.
        self._room = self._limits.head_max + 2 * self._limits.body_max

    @property
    def body(self) -> bytes:
        """The decoded body; meaningful once `complete`."""
        pieces = self._pieces
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def feed(self, data: bytes) -> None:
        """Takes what arrived. Never raises for what the buyer sent."""
        over = len(data) > self._room
        if over:
            data = data[: self._room]
        self._room -= len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _Stop):
                raise  # a bug of ours, not the buyer's doing
            self.reusable = False
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.reusable = False
            if not self.complete:
                self.failure = self.failure or Failure.GARBLED
        if not self.complete and self.failure is None and (over or self._head_too_long()):
            self.failure = Failure.OVERSIZED

    def feed_eof(self) -> None:
        """The buyer has closed its side: that is the end of a body without any length."""
        if self._until_close and self.failure is None:
            self.complete = True

    def close(self) -> None:
        """Drops the parser, which refers to us: without the cycle nothing is left to collect."""
        del self._parser

    def _head_too_long(self) -> bool:
        """A header that never ends reaches no callback, so unparsed bytes count too."""
        limits = self._limits
        used = limits.head_max + 2 * limits.body_max - self._room
        return self.status is None and used > limits.head_max

    def _fail(self, failure: Failure) -> NoReturn:
        self.failure = failure
        raise _Stop

    # httptools calls these -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Stop  # a second answer nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head += len(name) + len(value) + 4
        if self._head > self._limits.head_max:
            self._fail(Failure.OVERSIZED)
        if self.status is not None:
            return  # a trailer
        length = len(name)
        if length == 14 and name.lower() == b"content-length":
            self._length = value
        elif length == 17 and name.lower() == b"transfer-encoding":
            if self._chunked or value.strip().lower() != b"chunked":
                self._fail(Failure.GARBLED)  # gzip and friends: we asked for identity
            self._chunked = True

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self._parser.get_http_version() not in _VERSIONS:
            self._fail(Failure.GARBLED)
        if status < 200:
            self._skip_informational(status)
            return
        self.status = status
        if status in _BODILESS:
            return
        if self._length is None:
            self._until_close = not self._chunked
        elif int(self._length) > self._limits.body_max:
            self._fail(Failure.OVERSIZED)

    def _skip_informational(self, status: int) -> None:
        self._informational += 1
        framed = self._length is not None or self._chunked
        too_many = self._informational > self._limits.informational_max
        if framed or too_many or status < 100 or status == 101:
            self._fail(Failure.GARBLED)

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limits.body_max:
            self._fail(Failure.OVERSIZED)
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.status is not None:  # else an interim answer ended
            self.complete = True
            self.reusable = bool(self._parser.should_keep_alive())
