"""What differs between two versions of a contract or a buyer, property by property, in words. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from exchange.office.console.demand import terms

_HIDDEN: Final = ("adjustment", "sellers")  # names of sellers
_NAMED_MAX: Final = 6  # values that came or went, of a long list


@dataclass(frozen=True, slots=True)
class Change:
    """One property. An empty text: it was, or is, not there."""

    name: str
    before: str
    after: str


def changes(
    before: Mapping[str, Any] | None, after: Mapping[str, Any] | None, currency: str = ""
) -> list[Change]:
    """In the order of the later document. None: it did not stand yet, or was retired.

    A secret is not in any version: when nothing differs and both stood, it was the secret.
    """
    if before is None or after is None:
        return []
    found: list[Change] = []
    for name in [*after, *(name for name in before if name not in after)]:
        old, new = before.get(name), after.get(name)
        if old != new:
            found += _differing(name, old, new, currency)
    return found or [Change("endpoint › secret", "one secret", "another secret")]


def for_buyers(found: list[Change]) -> list[Change]:
    """Without what buyers do not see, which is told as one change."""
    shown = [one for one in found if not one.name.startswith(_HIDDEN)]
    return shown if shown == found else [*shown, Change("set by the exchange", "", "changed")]


def _differing(name: str, old: Any, new: Any, currency: str) -> Iterator[Change]:
    match name:
        case "filters":
            yield from _filters(old or [], new or [])
        case "caps":
            yield from _caps(old or [], new or [], currency)
        case "schedule":
            yield Change("hours", _hours(old), _hours(new))
        case _:
            yield from _plain(name, old, new)


def _plain(path: str, old: Any, new: Any) -> Iterator[Change]:
    if isinstance(old, Mapping) or isinstance(new, Mapping):
        olds, news = (one if isinstance(one, Mapping) else {} for one in (old, new))
        for name in [*news, *(name for name in olds if name not in news)]:
            if olds.get(name) != news.get(name):
                yield from _plain(f"{path}.{name}", olds.get(name), news.get(name))
    else:
        yield Change(_words(path), _text(old), _text(new))


def _filters(old: list[Any], new: list[Any]) -> Iterator[Change]:
    """Filters that stand in both are passed over; a list that changed says what came and went."""
    gone = [one for one in old if one not in new]
    come = [one for one in new if one not in old]
    for one in list(come):
        twin = next((other for other in gone if _same_list(other, one)), None)
        if twin is not None:
            gone.remove(twin)
            come.remove(one)
            yield _list_change(twin, one)
    yield from (Change("filter", _sentence(one), "") for one in gone)
    yield from (Change("filter", "", _sentence(one)) for one in come)
    if not gone and not come and old != new and sorted(map(str, old)) == sorted(map(str, new)):
        yield Change("filters", "in one order", "in another order")


def _same_list(one: Any, other: Any) -> bool:
    return all(
        isinstance(each, Mapping) and isinstance(each.get("value"), list) for each in (one, other)
    ) and (one.get("field"), one.get("op")) == (other.get("field"), other.get("op"))


def _list_change(old: Mapping[str, Any], new: Mapping[str, Any]) -> Change:
    olds, news = ({str(one) for one in each["value"]} for each in (old, new))
    name = _sentence({**new, "value": []})
    if not olds ^ news:
        return Change(name, "the same values", "written another way")
    return Change(
        name, _listed("without", sorted(olds - news)), _listed("with", sorted(news - olds))
    )


def _listed(word: str, values: list[str]) -> str:
    if not values:
        return ""
    more = len(values) - _NAMED_MAX
    return f"{word} {', '.join(values[:_NAMED_MAX])}" + (f" and {more:,} more" if more > 0 else "")


def _caps(old: list[Any], new: list[Any], currency: str) -> Iterator[Change]:
    olds, news = ({(cap["kind"], cap.get("period")): cap for cap in each} for each in (old, new))
    for key in [*news, *(key for key in olds if key not in news)]:
        texts = [
            terms.cap_words(each[key], currency) if key in each else "" for each in (olds, news)
        ]
        if texts[0] != texts[1]:
            yield Change(f"cap on {terms.CAP_WORDS.get(key[0], key[0])}", texts[0], texts[1])


def _hours(schedule: Any) -> str:
    if not schedule:
        return "always open"
    days = terms.week_words(terms.week_of(schedule))
    always = schedule.get("hours") is None
    said = "always open" if always else "; ".join(f"{name} {hours}" for name, hours in days)
    holidays = len(schedule.get("holidays") or ())
    closed = f", closed on {holidays} holidays" if holidays else ""
    return f"{said}{closed} ({schedule['timezone']})"


def _sentence(one: Any) -> str:
    return str(terms.sentences([one])[0])


def _words(path: str) -> str:
    return path.replace("_", " ").replace(".", " › ")


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list):
        return ", ".join(map(terms.plain, value)) or "none"
    return terms.plain(value)
