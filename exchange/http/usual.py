"""Knows the two requests that nearly all are: a ping or a lead, whole, in the usual form.

Whatever is unusual in any way is nobody's loss: it is read by aiohttp, as every other request.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

from buyers.value import maker

_START: Final = b"POST /v1/pings HTTP/1.1\r\n"
_LEAD: Final = b"POST /v1/leads HTTP/1.1\r\n"  # as long
# RFC 9110: a name is a token, a value has no control characters; no folded lines, no bare line feeds.
_FIELDS: Final = re.compile(rb"(?:[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n)+\r\n")
_HEAD_MAX: Final = 8192
# With one of these more has to be done than to read the body.
_UNUSUAL: Final = frozenset(
    {b"content-encoding", b"expect", b"idempotency-key", b"te", b"trailer", b"transfer-encoding", b"upgrade"}
)  # fmt: skip
_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,7})[ \t]*\r\n", re.IGNORECASE)
# What says where a request ends, or that the connection does. A blank before the colon is no excuse.
_FRAMED: Final = re.compile(
    rb"\r\n(?:transfer-encoding|content-length|connection(?!:[ \t]*keep-alive[ \t]*\r\n))",
    re.IGNORECASE,
)
_BODY: Final = re.compile(
    rb"\r\n(?:transfer-encoding|content-length|upgrade|expect)", re.IGNORECASE
)


def is_one_ping(data: bytes) -> bool:
    """Whether these bytes are exactly one ping on a connection that stays: less is asked than by
    `usual_request`, for who is refused. False does not say that they are not."""
    end = data.find(b"\r\n\r\n", 0, _HEAD_MAX) + 4
    length = _ping_length(data[:end]) if end > 4 else None
    return length is not None and len(data) == end + length


@lru_cache(maxsize=1024)
def _ping_length(head: bytes) -> int | None:
    """Of the body; None if that is not sure, or it is no ping."""
    found = _LENGTH.search(head, len(_START) - 2)
    if found is None or not head.startswith(_START):
        return None
    if head.count(b"\n") != head.count(b"\r\n"):
        return None
    framed = _FRAMED.findall(head, len(_START) - 2)  # the length, and nothing else
    return int(found[1]) if len(framed) == 1 else None


@dataclass(slots=True)
class Usual:
    """A request as it came."""

    authorization: str  # the header's value; "" without one
    body: bytes
    is_lead: bool = False  # else it is a ping


_make_usual = maker(Usual)


def usual_request(data: bytes) -> Usual | None:
    """The request, if these bytes are exactly one: no rest of another, no part of the next."""
    end = data.find(b"\r\n\r\n", 0, _HEAD_MAX) + 4
    head = _usual_head(data[:end]) if end > 4 else None
    if head is None or len(data) != end + head.length:
        return None
    return _make_usual(authorization=head.authorization, body=data[end:], is_lead=head.is_lead)


class _Head(NamedTuple):
    authorization: str
    length: int  # of the body
    is_lead: bool


@lru_cache(maxsize=1024)  # a seller's heads are the same but for the length
def _usual_head(head: bytes) -> _Head | None:
    is_lead = head.startswith(_LEAD)
    if not is_lead and not head.startswith(_START):
        return None
    found = _FIELDS.fullmatch(head, len(_START))
    if found is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in found[0][:-4].split(b"\r\n"):
        name, _, value = line.partition(b":")
        fields[name.lower()] = value.strip()
    length = fields.get(b"content-length", b"")
    if (
        len(fields) != found[0].count(b"\r\n") - 1  # a name that came twice
        or not _UNUSUAL.isdisjoint(fields)
        or fields.get(b"connection", b"keep-alive").lower() != b"keep-alive"
        or b"host" not in fields
        or not (length.isdigit() and len(length) < 8)
    ):
        return None
    authorization = fields.get(b"authorization", b"").decode("latin-1")
    return _Head(authorization, int(length), is_lead)


class Framing:
    """Where the requests that were given to aiohttp end, as far as that is plain: with their heads, or
    so many bytes later. Once it is not (chunks, one request upon the other) it is never known again."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: int | None = 0  # bytes still to come of the last request; None: not known

    @property
    def at_end(self) -> bool:
        """Whether everything so far was whole requests."""
        return self._left == 0

    def read(self, data: bytes) -> None:
        """What comes next."""
        if self._left == 0 and data:
            self._left = _whole(data)
        if self._left is not None:
            self._left -= len(data)
            if self._left < 0:
                self._left = None


def _whole(data: bytes) -> int | None:
    """The length of the request that begins here; None if that is not plain."""
    end = data.find(b"\r\n\r\n", 0, _HEAD_MAX) + 2
    if end < 2 or data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
        return None
    framed = _BODY.findall(data, 0, end)
    if not framed:
        return end + 2
    found = _LENGTH.search(data, 0, end)
    return end + 2 + int(found[1]) if found is not None and len(framed) == 1 else None
