"""Reads a contract's filters against its vertical: unknown fields and wrong values are problems.

Limits keep a filter from becoming a program: 4 levels deep, 200 conditions, 50,000 values in a list.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from pydantic_core import SchemaValidator, ValidationError

from buyers.contract import AnyOf, Condition, Filter, Not, Op
from exchange.errors import Problem
from exchange.fields import Field, FieldType, schema_of
from exchange.verticals import Vertical

DEPTH_MAX: Final = 4
CONDITIONS_MAX: Final = 200
VALUES_MAX: Final = 50_000
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


def filter_problems(documents: list[Any], vertical: Vertical, path: str) -> tuple[Problem, ...]:
    """Everything wrong with a contract's filters; empty when `filter_value` can read them all."""
    if _count(documents) > CONDITIONS_MAX:
        return (Problem(path, "too_long", f"at most {CONDITIONS_MAX} conditions"),)
    return tuple(
        problem
        for place, one in enumerate(documents)
        for problem in _problems(one, vertical, f"{path}.{place}", 1)
    )


def filter_value(document: Mapping[str, Any], vertical: Vertical) -> Filter:
    """The filter of a document without problems."""
    if "any" in document:
        return AnyOf(tuple(filter_value(inner, vertical) for inner in document["any"]))
    if "not" in document:
        return Not(filter_value(document["not"], vertical))
    field = find_field(vertical, document["field"])
    assert field is not None, "a stored filter was checked"
    op = Op(document["op"])
    return Condition(field=document["field"], op=op, value=_value(op, document["value"], field))


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


def _problems(document: Any, vertical: Vertical, path: str, depth: int) -> Iterator[Problem]:
    if not isinstance(document, dict):
        yield Problem(
            path, "invalid_type", 'must be {"field","op","value"}, {"any":[…]} or {"not":{…}}'
        )
    elif depth > DEPTH_MAX:
        yield Problem(path, "too_deep", f"at most {DEPTH_MAX} levels")
    elif set(document) == {"any"} and isinstance(document["any"], list) and document["any"]:
        for place, inner in enumerate(document["any"]):
            yield from _problems(inner, vertical, f"{path}.any.{place}", depth + 1)
    elif set(document) == {"not"}:
        yield from _problems(document["not"], vertical, f"{path}.not", depth + 1)
    elif set(document) == {"field", "op", "value"}:
        yield from _condition_problems(document, vertical, path)
    else:
        yield Problem(
            path, "bad_format", 'must have exactly field, op and value, or "any", or "not"'
        )


def _condition_problems(
    document: dict[str, Any], vertical: Vertical, path: str
) -> Iterator[Problem]:
    name, op_name = document["field"], document["op"]
    if op_name == "zip_within":
        yield Problem(f"{path}.op", "not_supported", "zip_within is not supported by this version")
        return
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
        _value(op, document["value"], field)
    except (ValueError, TypeError) as error:
        yield Problem(f"{path}.value", "invalid", str(error))


def _misfit(op: Op, field: Field) -> str | None:
    if op is Op.EXISTS:
        return None
    if field.type in {"object", "array"}:
        return "an object or array can only be tested with exists"
    if op in _ORDERED and field.type not in _ORDERED_TYPES:
        return "needs a number or a date"
    if op is Op.PREFIX and field.type not in _TEXT_TYPES:
        return "needs a text field"
    return None


def _value(op: Op, value: Any, field: Field) -> Any:
    """The condition's value as it will be compared. Raises ValueError saying what would be right."""
    if op is Op.EXISTS:
        if not isinstance(value, bool):
            raise ValueError("exists takes true or false")
        return value
    if op in {Op.IN, Op.NOT_IN}:
        if not isinstance(value, list) or not value or len(value) > VALUES_MAX:
            raise ValueError(f"must be a list of 1 to {VALUES_MAX} values")
        return frozenset(_single(one, field) for one in value)
    if op is Op.BETWEEN:
        if not isinstance(value, list) or len(value) != 2:
            raise ValueError("must be a list of two values, both ends included")
        low, high = _single(value[0], field), _single(value[1], field)
        if low > high:
            raise ValueError("the first value must not be above the second")
        return (low, high)
    if op is Op.PREFIX:
        if not isinstance(value, str) or not value:
            raise ValueError("must be text")
        return value.upper() if field.type == "state" else value
    return _single(value, field)


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
