"""The README's tables of settings, reasons and metrics, made from the code.

`python -m tests.readme_tables` prints them, `python -m tests.readme_tables --write` puts them into
README.md between their marks. tests/test_readme.py fails while they differ.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from exchange.metrics import Metrics, OfficeMetrics
from exchange.reasons import REASONS
from exchange.settings import Settings, environment_name, setting_names

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"
_UNITS: Final = {"ms": "ms", "s": "s", "hours": "h", "days": "days", "bytes": "bytes"}


def settings_table() -> str:
    """Name, variable, default, unit, range, sentence: limits from the model, words from the file."""
    said = _said()
    rows = []
    for name in setting_names():
        default, comment = said[name]
        sentence = re.sub(r"^(\d[\d.]* to [^.]*|\d+ hexadecimal digits)\. ", "", comment)
        rows.append(
            (f"`{name}`", f"`{environment_name(name)}`", _default(default), _unit(name), _range(name),
             sentence)
        )  # fmt: skip
    return _table(("setting", "environment", "default", "unit", "range", "what it does"), rows)


def reasons_table() -> str:
    """Number, name, meaning, by number."""
    rows = sorted((one.number, f"`{name}`", one.text) for name, one in REASONS.items())
    return _table(("no.", "reason", "meaning"), [(str(no), name, text) for no, name, text in rows])


def metrics_table() -> str:
    """Name, type, labels, meaning: what the workers count, then what the office adds."""
    found = [*_metrics(Metrics(CollectorRegistry())), *_metrics(OfficeMetrics(ROOT))]
    rows = []
    for one in found:
        name = one._name + ("_total" if one._type == "counter" else "")
        labels = ", ".join(f"`{label}`" for label in one._labelnames) or "–"
        rows.append((f"`{name}`", one._type, labels, one._documentation))
    return _table(("series", "type", "labels", "meaning"), rows)


TABLES: Final = {"settings": settings_table, "reasons": reasons_table, "metrics": metrics_table}


def written(name: str, text: str) -> str:
    """What stands between the marks of a table now."""
    return text.partition(_mark(name))[2].partition(_END)[0].strip()


def with_tables(text: str) -> str:
    """The README with every table as the code has it."""
    for name, table in TABLES.items():
        head, mark, rest = text.partition(_mark(name))
        _, end, tail = rest.partition(_END)
        text = f"{head}{mark}\n{table()}\n{end}{tail}"
    return text


_END: Final = "<!-- end -->"


def _mark(name: str) -> str:
    return f"<!-- table: {name} -->"


def _metrics(declared: object) -> Iterable[Any]:
    return [value for value in vars(declared).values() if hasattr(value, "_documentation")]


def _said() -> dict[str, tuple[str, str]]:
    """Default and comment of every line of config/exchange.toml."""
    section, said = "", {}
    for line in (ROOT / "config" / "exchange.toml").read_text("utf-8").splitlines():
        if head := re.fullmatch(r"\[(\w+)\]", line):
            section = f"{head[1]}."
        elif found := re.fullmatch(r"# (\w+) = (.*?)\s*# (.*)", line):
            said[section + found[1]] = (found[2], found[3])
    return said


def _default(text: str) -> str:
    return "–" if text in {'""', "[]"} else f"`{text}`"


def _unit(name: str) -> str:
    words = name.rpartition(".")[2].split("_")
    return next((_UNITS[word] for word in reversed(words) if word in _UNITS), "–")


def _range(name: str) -> str:
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
        return "–"
    least = f"above {limits['gt']:g}" if "gt" in limits else f"{limits['ge']:,}"
    most = limits["le"]
    return f"{least} to {most:,}" if isinstance(most, int) else f"{least} to {most:g}"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
    else:
        print(*(table() for table in TABLES.values()), sep="\n\n")
