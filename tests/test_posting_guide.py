"""Posting instructions as a model: fields, programs, words, history; and the examples they show."""

import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buyers.signing import read_secret, sign
from exchange.callbacks import body_of, webhook_id
from exchange.fields import Condition
from exchange.patterns import matching
from exchange.posting_guide import callback_guide, field_rows, revisions
from exchange.posting_guide.callbacks import HEADERS, PROOFS
from exchange.posting_guide.fields import in_words
from exchange.posting_guide.history import Version
from exchange.posting_guide.literals import JSON, PHP, PYTHON, written
from exchange.posting_guide.programs import Language, write_programs
from exchange.posting_guide.words import OUTCOMES, reason_rows
from exchange.reasons import REASONS
from exchange.samples import example
from exchange.verticals import Vertical, compile_fields, read_vertical
from tests.making import SECRET
from tests.test_house import ROOT

SHIPPED = ["auto_insurance", "personal_loan", "solar"]
AWKWARD = {
    "slug": "awkward", "name": "Awkward",
    "fields": [
        {"name": "code", "type": "string", "stage": "ping", "required": True, "pattern": r"[A-Z]{2}-\d{4}"},
        {"name": "odd", "type": "string", "stage": "ping", "required": True, "pattern": "[^a]+b"},
        {"name": "n", "type": "integer", "stage": "ping", "required": True, "min": -5, "max": -3},
        {"name": "d", "type": "decimal", "stage": "ping", "required": True, "min": "0.01", "max": "0.02"},
        {"name": "kids", "type": "array", "stage": "ping", "required": True, "min": 1, "items": {"type": "object", "fields": [
            {"name": "age", "type": "integer", "required": True, "min": 0, "max": 17}]}},
        {"name": "who's", "type": "boolean", "stage": "ping"},
        {"name": "why", "type": "enum", "stage": "post", "values": ["it's \\ \"so\" $x `y`"], "required_if": {"field": "n", "op": "exists", "value": True}},
    ],
}  # fmt: skip
AWKWARD["fields"] = [one for one in AWKWARD["fields"] if "'" not in one["name"]]  # type: ignore[index]


def shipped(name: str) -> Vertical:
    text = (ROOT / "config" / "verticals" / f"{name}.toml").read_text("utf-8")
    return read_vertical(tomllib.loads(text))


# --- examples -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHIPPED)
def test_the_example_of_a_shipped_vertical_is_valid_and_always_the_same(name: str) -> None:
    """As a ping and as a lead; nothing required is left to the seller."""
    vertical = shipped(name)
    checks = compile_fields(vertical)
    lead, lacking = example(vertical, checks)

    assert () == lacking
    assert () == checks.lead(lead.fields).problems
    assert () == checks.ping(lead.ping_fields).problems
    assert lead.fields.keys() >= {one.name for one in vertical.fields if one.required}
    assert (lead, ()) == example(vertical, checks)


def test_what_cannot_be_made_up_is_named() -> None:
    """A pattern is followed if it can be; what is wrong is never shown as right."""
    vertical = read_vertical(AWKWARD)
    checks = compile_fields(vertical)
    lead, lacking = example(vertical, checks)

    assert re.fullmatch(r"[A-Z]{2}-\d{4}", str(lead.fields["code"]))
    assert ("odd",) == lacking
    assert "odd" not in lead.fields
    left = {one.path for one in checks.lead(lead.fields).problems}
    assert {"fields.odd"} == left


MATCHED = [
    (r"\d{9}", True), (r"[A-HJ-NPR-Z0-9]{17}", True), (r"(foo|bar)+\s?\w*", True), (r"x{2,}", True),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}", True), (r"a.c", True), ("[^a]", False), (r"(?=x)y", False), ("(", False),
]  # fmt: skip


@pytest.mark.parametrize(("pattern", "found"), MATCHED)
@given(seed=st.integers(0, 999))
def test_a_text_for_a_pattern_matches_it(pattern: str, found: bool, seed: int) -> None:
    """Or there is none: never one that does not."""
    made = matching(pattern, random.Random(seed).randrange)

    assert found is (made is not None)
    assert made is None or re.fullmatch(pattern, made)


# --- fields ---------------------------------------------------------------------------------------


def test_fields_are_told_in_words() -> None:
    """Where each is sent, when it is needed, what it looks like; those inside are beneath."""
    rows = {one.path: one for one in field_rows(shipped("auto_insurance").fields, {"age": 40})}

    assert ("whole number, 16 to 110", True, 40) == (
        rows["age"].format, rows["age"].required, rows["age"].example,
    )  # fmt: skip
    assert "currently_insured is true" == rows["current_carrier"].required_if
    assert ("list of 1 to 6 objects", 0) == (rows["drivers"].format, rows["drivers"].depth)
    assert (1, "ping") == (rows["drivers[].age"].depth, rows["drivers[].age"].stage)
    assert ("0", "500") == rows["medical_pay"].values[:2]
    assert '"male"' == rows["gender"].values[0]
    assert "list of 0 to 6: text of up to 1000 characters" in rows["vins"].format
    assert "post" == rows["phone"].stage


CONDITIONS = [
    (Condition(field="a", op="eq", value=True), "a is true"),
    (Condition(field="a", op="eq", value="x"), 'a is "x"'),
    (Condition(field="a", op="in", value=("x", 2)), 'a is one of "x", 2'),
    (Condition(field="a", op="exists", value=False), "a is absent"),
    (Condition(field="a", op="exists"), "a is there"),
]


@pytest.mark.parametrize(("condition", "words"), CONDITIONS)
def test_conditions_are_told_in_words(condition: Condition, words: str) -> None:
    assert words == in_words(condition)


# --- programs -------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@given(VALUES)
def test_values_are_written_as_their_language_reads_them(value: Any) -> None:
    """JSON for curl and JavaScript, a literal for Python: whatever stands in them."""
    assert value == json.loads(written(value, JSON))
    assert value == eval(written(value, PYTHON), {"__builtins__": {}})  # noqa: S307


def test_php_texts_are_quoted() -> None:
    """Single quotes: nothing is expanded in them."""
    assert r"['it\'s' => 'a \\ $b']" == re.sub(r"\s*\n\s*", "", written({"it's": "a \\ $b"}, PHP))
    assert "new stdClass()" == written({}, PHP)


def programs() -> dict[str, Language]:
    vertical = read_vertical(AWKWARD)
    lead, _ = example(vertical, compile_fields(vertical))
    made = write_programs(
        "http://127.0.0.1:9",
        "awkward",
        lead.ping_fields,
        lead.fields | {"why": 'it\'s "so"'},
        30_000,
    )
    return {one.slug: one for one in made}


def test_every_program_has_every_step_and_is_a_test() -> None:
    """Ping, post, asking again, one step; `test` in what is sent first."""
    found = programs()
    assert ["curl", "python", "php", "javascript"] == list(found)
    for one in found.values():
        assert ["setup", "ping", "post", "poll", "one_step"] == [step.name for step in one.steps]
        by_name = {step.name: step.code for step in one.steps}
        assert "test" in by_name["ping"]
        assert "test" in by_name["one_step"]
        assert "kids" not in by_name["post"]  # the ping said so
        assert "why" in by_name["post"]
        assert "EXCHANGE_KEY" in by_name["setup"]


CHECKERS = {
    "curl": ["sh", "-n"],
    "python": [sys.executable, "-c", "import ast,sys; ast.parse(open(sys.argv[1]).read())"],
    "javascript": ["node", "--check"],
    "php": ["php", "-l"],
}


@pytest.mark.parametrize("language", CHECKERS)
def test_every_program_is_one_of_its_language(language: str, tmp_path: Any) -> None:
    """By that language's own reader, where it is installed."""
    command, *arguments = CHECKERS[language]
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    one = programs()[language]
    file = tmp_path / one.file
    file.write_text(one.program)
    done = subprocess.run(
        [command, *arguments, str(file)], check=False, capture_output=True, text=True
    )
    assert 0 == done.returncode, done.stderr


# --- callbacks ------------------------------------------------------------------------------------

# Reads a case from standard input and says what its `verified` makes of it.
_ASKS = {
    "python": ("{code}\nimport json, sys\ncase = json.load(sys.stdin)\n"
               "print(json.dumps(bool(verified(case['headers'], case['body'].encode()))))\n"),
    "javascript": ("{code}\nlet text = '';\nfor await (const part of process.stdin) text += part;\n"
                   "const one = JSON.parse(text);\nconsole.log(verified(one.headers, Buffer.from(one.body)));\n"),
    "php": ("<?php\n{code}\n$one = json_decode(file_get_contents('php://stdin'), true);\n"
            "echo verified($one['headers'], $one['body']) ? 'true' : 'false';\n"),
}  # fmt: skip
_RUNS = {
    "python": ("proof.py", sys.executable),
    "javascript": ("proof.mjs", "node"),
    "php": ("proof.php", "php"),
}


@pytest.mark.parametrize("language", _RUNS)
def test_the_proof_of_a_callback_is_right_in_every_language(language: str, tmp_path: Any) -> None:
    """What the exchange signs is taken, among signatures of several keys too; nothing else is."""
    name, command = _RUNS[language]
    if shutil.which(command) is None:
        pytest.skip(f"{command} is not installed")
    (proof,) = [one for one in PROOFS if one.slug == language]
    file = tmp_path / name
    file.write_text(_ASKS[language].replace("{code}", proof.code))

    def verified(body: str, **headers: str) -> bool:
        done = subprocess.run(
            [command, str(file)], check=False, capture_output=True, text=True,
            input=json.dumps({"headers": right | {n.replace("_", "-"): v for n, v in headers.items()}, "body": body}),
            env=os.environ | {"CALLBACK_SECRET": SECRET},
        )  # fmt: skip
        assert 0 == done.returncode, done.stderr
        return bool(json.loads(done.stdout.lower()))

    body, now_s = '{"type":"lead","note":"é"}', int(time.time())
    key = read_secret(SECRET)
    right = {
        "webhook-id": "lead_7.final", "webhook-timestamp": str(now_s),
        "webhook-signature": sign(key, "lead_7.final", now_s, body.encode()),
    }  # fmt: skip
    old = sign(key, "lead_7.final", now_s - 400, body.encode())
    assert verified(body)
    assert verified(body, webhook_signature=f"v1,abc {right['webhook-signature']}")
    assert not verified(body + " ")
    assert not verified(body, webhook_id="lead_8.final")
    assert not verified(body, webhook_signature=right["webhook-signature"][:-4])
    assert not verified(body, webhook_signature=old, webhook_timestamp=str(now_s - 400))


def test_the_example_of_a_callback_is_one() -> None:
    """In the form of what is sent, for any vertical."""
    guide = callback_guide("solar", "EUR", timeout_s=3, hours=5)
    said = {name: value for name, value in guide.example.items() if name not in {"type", "test"}}
    assert guide.example == json.loads(body_of(said, test=False)) == json.loads(guide.body)
    assert webhook_id(said) == guide.headers["webhook-id"]
    assert {*HEADERS} == guide.headers.keys()
    assert ("solar", "EUR", 3, 5) == (
        said["vertical"], said["currency"], guide.timeout_s, guide.hours
    )  # fmt: skip


# --- words ----------------------------------------------------------------------------------------


def test_reasons_are_those_of_the_one_catalogue() -> None:
    """With its number and text; by number, each once, and nothing of buyers."""
    rows = reason_rows()
    assert [one.number for one in rows] == sorted({one.number for one in rows})
    for one in rows:
        assert (one.number, one.text) == (REASONS[one.code].number, REASONS[one.code].text)
    assert {one.code for one in rows}.isdisjoint({"outbid", "filtered", "declined"})
    assert {"bid", "no_bid", "sold", "unsold", "pending"} == {one.outcome for one in OUTCOMES}


# --- history --------------------------------------------------------------------------------------

AT = datetime(2026, 1, 1, tzinfo=UTC)
ZIP = {"name": "zip", "type": "zip", "stage": "ping", "required": True}
JOB = {"name": "job", "type": "enum", "stage": "ping", "values": ["leak", "new"]}
BODY: dict[str, Any] = {
    "slug": "r", "name": "Roofs", "currency": "USD", "on_personal_data_in_ping": "refuse",
    "margin": {"percent": "20"}, "auction": "first_price", "fields": [ZIP, JOB],
}  # fmt: skip
HISTORY: list[tuple[dict[str, Any] | None, list[str]]] = [
    (BODY | {"name": "Roofing"}, ["The name is Roofing (was Roofs)."]),
    (BODY | {"margin": {"percent": "30"}, "auction": "second_price", "dedupe_days": 3}, []),
    (BODY | {"on_personal_data_in_ping": "strip"}, ["Personal data in a ping is dropped silently."]),
    (BODY | {"fields": [ZIP]}, ["job is gone: sending it is refused."]),
    (BODY | {"fields": [ZIP, JOB, {"name": "x", "type": "ip", "stage": "post"}]}, ["x is new (optional, post)."]),
    (BODY | {"fields": [ZIP, JOB | {"values": ["leak", "old"], "required": True}]},
     ["job is required now.", "job takes old as well.", "job takes new no more."]),
    (BODY | {"fields": [ZIP | {"stage": "post", "type": "string", "max": 5}, JOB]},
     ["zip is string (was zip).", "zip belongs to the post (was: ping).", "zip: the most is 5 now."]),
    (None, ["The vertical was retired."]),
]  # fmt: skip


@pytest.mark.parametrize(("after", "lines"), HISTORY)
def test_changes_are_told_to_sellers(after: dict[str, Any] | None, lines: list[str]) -> None:
    """What concerns them, and nothing of margin or auction."""
    told = revisions([Version(1, AT, BODY), Version(2, AT + timedelta(days=1), after)])

    assert lines == [line for one in told if one.version == 2 for line in one.lines]
    assert ("The vertical is open, with 2 fields.",) == told[-1].lines
    assert "30" not in str(told)


def test_changes_inside_lists_name_their_place() -> None:
    """drivers[].age, as the table of fields does."""

    def body(*inner: dict[str, Any]) -> dict[str, Any]:
        items = {"type": "object", "fields": list(inner)}
        return BODY | {
            "fields": [{"name": "drivers", "type": "array", "stage": "ping", "items": items}]
        }

    age = {"name": "age", "type": "integer", "max": 99}
    told = revisions([Version(1, AT, body(age)), Version(2, AT, body(age | {"max": 90}, ZIP))])
    assert ("drivers[].age: the most is 90 now.", "drivers[].zip is new (required, ping).") == told[
        0
    ].lines
