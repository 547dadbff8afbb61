"""Exceptions, few: for callers who break the contract, for a broken house, and for bugs.

    ExchangeError
    ├── Refusal               the caller broke the contract: becomes an HTTP problem
    ├── DocumentsInvalid      configuration documents with problems, all of them
    ├── SettingsInvalid       settings with problems, all of them
    ├── PlacesMissing         distances between ZIP codes without the extra `geo`
    │   └── PlacesNotLoaded   the extra is there, and its places are not yet, or could not be read
    ├── ClaimLost             an Idempotency-Key that another request has by now
    └── StoreUnavailable      Postgres cannot be asked just now

What buyers do wrong is never an exception: it is a value with a reason (buyers/messages.py).
"""

from dataclasses import dataclass, field

import pydantic


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in what somebody sent. The message never repeats the value."""

    path: str  # dotted, list positions as numbers: "fields.drivers.0.age"
    code: str  # stable for ever
    message: str  # what is wrong and what would be right


class ExchangeError(Exception):
    """Something in the exchange went wrong."""


@dataclass
class Refusal(ExchangeError):
    """A request that is answered with an RFC 9457 problem and nothing else."""

    status: int
    code: str
    detail: str = ""
    problems: tuple[Problem, ...] = ()
    retry_after_s: int | None = None
    extra: dict[str, str] = field(default_factory=dict)


@dataclass
class DocumentsInvalid(ExchangeError):
    """Verticals, plans, sellers, buyers or contracts that cannot be used."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(f"{p.path}: {p.message}" for p in self.problems)


@dataclass
class SettingsInvalid(ExchangeError):
    """Every setting that cannot be used, at once."""

    problems: tuple[Problem, ...]

    def __str__(self) -> str:
        return "\n".join(f"{p.path}: {p.message}" for p in self.problems)


class PlacesMissing(ExchangeError):
    """Distances between ZIP codes need the extra `geo`: pip install ping-post-exchange[geo]"""

    def __str__(self) -> str:
        return self.__doc__ or ""


class PlacesNotLoaded(PlacesMissing):
    """The places of ZIP codes cannot be loaded just now: write this filter again in some minutes"""


class ClaimLost(ExchangeError):
    """Another request has this Idempotency-Key by now: ours was taken for dead."""


class StoreUnavailable(ExchangeError):
    """Postgres cannot be asked just now; asking again later is right."""


# pydantic's codes change between releases; ours do not. What is not listed is `invalid`.
_CODES = {
    "missing": "required",
    "extra_forbidden": "unknown_field",
    "enum": "not_allowed",
    "literal_error": "not_allowed",
    "greater_than": "out_of_range",
    "greater_than_equal": "out_of_range",
    "less_than": "out_of_range",
    "less_than_equal": "out_of_range",
    "too_long": "too_long",
    "string_too_long": "too_long",
    "too_short": "too_short",
    "string_too_short": "too_short",
    "string_pattern_mismatch": "bad_format",
    "finite_number": "out_of_range",
}


def problems_of(error: pydantic.ValidationError, prefix: str = "") -> tuple[Problem, ...]:
    """pydantic's findings as ours: stable codes, no echo of what was sent.

    A validator of ours raises `PydanticCustomError(code, message)`; such codes pass through.
    """
    found = []
    for item in error.errors(include_url=False, include_context=True, include_input=False):
        kind = item["type"]
        code = _CODES.get(kind) or ("invalid_type" if _is_type(kind) else kind)
        parts = [prefix] if prefix else []
        parts += [str(part) for part in item["loc"]]
        found.append(Problem(".".join(parts), code, _message(code, item["msg"])))
    return tuple(found)


def _is_type(kind: str) -> bool:
    return kind.endswith(("_type", "_parsing", "_from_float")) or kind == "is_instance_of"


def _message(code: str, theirs: str) -> str:
    if code == "unknown_field":
        return "is not a property here; remove it"
    if code == "required":
        return "is required"
    return theirs
