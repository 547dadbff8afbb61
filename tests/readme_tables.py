"""The README's tables of settings, reasons and metrics, made from the code.

`python -m tests.readme_tables` prints them, `python -m tests.readme_tables --write` puts them into
README.md between their marks. tests/test_readme.py fails while they differ.
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from exchange.metrics import series
from exchange.reasons import REASONS
from exchange.settings import environment_name, setting_names
from exchange.settings_told import range_of, sentences, unit_of

ROOT: Final = Path(__file__).resolve().parent.parent
README: Final = ROOT / "README.md"


def settings_table() -> str:
    """Name, variable, default, unit, range, sentence: limits from the model, words from the file."""
    said = sentences()
    rows = []
    for name in setting_names():
        default, sentence = said[name]
        rows.append(
            (f"`{name}`", f"`{environment_name(name)}`", _default(default), unit_of(name) or "–",
             range_of(name) or "–", sentence)
        )  # fmt: skip
    return _table(("setting", "environment", "default", "unit", "range", "what it does"), rows)


def reasons_table() -> str:
    """Number, name, meaning, by number."""
    rows = sorted((one.number, f"`{name}`", one.text) for name, one in REASONS.items())
    return _table(("no.", "reason", "meaning"), [(str(no), name, text) for no, name, text in rows])


def metrics_table() -> str:
    """Name, type, labels, meaning: what the workers count, then what the office adds."""
    rows = []
    for one in (*series.WORKERS.values(), *series.OFFICE.values()):
        names = (*one.labels, *(("worker",) if one.per == "worker" else ()))
        labels = ", ".join(f"`{label}`" for label in names) or "–"
        rows.append((f"`{one.shown}`", one.kind, labels, one.text))
    return _table(("series", "type", "labels", "meaning"), rows)


def scrape_table() -> str:
    """How many lines a scrape has at most, for each of what."""
    rows = [(one, str(lines)) for one, lines in series.lines_per().items()]
    return _table(("for each", "lines at most"), rows)


TABLES: Final = {
    "settings": settings_table, "reasons": reasons_table, "metrics": metrics_table, "scrape": scrape_table,
}  # fmt: skip


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


def _default(text: str) -> str:
    return "–" if text in {'""', "[]"} else f"`{text}`"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


if __name__ == "__main__":
    if sys.argv[1:] == ["--write"]:
        README.write_text(with_tables(README.read_text("utf-8")), "utf-8")
    else:
        print(*(table() for table in TABLES.values()), sep="\n\n")
