"""Reads small HTML forms, for pages that change something without a script."""

from typing import Final

from aiohttp import web

from exchange.errors import Refusal

_BYTES_MAX: Final = 65_536


async def read_form(request: web.Request) -> dict[str, str]:
    """The fields of a form, the last of each name. Refuses with 413 what is large, with 400 files
    and NUL characters: no page of ours sends them."""
    if (request.content_length or 0) > _BYTES_MAX:
        raise Refusal(413, "too_large")
    found = dict(await request.post())
    values = {name: value for name, value in found.items() if isinstance(value, str)}
    if len(values) < len(found) or any("\0" in text for text in (*values, *values.values())):
        raise Refusal(400, "bad_request", "this is no form of the console")
    return values
