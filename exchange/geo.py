"""Where US ZIP codes are, and which of them lie within some miles of one.

The centres come from the package `zipcodes` (the extra `geo`). Its data take a third of a second
to unpack, without letting another thread run, and 55 MB that are never given back; so a child
process unpacks them and prints what is needed, and a process that trades never holds its loop up.
"""

import asyncio
import math
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib.util import find_spec
from typing import Any, Final

from exchange.errors import PlacesMissing, PlacesNotLoaded

EARTH_MILES: Final = 3958.7613  # mean radius
_ROUNDING: Final = 1e-12  # of floats near 1
_SLACK_MILES: Final = 1e-6  # a place exactly at the end is within, however floats round
_LOAD_S: Final = 15  # a child that takes longer is broken
_AGAIN_S: Final = 120  # after a load that failed, until the next is tried
_PRINT: Final = """
import sys, zipcodes
found = [one for prefix in range(100) for one in zipcodes.similar_to(f"{prefix:02}")]
rows = ((one["zip_code"], one["lat"] or "0", one["long"] or "0") for one in found)
sys.stdout.write("\\n".join(map(" ".join, rows)))
"""

_Point = tuple[float, float, float]  # on a sphere of radius 1


@dataclass(frozen=True, slots=True)
class Circle:
    """The ZIP codes at most so many miles from one, itself too. Equal by these two.

    They are not listed: one distance is measured for who asks, so that a circle costs nothing to
    make or to keep, however many lie in it. A ZIP code whose place is not known is outside.
    """

    code: str
    miles: Decimal
    points: Mapping[str, _Point] = field(compare=False, repr=False)  # of the map it is on
    _centre: _Point = field(compare=False, repr=False)
    _chord: float = field(compare=False, repr=False)  # squared, on a sphere of radius 1

    def __contains__(self, code: object) -> bool:
        point = self.points.get(code) if isinstance(code, str) else None
        if point is None:
            return False
        (a, b, c), (x, y, z) = point, self._centre
        return (a - x) ** 2 + (b - y) ** 2 + (c - z) ** 2 <= self._chord

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """On each axis, from where to where its points can be at most."""
        reach = math.sqrt(self._chord) + _ROUNDING
        return tuple((middle - reach, middle + reach) for middle in self._centre)


class Places:
    """The centres of ZIP codes."""

    def __init__(self, centroids: Mapping[str, tuple[float, float]]) -> None:
        """`centroids`: latitude and longitude in degrees by ZIP code."""
        self._points = {code: _point(*centre) for code, centre in centroids.items()}

    def within(self, code: str, miles: Decimal) -> Circle | None:
        """The circle around this ZIP code; None if its place is not known."""
        centre = self._points.get(code)
        if centre is None:
            return None
        angle = (float(miles) + _SLACK_MILES) / EARTH_MILES
        return Circle(code, miles, self._points, centre, _chord_squared(angle))


@dataclass(slots=True)
class _Held:
    """What this process knows of places; `load_places` alone fills it."""

    places: Places | None = None
    fault: type[PlacesMissing] = PlacesNotLoaded  # why there are none
    again_s: float = 0.0  # of the monotonic clock: no load is tried before
    loading: asyncio.Task[None] | None = None


_HELD: Final = _Held()


def within(code: str, miles: Decimal) -> Circle | None:
    """As `Places.within`. Raises PlacesMissing until `load_places` has loaded the centres."""
    if _HELD.places is None:
        raise _HELD.fault
    return _HELD.places.within(code, miles)


def may_have_places() -> bool:
    """Whether they are loaded, or a load may be tried: the last one that failed is long ago."""
    return _HELD.places is not None or time.monotonic() >= _HELD.again_s


async def load_places(*documents: object) -> None:
    """Load the centres beside the loop if a document asks for a distance; else do nothing.

    Without the extra, or when the child fails, it is told of the filter that needs the centres,
    when that is read: other documents do not suffer.
    """
    if _HELD.places is not None or not may_have_places() or not any(map(_asks, documents)):
        return
    loading = _HELD.loading
    if (
        loading is None or loading.done() or loading.get_loop() is not asyncio.get_running_loop()
    ):  # one child for all who wait
        loading = _HELD.loading = asyncio.create_task(_load(), name="places")
    await asyncio.shield(loading)


async def _load() -> None:
    try:
        _HELD.places = await asyncio.to_thread(_read_places)
    except PlacesMissing as error:
        _HELD.fault = type(error)
    except (OSError, ValueError, subprocess.SubprocessError):
        _HELD.fault = PlacesNotLoaded
    if _HELD.places is None:
        _HELD.again_s = time.monotonic() + _AGAIN_S


def _read_places() -> Places:
    """Of a child; some seconds. Raises PlacesMissing without the extra."""
    if find_spec("zipcodes") is None:
        raise PlacesMissing
    command = [sys.executable, "-c", _PRINT]
    said = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=_LOAD_S
    )
    centroids = read_centroids(said.stdout.decode("ascii").splitlines())
    if not centroids:
        raise ValueError("no ZIP code is anywhere")
    return Places(centroids)


def read_centroids(lines: Iterable[str]) -> dict[str, tuple[float, float]]:
    """Of lines like `90210 34.0901 -118.4065`.

    Military post offices abroad are given at 0, 0: they are nowhere.
    """
    rows = (line.split() for line in lines)
    found = {code: (float(latitude), float(longitude)) for code, latitude, longitude in rows}
    return {code: centre for code, centre in found.items() if any(centre)}


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


def _point(latitude: float, longitude: float) -> _Point:
    phi, theta = math.radians(latitude), math.radians(longitude)
    return (math.cos(phi) * math.cos(theta), math.cos(phi) * math.sin(theta), math.sin(phi))


def _chord_squared(angle: float) -> float:
    """By the chord as by the haversine: exact for small distances too."""
    return (2 * math.sin(min(angle, math.pi) / 2)) ** 2
