"""Reads what all workers have counted, out of their files, and writes it down as text.

The client library's own collector takes a third of a second over three workers and 1,000 buyers,
most of it for reading the same keys again. Here a key is read once: after that a scrape is a loop
over numbers.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import orjson
from prometheus_client.mmap_dict import MmapedDict

from exchange.metrics import text
from exchange.metrics.series import SEEN_AT, WORKERS, Series

Known = Mapping[str, frozenset[str]]  # the slugs in force, by label; a label that is not there: any
_PARTIES: Final = frozenset({"buyer", "contract", "seller"})
GONE_S: Final = 15.0  # gauges of a worker that has said nothing for so long are left out


@dataclass(frozen=True, slots=True)
class _Key:
    """One sample of one worker, parsed."""

    series: Series
    name: str  # with _total, _sum or _bucket
    labels: dict[str, str]  # without `le`
    of: tuple[str, str] | None  # the label that names a buyer, contract or seller, and whom
    bound: float | None  # of a bucket
    line: str  # name and labels as they are written; of a bucket: what it belongs to

    def is_of(self, known: Known) -> bool:
        """Whether whom its labels name is still there."""
        return self.of is None or self.of[0] not in known or self.of[1] in known[self.of[0]]


@dataclass(slots=True)
class _Family:
    values: dict[str, float] = field(default_factory=dict)  # by line
    buckets: dict[str, dict[float, float]] = field(default_factory=dict)  # by line, by bound
    labels: dict[str, dict[str, str]] = field(default_factory=dict)  # of what has buckets


class WorkerFiles:
    """The files in a folder. `render` is called from one thread at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._keys: dict[str, dict[str, _Key | None]] = {}  # by worker

    def render(self, known: Known, now_s: float | None = None) -> str:
        """Every series of every worker: counters summed, what is one per worker apart. What belongs
        to a buyer, contract or seller that was removed is left out."""
        now_s = time.time() if now_s is None else now_s
        families = {name: _Family() for name in WORKERS}
        by_worker: dict[str, list[tuple[_Key, float]]] = {}
        for worker, key, value in self._samples():
            if not key.is_of(known):
                continue
            if key.series.per == "worker":
                by_worker.setdefault(worker, []).append((key, value))
            elif key.bound is not None:
                of = families[key.series.name]
                bounds = of.buckets.setdefault(key.line, {})
                bounds[key.bound] = bounds.get(key.bound, 0.0) + value
                of.labels[key.line] = key.labels
            else:
                values = families[key.series.name].values
                values[key.line] = values.get(key.line, 0.0) + value
        for samples in by_worker.values():
            self._add_alive(samples, families, now_s)
        return "".join(_written(WORKERS[name], of) for name, of in families.items())

    def _add_alive(
        self, samples: list[tuple[_Key, float]], families: dict[str, _Family], now_s: float
    ) -> None:
        seen_s = max((value for key, value in samples if key.series is SEEN_AT), default=now_s)
        for key, value in samples:
            is_lasting = key.series is SEEN_AT or key.series.kind == "counter"
            if is_lasting or now_s - seen_s <= GONE_S:
                families[key.series.name].values[key.line] = value

    def _samples(self) -> Iterator[tuple[str, _Key, float]]:
        for path in sorted(self._folder.glob("*.db")):
            worker = path.stem.rpartition("_")[2]
            keys = self._keys.setdefault(worker, {})
            for raw, value, _, _ in _values(path):
                if raw not in keys:
                    keys[raw] = _parsed(worker, raw)
                key = keys[raw]
                if key is not None:
                    yield worker, key, value


def _values(path: Path) -> Any:
    return MmapedDict.read_all_values_from_file(str(path))  # type: ignore[no-untyped-call]


def _parsed(worker: str, raw: str) -> _Key | None:
    """None: a series that this version does not know."""
    family, name, labels, _ = orjson.loads(raw)
    series = WORKERS.get(family)
    if series is None:
        return None
    bound = labels.pop("le", None)
    ordered = {label: labels[label] for label in series.labels}
    if series.per == "worker":
        ordered["worker"] = worker
    line = text.name_with(series.name if bound is not None else name, ordered)
    of = next((one for one in ordered.items() if one[0] in _PARTIES), None)
    return _Key(series, name, ordered, of, None if bound is None else float(bound), line)


def _written(series: Series, of: _Family) -> str:
    lines = [text.line(name, value) for name, value in of.values.items()]
    for name, bounds in of.buckets.items():
        lines += _histogram(series, of.labels[name], bounds)
    return text.header(series) + "".join(lines) if lines else ""


def _histogram(series: Series, labels: dict[str, str], bounds: dict[float, float]) -> list[str]:
    """Buckets are kept one by one and written as sums of all up to each."""
    lines, count = [], 0.0
    for bound in sorted(bounds):
        count += bounds[bound]
        le = "+Inf" if bound == float("inf") else repr(bound)
        lines.append(text.line(text.name_with(f"{series.name}_bucket", labels | {"le": le}), count))
    return [*lines, text.line(text.name_with(f"{series.name}_count", labels), count)]
