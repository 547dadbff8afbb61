"""Ids: a UUIDv7 (RFC 9562) with the kind in front, as `ping_…` or `ret_…`; tests say so."""

import re
from collections.abc import Callable
from typing import Final
from uuid import UUID

_SHAPE: Final = re.compile(r"(ping|lead|att|ret)_(test_)?([0-9a-f]{32})")


def new_uuid(now_ms: int, random_bytes: Callable[[int], bytes]) -> UUID:
    """48 bits of Unix milliseconds, then version, variant and 74 random bits."""
    rand = int.from_bytes(random_bytes(10), "big")
    value = (now_ms & ((1 << 48) - 1)) << 80
    value |= 7 << 76 | (rand >> 68 & 0xFFF) << 64 | 2 << 62 | rand & ((1 << 62) - 1)
    return UUID(int=value)


def write_id(kind: str, uuid: UUID, *, test: bool = False) -> str:
    return f"{kind}_{'test_' if test else ''}{uuid.hex}"


def read_id(kind: str, text: object) -> tuple[UUID, bool] | None:
    """The UUID and whether it is a test's; None for anything that is not such an id."""
    found = _SHAPE.fullmatch(text) if isinstance(text, str) else None
    if found is None or found[1] != kind:
        return None
    return UUID(hex=found[3]), found[2] is not None
