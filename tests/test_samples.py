"""The stream of sample leads: valid, varied, repeatable, and nobody real."""

import sys
import tomllib
from collections import defaultdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from exchange import samples
from exchange.samples import SampleLead, Samples
from exchange.verticals import Vertical, compile_fields, read_vertical

CONFIG = Path(__file__).parent.parent / "config" / "verticals"
SLUGS = ("auto_insurance", "personal_loan", "solar")
VERTICALS = {
    slug: read_vertical(tomllib.loads((CONFIG / f"{slug}.toml").read_text("utf-8")))
    for slug in SLUGS
}


@pytest.fixture(params=["zipcodes", "built-in"])
def source(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "built-in":
        monkeypatch.setattr(samples, "places", samples._built_in)
    return str(request.param)


def leads(slug: str | None, count: int, seed: int = 7) -> list[SampleLead]:
    stream = Samples(seed, VERTICALS)
    return [stream.lead(slug) for _ in range(count)]


@pytest.mark.parametrize("slug", SLUGS)
@pytest.mark.usefixtures("source")
def test_samples_are_valid_and_already_normal(slug: str) -> None:
    checks = compile_fields(VERTICALS[slug])
    for lead in leads(slug, 300):
        ping, whole = checks.ping(lead.ping_fields), checks.lead(lead.fields)
        assert (ping.problems, whole.problems) == ((), ())
        assert (ping.values, whole.values) == (lead.ping_fields, lead.fields)
        assert lead.ping_fields.keys() == lead.fields.keys() & checks.ping_field_names


def spread(value: Any, path: str, seen: dict[str, set[str]]) -> None:
    """Every value at every path, list positions left out."""
    if isinstance(value, dict):
        for name, inner in value.items():
            spread(inner, f"{path}.{name}", seen)
    elif isinstance(value, list):
        for inner in value:
            spread(inner, path, seen)
    else:
        seen[path].add(repr(value))


@pytest.mark.parametrize("slug", SLUGS)
def test_no_field_is_constant_and_every_field_occurs(slug: str) -> None:
    seen: dict[str, set[str]] = defaultdict(set)
    drawn = leads(slug, 200)
    for lead in drawn:
        spread(lead.fields, "", seen)
        seen["sub_id"].add(lead.sub_id)
        seen["external_id"].add(lead.external_id)
    assert [path for path, values in seen.items() if len(values) < 2] == []
    for field in VERTICALS[slug].fields:
        present = sum(field.name in lead.fields for lead in drawn)
        assert present == 200 if field.required else 0 < present < 200


def test_a_seed_gives_the_same_stream_and_another_seed_another() -> None:
    assert leads(None, 30) == leads(None, 30)
    assert leads(None, 30) != leads(None, 30, seed=8)
    assert {lead.vertical for lead in leads(None, 60)} == set(SLUGS)


def test_nobody_is_real_and_what_belongs_together_agrees() -> None:
    towns = {(place[0], place[2]): place for place in samples.places()}
    for lead in leads(None, 600):
        fields: dict[str, Any] = lead.fields
        place = towns[fields["zip"], fields["state"]]
        phone = fields["phone"]
        assert phone[2:5] in place[1]
        assert phone[5:10] == "55501"
        assert fields["email"].rpartition("@")[2] in {"example.com", "example.net", "example.org"}
        assert fields.get("city", place[4]) == place[4]
        assert fields.get("timezone", place[3]) == place[3]
        if {"age", "dob"} <= fields.keys():
            lived = (samples._TODAY - date.fromisoformat(fields["dob"])).days
            assert lived // 365.25 == fields["age"]
        for driver in fields.get("drivers", ()):
            assert driver.get("age_licensed", 0) <= driver["age"]


def test_persons_differ() -> None:
    drawn = leads(None, 500)
    assert len({lead.fields["phone"] for lead in drawn}) > 450
    assert len({lead.external_id for lead in drawn}) == 500
    assert len({lead.fields["first_name"] for lead in drawn}) > 80


def test_places_are_built_in_where_the_extra_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "zipcodes", None)
    found = samples.places.__wrapped__()
    assert len(found) > 40
    assert set(found) == set(samples._built_in())


def test_built_in_places_are_the_real_ones() -> None:
    pytest.importorskip("zipcodes")
    real = {place[0]: place for place in samples.places()}
    for code, areas, state, zone, city in samples._built_in():
        place = real[code]
        assert (state, zone, city) == place[2:]
        assert set(areas) <= set(place[1])


def test_a_vertical_we_do_not_know_is_drawn_from_its_description() -> None:
    types = "string integer decimal boolean date datetime email phone zip state ip url"
    fields: list[dict[str, Any]] = [
        {"name": f"my_{kind}", "type": kind, "stage": "post", "required": True}
        for kind in types.split()
    ]
    fields += [
        {"name": "age", "type": "enum", "stage": "ping", "required": True, "values": ["18-24"]},
        {"name": "monthly_bill", "type": "integer", "stage": "ping", "max": 9},
        {
            "name": "tags",
            "type": "array",
            "stage": "ping",
            "min": 2,
            "items": {"type": "string", "min": 12, "max": 12},
        },
        {"name": "form", "type": "string", "stage": "ping", "pattern": "[0-9]"},
    ]
    own: Vertical = read_vertical({"slug": "own", "name": "Own", "fields": fields})
    checks, stream = compile_fields(own), Samples(1, {"own": own})
    for _ in range(50):
        assert checks.lead(stream.lead().fields).problems == ()
