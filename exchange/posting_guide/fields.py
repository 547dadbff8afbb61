"""The fields of a vertical as a seller reads them, those inside objects and lists beneath them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from exchange.fields import Condition, Field, Stage

_FORMATS: Final = {
    "boolean": "true or false",
    "date": "YYYY-MM-DD",
    "datetime": "RFC 3339, such as 2026-01-31T09:30:00Z",
    "email": "e-mail address",
    "phone": "telephone number; kept as +12125550123",
    "zip": "five digits, or five and four; kept as five",
    "state": "two letters, such as CA",
    "ip": "IPv4 or IPv6 address",
    "url": "http or https address",
    "integer": "whole number",
    "decimal": 'decimal, as text or number, such as "12.50"',
    "string": "text",
    "object": "object with the fields below",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldRow:
    """One line of the table."""

    path: str  # drivers[].age
    depth: int  # 0: a property of `fields`
    type: str
    stage: Stage  # that of the top-level field
    required: bool
    required_if: str | None  # in words
    format: str
    values: tuple[str, ...]  # of an enum, as they are written in JSON
    example: object  # None: there is none


def field_rows(fields: Sequence[Field], example: Mapping[str, object]) -> tuple[FieldRow, ...]:
    """In the vertical's order, each field followed by what is inside it."""
    return tuple(
        row
        for field in fields
        for row in _rows(field, field.name, 0, field.stage or "post", example.get(field.name))
    )


def _rows(field: Field, path: str, depth: int, stage: Stage, example: object) -> Iterator[FieldRow]:
    yield FieldRow(
        path=path,
        depth=depth,
        type=field.type,
        stage=stage,
        required=field.required,
        required_if=None if field.required_if is None else in_words(field.required_if),
        format=_format(field),
        values=tuple(_json(one) for one in field.values),
        example=None if isinstance(example, dict | list) else example,
    )
    inner = field
    while (
        inner.items is not None
    ):  # a list's items have no name: their fields are said to be its own
        path, inner = f"{path}[]", inner.items
        example = example[0] if isinstance(example, list) and example else None
    for one in inner.fields:
        within = example.get(one.name) if isinstance(example, dict) else None
        yield from _rows(one, f"{path}.{one.name}", depth + 1, stage, within)


def in_words(condition: Condition) -> str:
    """When a field is required: `currently_insured is true`."""
    match condition.op:
        case "exists":
            return f"{condition.field} is {'absent' if condition.value is False else 'there'}"
        case "in" if isinstance(condition.value, tuple):
            return f"{condition.field} is one of {', '.join(map(_json, condition.value))}"
    return f"{condition.field} is {_json(condition.value)}"


def _format(field: Field) -> str:
    if field.type == "array":
        span = _span(field, 0, 50)
        items = field.items
        kind = (
            "things" if items is None else "objects" if items.type == "object" else _format(items)
        )
        return (
            f"list of {span} {kind}" if kind in {"things", "objects"} else f"list of {span}: {kind}"
        )
    if field.type == "enum":
        return "one of the values"
    text = _FORMATS[field.type]
    if field.type == "string":
        low, high = field.min or int(field.required), field.max or 1000
        text = f"text of {low} to {high} characters" if low else f"text of up to {high} characters"
        if field.pattern:
            text += f", all of it matching {field.pattern}"
    elif field.min is not None or field.max is not None:
        text += f", {_span(field)}"
    return text


def _span(field: Field, low: int | None = None, high: int | None = None) -> str:
    first = field.min if field.min is not None else low
    last = field.max if field.max is not None else high
    if first is None:
        return f"at most {last}"
    return f"at least {first}" if last is None else f"{first} to {last}"


def _json(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else str(value)
