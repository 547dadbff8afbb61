"""Distances between ZIP codes: against the haversine of every pair, ends, ZIP codes at no place."""

import asyncio
import importlib
import math
import subprocess
import sys
import time
from collections.abc import Iterable
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange import geo
from exchange.errors import PlacesMissing, PlacesNotLoaded
from exchange.geo import (
    EARTH_MILES,
    Circle,
    Places,
    load_places,
    may_have_places,
    read_centroids,
    within,
)

pytest.importorskip("zipcodes")
ASKS = {"field": "zip", "op": "zip_within", "value": {"zip": "90210", "miles": 5}}


def haversine(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Miles, as in every textbook."""
    (p, m), (q, n) = (map(math.radians, place) for place in (one, other))
    h = math.sin((q - p) / 2) ** 2 + math.cos(p) * math.cos(q) * math.sin((n - m) / 2) ** 2
    return 2 * EARTH_MILES * math.asin(math.sqrt(h))


@pytest.fixture(scope="module", autouse=True)
def loaded() -> None:
    """The centres, as a process that trades has them."""
    asyncio.run(load_places(ASKS))


def around(circle: Circle | None, codes: Iterable[str]) -> set[str]:
    """Those of the codes that lie in it."""
    assert circle is not None
    return {code for code in codes if code in circle}


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
    every = [f"{number:05}" for number in range(100_000)]
    drawn = Random(miles).sample(sorted(real), 2)

    for code in ("90210", "10001", "99501", "96910", *drawn):
        near = {other for other in real if haversine(real[code], real[other]) <= miles}
        circle = within(code, Decimal(str(miles)))
        assert near == around(circle, every), code


def test_the_end_is_included_and_a_foot_farther_is_not(
    real: dict[str, tuple[float, float]],
) -> None:
    """New York is as far from Beverly Hills as it is."""
    found = Places({"90210": real["90210"], "90012": real["90012"]})
    miles = Decimal(haversine(real["90210"], real["90012"]))

    assert {"90210", "90012"} == around(found.within("90210", miles), real)
    assert {"90210"} == around(found.within("90210", miles - Decimal(1) / 5280), real)


degrees = st.tuples(st.floats(-90, 90), st.floats(-180, 180))


@settings(max_examples=200, deadline=None)
@given(st.lists(degrees, min_size=1, max_size=30), st.floats(0.1, 500))
def test_anywhere_on_earth(spots: list[tuple[float, float]], miles: float) -> None:
    """At the poles and the date line too; half a foot at the end is not looked at."""
    centroids = {f"{n:05}": spot for n, spot in enumerate(spots)}
    away = {code: haversine(spots[0], spot) for code, spot in centroids.items()}

    found = around(Places(centroids).within("00000", Decimal(miles)), centroids)

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


def test_a_circle_is_equal_by_its_centre_and_its_miles() -> None:
    """And it is hardly larger than they are."""
    one = within("90210", Decimal("25.0"))

    assert one == within("90210", Decimal(25))
    assert hash(one) == hash(within("90210", Decimal(25)))
    assert one != within("90210", Decimal(26))
    assert one != within("90211", Decimal(25))
    assert "Circle(code='90210', miles=Decimal('25.0'))" == repr(one)
    assert around(one, ["90210", "00000", "09001", "", "9021"]) == {"90210"}
    assert one is not None
    assert 90210 not in one


# --- loading ---------------------------------------------------------------------------------------


@pytest.fixture
def unloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geo, "_HELD", geo._Held())


def has_loaded() -> bool:
    return geo._HELD.places is not None


async def test_the_loop_goes_on_while_the_centres_are_loaded(unloaded: None) -> None:
    """They are unpacked by a child; here only for a document that asks for a distance."""
    state = {"field": "state", "op": "eq", "value": "zip_within"}

    await load_places({"filters": [state, {"any": [{"not": state}]}]}, '{"op": "eq"}', None, 5)
    assert not has_loaded()

    loading = asyncio.create_task(load_places([{"filters": [state, {"any": [{"not": ASKS}]}]}]))
    began, turns = time.monotonic(), 0
    while not loading.done():
        turns += 1
        await asyncio.sleep(0)
        assert time.monotonic() - began < 60
    assert has_loaded()
    assert turns > 100


async def test_a_stored_text_is_looked_through_as_it_is(unloaded: None) -> None:
    """Nothing is parsed for it."""
    await load_places('{"filters": [{"op": "zip_within"}]}')

    assert has_loaded()


async def test_all_who_wait_wait_for_one_child(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And one who gives up does not stop it."""
    started: list[Any] = []
    run = subprocess.run

    def count(*args: Any, **rest: Any) -> Any:
        started.append(args)
        return run(*args, **rest)

    monkeypatch.setattr(subprocess, "run", count)
    waiting = [asyncio.create_task(load_places(ASKS)) for _ in range(3)]
    await asyncio.sleep(0)
    waiting[0].cancel()
    await asyncio.gather(*waiting[1:])

    assert 1 == len(started)
    assert has_loaded()


async def test_asking_starts_no_child(unloaded: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever forgot to load is told; the loop never waits for a process."""
    monkeypatch.setattr(subprocess, "run", None)

    with pytest.raises(PlacesNotLoaded, match="cannot be loaded just now"):
        within("90210", Decimal(25))


FAILURES = [
    "raise SystemExit(1)",
    "import time; time.sleep(60)",
    "print('90210 x y')",
    "print('x')",
    "",
]


@pytest.mark.parametrize("child", FAILURES)
async def test_a_child_that_fails_harms_nobody_else(
    unloaded: None, monkeypatch: pytest.MonkeyPatch, child: str
) -> None:
    """Only who asks for a distance is told; the next load is tried minutes later, and helps."""
    with monkeypatch.context() as broken:
        broken.setattr(geo, "_PRINT", child)
        broken.setattr(geo, "_LOAD_S", 0.5)
        await load_places(ASKS)
    with pytest.raises(PlacesNotLoaded):
        within("90210", Decimal(25))

    assert not may_have_places()
    await load_places(ASKS)
    assert not has_loaded(), "it was not tried again at once"

    geo._HELD.again_s = 0
    assert may_have_places()
    await load_places(ASKS)
    assert within("90210", Decimal(25)) is not None


async def test_a_child_that_cannot_be_started_is_a_failed_one(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OSError would be taken for the database's."""
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")

    await load_places(ASKS)
    with pytest.raises(PlacesNotLoaded):
        within("90210", Decimal(25))


async def test_without_the_extra_it_is_said_which_to_install(
    unloaded: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And preparing for a filter that will be refused is no fault."""
    monkeypatch.setitem(sys.modules, "zipcodes", None)

    await load_places(ASKS)
    with pytest.raises(PlacesMissing, match=r"pip install ping-post-exchange\[geo\]"):
        within("90210", Decimal(25))
