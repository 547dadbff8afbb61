"""What screening is told and what it says, as frozen values."""

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from buyers.contract import Contract
from exchange.reasons import SkipReason

Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]


@dataclass(frozen=True, slots=True)
class Skipped:
    contract: str  # slug
    reason: SkipReason
    detail: str | None = None  # the filter that failed: "filters.2: state in"
    # As a receipt has it: most are the same in every ping, and there may be hundreds in each.
    stored: orjson.Fragment = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        row = {"contract": self.contract, "reason": self.reason, "detail": self.detail}
        object.__setattr__(self, "stored", orjson.Fragment(orjson.dumps(row)))


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
