"""What a scenario found."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

Row = tuple[str, tuple[float | None, ...]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Goal:
    """A line of the summary. `met` None: there is a figure, but nothing was asked of it."""

    text: str
    target: str
    figure: str
    met: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """Rows for the table, everything for the results file."""

    scenario: str
    about: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    work: str
    complaints: tuple[str, ...]  # counts that do not add up: a bug
    notes: tuple[str, ...]  # what was missed, refused or shed: a machine that was too busy
    facts: dict[str, Any] = field(default_factory=dict)
    goals: tuple[Goal, ...] = ()


def row(name: str, ours: float | None, theirs: float | None) -> Row:
    """Two figures and their ratio."""
    return name, (ours, theirs, ratio(ours, theirs))


def ratio(ours: float | None, theirs: float | None) -> float | None:
    return ours / theirs if ours is not None and theirs else None


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that are known."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def slope(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Least squares: (rise per unit, value at 0); needs two different places."""
    count = len(points)
    mean_x = sum(x for x, _ in points) / count
    mean_y = sum(y for _, y in points) / count
    spread = sum((x - mean_x) ** 2 for x, _ in points)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in points) / spread
    return rise, mean_y - rise * mean_x


def fit(points: Sequence[tuple[float, float]]) -> float:
    """How straight they lie on their line: R², 1 is perfectly."""
    rise, start = slope(points)
    mean_y = sum(y for _, y in points) / len(points)
    whole = sum((y - mean_y) ** 2 for _, y in points)
    left = sum((y - start - rise * x) ** 2 for x, y in points)
    return 1 - left / whole if whole else 1.0


def shown(value: float | None, unit: str = "") -> str:
    return "-" if value is None else f"{value:.3g}{unit}"
