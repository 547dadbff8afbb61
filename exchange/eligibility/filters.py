"""A contract's filters, compiled one by one: what each means, and what a receipt says of it."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from buyers.contract import AnyOf, Condition, Filter, Not, Op
from exchange.eligibility.values import Compiled, Fields, Predicate

_TOLD_MAX: Final = 160  # characters told of a filter: a receipt has one for each contract skipped
_PARTS_MAX: Final = 3  # of `any`
INVERSE: Final = frozenset({Op.NE, Op.NOT_IN})  # hold for what is present and does not equal


def first_failing(
    filters: Iterable[Compiled], fields: Fields, known: Callable[[str], bool]
) -> Compiled | None:
    """The first filter that does not hold; None when all (knowable) hold."""
    for one in filters:
        if all(map(known, one.fields)) and not one.test(fields):
            return one
    return None


def compile_filters(filters: Iterable[Filter]) -> tuple[Compiled, ...]:
    """A contract's filters, each knowing its place among them."""
    return tuple(compile_filter(one, f"filters.{place}") for place, one in enumerate(filters))


def compile_filter(filter_: Filter, path: str = "filters.0") -> Compiled:
    """A filter as one closure, and what is told when it fails. `path` is its place in the contract.

    A contract's filters must all hold. This is what holding means:

    - A field is *absent* if it was not sent or is null, if a part of its dotted path leads nowhere
      (an object without that property, a list that is too short, a plain value), or if a decimal
      or an instant is wanted and it cannot be read as one.
    - A condition on an absent field is false, whatever its op, `ne` and `not_in` too; only
      `exists: false` is true.
    - `not` negates the result: on an absent field it is true. `any` is true if one of its filters
      is.
    - Decimals compare as numbers ("10.0" is 10), instants as moments (whatever their offset),
      dates by the calendar, texts and enums exactly, as they were normalised.
    - A present value of another kind than the condition's (kept from before the vertical changed;
      true is not 1) equals none: `ne` and `not_in` are true, every other op is false.
    - `between` and `zip_within` include both ends. A ZIP code whose place is not known is within no
      distance.
    """
    told = _told(filter_, path)
    if len(told) > _TOLD_MAX:
        told = told[: _TOLD_MAX - 1] + "…"
    return Compiled(_judge(filter_), frozenset(_reads(filter_)), told)


def _told(filter_: Filter, path: str) -> str:
    """Never a value, neither the lead's (it may be personal) nor the condition's 40,000."""
    match filter_:
        case Condition():
            return f"{path}: {_brief(filter_)}"
        case Not(inner):
            return _told(inner, f"{path}.not")
        case AnyOf(filters):
            parts = [_brief(one) for one in filters[:_PARTS_MAX]]
            return f"{path}.any: " + ", ".join(parts) + ", …" * (len(filters) > _PARTS_MAX)


def _brief(filter_: Filter) -> str:
    match filter_:
        case Condition():
            return f"{filter_.field} {filter_.op.value}"
        case Not(inner):
            return f"not {_brief(inner)}"
        case AnyOf(filters):
            return f"any of {len(filters)}"


def _reads(filter_: Filter) -> Iterator[str]:
    match filter_:
        case AnyOf(filters):
            for inner in filters:
                yield from _reads(inner)
        case Not(inner):
            yield from _reads(inner)
        case Condition():
            yield filter_.field.partition(".")[0]


def _judge(filter_: Filter) -> Predicate:
    match filter_:
        case AnyOf(filters):
            tests = tuple(map(_judge, filters))
            return lambda fields: any(test(fields) for test in tests)
        case Not(inner):
            test = _judge(inner)
            return lambda fields: not test(fields)
        case Condition():
            return _condition(filter_)


def _condition(condition: Condition) -> Predicate:
    value, see = condition.value, reading(condition.field, read_as(condition))
    if condition.op is Op.EXISTS:
        wanted = bool(value)
        return lambda fields: (see(fields) is not None) is wanted
    kinds = kinds_of(condition)
    holds, of_other_kind = _COMPARE[condition.op], condition.op in INVERSE

    def test(fields: Fields) -> bool:
        found = see(fields)
        if found is None:
            return False
        return holds(found, value) if type(found) in kinds else of_other_kind

    return test


def reading(dotted: str, kind: type | None) -> Callable[[Fields], Any]:
    """How a condition sees its field: the value as it will be compared, None where it is absent."""
    look_up, read = _path(dotted), _READ.get(kind or str)
    if read is None:
        return look_up

    def see(fields: Fields) -> Any:
        found = look_up(fields)
        return None if found is None else read(found)

    return see


def read_as(condition: Condition) -> type | None:
    """What a condition's field is read as: numbers and moments travel as text; None: as it is."""
    kinds = kinds_of(condition)
    kind = next(iter(kinds)) if len(kinds) == 1 else str
    return kind if kind in _READ else None


def kinds_of(condition: Condition) -> frozenset[type]:
    """What may equal the condition's value, or one of its values.

    By the first of them, so that 40,000 cost nothing: all are of one kind, but that an enum may
    have texts and integers, which are never equal.
    """
    value = condition.value
    if condition.op is Op.ZIP_WITHIN:
        return _TEXT
    if isinstance(value, frozenset):
        first = type(next(iter(value), ""))
        return _TEXT_OR_INTEGER if first in _TEXT_OR_INTEGER else frozenset({first})
    return frozenset({type(value[0] if isinstance(value, tuple) else value)})


def _decimal(found: Any) -> Decimal | None:
    """Decimals and instants travel as text. None for what is kept from before the field was one."""
    try:
        number = Decimal(str(found))
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _instant(found: Any) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(found))
    except ValueError:
        return None
    return moment if moment.tzinfo else None


_TEXT: Final = frozenset({str})
_TEXT_OR_INTEGER: Final = frozenset({str, int})
_READ: dict[type, Callable[[Any], Any]] = {Decimal: _decimal, datetime: _instant}


def _path(dotted: str) -> Callable[[Fields], Any]:
    first, *rest = dotted.split(".")
    if not rest:
        return lambda fields: fields.get(first)

    def look_up(fields: Fields) -> Any:
        value: Any = fields.get(first)
        for part in rest:
            if isinstance(value, Mapping):
                value = value.get(part)
            elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
                value = value[int(part)]
            else:
                return None
        return value

    return look_up


_COMPARE: dict[Op, Callable[[Any, Any], bool]] = {
    Op.EQ: lambda found, value: bool(found == value),
    Op.NE: lambda found, value: bool(found != value),
    Op.IN: lambda found, value: found in value,
    Op.NOT_IN: lambda found, value: found not in value,
    Op.LT: lambda found, value: bool(found < value),
    Op.LTE: lambda found, value: bool(found <= value),
    Op.GT: lambda found, value: bool(found > value),
    Op.GTE: lambda found, value: bool(found >= value),
    Op.BETWEEN: lambda found, value: bool(value[0] <= found <= value[1]),
    Op.PREFIX: lambda found, value: bool(found.startswith(value)),
    Op.ZIP_WITHIN: lambda found, value: found in value,
}
