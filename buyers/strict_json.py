"""The one reader of JSON from partners: no duplicate keys, no NaN, no numbers without end."""

import json
from typing import Any, Final, NoReturn

import orjson

DEPTH_MAX: Final = 64  # levels; nothing of ours needs a dozen, and code that recurses stays safe


class JsonInvalid(ValueError):
    """Bytes that are not one unambiguous JSON value. The message never repeats them."""


def loads(raw: bytes) -> Any:
    """Parse UTF-8 JSON.

    orjson refuses NaN, infinities, 1e400, lone surrogates and deep nesting, but takes the last
    of two equal keys. Every key brings one colon: when there are as many colons as keys in the
    result, none was lost. Otherwise (colons inside strings, or a duplicate) the slow reader decides.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise JsonInvalid("is not valid JSON") from None
    if raw.count(b":") != _count_keys(value, DEPTH_MAX):
        _refuse_duplicates(raw)
    return value


def loads_object(raw: bytes) -> dict[str, Any]:
    """As `loads`, and it must be one object."""
    value = loads(raw)
    if not isinstance(value, dict):
        raise JsonInvalid("must be one JSON object")
    return value


def _count_keys(value: Any, levels: int) -> int:
    """The keys of all objects. Raises JsonInvalid below `levels` levels."""
    if not isinstance(value, (dict, list)):
        return 0
    if levels == 0:
        raise JsonInvalid("is nested too deeply")
    keys, inners = (len(value), value.values()) if isinstance(value, dict) else (0, value)
    return keys + sum(
        _count_keys(inner, levels - 1) for inner in inners if isinstance(inner, (dict, list))
    )


def _refuse_duplicates(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_unique, parse_constant=_no_constant, parse_int=str)
    except RecursionError:  # deep inside the value of a key that comes again
        raise JsonInvalid("is nested too deeply") from None
    except JsonInvalid:
        raise
    except ValueError:
        raise JsonInvalid("is not valid JSON") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise JsonInvalid("has a duplicate key")
    return found


def _no_constant(_name: str) -> NoReturn:
    raise JsonInvalid("has a number that JSON does not know")
