"""Reads HTTP/1.1 answers out of a connection's bytes, one at a time and within bounds.

llhttp, in its strict mode, is the only judge of framing: two lengths, both lengths, bare line ends,
folded headers and bad chunks are refused there. It is given no callback for headers, since a call
into Python for each header of each answer costs more than everything else here. The few answers of
which we must know a header (chunked, unfinished, interim, until close) have it looked up in the raw
head, which llhttp has by then found to be well formed.

A server that answers often says the same head again and again, Content-Length and the second in Date
included: what llhttp has said of it, it would say again, and it is not asked.
"""

from typing import Final, NoReturn

import httptools

from buyers.wire.values import Failure, WireLimits

_HTTP: Final = (b"HTTP/1.1 ", b"HTTP/1.0 ")  # llhttp would take RTSP/1.0 and ICE/1.0 as well
_LENGTH: Final = b"\r\ncontent-length:"
_CODING: Final = b"\r\ntransfer-encoding:"


class _Stop(Exception):
    """Leaves the parser from inside a callback."""


class AnswerReader:
    """Feed it bytes until `complete` or `failure` is set; `reset` before the next request.

    `reusable` tells whether the connection may carry another request.
    """

    __slots__ = (
        "_head_at",
        "_informational",
        "_judged",
        "_known_head",
        "_known_size",
        "_limits",
        "_parser",
        "_pieces",
        "_raw",
        "_room",
        "_size",
        "body",
        "complete",
        "failure",
        "known_status",
        "reusable",
        "status",
    )

    def __init__(self, limits: WireLimits) -> None:
        self._limits = limits
        self._known_head = b""  # of an answer that came whole and kept the connection
        self._known_size = -1  # of all of it; -1: none yet
        self.known_status: int | None = None  # what `body_of_known` goes with
        self.reset()
        self._parser = httptools.HttpResponseParser(self)

    def reset(self) -> None:
        """Forgets the last answer. Only right after a reusable one: the parser goes on."""
        self.status: int | None = None
        self.failure: Failure | None = None
        self.complete = False
        self.reusable = False
        self.body = b""  # decoded; all of it once `complete`
        self._pieces: list[bytes] = []
        self._size = 0  # of the body so far
        self._raw: bytes | bytearray = b""  # all up to the head's end, or more; empty: nothing yet
        self._head_at = 0  # where in it the present head begins
        self._judged = False  # whether the headers that matter have been looked at
        self._informational = 0
        # Chunk sizes, extensions and trailers cannot outgrow the body cap a second time.
        self._room = self._limits.head_max + 2 * self._limits.body_max

    def body_of_known(self, data: bytes) -> bytes | None:
        """The body of a whole answer with a head that came before, on a reusable connection; None: it
        must be fed. It changes nothing: there is nothing to reset."""
        if len(data) == self._known_size and not self._raw and data.startswith(self._known_head):
            return data[len(self._known_head) :]
        return None

    def feed(self, data: bytes) -> None:
        """Takes what arrived. Never raises for what the buyer sent."""
        room = self._room - len(data)
        if room < 0:
            data = data[: self._room]
        self._room = room
        if self.status is None:
            self._raw = self._joined(data) if self._raw else data
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
        if self.reusable and self._raw is data:
            self._remember(data)
        elif not self.complete and self.failure is None:
            self.failure = self._unfinished()

    def _remember(self, answer: bytes) -> None:
        """One that came in one piece: unless it is chunked, or another stands before it, what its
        head says of it is true of every answer with this head."""
        end = answer.index(b"\r\n\r\n") + 4
        if end + self._size == len(answer):
            self._known_head, self._known_size = answer[:end], len(answer)
            self.known_status = self.status

    def feed_eof(self) -> None:
        """The buyer has closed its side: that is the end of a body without any length."""
        if self.status is not None and self.failure is None and not self._is_framed():
            self._complete()

    def close(self) -> None:
        """Drops the parser, which refers to us: without the cycle nothing is left to collect."""
        del self._parser

    def _joined(self, data: bytes) -> bytearray:
        """The head so far with more of it. Most come in one piece, which need not be copied."""
        raw = self._raw if isinstance(self._raw, bytearray) else bytearray(self._raw)
        raw += data
        return raw

    def _unfinished(self) -> Failure | None:
        """Why an answer that is not complete yet is not waited for; None if it may go on.

        A header that never ends reaches no callback, so bytes are counted, whatever they are.
        """
        if self._room < 0:
            return Failure.OVERSIZED
        if self.status is None:
            return Failure.OVERSIZED if len(self._raw) > self._limits.head_max else None
        return None if self._judged else self._judge_head()

    def _judge_head(self) -> Failure | None:
        self._judged = True
        _, *codings = self._head().split(_CODING)
        if codings and [coding.split(b"\r\n")[0].strip() for coding in codings] != [b"chunked"]:
            return Failure.GARBLED  # gzip and friends: we asked for identity
        return Failure.OVERSIZED if self._announced() > self._limits.body_max else None

    def _head(self) -> bytes:
        """From the status line to the last header's CR LF, in lower case; once it is complete."""
        return bytes(self._raw[self._head_at : self._head_end() - 2]).lower()

    def _head_end(self) -> int:
        """Where in the raw bytes what follows the present head begins; once it is complete."""
        return self._raw.index(b"\r\n\r\n", self._head_at) + 4

    def _is_framed(self) -> bool:
        head = self._head()
        return _LENGTH in head or _CODING in head

    def _announced(self) -> int:
        """The Content-Length, 0 without one."""
        head = self._head()
        at = head.find(_LENGTH)
        if at < 0:
            return 0
        at += len(_LENGTH)
        return int(head[at : head.index(b"\r\n", at)])

    def _fail(self, failure: Failure) -> NoReturn:
        self.failure = failure
        raise _Stop

    # httptools calls these -------------------------------------------------------------------

    def on_message_begin(self) -> None:
        if self.complete:
            raise _Stop  # a second answer nobody asked for

    def on_headers_complete(self) -> None:
        raw = self._raw
        if not raw.startswith(_HTTP, self._head_at):
            self._skip_empty_lines()
        if len(raw) > self._limits.head_max and self._head_end() > self._limits.head_max:
            self._fail(Failure.OVERSIZED)
        status: int = self._parser.get_status_code()
        if status < 200:
            self._skip_informational(status)
        else:
            self.status = status

    def _skip_empty_lines(self) -> None:
        """llhttp allows them before an answer; any other protocol is none."""
        raw = self._raw
        while raw[self._head_at] in b"\r\n":
            self._head_at += 1
        if not raw.startswith(_HTTP, self._head_at):
            self._fail(Failure.GARBLED)

    def _skip_informational(self, status: int) -> None:
        self._informational += 1
        too_many = self._informational > self._limits.informational_max
        if too_many or status < 100 or status == 101 or self._is_framed():
            self._fail(Failure.GARBLED)
        self._head_at = self._head_end()

    def on_chunk_header(self) -> None:
        if not self._judged and (failure := self._judge_head()):
            self._fail(failure)

    def on_body(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._limits.body_max:
            self._fail((not self._judged and self._judge_head()) or Failure.OVERSIZED)
        self._pieces.append(data)

    def on_message_complete(self) -> None:
        if self.status is not None:  # else an interim answer ended
            self._complete()
            self.reusable = bool(self._parser.should_keep_alive())

    def _complete(self) -> None:
        pieces = self._pieces
        self.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self.complete = True
