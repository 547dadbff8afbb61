"""Distances between ZIP codes: against the haversine of every pair, ends, ZIP codes at no place."""

import asyncio
import importlib
import math
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import geo
from exchange.errors import PlacesMissing
from exchange.geo import EARTH_MILES, Places, load_places, places, read_centroids, within

pytest.importorskip("zipcodes")


def haversine(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Miles, as in every textbook."""
    (p, m), (q, n) = (map(math.radians, place) for place in (one, other))
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin((n - m) / 2) ** 2
    return 2 * EARTH_MILES * math.asin(math.sqrt(h))


@pytest.fixture(scope="module")
def real() -> dict[str, tuple[float, float]]:
    """As the package has them."""
    zipcodes: Any = importlib.import_module("zipcodes")
    rows = [(one["zip_code"], one["lat"], one["long"]) for one in zipcodes.list_all()]
    found = {code: (float(lat or 0), float(long or 0)) for code, lat, long in rows}
    return {code: place for code, place in found.items() if place != (0.0, 0.0)}


@pytest.mark.parametrize("miles", [0.5, 5, 25, 99.5, 250, 500])
def test_who_is_near_is_who_the_haversine_says(
    real: dict[str, tuple[float, float]], miles: float
) -> None:
    """In the city, on islands, across the date line."""
    drawn = Random(miles).sample(sorted(real), 2)

    for code in ("90210", "10001", "99501", "96910", *drawn):
        near = {other for other in real if haversine(real[code], real[other]) <= miles}
        assert near == within(code, Decimal(str(miles))), code


def test_the_end_is_included_and_a_foot_farther_is_not(
    real: dict[str, tuple[float, float]],
) -> None:
    """New York is as far from Beverly Hills as it is."""
    found = Places({"90210": real["90210"], "90012": real["90012"]})
    miles = haversine(real["90210"], real["90012"])

    assert {"90210", "90012"} == found.within("90210", miles)
    assert {"90210"} == found.within("90210", miles - 1 / 5280)


degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@settings(max_examples=200, deadline=None)
@given(st.lists(degrees, min_size=1, max_size=30), st.floats(0.1, 500))
def test_anywhere_on_earth(spots: list[tuple[float, float]], miles: float) -> None:
    """At the poles and the date line too; half a foot at the end is not looked at."""
    centroids = {f"{n:05}": spot for n, spot in enumerate(spots)}
    away = {code: haversine(spots[0], spot) for code, spot in centroids.items()}

    found = Places(centroids).within("00000", miles)

    assert found is not None
    assert {code for code in away if away[code] <= miles - 1e-4} <= found
    assert found <= {code for code in away if away[code] <= miles + 1e-4}


@pytest.mark.parametrize("code", ["00000", "09001", "99999"])
def test_a_zip_code_at_no_place_is_near_nobody(code: str) -> None:
    """One that does not exist, and a military post office abroad: the package has it at 0, 0."""
    assert within(code, Decimal(5)) is None


def test_nobody_is_at_zero_degrees() -> None:
    """What is not known is given so."""
    lines = ["09001 0 0", "90210 34.0901 -118.4065", "09002 0.0000 0.0000"]

    assert {"90210": (34.0901, -118.4065)} == read_centroids(lines)


def test_equal_circles_are_one_set() -> None:
    """For as long as somebody holds it: contracts with the same circle share it."""
    one = within("90210", Decimal("25.0"))

    assert one is within("90210", Decimal(25))
    assert one is not within("90210", Decimal(26))


@pytest.fixture
def unloaded() -> Iterator[None]:
    loaded = places()
    places.cache_clear()
    yield
    places.cache_clear()
    geo._SETS.clear()
    assert loaded is not None


async def test_the_loop_goes_on_while_the_centres_are_loaded(unloaded: None) -> None:
    """They are unpacked by a child; here only for a document that asks for a distance."""
    state = {"field": "state", "op": "eq", "value": "zip_within"}
    near = {"field": "zip", "op": "zip_within", "value": {"zip": "90210", "miles": 5}}

    await load_places({"filters": [state, {"any": [{"not": state}]}]}, '{"op": "eq"}', None, 5)
    assert 0 == places.cache_info().currsize

    loading = asyncio.create_task(load_places([{"filters": [state, {"any": [{"not": near}]}]}]))
    began, turns = time.monotonic(), 0
    while not loading.done():
        turns += 1
        await asyncio.sleep(0)
        assert time.monotonic() - began < 60
    assert 1 == places.cache_info().currsize
    assert turns > 100


async def test_a_stored_text_is_looked_through_as_it_is(unloaded: None) -> None:
    """Nothing is parsed for it."""
    await load_places('{"filters": [{"op": "zip_within"}]}')

    assert 1 == places.cache_info().currsize


async def test_a_child_that_fails_harms_nobody_else(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only who asks for a distance is told."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    await load_places({"op": "zip_within"})
    with pytest.raises(OSError, match="nonexistent"):
        within("90210", Decimal(25))


async def test_without_the_extra_it_is_said_which_to_install(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And preparing for a filter that will be refused is no fault."""
    monkeypatch.setitem(sys.modules, "zipcodes", None)

    await load_places({"op": "zip_within"})
    with pytest.raises(PlacesMissing, match=r"pip install ping-post-exchange\[geo\]"):
        within("90210", Decimal(25))
