"""What screening is told and what it says, as frozen values."""

from collections.abc import Callable, Container, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from operator import attrgetter
from typing import Any

import orjson

from buyers.contract import Contract
from buyers.value import maker, value
from exchange.reasons import SkipReason

Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True)
class Skipped:
    contract: str  # slug
    reason: SkipReason
    detail: str | None = None  # the filter that failed: "filters.2: state in"


class Skips(tuple[Skipped, ...]):
    """Everybody skipped. Pings are much alike: many of them have the same one, rendered once."""

    _parts: "tuple[Skips, ...]" = ()

    def also(self, more: Iterable[Skipped]) -> "Skips":
        """With others among them, by slug; only the others are rendered anew."""
        others = Skips(more)
        both = Skips(sorted((*self, *others), key=attrgetter("contract")))
        both._parts = self, others
        return both

    @cached_property
    def stored(self) -> list[orjson.Fragment]:
        """As a receipt has it: contracts by reason, one with a detail as [contract, detail]."""
        if self._parts:
            return [stored for part in self._parts for stored in part.stored]
        told: dict[SkipReason, list[str | list[str]]] = {}
        for one in self:
            row = one.contract if one.detail is None else [one.contract, one.detail]
            told.setdefault(one.reason, []).append(row)
        by_reason = {reason.value: rows for reason, rows in told.items()}
        return [orjson.Fragment(orjson.dumps(by_reason))] if told else []


@dataclass(frozen=True, slots=True)
class Screening:
    """`unsuited` counts the contracts that version and lead rule out for ever; `why_unsuited` names
    them again whenever somebody asks."""

    eligible: tuple[Contract, ...]
    skipped: Skips
    unsuited: int = 0


@value
class Asker:
    """What screening needs to know of a request besides its fields."""

    seller: str  # slug
    excluded: frozenset[str] = frozenset()  # buyers' slugs
    test: bool = False


make_asker = maker(Asker)


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
