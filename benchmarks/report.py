"""Tables for people, lines of JSON for later: with the machine, the seed, the date, the commit."""

import math
import os
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import orjson

from benchmarks.findings import Findings, Goal

RESULTS: Final = Path(__file__).resolve().parent / "results" / "results.jsonl"
_NAME, _VALUE = 24, 20  # widths


def machine() -> dict[str, Any]:
    """What the figures depend on, without naming anybody's computer."""
    return {
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), "")


def commit() -> str | None:
    """The commit, with `+` if files differ from it; None outside a checkout."""
    root = RESULTS.parent.parent
    try:
        said = subprocess.run(
            ["git", "describe", "--always", "--exclude=*", "--dirty=+"],
            cwd=root, capture_output=True, text=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return said.stdout.strip()


def table(found: Findings) -> str:
    """One scenario as text."""
    wide = max(_NAME, *(len(name) for name, _ in found.rows))
    head = "".join(f"{name:>{_VALUE}}" for name in found.columns)
    lines = [f"{found.scenario}: {found.about}", f"work {found.work}", " " * wide + head]
    for name, values in found.rows:
        lines.append(f"{name:<{wide}}" + "".join(f"{_shown(value):>{_VALUE}}" for value in values))
    lines += [
        f"{name} {_shown(value)}"
        for name, value in found.facts.items()
        if value is None or isinstance(value, int | float)
    ]
    lines += [f"{name} {value}" for name, value in found.facts.items() if isinstance(value, dict)]
    lines += [f"note: {note}" for note in found.notes]
    lines += [f"DOES NOT ADD UP: {complaint}" for complaint in found.complaints]
    return "\n".join(lines)


def summary(goals: Sequence[Goal]) -> str:
    """What was to be reached, and what was."""
    lines = ["what was asked".ljust(84) + "target".ljust(16) + "figure"]
    for goal in goals:
        met = {True: "met", False: "NOT MET", None: ""}[goal.met]
        lines.append(f"{goal.text:<84}{goal.target:<16}{goal.figure:<28}{met}")
    return "\n".join(lines)


def _shown(value: float | None) -> str:
    if value is None or math.isnan(value):
        return "-"
    return f"{value:.0f}" if value == int(value) and abs(value) >= 100 else f"{value:.3f}"


def append(found: Findings, seed: int, about_machine: dict[str, Any], to: Path = RESULTS) -> None:
    """Add one line to the results."""
    line = {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": commit(),
        "seed": seed,
        "machine": about_machine,
        **asdict(found),
    }
    to.parent.mkdir(exist_ok=True)
    with to.open("ab") as file:
        file.write(orjson.dumps(line) + b"\n")
