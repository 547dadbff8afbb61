"""Renders requests: the whole request is one `bytes`, written at once."""

import re
from collections.abc import Iterable
from typing import Final

from buyers.guard import Target

Headers = Iterable[tuple[str, str]]

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e]*")  # no CR, LF or NUL: a value can never become a header
_PATH = re.compile(r"/[!-~]*")
_METHODS: Final = frozenset({"GET", "POST"})
_OURS: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "accept-encoding",
        "user-agent",
        "cookie",
        "expect",
        "upgrade",
        "te",
        "trailer",
    }
)


def render_head(
    target: Target,
    headers: Headers = (),
    *,
    method: str = "POST",
    content_type: str | None = "application/json",
) -> bytes:
    """The head without its end, to be rendered once per contract; `finish_request` completes it.

    Raises ValueError for a method, path or header that could change the request's meaning.
    """
    if method not in _METHODS or not _PATH.fullmatch(target.path_and_query):
        raise ValueError("method or path cannot be sent")
    fixed = [("Host", target.authority), ("User-Agent", "ping-post-exchange")]
    fixed.append(("Accept-Encoding", "identity"))
    if content_type is not None:
        fixed.append(("Content-Type", content_type))
    lines = "".join(f"{name}: {value}\r\n" for name, value in fixed)
    _check((("Content-Type", content_type or ""),))
    start = f"{method} {target.path_and_query} HTTP/1.1\r\n"
    return (start + lines).encode("ascii") + _render(headers)


def finish_request(head: bytes, body: bytes, headers: Headers = ()) -> bytes:
    """A rendered head, more headers (a signature, say), the body's length and the body."""
    return b"%b%bContent-Length: %d\r\n\r\n%b" % (head, _render(headers), len(body), body)


def render_request(
    target: Target,
    headers: Headers,
    body: bytes,
    *,
    method: str = "POST",
    content_type: str | None = "application/json",
) -> bytes:
    """The complete request. Raises ValueError as `render_head` does."""
    return finish_request(
        render_head(target, headers, method=method, content_type=content_type), body
    )


def _render(headers: Headers) -> bytes:
    pairs = tuple(headers)
    _check(pairs)
    return "".join([f"{name}: {value}\r\n" for name, value in pairs]).encode("ascii")


def _check(headers: Headers) -> None:
    for name, value in headers:
        if not _TOKEN.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("a header's name or value cannot be sent")
        if name.lower() in _OURS:
            raise ValueError("this header is the wire's own")
