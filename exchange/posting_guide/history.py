"""What changed in a vertical, as its sellers may know it: nothing of margins or of auctions."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

Body = Mapping[str, Any]

_HEAD: Final = {"name": "The name", "currency": "The currency"}


@dataclass(frozen=True, slots=True)
class Version:
    """A vertical's document as it stood from a moment on; None: it was retired."""

    version: int
    at: datetime
    body: Body | None


@dataclass(frozen=True, slots=True)
class Revision:
    """One change that concerns sellers."""

    version: int
    at: datetime
    lines: tuple[str, ...]


def revisions(versions: Sequence[Version]) -> tuple[Revision, ...]:
    """Newest first. `versions` oldest first; the first one begins the story, or comes after what is
    too old to be told."""
    found = []
    before: Body | None = None
    for one in versions:
        lines = tuple(_lines(before, one.body))
        if lines:
            found.append(Revision(one.version, one.at, lines))
        before = one.body
    return tuple(reversed(found))


def _lines(before: Body | None, after: Body | None) -> Iterator[str]:
    if after is None:
        yield "The vertical was retired."
        return
    if before is None:
        yield f"The vertical is open, with {len(after['fields'])} fields."
        return
    for name, words in _HEAD.items():
        if before.get(name) != after.get(name):
            yield f"{words} is {after[name]} (was {before[name]})."
    handling = "on_personal_data_in_ping"
    if before.get(handling) != after.get(handling):
        verb = "refused" if after.get(handling, "refuse") == "refuse" else "dropped silently"
        yield f"Personal data in a ping is {verb}."
    yield from _fields("", before["fields"], after["fields"])


def _fields(prefix: str, before: Iterable[Body], after: Iterable[Body]) -> Iterator[str]:
    old = {one["name"]: one for one in before}
    new = {one["name"]: one for one in after}
    yield from (
        f"{prefix}{name} is gone: sending it is refused." for name in old if name not in new
    )
    for name, one in new.items():
        if name not in old:
            yield f"{prefix}{name} is new{_how(one)}."
        elif old[name] != one:
            yield from _differs(f"{prefix}{name}", old[name], one)


def _how(field: Body) -> str:
    stage = field.get("stage")
    need = "required" if field.get("required") else "optional"
    return f" ({need}, {stage})" if stage else f" ({need})"


def _differs(path: str, before: Body, after: Body) -> Iterator[str]:
    if before["type"] != after["type"]:
        yield f"{path} is {after['type']} (was {before['type']})."
    if before.get("stage") != after.get("stage"):
        yield f"{path} belongs to the {after.get('stage')} (was: {before.get('stage')})."
    if bool(before.get("required")) != bool(after.get("required")):
        yield f"{path} is {'required' if after.get('required') else 'optional'} now."
    if before.get("required_if") != after.get("required_if"):
        yield f"{path} is required under another condition now."
    old, new = before.get("values") or (), after.get("values") or ()
    if added := [str(one) for one in new if one not in old]:
        yield f"{path} takes {', '.join(added)} as well."
    if gone := [str(one) for one in old if one not in new]:
        yield f"{path} takes {', '.join(gone)} no more."
    for limit, words in (("min", "the least"), ("max", "the most"), ("pattern", "the pattern")):
        if before.get(limit) != after.get(limit):
            shown = after.get(limit)
            yield f"{path}: {words} is {'free' if shown is None else shown} now."
    if before.get("items") or after.get("items"):
        parts = [(one.get("items") or {}).get("fields") or () for one in (before, after)]
        yield from _fields(f"{path}[].", *parts)
    if before.get("fields") or after.get("fields"):
        yield from _fields(f"{path}.", before.get("fields") or (), after.get("fields") or ())
