"""What the builder of conditions (assets/conditions.js) has to know of a vertical. Pure."""

from collections.abc import Iterator
from typing import Any, Final

from exchange.conditions import ops_of
from exchange.fields import STATES, Field
from exchange.verticals import Vertical

_EXACT_MAX: Final = 2**53 - 1  # beyond it a browser's numbers are not whole
_LEVELS_MAX: Final = 6


def fields_of(vertical: Vertical) -> list[dict[str, Any]]:
    """Every field a condition may name, ping-stage ones first, each in the vertical's order. In a
    path `#` stands for a place in a list, which is the reader's to say."""
    ordered = sorted(vertical.fields, key=lambda one: one.stage != "ping")
    return [
        {**described, "stage": field.stage}
        for field in ordered
        for described in _described(field, field.name or "", 1)
    ]


def _described(field: Field, path: str, level: int) -> Iterator[dict[str, Any]]:
    found: dict[str, Any] = {
        "path": path,
        "label": _label(path),
        "type": field.type,
        "ops": [op.value for op in ops_of(field)],
    }
    if field.type == "enum":
        found["values"] = list(field.values)
    if field.type == "state":
        found["values"] = sorted(STATES)
    yield found
    if level == _LEVELS_MAX:
        return
    if field.items is not None:
        yield from _described(field.items, f"{path}.#", level + 1)
    for inner in field.fields:
        yield from _described(inner, f"{path}.{inner.name}", level + 1)


def _label(path: str) -> str:
    parts = [part.replace("_", " ") for part in path.split(".") if part != "#"]
    each = " (one of them)" if path.endswith("#") else ""
    return " › ".join(parts) + each


def is_exact(value: Any) -> bool:
    """Whether a browser would give every number back as it was given."""
    match value:
        case bool():
            return True
        case int():
            return abs(value) <= _EXACT_MAX
        case dict():
            return all(map(is_exact, value.values()))
        case list():
            return all(map(is_exact, value))
        case _:
            return True
