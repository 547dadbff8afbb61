"""The strict reader: one meaning or none."""

import json
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buyers.strict_json import DEPTH_MAX, JsonInvalid, loads, loads_object

READ: list[tuple[bytes, Any]] = [
    # (bytes, value)
    (b'{"bid":"12.50"}', {"bid": "12.50"}),
    (b' {"a":1}\n', {"a": 1}),  # white space around
    (b'{"url":"https://a.example:8443/x","b":1}', {"url": "https://a.example:8443/x", "b": 1}),
    (b'{"a:b":"c:d"}', {"a:b": "c:d"}),  # colons in names and texts: the slow reader agrees
    (b'{"a":"\\u003a"}', {"a": ":"}),  # an escaped colon is no colon of the text
    (b'{"a":{"x":1},"b":{"x":2}}', {"a": {"x": 1}, "b": {"x": 2}}),  # equal names, other objects
    (b'[{"x":1},{"x":2}]', [{"x": 1}, {"x": 2}]),
    (b'{"":1}', {"": 1}),
    (b'{"a":-0}', {"a": 0}),
    ('{"name":"Añn","note":":"}'.encode(), {"name": "Añn", "note": ":"}),
    (b'{"n":18446744073709551615}', {"n": 2**64 - 1}),
    (b"[" * DEPTH_MAX + b"]" * DEPTH_MAX, json.loads("[" * DEPTH_MAX + "]" * DEPTH_MAX)),
]

REFUSED = [
    # (bytes, why)
    (b'{"bid":1,"bid":99}', "has a duplicate key"),  # json, orjson and msgspec take the last
    (b'{"a":[{"b":{"c":1,"c":1}}]}', "has a duplicate key"),  # nested, and even alike
    (b'{"a":1,"\\u0061":2}', "has a duplicate key"),  # spelled differently
    (b'{"a":":","b":1,"b":2}', "has a duplicate key"),  # a colon in a text does not hide it
    (b'{"a":{"x":1},"a":{}}', "has a duplicate key"),  # with it a whole object would be lost
    (b'{"a":1,"a":"\\u003a"}', "has a duplicate key"),  # a colon is lost, and one is found
    (b'{"a": 1,' + b'"b": 1,' * 30 + b'"a": 1}', "has a duplicate key"),  # written with blanks
    (b'{"a":NaN}', "is not valid JSON"),  # json reads it
    (b'{"a":Infinity}', "is not valid JSON"),
    (b'{"a":-Infinity}', "is not valid JSON"),
    (b'{"a":1e400}', "is not valid JSON"),  # inf to json
    (b'{"a":' + b"9" * 5000 + b"}", "is not valid JSON"),  # 5,000 digits
    (b'{"a":"\\ud800"}', "is not valid JSON"),  # a lone surrogate
    (b'{"a":"\xed\xa0\x80"}', "is not valid JSON"),  # the same in bytes
    (b'{"a":"\xff"}', "is not valid JSON"),  # not UTF-8
    (b'\xef\xbb\xbf{"a":1}', "is not valid JSON"),  # a byte order mark
    ('{"a":1}'.encode("utf-16"), "is not valid JSON"),
    (b"", "is not valid JSON"),
    (b'{"a":1}{"b":2}', "is not valid JSON"),  # two objects
    (b'{"a":1,}', "is not valid JSON"),
    (b"{'a':1}", "is not valid JSON"),
    (b'{"a":01}', "is not valid JSON"),
    (b'{"a":"\n"}', "is not valid JSON"),  # a control character in a text
    (b"[" * 200_000 + b"]" * 200_000, "is not valid JSON"),  # orjson's own limit is 1,024
    (b'{"a":' * 200_000 + b"1" + b"}" * 200_000, "is not valid JSON"),
    (b"[" * 700 + b"]" * 700, "is nested too deeply"),  # within orjson's limit, beyond Python's
    (b'{"a":' * 700 + b"1" + b"}" * 700, "is nested too deeply"),
    (b"[" * (DEPTH_MAX + 1) + b"]" * (DEPTH_MAX + 1), "is nested too deeply"),
    (b'{"a":' + b"[" * DEPTH_MAX + b"]" * DEPTH_MAX + b"}", "is nested too deeply"),
    (b'{"a":' * (DEPTH_MAX + 1) + b"1" + b"}" * (DEPTH_MAX + 1), "is nested too deeply"),
    # the deep value is lost to the fast reader, and the slow one cannot go down
    (b'{"a":' + b"[" * 1020 + b"]" * 1020 + b',"a":1}', "is nested too deeply"),
]

values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(":ab\\", max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(":ab", max_size=2), inner),
    max_leaves=12,
)


@pytest.mark.parametrize(("raw", "value"), READ, ids=range(len(READ)))
def test_unambiguous_json_is_read(raw: bytes, value: Any) -> None:
    """Colons inside texts and equal names in different objects are no duplicates."""
    assert value == loads(raw)


@pytest.mark.parametrize(("raw", "why"), REFUSED, ids=range(len(REFUSED)))
def test_ambiguous_or_broken_json_is_refused(raw: bytes, why: str) -> None:
    """Each ends in JsonInvalid, never in another exception, and the words repeat no input."""
    with pytest.raises(JsonInvalid) as caught:
        loads(raw)

    assert why == str(caught.value)


@pytest.mark.parametrize("raw", [b"[]", b'"bid"', b"1", b"null", b"true"])
def test_a_body_is_one_object(raw: bytes) -> None:
    """Valid JSON that is no object is refused where an object is asked for."""
    with pytest.raises(JsonInvalid, match="must be one JSON object"):
        loads_object(raw)


@settings(max_examples=200, deadline=None)
@given(values)
def test_what_others_write_is_read(value: Any) -> None:
    """Whatever a JSON writer makes of unique names comes back equal."""
    assert value == loads(json.dumps(value).encode())


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["a", "b", ":", "c:"]), values), max_size=4))
def test_an_object_is_read_exactly_when_its_names_differ(pairs: list[tuple[str, Any]]) -> None:
    """The colon count never lets a duplicate pass, whatever stands around it."""
    raw = b"{%b}" % b",".join(orjson.dumps(n) + b":" + orjson.dumps(v) for n, v in pairs)
    unique = len({name for name, _ in pairs}) == len(pairs)

    try:
        found = loads(raw)
    except JsonInvalid:
        found = None

    assert (dict(pairs) if unique else None) == found
