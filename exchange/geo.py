"""Where US ZIP codes are, and which of them lie within some miles of one.

The centres come from the package `zipcodes` (the extra `geo`). Its data take a third of a second
to unpack, without letting another thread run, and 55 MB that are never given back; so a child
process unpacks them and prints what is needed, and a process that trades never holds its loop up.
"""

import asyncio
import math
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from importlib.util import find_spec
from typing import Any, Final
from weakref import WeakValueDictionary

from exchange.errors import PlacesMissing

EARTH_MILES: Final = 3958.7613  # mean radius
_SLACK_MILES: Final = 1e-6  # a place exactly at the end is within, however floats round
_LOAD_S: Final = 60  # a child that takes longer is broken
_PRINT: Final = """
import sys, zipcodes
found = [one for prefix in range(100) for one in zipcodes.similar_to(f"{prefix:02}")]
rows = ((one["zip_code"], one["lat"] or "0", one["long"] or "0") for one in found)
sys.stdout.write("\\n".join(map(" ".join, rows)))
"""

_Point = tuple[float, float, float]  # on a sphere of radius 1
# As long as a contract holds a set, others that ask for the same get that one.
_SETS: WeakValueDictionary[tuple[str, Decimal], frozenset[str]] = WeakValueDictionary()


@dataclass(frozen=True, slots=True)
class _Cell:
    """The ZIP codes of one degree by one degree: mostly they are all near, or none is."""

    centre: _Point
    reach: float  # angle from the centre to the farthest of them
    points: Mapping[str, _Point]
    codes: frozenset[str]


class Places:
    """The centres of ZIP codes."""

    def __init__(self, centroids: Mapping[str, tuple[float, float]]) -> None:
        """`centroids`: latitude and longitude in degrees by ZIP code."""
        grid: dict[tuple[int, int], dict[str, _Point]] = defaultdict(dict)
        for code, (latitude, longitude) in centroids.items():
            corner = (math.floor(latitude), math.floor(longitude))
            grid[corner][code] = _point(latitude, longitude)
        self._cells = tuple(map(_cell, grid.values()))
        self._points = {code: point for cell in grid.values() for code, point in cell.items()}

    def within(self, code: str, miles: float) -> frozenset[str] | None:
        """The ZIP codes at most so far from this one, itself too; None if it is not known."""
        centre = self._points.get(code)
        if centre is None:
            return None
        limit = (miles + _SLACK_MILES) / EARTH_MILES  # as an angle
        chord = _chord_squared(limit)
        x, y, z = centre
        whole: list[frozenset[str]] = []
        some: list[str] = []
        for cell in self._cells:
            away = _angle(centre, cell.centre)
            if away + cell.reach <= limit:
                whole.append(cell.codes)
            elif away - cell.reach <= limit:
                some += [
                    other
                    for other, (a, b, c) in cell.points.items()
                    if (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 <= chord
                ]
        return frozenset(some).union(*whole)


def within(code: str, miles: Decimal) -> frozenset[str] | None:
    """As `Places.within`, equal circles sharing one set. Raises PlacesMissing without the extra.

    The first call of a process loads the centres: call `load_places` where a loop must not wait.
    """
    found = _SETS.get((code, miles))
    if found is None:
        found = places().within(code, float(miles))
        if found is not None:
            _SETS[code, miles] = found
    return found


@cache
def places() -> Places:
    """The centres, loaded once. Raises PlacesMissing without the extra."""
    if find_spec("zipcodes") is None:
        raise PlacesMissing
    command = [sys.executable, "-c", _PRINT]
    said = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_LOAD_S
    )
    return Places(read_centroids(said.stdout.decode("ascii").splitlines()))


def read_centroids(lines: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Of lines like `90210 34.0901 -118.4065`.

    Military post offices abroad are given at 0, 0: they are nowhere.
    """
    rows = (line.split() for line in lines)
    found = {code: (float(latitude), float(longitude)) for code, latitude, longitude in rows}
    return {code: centre for code, centre in found.items() if any(centre)}


async def load_places(*documents: object) -> None:
    """Load the centres beside the loop if a document asks for a distance; else do nothing."""
    if not places.cache_info().currsize and any(map(_asks, documents)):
        # Without the extra, or without a process to spare, it is told of the filter that needs the
        # centres, when that is read: other documents do not suffer.
        with suppress(PlacesMissing, OSError, subprocess.SubprocessError):
            await asyncio.to_thread(places)


def _asks(document: Any) -> bool:
    """Whether a filter of a document, of its text, or of a list of them has a `zip_within`."""
    heap = [document]
    while heap:
        one = heap.pop()
        if isinstance(one, list):
            heap.extend(one)
        elif isinstance(one, str) and '"zip_within"' in one:
            return True
        elif isinstance(one, Mapping):
            if one.get("op") == "zip_within":
                return True
            heap.extend(one.get(name) for name in ("filters", "any", "not"))
    return False


def _cell(points: Mapping[str, _Point]) -> _Cell:
    x, y, z = (sum(axis) for axis in zip(*points.values(), strict=True))
    length = math.hypot(x, y, z)
    centre = (x / length, y / length, z / length)
    reach = max(_angle(centre, point) for point in points.values())
    return _Cell(centre, reach, points, frozenset(points))


def _point(latitude: float, longitude: float) -> _Point:
    phi, theta = math.radians(latitude), math.radians(longitude)
    return (math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi))


def _angle(one: _Point, other: _Point) -> float:
    """Between two places, by the chord: that is the haversine, exact for small distances too."""
    return 2 * math.asin(min(1.0, math.dist(one, other) / 2))


def _chord_squared(angle: float) -> float:
    return (2 * math.sin(min(angle, math.pi) / 2)) ** 2
