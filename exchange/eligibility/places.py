"""Where a contract's filters stand in the index: in layers that must all hold, each of columns of
which one must hold.

A filter of `any` and `not` is multiplied out to clauses: "and" outside, "or" inside. One that would
become too long, or that has too many conditions which must stand apart, stands there whole and is
judged as it was compiled.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import chain, product
from math import prod
from typing import Any, Final, NamedTuple, Protocol

from buyers.contract import AnyOf, Condition, Contract, Filter, Not, Op
from exchange.eligibility.filters import INVERSE, kinds_of, read_as
from exchange.eligibility.values import Compiled, Predicate

_CLAUSES_MAX: Final = 8  # of one filter
_APART_MAX: Final = 8  # clauses of a contract that are in each other's way
_LISTED_MAX: Final = 1000  # values of a set; a larger one is asked whether it has the lead's
_ORDERED: Final = frozenset({Op.LT, Op.LTE, Op.GT, Op.GTE, Op.BETWEEN})

# and the ordered ops
EXISTS, EQUAL, PREFIX, AREA, ASKED = "exists", "equal", "prefix", "area", "asked"


class ColumnKey(NamedTuple):
    """Conditions that are looked up together."""

    field: str  # dotted; empty: of whole filters
    family: str
    kind: type | None  # what the field is read as; None: as it is
    inverse: bool = False  # ne and not_in: holds for what is present and not found
    negated: bool = False  # under `not`
    number: int = 0  # conditions of one clause that must stand apart
    map: int = 0  # of areas: by its identity


class LayerKey(NamedTuple):
    column: ColumnKey | None  # None: of clauses with several conditions
    number: int = 0  # clauses of one contract that must stand apart


class Place(NamedTuple):
    """One condition, or a whole filter, in its layer."""

    reads: frozenset[str]  # top-level fields that its whole filter reads
    layer: LayerKey
    column: ColumnKey | None  # None: of a clause without conditions, which never holds
    wanted: Any  # a set, a prefix, an end or both, an Area or an Asked; None: that the field exists


class Asked(NamedTuple):
    """A question that is put to each lead. Those with equal keys are one."""

    key: Hashable
    holds: Callable[[Any], bool]  # of what the column reads


class Area(Protocol):
    """What `zip_within` contains, drawn on a map: exchange.geo.Circle. Equal areas contain the same."""

    @property
    def points(self) -> Mapping[str, tuple[float, ...]]:
        """The whole map."""

    @property
    def spans(self) -> tuple[tuple[float, float], ...]:
        """On each axis, from where to where its points can be at most."""

    def __contains__(self, code: object) -> bool: ...


Clause = list[tuple[Condition, bool]]  # conditions, each with whether it is negated: one must hold
# As negations, all of a contract's can stand in one layer: none of them may be found to fail.
_WHOLE: Final = ColumnKey("", ASKED, None, negated=True)


def places_of(contract: Contract, filters: Iterable[Compiled]) -> list[Place]:
    """Everything that must hold of a contract. `filters`: its own, compiled."""
    found: list[Place] = []
    apart: Counter[Hashable] = Counter()
    for filter_, compiled in zip(contract.filters, filters, strict=True):
        places = _spread(filter_, compiled.fields, apart)
        if places is None:
            asked = Asked(_same(filter_), _fails(compiled.test))
            places = [Place(compiled.fields, LayerKey(_WHOLE), _WHOLE, asked)]
        found += places
    return found


def clauses_of(filter_: Filter, negated: bool = False) -> list[Clause] | None:
    """Clauses that must all hold for the filter to hold; None when they would be too many."""
    match filter_:
        case Condition():
            return [[(filter_, negated)]]
        case Not(inner):
            return clauses_of(inner, not negated)
        case AnyOf(filters):
            parts = [clauses_of(one, negated) for one in filters]
            whole = [part for part in parts if part is not None]
            count = sum(map(len, whole)) if negated else prod(map(len, whole))
            if len(whole) < len(parts) or count > _CLAUSES_MAX:
                return None
            if negated:
                return list(chain.from_iterable(whole))
            return [list(chain.from_iterable(choice)) for choice in product(*whole)]


def _spread(filter_: Filter, reads: frozenset[str], apart: Counter[Hashable]) -> list[Place] | None:
    """A filter's conditions, each in its place; None when they get in each other's way too often.
    `apart` counts what the contract has in layers where it may have one clause only."""
    clauses = clauses_of(filter_)
    if clauses is None:
        return None
    found = []
    for clause in clauses:
        columns = [_column_of(condition, negated) for condition, negated in clause]
        column = columns[0] if len(columns) == 1 else None
        number = apart[reads, column]
        if column is None or not _share(column, alone=True):
            apart[reads, column] += 1
        layer = LayerKey(column, number)
        numbered = columns if column is not None else _number(columns)
        if number >= _APART_MAX or any(one.number >= _APART_MAX for one in numbered):
            return None
        found += [
            Place(reads, layer, one, _wanted(condition))
            for one, (condition, _) in zip(numbered, clause, strict=True)
        ] or [Place(reads, layer, None, None)]
    return found


def _number(columns: list[ColumnKey]) -> list[ColumnKey]:
    """Those of one clause that cannot share a column stand in several."""
    seen: Counter[ColumnKey] = Counter()
    found = []
    for column in columns:
        found.append(column._replace(number=seen[column]) if column in seen else column)
        if not _share(column, alone=False):
            seen[column] += 1
    return found


def _share(column: ColumnKey, *, alone: bool) -> bool:
    """Whether a contract may have several conditions in this column. What is found in a column is
    found for one of them: that is right where one must hold, and, turned round, where all must
    (`alone`, each being a clause). An ordered column knows one end of a contract."""
    turned = column.inverse != column.negated
    return column.family not in _ORDERED and turned is alone


def _column_of(condition: Condition, negated: bool) -> ColumnKey:
    op, value = condition.op, condition.value
    if op is Op.EXISTS:
        return ColumnKey(condition.field, EXISTS, None, negated=negated is bool(value))
    kind, inverse = read_as(condition), op in INVERSE
    if op in _ORDERED:
        kind, family = next(iter(kinds_of(condition))), op.value
    elif op is Op.PREFIX:
        family = PREFIX
    elif op is Op.ZIP_WITHIN and hasattr(value, "spans"):
        return ColumnKey(condition.field, AREA, kind, inverse, negated, map=id(value.points))
    else:
        family = ASKED if _is_asked(condition) else EQUAL
    return ColumnKey(condition.field, family, kind, inverse, negated)


def _wanted(condition: Condition) -> Any:
    op, value = condition.op, condition.value
    if op is Op.EXISTS:
        return None
    if _is_asked(condition):
        kinds = kinds_of(condition)
        return Asked(
            (kinds, _identity(value)), lambda found: type(found) in kinds and found in value
        )
    return (value,) if op in {Op.EQ, Op.NE} else value


def _is_asked(condition: Condition) -> bool:
    """A set that is too long to be listed, or the ZIP codes of who has no map."""
    value = condition.value
    if condition.op is Op.ZIP_WITHIN:
        return not hasattr(value, "spans")
    return isinstance(value, frozenset) and len(value) > _LISTED_MAX


def _identity(value: Any) -> Hashable:
    """To read 40,000 values takes a millisecond; whoever loads contracts gives equal ones one set."""
    if isinstance(value, frozenset) and len(value) > _LISTED_MAX:
        return "the set", id(value)
    return (value, id(value.points)) if hasattr(value, "points") else value


def _fails(test: Predicate) -> Predicate:
    return lambda fields: not test(fields)


def _same(filter_: Filter) -> Hashable:
    """Equal for filters that mean the same; true is not 1, though Python has them equal."""
    match filter_:
        case Condition():
            return filter_.field, filter_.op, kinds_of(filter_), _identity(filter_.value)
        case Not(inner):
            return "not", _same(inner)
        case AnyOf(filters):
            return tuple(map(_same, filters))
