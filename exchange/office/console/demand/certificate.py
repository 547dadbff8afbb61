"""A certification's exchanges, taken apart for reading. Pure."""

from dataclasses import dataclass
from typing import Any, Final

import orjson

NAMES: Final = {
    "ping": "Test ping", "post": "Test post", "repeat": "The same post again", "status": "Status question",
}  # fmt: skip
_SEPARATORS: Final = ("\r\n\r\n", "\n\n")


@dataclass(frozen=True, slots=True)
class Dialogue:
    """One request and its answer."""

    name: str
    line: str  # `POST /ping HTTP/1.1`
    headers: tuple[tuple[str, str], ...]
    body: str
    status: int | None  # None: no answer was read
    answer: str
    truncated: bool
    failure: str | None
    elapsed_ms: float


def dialogue(exchange: dict[str, Any]) -> Dialogue:
    """Of an exchange as a report keeps it. JSON is written out by lines, anything else stays."""
    head, body = _parted(exchange["request"])
    line, *rest = head.splitlines() or [""]
    headers = tuple(
        (name.strip(), value.strip()) for name, _, value in (r.partition(":") for r in rest)
    )
    return Dialogue(
        name=NAMES.get(exchange["name"], exchange["name"]),
        line=line,
        headers=headers,
        body=pretty(body),
        status=exchange["status"],
        answer=pretty(exchange["response"]),
        truncated=exchange["truncated"],
        failure=exchange["failure"],
        elapsed_ms=exchange["elapsed_ms"],
    )


def pretty(text: str) -> str:
    """JSON by lines; what is none, or is nested too deeply to be written, as it is."""
    try:
        return orjson.dumps(orjson.loads(text), option=orjson.OPT_INDENT_2).decode()
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return text


def _parted(request: str) -> tuple[str, str]:
    for separator in _SEPARATORS:
        if separator in request:
            head, _, body = request.partition(separator)
            return head, body
    return request, ""
