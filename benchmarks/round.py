"""What came of a round of the load generator, and what it tells of it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

_SLICE_S: Final = 1.0  # as operators look at a p99; a shorter one would be its slowest ping or two


@dataclass(slots=True)
class Round:
    """What came of it; offered = answered + failed + dropped."""

    offered: int = 0
    answered: int = 0  # 200
    failed: int = 0  # another status, or none
    dropped: int = 0
    opened: int = 0  # connections
    began_s: float = 0.0
    ended_s: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)
    # (scheduled or sent, from the start; seconds it took; was it good; was it a refusal)
    spans: list[tuple[float, float, bool, bool]] = field(default_factory=list)
    offered_at: list[float] = field(default_factory=list)  # of the open loop
    dropped_at: list[float] = field(default_factory=list)
    late_s: list[float] = field(default_factory=list)  # the generator itself, after it was due
    ids: list[bytes] = field(default_factory=list)
    elapsed_ms: list[int] = field(default_factory=list)  # as the answers tell it
    bids: list[int] = field(default_factory=list)  # likewise, where they do
    good: int = 0


def value_of(body: bytes, name: bytes) -> bytes:
    """A string of a flat JSON object as our servers write it; empty if it is not there."""
    start = b'"%b":"' % name
    at = body.find(start)
    if at < 0:
        return b""
    at += len(start)
    return body[at : body.find(b'"', at)]


def number_of(body: bytes, name: bytes) -> int:
    """An integer of a flat JSON object; -1 if it is not there."""
    at = body.find(b'"%b":' % name)
    if at < 0:
        return -1
    text = body[at + len(name) + 3 : at + len(name) + 23]
    return int(text.split(b",", 1)[0].split(b"}", 1)[0])


def percentile(values: Sequence[float], percent: float) -> float | None:
    """By nearest rank; None of nothing."""
    if not values:
        return None
    return sorted(values)[max(0, math.ceil(len(values) * percent / 100) - 1)]


def told(found: Round, order: dict[str, Any], cpu_s: float) -> dict[str, Any]:
    good = [took for _, took, is_good, _ in found.spans if is_good]
    refused = [took for _, took, _, is_refusal in found.spans if is_refusal]
    late_p99 = percentile(found.late_s, 99)
    said: dict[str, Any] = {
        "offered": found.offered, "answered": found.answered, "failed": found.failed,
        "dropped": found.dropped, "good": found.good, "opened": found.opened,
        "outcomes": dict(found.outcomes),
        "took_s": found.ended_s - found.began_s, "cpu_s": cpu_s,
        "twins": len(found.ids) - len(set(found.ids)),
        **{f"{name}_ms": _ms(percentile(good, percent)) for name, percent in _PERCENTS},
        **{f"refused_{name}_ms": _ms(percentile(refused, percent)) for name, percent in _PERCENTS},
        "late_p99_ms": _ms(late_p99),
        "late_max_ms": _ms(max(found.late_s, default=None)),
    }  # fmt: skip
    if order.get("keep"):
        said["ids"] = [one.decode("ascii") for one in found.ids]
        said["elapsed_ms"] = found.elapsed_ms
        said["bids"] = found.bids
        said["took_ms"] = [took * 1000 for took in good]
    if order.get("phases"):
        said["phases"] = _by_phase(found, order["phases"])
        said["slice_s"] = _SLICE_S
        said["slices"] = _by_slice(found, sum(seconds for _, seconds in order["phases"]))
    return said


_PERCENTS: Final = (("p50", 50), ("p99", 99), ("max", 100))


def _ms(value_s: float | None) -> float | None:
    return None if value_s is None else value_s * 1000


def _by_phase(found: Round, phases: list[tuple[float, float]]) -> list[dict[str, Any]]:
    """Of those that were due in it; `other` were neither good nor refused nor dropped."""
    rows, began = [], 0.0
    for rate, seconds in phases:
        until = began + seconds
        inside = [one for one in found.spans if began <= one[0] < until]
        good = [took for _, took, is_good, _ in inside if is_good]
        refused = [took for _, took, _, is_refusal in inside if is_refusal]
        offered = sum(began <= at < until for at in found.offered_at)
        dropped = sum(began <= at < until for at in found.dropped_at)
        rows.append({
            "rate": rate, "seconds": seconds, "offered": offered, "good": len(good),
            "refused": len(refused), "dropped": dropped,
            "other": offered - dropped - len(good) - len(refused),
            "p50_ms": _ms(percentile(good, 50)), "p99_ms": _ms(percentile(good, 99)),
            "refused_p50_ms": _ms(percentile(refused, 50)),
            "refused_p99_ms": _ms(percentile(refused, 99)),
        })  # fmt: skip
        began = until
    return rows


def _by_slice(found: Round, seconds: float) -> list[tuple[float, int, int, float | None]]:
    """(when it began, how many were due, how many good answers, their p99 in ms)."""
    last = math.ceil(seconds / _SLICE_S) - 1
    due = [0] * (last + 1)
    good: list[list[float]] = [[] for _ in due]
    for at in found.offered_at:
        due[min(last, int(at / _SLICE_S))] += 1
    for at, took, is_good, _ in found.spans:
        if is_good:
            good[min(last, int(at / _SLICE_S))].append(took)
    return [
        (place * _SLICE_S, due[place], len(tooks), _ms(percentile(tooks, 99)))
        for place, tooks in enumerate(good)
    ]
