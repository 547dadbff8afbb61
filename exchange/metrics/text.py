"""The text format of Prometheus, version 0.0.4."""

from collections.abc import Iterable, Mapping

from exchange.metrics.series import Series


def header(one: Series) -> str:
    """The two comments above a family."""
    text = one.text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {one.shown} {text}\n# TYPE {one.shown} {one.kind}\n"


def name_with(name: str, labels: Mapping[str, str]) -> str:
    """A sample's name with its labels, in the order given."""
    if not labels:
        return name
    pairs = ",".join(f'{label}="{_escaped(value)}"' for label, value in labels.items())
    return f"{name}{{{pairs}}}"


def line(name: str, value: float) -> str:
    """One sample; `name` is `name_with`'s."""
    return f"{name} {float(value)!r}\n"


def family(one: Series, rows: Iterable[tuple[tuple[str, ...], float]]) -> str:
    """A family of the office: each row has its labels' values and its value. Nothing without rows."""
    lines = [
        line(name_with(one.shown, dict(zip(one.labels, labels, strict=True))), value)
        for labels, value in rows
    ]
    return header(one) + "".join(lines) if lines else ""


def _escaped(value: str) -> str:
    return value.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
