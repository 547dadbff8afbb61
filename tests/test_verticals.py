"""Field types, stages, conditions and documents of verticals."""

import tomllib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.errors import DocumentsInvalid, Problem
from exchange.verticals import (
    FieldChecks,
    Margin,
    compile_fields,
    read_margin,
    read_vertical,
)

CONFIG = Path(__file__).parent.parent / "config" / "verticals"
SHIPPED = sorted(path.stem for path in CONFIG.glob("*.toml"))

DRIVER = {
    "type": "object",
    "fields": [
        {"name": "age", "type": "integer", "min": 16, "max": 110, "required": True},
        {"name": "sr22", "type": "boolean"},
        {"name": "tags", "type": "array", "max": 2, "items": {"type": "string", "max": 5}},
    ],
}
EVERY_TYPE: dict[str, dict[str, Any]] = {
    "text": {"type": "string", "min": 2, "max": 10},
    "free": {"type": "string"},
    "code": {"type": "string", "pattern": "[A-Z]{3}|x"},
    "count": {"type": "integer", "min": 1, "max": 9},
    "whole": {"type": "integer"},
    "share": {"type": "decimal", "min": "0.5", "max": 10},
    "any_decimal": {"type": "decimal"},
    "flag": {"type": "boolean"},
    "grade": {"type": "enum", "values": ["good", "fair"]},
    "level": {"type": "enum", "values": [1, 500, "none"]},
    "day": {"type": "date", "min": "2000-01-01", "max": date(2030, 12, 31)},
    "at": {"type": "datetime", "min": datetime(2020, 1, 1, tzinfo=UTC)},
    "mail": {"type": "email", "stage": "post"},
    "tel": {"type": "phone", "stage": "post"},
    "zip": {"type": "zip"},
    "state": {"type": "state"},
    "ip": {"type": "ip"},
    "url": {"type": "url"},
    "drivers": {"type": "array", "min": 1, "max": 3, "items": DRIVER},
    "roof": {"type": "object", "fields": [{"name": "kind", "type": "string", "required": True}]},
}


def document(fields: Mapping[str, Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    listed = [{"name": name, "stage": "ping", **spec} for name, spec in fields.items()]
    return {"slug": "test", "name": "Test", "fields": listed, **more}


def checks(fields: Mapping[str, Mapping[str, Any]], **more: Any) -> FieldChecks:
    return compile_fields(read_vertical(document(fields, **more)))


def refused(raw: Any) -> dict[str, str]:
    with pytest.raises(DocumentsInvalid) as caught:
        read_vertical(raw)
    return {problem.path: problem.code for problem in caught.value.problems}


def codes(problems: tuple[Problem, ...]) -> dict[str, str]:
    return {problem.path: problem.code for problem in problems}


def shipped(slug: str) -> dict[str, Any]:
    return tomllib.loads((CONFIG / f"{slug}.toml").read_text("utf-8"))


EVERY = checks(EVERY_TYPE)


def label(value: object) -> str:
    """A short name of a case: some values are huge, and str() of a huge int raises."""
    huge = isinstance(value, int) and abs(value) > 10**20
    return "huge" if huge else ascii(value)[:30]


@pytest.mark.parametrize(
    ("name", "raw", "normal"),
    [
        ("text", "  abc ", "abc"),
        ("text", "żółw", "żółw"),
        ("free", "", ""),
        ("free", "x" * 1000, "x" * 1000),
        ("code", "ABC", "ABC"),
        ("count", 1, 1),
        ("count", 9, 9),
        ("whole", -(2**53) + 1, -(2**53) + 1),
        ("share", "0.50", "0.5"),
        ("share", 10, "10"),
        ("share", 1.25, "1.25"),
        ("share", "1e1", "10"),
        ("any_decimal", "-0.00", "0"),
        ("any_decimal", 1e-7, "0.0000001"),
        ("any_decimal", "+3.", "3"),
        ("any_decimal", 10**15, "1000000000000000"),
        ("flag", False, False),
        ("grade", "fair", "fair"),
        ("level", 500, 500),
        ("level", "none", "none"),
        ("day", "2030-12-31", "2030-12-31"),
        ("day", " 2024-02-29 ", "2024-02-29"),
        ("at", "2026-01-31T09:30:00+02:00", "2026-01-31T07:30:00Z"),
        ("at", "2026-01-31t09:30:00.25z", "2026-01-31T09:30:00.250000Z"),
        ("mail", " Ada.L@EXAMPLE.com ", "Ada.L@example.com"),
        ("mail", "ada@example.org", "ada@example.org"),
        ("tel", "(212) 555-0123", "+12125550123"),
        ("tel", "+442079460018", "+442079460018"),
        ("zip", "02108-1234", "02108"),
        ("zip", "02108", "02108"),
        ("state", "ca", "CA"),
        ("state", "PR", "PR"),
        ("ip", "192.0.2.7", "192.0.2.7"),
        ("ip", "2001:DB8:0::1", "2001:db8::1"),
        ("url", "https://a.example.com/p?q=1#f", "https://a.example.com/p?q=1#f"),
        ("url", "HTTP://[2001:db8::1]:8080", "HTTP://[2001:db8::1]:8080"),
        ("url", "https://[2001:DB8::1]/\u00e9", "https://[2001:DB8::1]/\u00e9"),
        ("drivers", [{"age": 20, "tags": [" a "]}], [{"age": 20, "tags": ["a"]}]),
        ("roof", {"kind": "tile"}, {"kind": "tile"}),
    ],
)
def test_good_values_are_normalised(name: str, raw: object, normal: object) -> None:
    checked = EVERY.lead({name: raw})
    assert checked.problems == ()
    assert checked.values == {name: normal}
    assert type(checked.values[name]) is type(normal)
    assert EVERY.lead(checked.values).values == checked.values


@pytest.mark.parametrize(
    ("name", "raw", "code"),
    [
        ("text", "a", "too_short"),
        ("text", "a" * 11, "too_long"),
        ("text", 5, "invalid_type"),
        ("text", None, "invalid_type"),
        ("text", "ab\x00c", "bad_format"),
        ("text", "ab\ncd", "bad_format"),
        ("text", "a\ud800bc", "bad_format"),
        ("free", "x" * 1001, "too_long"),
        ("code", "ABCD", "bad_format"),
        ("code", "xx", "bad_format"),
        ("count", 0, "out_of_range"),
        ("count", True, "invalid_type"),
        ("count", "5", "invalid_type"),
        ("count", 5.0, "invalid_type"),
        ("count", 10**5000, "out_of_range"),
        ("whole", 2**53, "out_of_range"),
        ("share", "0.49", "out_of_range"),
        ("share", 10.01, "out_of_range"),
        ("share", True, "invalid_type"),
        ("share", "1,5", "bad_format"),
        ("share", "１", "bad_format"),
        ("share", "1_0", "bad_format"),
        ("any_decimal", 10**5000, "out_of_range"),
        ("any_decimal", -(10**5000), "out_of_range"),
        ("any_decimal", 1e308, "out_of_range"),
        ("any_decimal", "1e999", "out_of_range"),
        ("any_decimal", "1e-999", "out_of_range"),
        ("any_decimal", float("nan"), "bad_format"),
        ("any_decimal", float("inf"), "bad_format"),
        ("any_decimal", "9" * 100_000, "bad_format"),
        ("any_decimal", [], "invalid_type"),
        ("flag", 1, "invalid_type"),
        ("flag", "true", "invalid_type"),
        ("grade", "Good", "not_allowed"),
        ("grade", ["good"], "not_allowed"),
        ("level", True, "not_allowed"),
        ("level", 1.0, "not_allowed"),
        ("level", "1", "not_allowed"),
        ("day", "1999-12-31", "out_of_range"),
        ("day", "2031-01-01", "out_of_range"),
        ("day", "2025-02-29", "bad_format"),
        ("day", "20250101", "bad_format"),
        ("day", "2025-W01-1", "bad_format"),
        ("day", 20250101, "invalid_type"),
        ("at", "2026-01-31T09:30:00", "bad_format"),
        ("at", "2026-01-31", "bad_format"),
        ("at", "2019-12-31T23:59:59Z", "out_of_range"),
        ("at", "0001-01-01T00:00:00+23:00", "bad_format"),
        ("mail", "ada", "bad_format"),
        ("mail", "ada@localhost", "bad_format"),
        ("mail", "a" * 250 + "@example.com", "too_long"),
        ("tel", "555-0123", "bad_format"),
        ("tel", "+1 212 555 0123 ext. 9", "bad_format"),
        ("tel", 2125550123, "invalid_type"),
        ("zip", "2108", "bad_format"),
        ("zip", "٠٢١٠٨", "bad_format"),
        ("zip", 2108, "invalid_type"),
        ("state", "XX", "bad_format"),
        ("state", "ﬂ", "bad_format"),
        ("ip", "192.0.2.256", "bad_format"),
        ("ip", "fe80::1%eth0", "bad_format"),
        ("url", "ftp://example.com", "bad_format"),
        ("url", "https:///path", "bad_format"),
        ("url", "javascript:alert(1)", "bad_format"),
        ("url", "https://user@example.com", "bad_format"),
        ("url", "https://example.com/a b", "bad_format"),
        ("url", "https://example.com?q=a\u00a0b", "bad_format"),
        ("url", "https://example.com/\x01", "bad_format"),
        ("url", "https://example.com b", "bad_format"),
        ("url", "https://example.com/" + "a" * 2048, "too_long"),
        ("drivers", [], "too_short"),
        ("drivers", [{"age": 20}] * 4, "too_long"),
        ("drivers", {}, "invalid_type"),
        ("roof", [], "invalid_type"),
    ],
    ids=label,
)
def test_bad_values_have_a_stable_code(name: str, raw: object, code: str) -> None:
    checked = EVERY.lead({name: raw})
    assert checked.values == {}
    assert codes(checked.problems) == {f"fields.{name}": code}


def test_all_problems_come_at_once_with_paths() -> None:
    raw = {
        "count": 0,
        "grade": "bad",
        "drivers": [{"age": 15, "tags": ["toolong", 1]}, {"sr22": "x"}, 7],
        "roof": {"colour": 1},
        "surprise": 1,
    }
    assert codes(EVERY.ping(raw).problems) == {
        "fields.count": "out_of_range",
        "fields.grade": "not_allowed",
        "fields.drivers.0.age": "out_of_range",
        "fields.drivers.0.tags.0": "too_long",
        "fields.drivers.0.tags.1": "invalid_type",
        "fields.drivers.1.age": "required",
        "fields.drivers.1.sr22": "invalid_type",
        "fields.drivers.2": "invalid_type",
        "fields.roof.kind": "required",
        "fields.roof.colour": "unknown_field",
        "fields.surprise": "unknown_field",
    }


STAGED: dict[str, dict[str, Any]] = {
    "zip": {"type": "zip", "required": True},
    "insured": {"type": "boolean"},
    "carrier": {
        "type": "string",
        "required_if": {"field": "insured", "op": "eq", "value": True},
    },
    "name": {"type": "string", "stage": "post", "required": True},
    "phone": {"type": "phone", "stage": "post"},
    "licence": {
        "type": "string",
        "stage": "post",
        "required_if": {"field": "carrier", "op": "in", "value": ["acme", "zeta"]},
    },
    "reason": {
        "type": "string",
        "stage": "post",
        "required_if": {"field": "phone", "op": "exists", "value": False},
    },
}
TEL = "+12125550123"


@pytest.mark.parametrize(
    ("stage", "raw", "found"),
    [
        ("ping", {"zip": "10001"}, {}),
        ("ping", {}, {"zip": "required"}),
        ("ping", {"zip": "10001", "insured": False}, {}),
        ("ping", {"zip": "10001", "insured": True}, {"carrier": "required"}),
        ("ping", {"zip": 1, "insured": True}, {"zip": "invalid_type", "carrier": "required"}),
        (
            "ping",
            {"zip": 1, "name": "Ada", "phone": "x"},
            {
                "zip": "invalid_type",
                "name": "personal_data_in_ping",
                "phone": "personal_data_in_ping",
            },
        ),
        ("lead", {"zip": "10001", "name": "Ada", "phone": TEL}, {}),
        ("lead", {"zip": "10001", "name": " ", "phone": TEL}, {"name": "too_short"}),
        ("lead", {"zip": "10001"}, {"name": "required", "reason": "required"}),
        (
            "lead",
            {"zip": "10001", "name": "A", "phone": TEL, "carrier": "acme"},
            {"licence": "required"},
        ),
        ("lead", {"zip": "10001", "name": "A", "phone": TEL, "carrier": "other"}, {}),
    ],
)
def test_stages_and_conditions(stage: str, raw: dict[str, object], found: dict[str, str]) -> None:
    checked = getattr(checks(STAGED), stage)(raw)
    assert codes(checked.problems) == {f"fields.{name}": code for name, code in found.items()}
    assert bool(checked.values) is not bool(found)


def test_a_stripping_vertical_drops_personal_data_silently() -> None:
    strip = checks(STAGED, on_personal_data_in_ping="strip")
    checked = strip.ping({"zip": "10001", "name": "Ada", "phone": "not even a phone"})
    assert checked.values == {"zip": "10001"}
    assert checked.problems == ()


def test_names_by_stage() -> None:
    staged = checks(STAGED)
    assert staged.ping_field_names == {"zip", "insured", "carrier"}
    assert staged.post_field_names == {"name", "phone", "licence", "reason"}


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=10**400, max_value=10**401)
    | st.floats()
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
RAW = st.dictionaries(st.sampled_from([*EVERY_TYPE, "age", "x.y"]) | st.text(), JSON, max_size=8)


@settings(deadline=None, max_examples=400)
@given(RAW | JSON)
def test_arbitrary_json_never_raises_and_what_passes_passes_again(raw: Any) -> None:
    for check in (EVERY.ping, EVERY.lead):
        checked = check(raw)
        assert not (checked.values and checked.problems)
        orjson.dumps([vars_of(problem) for problem in checked.problems])
        if not checked.problems:
            assert EVERY.lead(checked.values).values == checked.values
            orjson.dumps(checked.values)


def vars_of(problem: Problem) -> list[str]:
    return [problem.path, problem.code, problem.message]


SECRET = "Zq7"
SECRETS = st.sampled_from(["", "@example.com", "://", "1", " 212 555 0100"]).map(
    lambda rest: f"{SECRET}{rest}{SECRET}"
)


@settings(deadline=None, max_examples=200)
@given(st.dictionaries(st.sampled_from(sorted(EVERY_TYPE)), SECRETS | st.lists(SECRETS)))
def test_problems_never_repeat_a_value(raw: dict[str, Any]) -> None:
    for problem in (*EVERY.lead(raw).problems, *EVERY.ping(raw).problems):
        assert SECRET not in f"{problem.path} {problem.code} {problem.message}"


def test_an_unknown_name_is_cut_short() -> None:
    (problem,) = EVERY.ping({"x" * 100_000: 1}).problems
    assert problem.code == "unknown_field"
    assert len(problem.path) < 400


def test_a_vertical_has_defaults() -> None:
    vertical = read_vertical(document({"zip": {"type": "zip"}}))
    assert (vertical.currency, vertical.on_personal_data_in_ping) == ("USD", "refuse")
    assert (vertical.margin, vertical.auction) == (Margin(), "first_price")


@pytest.mark.parametrize(
    ("raw", "margin"),
    [
        ({}, Margin()),
        ({"percent": "20", "fixed": "0"}, Margin(percent_ppm=200_000)),
        ({"percent": 12.5}, Margin(percent_ppm=125_000)),
        ({"percent": "0.0001", "fixed": 1}, Margin(percent_ppm=1, fixed_micros=1_000_000)),
        ({"percent": 100}, Margin(percent_ppm=1_000_000)),
    ],
)
def test_margins(raw: object, margin: Margin) -> None:
    assert read_margin(raw) == margin


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        ([], {"margin": "invalid_type"}),
        ({"percent": "100.1"}, {"margin.percent": "out_of_range"}),
        ({"percent": "1.00001"}, {"margin.percent": "out_of_range"}),
        (
            {"percent": -1, "fixed": "x", "fix": 1},
            {
                "margin.percent": "negative",
                "margin.fixed": "not_a_number",
                "margin.fix": "unknown_field",
            },
        ),
    ],
)
def test_bad_margins(raw: object, found: dict[str, str]) -> None:
    with pytest.raises(DocumentsInvalid) as caught:
        read_margin(raw)
    assert codes(caught.value.problems) == found


def test_a_document_tells_all_its_problems_at_once() -> None:
    raw = {
        "slug": "Bad Slug",
        "currency": "usd",
        "auction": "third_price",
        "colour": "red",
        "margin": {"percent": "101"},
        "fields": [
            {"name": "a", "type": "enum", "stage": "ping"},
            {"name": "A-b", "type": "text", "stage": "ping", "hue": 1},
            {"name": "a", "type": "string", "pattern": "(", "stage": "ping"},
            {"name": "c", "type": "integer", "min": 5, "max": 4},
            {"name": "mail", "type": "email", "stage": "ping"},
            5,
        ],
    }
    assert refused(raw) == {
        "slug": "bad_format",
        "name": "required",
        "currency": "bad_format",
        "auction": "not_allowed",
        "colour": "unknown_field",
        "margin.percent": "out_of_range",
        "fields.0.values": "required",
        "fields.1.name": "bad_format",
        "fields.1.type": "not_allowed",
        "fields.1.hue": "unknown_field",
        "fields.2.name": "duplicate",
        "fields.2.pattern": "bad_format",
        "fields.3.stage": "required",
        "fields.3.max": "out_of_range",
        "fields.4": "personal_data_in_ping",
        "fields.5": "invalid_type",
    }


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ({"type": "zip", "min": 1}, {".min": "not_supported"}),
        ({"type": "boolean", "values": ["a"]}, {".values": "not_supported"}),
        ({"type": "string", "items": {"type": "zip"}}, {".items": "not_supported"}),
        ({"type": "enum", "values": [True]}, {".values.0": "invalid_type"}),
        ({"type": "string", "required": "yes"}, {".required": "invalid_type"}),
        ({"type": "string", "min": -1}, {"": "out_of_range"}),
        ({"type": "integer", "min": "5"}, {"": "invalid_type"}),
        ({"type": "integer", "max": 10**400}, {"": "invalid_type"}),
        ({"type": "date", "min": "yesterday"}, {"": "bad_format"}),
        ({"type": "string", "pattern": "(?=lookahead)"}, {".pattern": "bad_format"}),
        ({"type": "string", "pattern": "a{1000}{1000}{1000}"}, {".pattern": "bad_format"}),
        ({"type": "array"}, {".items": "required"}),
        ({"type": "object"}, {".fields": "required"}),
        ({"type": "array", "items": {"name": "x", "type": "zip"}}, {".items.name": "required"}),
        (
            {"type": "array", "items": {"type": "zip", "stage": "ping"}},
            {".items.stage": "not_supported"},
        ),
        ({"type": "array", "items": {"type": "phone"}}, {".items": "personal_data_in_ping"}),
        (
            {"type": "object", "fields": [{"name": "b", "type": "zip"}] * 2},
            {".fields.1.name": "duplicate"},
        ),
        ({"type": "object", "fields": [{"type": "zip"}]}, {".fields.0.name": "required"}),
        (
            {"type": "zip", "required_if": {"field": "none", "op": "eq", "value": 1}},
            {".required_if.field": "not_allowed"},
        ),
        (
            {"type": "zip", "required_if": {"field": "person", "op": "exists"}},
            {".required_if.field": "not_allowed"},
        ),
        (
            {"type": "zip", "required_if": {"field": "flag", "op": "in", "value": "x"}},
            {".required_if.value": "invalid_type"},
        ),
        (
            {"type": "zip", "required_if": {"field": "flag", "op": "in", "value": [["x"]]}},
            {".required_if.value": "invalid_type"},
        ),
        (
            {"type": "zip", "required_if": {"field": "flag", "op": "like", "value": "x"}},
            {".required_if.op": "not_allowed"},
        ),
    ],
    ids=label,
)
def test_bad_fields(spec: dict[str, Any], found: dict[str, str]) -> None:
    others = {"flag": {"type": "boolean"}, "person": {"type": "string", "stage": "post"}}
    raw = document({"it": spec, **others})
    assert refused(raw) == {f"fields.0{path}": code for path, code in found.items()}


@pytest.mark.parametrize("depth", [6, 100, 500])
def test_nesting_has_an_end(depth: int) -> None:
    deep: dict[str, Any] = {"type": "zip"}
    for _ in range(depth):
        deep = {"type": "array", "items": deep}
    assert "too_deep" in refused(document({"deep": deep})).values()


@settings(deadline=None, max_examples=200)
@given(JSON, st.lists(JSON, max_size=3), JSON)
def test_arbitrary_documents_are_refused_not_raised(raw: Any, fields: list[Any], bit: Any) -> None:
    nested = {"name": "a", "type": "object", "stage": "ping", "fields": [bit], "min": bit}
    for one in (raw, {"slug": "a", "name": "A", "fields": [*fields, nested], "margin": bit}):
        with pytest.raises(DocumentsInvalid):
            read_vertical(one)


@pytest.mark.parametrize("slug", SHIPPED)
def test_shipped_verticals_read(slug: str) -> None:
    vertical = read_vertical(shipped(slug))
    assert vertical.slug == slug
    assert vertical.margin == Margin(percent_ppm=200_000)
    names = compile_fields(vertical)
    people = {"first_name", "last_name", "email", "phone", "address1", "dob", "ip", "tcpa_text"}
    assert people <= names.post_field_names
    assert {"zip", "state", "age", "credit_rating"} <= names.ping_field_names


def test_three_verticals_are_shipped() -> None:
    assert {"auto_insurance", "personal_loan", "solar"} <= set(SHIPPED)
