"""Reads a contract's filters against its vertical: unknown fields and wrong values are problems.

Limits keep a filter from becoming a program: 4 levels deep, 200 conditions, 50,000 values in a list.

What a condition means is said at `exchange.eligibility.compile_filter`. Its value is normalised as
the field's values are: a lead's ZIP is kept as five digits however it was sent, so a condition's
`90210-1234` is 90210 too, and matches every lead of 90210.
"""

import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError

from buyers.contract import AnyOf, Condition, Filter, Not, Op
from exchange.errors import PlacesMissing, Problem
from exchange.fields import Field, FieldType, schema_of
from exchange.verticals import Vertical

DEPTH_MAX: Final = 4
CONDITIONS_MAX: Final = 200
VALUES_MAX: Final = 50_000
MILES_MAX: Final = 500
_TOLD_MAX: Final = 20  # wrong values of one list
_PLACES: Final = frozenset(map(str, range(100)))  # in an array
_OPS: Final = frozenset(op.value for op in Op)
_ORDERED: Final = frozenset({Op.LT, Op.LTE, Op.GT, Op.GTE, Op.BETWEEN})
_ORDERED_TYPES: Final = frozenset({"integer", "decimal", "date", "datetime"})
_TEXT_TYPES: Final = frozenset({"string", "enum", "zip", "state", "email", "phone", "url", "ip"})
_NORMALISED: Final[tuple[FieldType, ...]] = (
    "string", "zip", "state", "email", "phone", "url", "ip", "date", "datetime",
)  # fmt: skip
# A lead's values are compared as they were normalised, so a condition's are normalised alike.
_NORMAL: Final = {kind: SchemaValidator(schema_of(Field(type=kind))) for kind in _NORMALISED}


_ZIPS: Final = re.compile(r"\d{5}(-?\d{4})?(\n\d{5}(-?\d{4})?)*", re.ASCII)
# What a prefix may be, where another could never match what leads are normalised to.
_PREFIXES: Final = {
    "zip": (re.compile(r"\d{1,5}", re.ASCII), "must be one to five digits"),
    "state": (re.compile("[A-Za-z]{1,2}"), "must be one or two letters"),
    "phone": (re.compile(r"\+\d{0,15}", re.ASCII), "must be the start of a number like +1512"),
}
# The ZIP codes within so many miles of one; None if that one is not known. Raises PlacesMissing.
# It is passed in, as the centres of ZIP codes come from outside (exchange/geo.py).
Near = Callable[[str, Decimal], Container[str] | None]


class _Wrong(ValueError):
    """Faults inside a value: dotted place in it, and what would be right."""

    def __init__(self, *faults: tuple[str, str]) -> None:
        super().__init__(faults[0][1])
        self.faults = faults


class _NeverMatches(Problem):
    """Of a value that can be read, and that no lead's is ever like."""


def no_places(_code: str, _miles: Decimal) -> Container[str] | None:
    """The `Near` of who has no map."""
    raise PlacesMissing


def filter_problems(
    documents: list[Any],
    vertical: Vertical,
    path: str,
    near: Near = no_places,
    *,
    is_stored: bool = False,
) -> tuple[Problem, ...]:
    """Everything wrong with a contract's filters; empty when `filter_value` can read them all.

    What is being written must also be able to match. What is stored may be older than that rule:
    under `not` or `any` it trades as it always did.
    """
    if _count(documents) > CONDITIONS_MAX:
        return (Problem(path, "too_long", f"at most {CONDITIONS_MAX} conditions"),)
    return tuple(
        problem
        for place, one in enumerate(documents)
        for problem in _problems(one, vertical, f"{path}.{place}", near)
        if not (is_stored and isinstance(problem, _NeverMatches))
    )


def filter_value(document: Mapping[str, Any], vertical: Vertical, near: Near = no_places) -> Filter:
    """The filter of a document without problems. Raises PlacesMissing if `near` does."""
    if "any" in document:
        return AnyOf(tuple(filter_value(inner, vertical, near) for inner in document["any"]))
    if "not" in document:
        return Not(filter_value(document["not"], vertical, near))
    field = find_field(vertical, document["field"])
    assert field is not None, "a stored filter was checked"
    op = Op(document["op"])
    value = _value(op, document["value"], field, near)
    return Condition(field=document["field"], op=op, value=value)


def find_field(vertical: Vertical, dotted: str) -> Field | None:
    """The field a dotted name leads to: "drivers.0.age" is the age of the first driver."""
    first, *rest = dotted.split(".")
    field = next((one for one in vertical.fields if one.name == first), None)
    for part in rest:
        if field is None:
            return None
        if field.type == "array":
            field = field.items if part in _PLACES else None
        else:
            field = next((one for one in field.fields if one.name == part), None)
    return field


def _count(documents: object, depth: int = 0) -> int:
    if depth > 2 * DEPTH_MAX:  # lists and objects take turns; it is too deep, and told so
        return 0
    if isinstance(documents, list):
        return sum(_count(one, depth + 1) for one in documents)
    if isinstance(documents, dict):
        return 1 + sum(_count(documents.get(name), depth + 1) for name in ("any", "not"))
    return 0


def _problems(
    document: Any, vertical: Vertical, path: str, near: Near, depth: int = 1
) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem(
            path, "invalid_type", 'must be {"field","op","value"}, {"any":[…]} or {"not":{…}}'
        )
    elif depth > DEPTH_MAX:
        yield Problem(path, "too_deep", f"at most {DEPTH_MAX} levels")
    elif set(document) == {"any"} and isinstance(document["any"], list) and document["any"]:
        for place, inner in enumerate(document["any"]):
            yield from _problems(inner, vertical, f"{path}.any.{place}", near, depth + 1)
    elif set(document) == {"not"}:
        yield from _problems(document["not"], vertical, f"{path}.not", near, depth + 1)
    elif set(document) == {"field", "op", "value"}:
        yield from _condition_problems(document, vertical, path, near)
    else:
        yield Problem(
            path, "bad_format", 'must have exactly field, op and value, or "any", or "not"'
        )


def _condition_problems(
    document: dict[str, Any], vertical: Vertical, path: str, near: Near
) -> Iterator[Problem]:
    name, op_name = document["field"], document["op"]
    if not isinstance(op_name, str) or op_name not in _OPS:
        yield Problem(f"{path}.op", "not_allowed", "must be one of " + ", ".join(sorted(_OPS)))
        return
    field = find_field(vertical, name) if isinstance(name, str) else None
    if field is None:
        yield Problem(f"{path}.field", "unknown_field", "is not a field of the vertical")
        return
    op = Op(op_name)
    if (fault := _misfit(op, field)) is not None:
        yield Problem(f"{path}.op", "not_allowed", fault)
        return
    try:
        _value(op, document["value"], field, near)
    except PlacesMissing as error:
        yield Problem(f"{path}.op", "not_supported", str(error))
    except _Wrong as error:
        for place, text in error.faults:
            yield Problem(f"{path}.value{place}", "invalid", text)
    except (ValueError, TypeError) as error:
        yield Problem(f"{path}.value", "invalid", str(error))
    else:
        form, fault = _PREFIXES.get(field.type, (None, ""))
        if op is Op.PREFIX and form is not None and not form.fullmatch(document["value"]):
            yield _NeverMatches(f"{path}.value", "invalid", fault)


def ops_of(field: Field) -> tuple[Op, ...]:
    """What a field of this type may be tested with."""
    return tuple(op for op in Op if _misfit(op, field) is None)


def _misfit(op: Op, field: Field) -> str | None:
    if op is Op.EXISTS:
        return None
    if field.type in {"object", "array"}:
        return "an object or array can only be tested with exists"
    if op in _ORDERED and field.type not in _ORDERED_TYPES:
        return "needs a number or a date"
    if op is Op.PREFIX and field.type not in _TEXT_TYPES:
        return "needs a text field"
    if op is Op.ZIP_WITHIN and field.type != "zip":
        return "needs a field of type zip"
    return None


def _value(op: Op, value: Any, field: Field, near: Near) -> Any:
    """The condition's value as it will be compared. Raises ValueError saying what would be right."""
    match op:
        case Op.EXISTS:
            if not isinstance(value, bool):
                raise ValueError("exists takes true or false")
            return value
        case Op.IN | Op.NOT_IN:
            return _set(value, field)
        case Op.BETWEEN:
            return _pair(value, field)
        case Op.PREFIX:
            return _prefix(value, field)
        case Op.ZIP_WITHIN:
            return _circle(value, field, near)
        case _:
            return _single(value, field)


def normal_values(values: Iterable[Any], field: Field) -> Iterator[Any]:
    """Those of a list without problems, as they will be compared."""
    return (_single(value, field) for value in values)


def _set(values: Any, field: Field) -> frozenset[Any]:
    """A set stands for a list that was read before (exchange/store/catalogue.py reads in slices)."""
    if isinstance(values, frozenset):
        return values
    if not isinstance(values, list) or not values or len(values) > VALUES_MAX:
        raise ValueError(f"must be a list of 1 to {VALUES_MAX} values")
    if field.type == "zip" and (codes := _read_zips(values)) is not None:
        return codes
    found, faults = [], []
    for place, value in enumerate(values):
        try:
            found.append(_single(value, field))
        except ValueError as error:
            faults.append((f".{place}", str(error)))
            if len(faults) == _TOLD_MAX:
                break
    if faults:
        raise _Wrong(*faults)
    return frozenset(found)


def _read_zips(values: list[Any]) -> frozenset[str] | None:
    """As one by one, but all in one match; None if any is of another form, or wrong."""
    try:
        text = "\n".join(values)
    except TypeError:
        return None
    if text.count("\n") != len(values) - 1 or not _ZIPS.fullmatch(text):
        return None
    return frozenset([value[:5] for value in values])


def _pair(value: Any, field: Field) -> tuple[Any, Any]:
    if not isinstance(value, list) or len(value) != 2:
        raise ValueError("must be a list of two values, both ends included")
    low, high = _single(value[0], field), _single(value[1], field)
    if low > high:
        raise ValueError("the first value must not be above the second")
    return low, high


def _prefix(value: Any, field: Field) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("must be text")
    return value.upper() if field.type == "state" else value


def _circle(value: Any, field: Field, near: Near) -> Container[str]:
    if not isinstance(value, Mapping) or set(value) != {"zip", "miles"}:
        raise ValueError('must be like {"zip": "90210", "miles": 25}')
    faults, code, miles = [], "", Decimal(0)
    try:
        code = _single(value["zip"], field)
    except ValueError as error:
        faults.append((".zip", str(error)))
    try:
        miles = _decimal(value["miles"])
    except ValueError as error:
        faults.append((".miles", str(error)))
    else:
        if not 0 < miles <= MILES_MAX:
            faults.append((".miles", f"must be above 0 and at most {MILES_MAX}"))
    if faults:
        raise _Wrong(*faults)
    found = near(code, miles)
    if found is None:
        raise _Wrong((".zip", "is not a ZIP code whose place is known: take one nearby"))
    return found


def _single(value: Any, field: Field) -> Any:
    match field.type:
        case "integer":
            if not isinstance(value, int) or isinstance(value, bool):
                raise ValueError("must be a whole number")
            return value
        case "decimal":
            return _decimal(value)
        case "boolean":
            if not isinstance(value, bool):
                raise ValueError("must be true or false")
            return value
        case "enum":
            if type(value) not in {str, int} or value not in field.values:
                raise ValueError("must be one of the field's values")
            return value
        case "datetime":
            # As text "…:00.5Z" would sort before "…:00Z".
            return datetime.fromisoformat(_normal(value, field.type))
        case _:
            return _normal(value, field.type)


def _normal(value: Any, kind: FieldType) -> Any:
    try:
        return _NORMAL[kind].validate_python(value)
    except ValidationError as error:  # its own text repeats the value
        raise ValueError(error.errors(include_input=False)[0]["msg"]) from None


def _decimal(value: Any) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number or a decimal string")
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise ValueError("must be a number or a decimal string") from None
    if not number.is_finite():
        raise ValueError("must be finite")
    return number
