"""A made-up lead of any vertical, for testing buyers' endpoints: nobody can be called or written to.

Every field is there, of its type and within its limits; the same number gives the same person. It
is not `exchange/samples.py`, whose people live in real places: unpacking those holds a loop up.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError
from pydantic_core import SchemaValidator

from buyers.certify import TestLead
from exchange.fields import Field, bounds_of, schema_of
from exchange.verticals import FieldChecks, Vertical, compile_fields

PEOPLE: Final = 100  # as many numbers as 555-01xx has
_TEXTS: Final = {
    "first_name": "Ann", "last_name": "Example", "city": "Los Angeles", "address1": "1 Oak St",
    "timezone": "America/Los_Angeles", "make": "Honda", "model": "Civic", "language": "en",
    "tcpa_text": "I agree that partners of example.com may call and text me.",
}  # fmt: skip
_NUMBERS: Final = {"age": 34, "year": 2019, "square_feet": 1800, "year_built": 1990}
_DAY: Final = date(2026, 1, 15)
_AT: Final = datetime(2026, 1, 15, 9, 30, tzinfo=UTC)
# What most patterns ask for: digits of some length, a UUID, a VIN, letters and digits.
_SHAPES: Final = (
    *("12345678901234567890"[:length] for length in range(1, 21)),
    str(UUID(int=0x1234, version=4)), "1HGCM82633A004352", "A1234567", "AB", "ABC",
)  # fmt: skip


def made_up_lead(vertical: Vertical, number: int) -> TestLead:
    """Valid for the vertical, normalised. Where no value can be thought of for a pattern, an
    optional field is left out, and a required one does not match."""
    checks, number = compile_fields(vertical), number % PEOPLE
    fields = {one.name: _value(one, number) for one in vertical.fields}
    fields = _without_faults(checks, vertical, fields)
    shown = checks.ping_field_names
    ping = {name: value for name, value in fields.items() if name in shown}
    return TestLead(ping=ping, lead=fields)


def _without_faults(
    checks: FieldChecks, vertical: Vertical, fields: Mapping[str, object]
) -> dict[str, Any]:
    checked = checks.lead(fields)
    if not checked.problems:
        return checked.values
    at_fault = {problem.path.split(".")[1] for problem in checked.problems}
    optional = {one.name for one in vertical.fields if not one.required}
    kept = {name: value for name, value in fields.items() if name not in at_fault & optional}
    return checks.lead(kept).values or kept


def _value(field: Field, number: int) -> object:
    match field.type:
        case "object":
            return {inner.name: _value(inner, number) for inner in field.fields}
        case "array":
            assert field.items is not None, "an array has items"
            least, most = bounds_of(field, 0, 1)
            return [_value(field.items, number)] * min(max(least, 1), max(most, least))
        case "enum":
            return field.values[0]
        case "boolean":
            return True
        case "integer" | "decimal" | "date" | "datetime":
            return _measure(field)
        case "string":
            return _text(field)
        case _:
            return _reserved(field.type, number)


def _measure(field: Field) -> object:
    """Something usual, moved into the field's own limits."""
    low, high = bounds_of(field)
    usual = {"integer": _NUMBERS.get(field.name, 1), "decimal": Decimal(100), "date": _DAY}
    found = usual.get(field.type, _AT)
    if low is not None:
        found = max(found, low)
    if high is not None:
        found = min(found, high)
    if isinstance(found, int):
        return found
    return str(found) if isinstance(found, Decimal) else found.isoformat()  # type: ignore[attr-defined]


def _text(field: Field) -> str:
    least, most = bounds_of(field, 1, 1000)
    usual = _TEXTS.get(field.name, "example")
    found = usual.ljust(least, "x")[: max(most, least)]
    if field.pattern is None:
        return found
    fits = SchemaValidator(schema_of(field))
    return next((one for one in (found, *_SHAPES) if _holds(fits, one)), found)


def _holds(fits: SchemaValidator, text: str) -> bool:
    try:
        fits.validate_python(text)
    except ValidationError:
        return False
    return True


def _reserved(type_: str, number: int) -> str:
    """Names, numbers and networks that are kept for examples."""
    return {
        "email": f"ann.{number}@example.com",
        "phone": f"+121355501{number:02}",
        "zip": "90012",
        "state": "CA",
        "ip": f"192.0.2.{number + 1}",
        "url": "https://www.example.com/quote",
    }[type_]
