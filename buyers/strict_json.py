"""The one reader of JSON from partners: no duplicate keys, no NaN, no numbers without end."""

import json
from typing import Any, Final, NoReturn

import orjson

DEPTH_MAX: Final = 64  # levels; nothing of ours needs a dozen, and code that recurses stays safe
_SHORT: Final = 2 * DEPTH_MAX  # bytes that have no room for more levels
_REST: Final = bytes(set(range(256)) - set(b":{["))  # all but the marks that tell of structure


class JsonInvalid(ValueError):
    """Bytes that are not one unambiguous JSON value. The message never repeats them."""


def loads(raw: bytes) -> Any:
    """Parse UTF-8 JSON.

    orjson refuses NaN, infinities, 1e400 and lone surrogates, but takes the last of two equal
    keys. Written again as it came, it has lost none. Every key brings one colon, every other colon
    stands in some text: when what was read has as many colons as the bytes, no key was lost either.
    Otherwise (an escaped colon, or a duplicate) the slow reader decides.
    """
    try:
        value = orjson.loads(raw)
    except orjson.JSONDecodeError:
        raise JsonInvalid("is not valid JSON") from None
    if type(value) is dict and len(raw) <= _SHORT and raw.count(b":") == len(value):
        return value  # a short flat object: each of its colons is a key's
    marks = raw.translate(None, _REST)
    colons = marks.count(b":")
    if len(marks) - colons > DEPTH_MAX:
        _refuse_depth(value, DEPTH_MAX)
    written = orjson.dumps(value)
    if written != raw and (b"\\u003" in raw or colons != written.count(b":")):
        _refuse_duplicates(raw)
    return value


def loads_object(raw: bytes) -> dict[str, Any]:
    """As `loads`, and it must be one object."""
    value = loads(raw)
    if not isinstance(value, dict):
        raise JsonInvalid("must be one JSON object")
    return value


def _refuse_depth(value: Any, levels: int) -> None:
    if not isinstance(value, (dict, list)):
        return
    if levels == 0:
        raise JsonInvalid("is nested too deeply")
    for inner in value.values() if isinstance(value, dict) else value:
        _refuse_depth(inner, levels - 1)


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
