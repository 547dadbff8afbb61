"""Reads a body within its size and time, as one JSON object without duplicate keys."""

import asyncio
from typing import Any

from aiohttp import web

from buyers import strict_json
from exchange.errors import Refusal
from exchange.settings import HttpSettings


async def read_object(
    request: web.Request, settings: HttpSettings, bytes_max: int | None = None
) -> dict[str, Any]:
    """Refuses with 413, 408 or 400; aiohttp itself has no time limit on bodies. `bytes_max` None:
    as large as any lead may be."""
    bytes_max = bytes_max or settings.body_bytes_max
    if (request.content_length or 0) > bytes_max:
        raise _too_large(bytes_max)
    try:
        async with asyncio.timeout(settings.body_timeout_s):
            raw = await _read(request, bytes_max)
    except TimeoutError:
        raise Refusal(408, "body_timeout", "the body did not arrive in time") from None
    except ConnectionError:  # nobody is left to be answered
        raise Refusal(400, "not_json", "the body was cut off") from None
    return parse_object(raw, bytes_max)


def parse_object(raw: bytes, bytes_max: int) -> dict[str, Any]:
    """Refuses with 413 or 400."""
    if len(raw) > bytes_max:
        raise _too_large(bytes_max)
    try:
        return strict_json.loads_object(raw)
    except strict_json.JsonInvalid as error:
        raise Refusal(400, "not_json", f"the body {error}") from None


async def _read(request: web.Request, bytes_max: int) -> bytes:
    chunks, size = [], 0
    async for chunk in request.content.iter_any():
        size += len(chunk)
        if size > bytes_max:
            raise _too_large(bytes_max)
        chunks.append(chunk)
    return b"".join(chunks)


def _too_large(bytes_max: int) -> Refusal:
    return Refusal(413, "too_large", f"the body may have at most {bytes_max} bytes")
