"""Lists by pages: `?limit=` and an opaque `?cursor=`, which is the `next` of the page before."""

import base64
import binascii
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.http.problems import json_response

_LIMIT: Final = 50
_LIMIT_MAX: Final = 200
Row = TypeVar("Row")


@dataclass(frozen=True, slots=True)
class Page:
    """What was asked for. `after`: the last thing of the page before; None: from the start."""

    limit: int
    after: str | None

    def answer(
        self, rows: Sequence[Row], show: Callable[[Row], Any], place: Callable[[Row], str]
    ) -> web.Response:
        """`rows` are one more than the limit when there is another page."""
        shown = rows[: self.limit]
        more = len(rows) > self.limit
        following = base64.urlsafe_b64encode(place(shown[-1]).encode()).decode() if more else None
        return json_response({"items": [show(row) for row in shown], "next": following})


def read_page(request: web.Request, *filters: str) -> Page:
    """The page a request asks for. Refuses with 422 what is no parameter here, all at once."""
    query = request.query
    problems = [
        Problem(name, "unknown_field", "is not a parameter here")
        for name in sorted(set(query) - {"limit", "cursor", *filters})
    ]
    text = query.get("limit", str(_LIMIT))
    limit = int(text) if text.isascii() and text.isdecimal() and len(text) < 5 else 0
    if not 1 <= limit <= _LIMIT_MAX:
        problems.append(Problem("limit", "out_of_range", f"must be 1 to {_LIMIT_MAX}"))
    after = _read_cursor(query["cursor"]) if "cursor" in query else None
    if "cursor" in query and after is None:
        problems.append(Problem("cursor", "bad_format", "must be the `next` of another page"))
    if problems:
        raise Refusal(422, "invalid_request", problems=tuple(problems))
    return Page(limit, after)


def _read_cursor(text: str) -> str | None:
    try:
        found = base64.b64decode(text, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    return None if "\0" in found else found
