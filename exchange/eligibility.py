"""Which contracts may be asked or posted to for a lead, and why each other may not."""

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from buyers.contract import AnyOf, Condition, Contract, Filter, Not, Op
from exchange.caps import allowed, day_over
from exchange.plan import Plan, Tier
from exchange.reasons import SkipReason

Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]
_TOLD_MAX: Final = 160  # characters told of a filter: a receipt has one for each contract skipped
_PARTS_MAX: Final = 3  # of `any`


@dataclass(frozen=True, slots=True)
class Skipped:
    contract: str  # slug
    reason: SkipReason
    detail: str | None = None  # the filter that failed: "filters.2: state in"


# What the version of the catalogue and the lead decide for ever: a receipt need not freeze it.
_LASTING: Final = frozenset({SkipReason.NO_TIER, SkipReason.NO_TEST, SkipReason.SELLER_NOT_ALLOWED})


@dataclass(frozen=True, slots=True)
class Screening:
    """`unsuited` counts the contracts that version and lead rule out for ever; `why_unsuited` names
    them again whenever somebody asks."""

    eligible: tuple[Contract, ...]
    skipped: tuple[Skipped, ...]
    unsuited: int = 0


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
    # Caps that are spread over the day, by contract: (used, limit).
    paced: Mapping[int, tuple[tuple[int, int], ...]] = field(default_factory=dict)
    buyers: Mapping[int, int] = field(default_factory=dict)  # of the full contracts, by contract

    def without(self, buyers: Container[int]) -> "Usage":
        """As it is once these buyers' caps may have room again."""
        full = {c: reason for c, reason in self.full.items() if self.buyers.get(c) not in buyers}
        return Usage(full, self.paced, self.buyers)


@dataclass(frozen=True, slots=True)
class Compiled:
    """One filter of a contract, ready to judge."""

    test: Predicate
    fields: frozenset[str]  # top-level fields it reads
    told: str  # its place in the contract, field and op: what a receipt says when it fails


def screen(
    contracts: Iterable[tuple[Contract, tuple[Compiled, ...]]],
    fields: Fields,
    asker: Asker,
    plan: Plan,
    usage: Usage,
    *,
    now: datetime,
    known: Callable[[str], bool],
    kept: Callable[[str], bool],
) -> Screening:
    """Judge every contract in the order given; the first reason found is the one told.

    `known(field)` is False for fields that this stage has not got yet: a filter that reads one is
    left to the post. `kept(field)` is False for those that the receipt does not hold: who failed a
    filter on one is named in `skipped`, since nobody could find it out again.
    """
    eligible, skipped, unsuited = [], [], 0
    for contract, filters in contracts:
        reason = _standing(contract, asker, plan.tier_of(contract))
        failed = None if reason is not None else first_failing(filters, fields, known)
        if reason in _LASTING or (failed is not None and all(map(kept, failed.fields))):
            unsuited += 1
        elif reason is not None:
            skipped.append(Skipped(contract.slug, reason))
        elif failed is not None:
            skipped.append(Skipped(contract.slug, SkipReason.FILTERED, failed.told))
        elif (passing := _passing(contract, asker, usage, now)) is not None:
            skipped.append(passing)
        else:
            eligible.append(contract)
    return Screening(tuple(eligible), tuple(skipped), unsuited)


def why_unsuited(
    contracts: Iterable[tuple[Contract, tuple[Compiled, ...]]],
    fields: Fields,
    asker: Asker,
    plan: Plan,
    *,
    known: Callable[[str], bool],
) -> list[Skipped]:
    """Those that `screen` counted as unsuited, of contracts that the receipt says nothing else of.
    They are given as they were then, whether or not they have been paused or retired since."""
    found = []
    for contract, filters in contracts:
        reason = _lasting(contract, asker, plan.tier_of(contract))
        failed = None if reason is not None else first_failing(filters, fields, known)
        if reason is not None:
            found.append(Skipped(contract.slug, reason))
        elif failed is not None:
            found.append(Skipped(contract.slug, SkipReason.FILTERED, failed.told))
    return found


def _passing(contract: Contract, asker: Asker, usage: Usage, now: datetime) -> Skipped | None:
    """What may be otherwise a moment later."""
    if contract.schedule is not None and not contract.schedule.is_open(now):
        return Skipped(contract.slug, SkipReason.CLOSED)
    full = None if asker.test else _full(contract, usage, now)
    return Skipped(contract.slug, full) if full is not None else None


def _full(contract: Contract, usage: Usage, now: datetime) -> SkipReason | None:
    found = usage.full.get(contract.id)
    if found is not None or contract.id not in usage.paced:
        return found
    over = day_over(contract, now)
    ahead = over is not None and any(
        used >= allowed(limit, over) for used, limit in usage.paced[contract.id]
    )
    return SkipReason.PACED if ahead else None


def _standing(contract: Contract, asker: Asker, tier: Tier | None) -> SkipReason | None:
    """Everything that does not depend on the lead's fields."""
    if not (contract.active and contract.buyer.active):
        return SkipReason.PAUSED
    if contract.buyer.slug in asker.excluded:
        return SkipReason.EXCLUDED
    return _lasting(contract, asker, tier)


def _lasting(contract: Contract, asker: Asker, tier: Tier | None) -> SkipReason | None:
    if tier is None:
        return SkipReason.NO_TIER
    if asker.test and not contract.endpoint.accepts_test:
        return SkipReason.NO_TEST
    if asker.seller in contract.sellers_deny:
        return SkipReason.SELLER_NOT_ALLOWED
    if contract.sellers_allow and asker.seller not in contract.sellers_allow:
        return SkipReason.SELLER_NOT_ALLOWED
    return None


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
    value, look_up = condition.value, _path(condition.field)
    if condition.op is Op.EXISTS:
        wanted = bool(value)
        return lambda fields: (look_up(fields) is not None) is wanted
    kinds = _TEXT if condition.op is Op.ZIP_WITHIN else _kinds(value)
    read = _READ.get(next(iter(kinds))) if len(kinds) == 1 else None
    holds, of_other_kind = _COMPARE[condition.op], condition.op in {Op.NE, Op.NOT_IN}

    def test(fields: Fields) -> bool:
        found = look_up(fields)
        if found is not None and read is not None:
            found = read(found)
        if found is None:
            return False
        return holds(found, value) if type(found) in kinds else of_other_kind

    return test


def _kinds(value: Any) -> frozenset[type]:
    """What may equal the condition's value, or one of its values.

    By the first of them, so that 40,000 cost nothing: all are of one kind, but that an enum may
    have texts and integers, which are never equal.
    """
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
