"""Tempers out of documents: every problem at once, each with its place."""

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from pydantic import TypeAdapter, ValidationError

from buyers.money import MoneyInvalid, parse_micros
from buyers.reference.temper import Temper, ping_shares, post_shares

_MONEY = {"price_min": "price_min_micros", "price_max": "price_max_micros"}
_TEMPER = TypeAdapter(Temper)


class TempersInvalid(ValueError):
    """A document that does not describe reference buyers."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)  # "tempers.0.delay_ms: …"


def read_tempers(document: Mapping[str, Any]) -> tuple[Temper, ...]:
    """Read `{"tempers": [{…}]}`.

    The keys are Temper's properties; prices may also be written `price_min`, `price_max` in units
    of the currency. Raises TempersInvalid with all problems at once.
    """
    problems = [f"{key}: unknown" for key in document if key != "tempers"]
    items = document.get("tempers")
    if not isinstance(items, list) or not items:
        raise TempersInvalid([*problems, "tempers: must be a list of at least one"])
    found = [_read(item, f"tempers.{i}", problems) for i, item in enumerate(items)]
    names = [one.name for one in found if one is not None]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"tempers: {name} is there twice" for name in twice]
    if problems:
        raise TempersInvalid(problems)
    return tuple(one for one in found if one is not None)


def patch_temper(temper: Temper, changes: Mapping[str, Any]) -> Temper:
    """The temper with some properties changed; null puts a default back (RFC 7396)."""
    problems: list[str] = []
    merged = asdict(temper) | _in_micros(changes, "temper", problems)
    kept = {name: value for name, value in merged.items() if value is not None}
    changed = _read(kept, "temper", problems)
    if changed is not None and changed.name != temper.name:
        problems.append("temper.name: cannot be changed")
    if changed is None or problems:
        raise TempersInvalid(problems)
    return changed


def _read(item: object, where: str, problems: list[str]) -> Temper | None:
    if not isinstance(item, Mapping):
        problems.append(f"{where}: must be a table")
        return None
    try:
        temper = _TEMPER.validate_python(_in_micros(item, where, problems))
    except ValidationError as error:
        for one in error.errors(include_url=False, include_input=False):
            path = ".".join([where, *(str(step) for step in one["loc"])])
            problems.append(f"{path}: {one['msg']}")
        return None
    problems += [f"{where}: {problem}" for problem in _contradictions(temper)]
    return temper


def _in_micros(item: Mapping[str, Any], where: str, problems: list[str]) -> dict[str, Any]:
    found = dict(item)
    for spelling, name in _MONEY.items():
        if spelling not in found:
            continue
        value = found.pop(spelling)
        try:
            found[name] = None if value is None else parse_micros(value)
        except MoneyInvalid as error:
            problems.append(f"{where}.{spelling}: {error}")
    return found


def _contradictions(temper: Temper) -> list[str]:
    """What no single property shows."""
    found = []
    if temper.price_min_micros > temper.price_max_micros:
        found.append("price_min must not exceed price_max")
    for name, (low, high) in (
        ("delay_ms", temper.delay_ms),
        ("post_delay_ms", temper.post_delay_ms),
    ):
        if low > high:
            found.append(f"{name} must be [least, most]")
    for word, shares in (("ping", ping_shares(temper)), ("post", post_shares(temper))):
        if sum(share for _, share in shares) > 1 + 1e-9:
            found.append(f"the probabilities of a {word} must sum to at most 1")
    return found
