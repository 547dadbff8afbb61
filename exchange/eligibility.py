"""Which contracts may be asked or posted to for a lead, and why each other may not."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any

from buyers.contract import AnyOf, Condition, Contract, Filter, Not, Op
from exchange.plan import Plan, Tier
from exchange.reasons import SkipReason

Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True)
class Skipped:
    contract: str  # slug
    reason: SkipReason
    detail: str | None = None  # the field whose condition failed


@dataclass(frozen=True, slots=True)
class Screening:
    eligible: tuple[Contract, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asker:
    """What screening needs to know of a request besides its fields."""

    seller: str  # slug
    excluded: frozenset[str] = frozenset()  # buyers' slugs
    test: bool = False


@dataclass(frozen=True, slots=True)
class Usage:
    """The cached 'is there room': contracts by id that have none, and the reason."""

    full: Mapping[int, SkipReason] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One filter of a contract, ready to judge."""

    test: Predicate
    fields: frozenset[str]  # top-level fields it reads


def screen(
    contracts: Iterable[tuple[Contract, tuple[Compiled, ...]]],
    fields: Fields,
    asker: Asker,
    plan: Plan,
    usage: Usage,
    *,
    now: datetime,
    known: Callable[[str], bool],
) -> Screening:
    """Judge every contract in the order given; the first reason found is the one told.

    `known(field)` is False for fields that this stage has not got yet: a filter that reads one is
    left to the post.
    """
    eligible, skipped = [], []
    for contract, filters in contracts:
        found = _skip(contract, filters, fields, asker, plan.tier_of(contract), usage, now, known)
        if found is None:
            eligible.append(contract)
        else:
            skipped.append(found)
    return Screening(tuple(eligible), tuple(skipped))


def _skip(
    contract: Contract,
    filters: tuple[Compiled, ...],
    fields: Fields,
    asker: Asker,
    tier: Tier | None,
    usage: Usage,
    now: datetime,
    known: Callable[[str], bool],
) -> Skipped | None:
    reason = _standing(contract, asker, tier)
    if reason is not None:
        return Skipped(contract.slug, reason)
    failed = first_failing(filters, fields, known)
    if failed is not None:
        return Skipped(contract.slug, SkipReason.FILTERED, failed)
    if contract.schedule is not None and not contract.schedule.is_open(now):
        return Skipped(contract.slug, SkipReason.CLOSED)
    full = None if asker.test else usage.full.get(contract.id)
    return Skipped(contract.slug, full) if full is not None else None


def _standing(contract: Contract, asker: Asker, tier: Tier | None) -> SkipReason | None:
    """Everything that does not depend on the lead's fields."""
    if not (contract.active and contract.buyer.active):
        return SkipReason.PAUSED
    if tier is None:
        return SkipReason.NO_TIER
    if asker.test and not contract.endpoint.accepts_test:
        return SkipReason.NO_TEST
    if contract.buyer.slug in asker.excluded:
        return SkipReason.EXCLUDED
    if asker.seller in contract.sellers_deny:
        return SkipReason.SELLER_NOT_ALLOWED
    if contract.sellers_allow and asker.seller not in contract.sellers_allow:
        return SkipReason.SELLER_NOT_ALLOWED
    return None


def first_failing(
    filters: Iterable[Compiled], fields: Fields, known: Callable[[str], bool]
) -> str | None:
    """The fields of the first filter that does not hold, or None when all (knowable) hold."""
    for one in filters:
        if all(map(known, one.fields)) and not one.test(fields):
            return ",".join(sorted(one.fields))
    return None


def compile_filter(filter_: Filter) -> Compiled:
    """A filter as one closure. A condition on an absent field is false, but for `exists: false`."""
    match filter_:
        case AnyOf(filters):
            parts = [compile_filter(inner) for inner in filters]
            tests = [part.test for part in parts]
            names = frozenset().union(*(part.fields for part in parts))
            return Compiled(lambda fields: any(test(fields) for test in tests), names)
        case Not(inner):
            part = compile_filter(inner)
            return Compiled(lambda fields: not part.test(fields), part.fields)
        case Condition():
            return Compiled(_condition(filter_), frozenset({filter_.field.partition(".")[0]}))


def _condition(condition: Condition) -> Predicate:
    look_up = _look_up(condition)
    if condition.op is Op.EXISTS:
        wanted = bool(condition.value)
        return lambda fields: (look_up(fields) is not None) is wanted
    holds = _COMPARE[condition.op]
    value = condition.value

    def test(fields: Fields) -> bool:
        found = look_up(fields)
        if found is None:
            return False
        try:
            return holds(found, value)
        except TypeError:  # a field of another kind than the condition's value
            return False

    return test


def _look_up(condition: Condition) -> Callable[[Fields], Any]:
    """Decimals and instants travel as text; a condition on one has the value and compares as such."""
    look_up = _path(condition.field)
    sample = condition.value
    if isinstance(sample, (tuple, frozenset)):
        sample = next(iter(sample), None)
    read = _READ.get(type(sample))
    if read is None:
        return look_up

    def look_up_value(fields: Fields) -> Any:
        found = look_up(fields)
        try:
            return None if found is None else read(str(found))
        except (InvalidOperation, ValueError):  # kept from before the field became of this kind
            return None

    return look_up_value


_READ: dict[type, Callable[[str], Any]] = {Decimal: Decimal, datetime: datetime.fromisoformat}


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
    Op.PREFIX: lambda found, value: isinstance(found, str) and found.startswith(value),
}
