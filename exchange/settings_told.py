"""Settings as they are told: value, default, unit, range, where each comes from, and its sentence."""

import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel

from exchange.settings import Settings, default_places, describe, environment_name, setting_names

_UNITS: Final = {"ms": "ms", "s": "s", "hours": "h", "days": "days", "bytes": "bytes"}
_LINE: Final = re.compile(r"# (\w+) = (.*?)\s*# (.*)")
_HEAD: Final = re.compile(r"\[(\w+)\]")
_RANGE_FIRST: Final = re.compile(r"^(\d[\d.]* to [^.]*|\d+ hexadecimal digits)\. ")
Source = Literal["default", "file", "environment"]


@dataclass(frozen=True, slots=True)
class Told:
    """One setting. `value`: as in force, secrets masked; a unit, a range or a sentence may be empty."""

    name: str
    value: str
    default: str
    unit: str
    range: str
    source: Source
    environment: str
    sentence: str


def tell(settings: Settings, environment: Mapping[str, str]) -> list[Told]:
    """Every setting in the order of the shipped file."""
    values, defaults = dict(describe(settings)), dict(describe(Settings()))
    in_file, said = _flat_names(_file_values(environment)), sentences()
    return [
        Told(
            name=name,
            value=values[name],
            default=defaults[name],
            unit=unit_of(name),
            range=range_of(name),
            source=_source(name, environment, in_file),
            environment=environment_name(name),
            sentence=said.get(name, ("", ""))[1],
        )
        for name in setting_names()
    ]


def unit_of(name: str) -> str:
    """By the name's last words: `ping.tail_ms` is in ms. Empty: it has none."""
    words = name.rpartition(".")[2].split("_")
    return next((_UNITS[word] for word in reversed(words) if word in _UNITS), "")


def range_of(name: str) -> str:
    """What the model takes, in words. Empty: no limits."""
    section, _, leaf = name.rpartition(".")
    model: type[BaseModel] = type(getattr(Settings(), section)) if section else Settings
    if name == "master_key":
        return "64 hexadecimal digits"
    limits: dict[str, Any] = {}
    for one in model.model_fields[leaf].metadata:
        for kind in ("ge", "gt", "le", "min_length", "max_length"):
            if hasattr(one, kind):
                limits[kind] = getattr(one, kind)
    if "min_length" in limits:
        return f"{limits['min_length']} to {limits['max_length']} characters"
    if "le" not in limits:
        return ""
    least = f"above {limits['gt']:g}" if "gt" in limits else f"{limits['ge']:,}"
    most = limits["le"]
    return f"{least} to {most:,}" if isinstance(most, int) else f"{least} to {most:g}"


def sentences() -> dict[str, tuple[str, str]]:
    """Default as written, and what it does, of every line of the shipped file; empty without it."""
    shipped = default_places()[0]
    section, said = "", {}
    for line in shipped.read_text("utf-8").splitlines() if shipped.is_file() else ():
        if head := _HEAD.fullmatch(line):
            section = f"{head[1]}."
        elif found := _LINE.fullmatch(line):
            said[section + found[1]] = (found[2], _RANGE_FIRST.sub("", found[3]))
    return said


def _source(name: str, environment: Mapping[str, str], in_file: set[str]) -> Source:
    if environment.get(environment_name(name)):
        return "environment"
    return "file" if name in in_file else "default"


def _file_values(environment: Mapping[str, str]) -> dict[str, Any]:
    """What the chosen settings file says now; nothing, if it cannot be read any more."""
    chosen = environment.get("EXCHANGE_CONFIG")
    places = (Path(chosen),) if chosen else default_places()
    path = next((place for place in places if place.is_file()), None)
    try:
        return tomllib.loads(path.read_text("utf-8")) if path else {}
    except (OSError, ValueError):
        return {}


def _flat_names(values: Mapping[str, Any], prefix: str = "") -> set[str]:
    found: set[str] = set()
    for name, value in values.items():
        found |= _flat_names(value, f"{name}.") if isinstance(value, dict) else {prefix + name}
    return found


def of_process(settings: Settings) -> list[Told]:
    """The settings of this process, by its environment."""
    return tell(settings, os.environ)
