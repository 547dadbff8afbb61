"""Conditions of many contracts on one field, looked up at once: masks with a bit per contract."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, Final, Protocol

from exchange.eligibility.filters import reading
from exchange.eligibility.places import AREA, ASKED, EQUAL, EXISTS, PREFIX, Area, Asked, ColumnKey
from exchange.eligibility.values import Fields

_FEW_MAX: Final = 16  # slots of a value that are listed; more are a mask
_BLOCK_MAX: Final = 64  # values of a block


class Postings:
    """Slots by value. A value that few have costs a few of them, not a mask."""

    __slots__ = ("_few", "_many")

    def __init__(self) -> None:
        self._few: dict[Hashable, list[int]] = {}
        self._many: dict[Hashable, int] = {}

    def add(self, value: Hashable, slot: int) -> None:
        many = self._many.get(value)
        if many is not None:
            self._many[value] = many | 1 << slot
            return
        few = self._few.setdefault(value, [])
        if slot not in few:
            few.append(slot)
        if len(few) > _FEW_MAX:
            self._many[value] = mask_of(self._few.pop(value))

    def remove(self, value: Hashable, slot: int) -> None:
        few = self._few.get(value)
        if few is not None:
            if slot in few:
                few.remove(slot)
            if not few:
                del self._few[value]
        elif left := without(self._many.get(value, 0), 1 << slot):
            self._many[value] = left
        else:
            self._many.pop(value, None)

    def mask(self, value: Hashable) -> int:
        many = self._many.get(value)
        if many is not None:
            return many
        few = self._few.get(value)
        return 0 if few is None else mask_of(few)


def mask_of(slots: Iterable[int]) -> int:
    mask = 0
    for slot in slots:
        mask |= 1 << slot
    return mask


def without(mask: int, bit: int) -> int:
    return mask ^ bit if mask & bit else mask


class Found(Protocol):
    """What a column looks a value up in."""

    def add(self, wanted: Any, slot: int) -> None: ...

    def remove(self, wanted: Any, slot: int) -> None: ...

    def hits(self, found: Any, among: int) -> int:
        """The slots of which a condition has the value; those that are not `among` may be left out."""


class Column:
    """One field's conditions of one family."""

    __slots__ = ("_inside", "_inverse", "_negated", "_see", "asks", "universe")

    def __init__(self, key: ColumnKey) -> None:
        self._inside = _inside(key)
        self._see: Callable[[Fields], Any] = reading(key.field, key.kind) if key.field else _whole
        self._inverse = key.inverse
        self._negated = key.negated
        self.asks = key.family in {AREA, ASKED}
        self.universe = 0  # the slots that have a condition here

    def add(self, wanted: Any, slot: int) -> None:
        self._inside.add(wanted, slot)
        self.universe |= 1 << slot

    def remove(self, wanted: Any, slot: int) -> None:
        self._inside.remove(wanted, slot)
        self.universe = without(self.universe, 1 << slot)

    def holding(self, fields: Fields, among: int = -1) -> int:
        """The slots whose condition holds; right as far as `among` goes, which is to all."""
        found = self._see(fields)
        if found is None:
            return self.universe if self._negated else 0
        hits = self._inside.hits(found, among)
        return hits ^ self.universe if self._inverse is not self._negated else hits


def _whole(fields: Fields) -> Fields:
    return fields


class _Exists:
    """Whoever asks has it found."""

    __slots__ = ("_all",)

    def __init__(self) -> None:
        self._all = 0

    def add(self, _wanted: None, slot: int) -> None:
        self._all |= 1 << slot

    def remove(self, _wanted: None, slot: int) -> None:
        self._all = without(self._all, 1 << slot)

    def hits(self, _found: Any, _among: int) -> int:
        return self._all


class _Equal:
    """Values of `eq`, `ne` and of sets that are not too long, by kind: true is not 1."""

    __slots__ = ("_by_kind",)

    def __init__(self) -> None:
        self._by_kind: dict[type, Postings] = {}

    def add(self, wanted: Iterable[Hashable], slot: int) -> None:
        for value in wanted:
            self._by_kind.setdefault(type(value), Postings()).add(value, slot)

    def remove(self, wanted: Iterable[Hashable], slot: int) -> None:
        for value in wanted:
            self._by_kind[type(value)].remove(value, slot)

    def hits(self, found: Any, _among: int) -> int:
        postings = self._by_kind.get(type(found))
        return 0 if postings is None else postings.mask(found)


class _Prefix:
    __slots__ = ("_lengths", "_postings")

    def __init__(self) -> None:
        self._postings = Postings()
        self._lengths: Counter[int] = Counter()

    def add(self, wanted: str, slot: int) -> None:
        self._postings.add(wanted, slot)
        self._lengths[len(wanted)] += 1

    def remove(self, wanted: str, slot: int) -> None:
        self._postings.remove(wanted, slot)
        self._lengths[len(wanted)] -= 1
        if not self._lengths[len(wanted)]:
            del self._lengths[len(wanted)]

    def hits(self, found: Any, _among: int) -> int:
        mask = 0
        if type(found) is str:
            for length in self._lengths:
                mask |= self._postings.mask(found[:length])
        return mask


class _Ask:
    """Questions asked one by one, each once, of who is still in: circles, very long sets, whole
    filters."""

    __slots__ = ("_asked",)

    def __init__(self) -> None:
        self._asked: dict[Hashable, tuple[Callable[[Any], bool], int]] = {}

    def add(self, wanted: Asked, slot: int) -> None:
        holds, mask = self._asked.get(wanted.key, (wanted.holds, 0))
        self._asked[wanted.key] = holds, mask | 1 << slot

    def remove(self, wanted: Asked, slot: int) -> None:
        holds, mask = self._asked.get(wanted.key, (wanted.holds, 0))
        left = without(mask, 1 << slot)
        if left:
            self._asked[wanted.key] = holds, left
        else:
            self._asked.pop(wanted.key, None)  # a contract may ask the same twice

    def hits(self, found: Any, among: int) -> int:
        hits = 0
        for holds, mask in self._asked.values():
            if mask & among and holds(found):
                hits |= mask
        return hits


class _Areas:
    """Areas of one map, each once. By their spans all but those around the lead's place are out; they
    are asked whether they have it."""

    __slots__ = ("_areas", "_axes", "_free", "_numbers", "_points")

    def __init__(self) -> None:
        self._points: Mapping[str, tuple[float, ...]] = {}
        self._areas: list[tuple[Area, int]] = []  # by number, with the slots that want it
        self._numbers: dict[Area, int] = {}
        self._free: list[int] = []
        self._axes: list[_Between] = []

    def add(self, wanted: Area, slot: int) -> None:
        number = self._numbers.get(wanted)
        if number is None:
            number = self._new(wanted)
        area, mask = self._areas[number]
        self._areas[number] = area, mask | 1 << slot

    def _new(self, area: Area) -> int:
        if not self._numbers:
            self._points = area.points
            self._axes = [_Between(float) for _ in area.spans]
        number = self._free.pop() if self._free else len(self._areas)
        self._areas[number : number + 1] = [(area, 0)]
        self._numbers[area] = number
        for axis, span in zip(self._axes, area.spans, strict=True):
            axis.add(span, number)
        return number

    def remove(self, wanted: Area, slot: int) -> None:
        number = self._numbers.get(wanted)
        if number is None:
            return  # a contract may want the same twice
        area, mask = self._areas[number]
        left = without(mask, 1 << slot)
        self._areas[number] = area, left
        if not left:
            del self._numbers[area]
            self._free.append(number)
            for axis, span in zip(self._axes, area.spans, strict=True):
                axis.remove(span, number)

    def hits(self, found: Any, among: int) -> int:
        point = self._points.get(found) if type(found) is str else None
        if point is None:
            return 0
        around, hits = -1, 0
        for axis, place in zip(self._axes, point, strict=True):
            around &= axis.hits(place, around)
        while around:
            number = around.bit_length() - 1
            around ^= 1 << number
            area, mask = self._areas[number]
            if mask & among and found in area:
                hits |= mask
        return hits


class _Block:
    """A run of values in order; `up_to[i]`: the slots of the values up to and with the i-th."""

    __slots__ = ("before", "up_to", "values")

    def __init__(self, values: list[Any], up_to: list[int], before: int) -> None:
        self.values = values
        self.up_to = up_to
        self.before = before  # the slots of all blocks before


class Steps:
    """Slots by a value that has an order, each slot once: two looks find all below one value."""

    __slots__ = ("_blocks", "_firsts")

    def __init__(self) -> None:
        self._blocks = [_Block([], [], 0)]
        self._firsts: list[Any] = []  # the first value of each block but the first

    def add(self, value: Any, slot: int) -> None:
        bit, place = 1 << slot, bisect_right(self._firsts, value)
        block = self._blocks[place]
        at = bisect_left(block.values, value)
        if at == len(block.values) or block.values[at] != value:
            block.values.insert(at, value)
            block.up_to.insert(at, block.up_to[at - 1] if at else 0)
        for later in range(at, len(block.up_to)):
            block.up_to[later] |= bit
        for following in self._blocks[place + 1 :]:
            following.before |= bit
        if len(block.values) > _BLOCK_MAX:
            self._split(place)

    def remove(self, value: Any, slot: int) -> None:
        bit, place = 1 << slot, bisect_right(self._firsts, value)
        block = self._blocks[place]
        at = bisect_left(block.values, value)
        for later in range(at, len(block.up_to)):
            block.up_to[later] ^= bit
        for following in self._blocks[place + 1 :]:
            following.before ^= bit
        if block.up_to[at] == (block.up_to[at - 1] if at else 0):
            del block.values[at], block.up_to[at]
        if not block.values and place:
            del self._blocks[place], self._firsts[place - 1]

    def below(self, value: Any, *, itself: bool) -> int:
        """The slots of every value below this one, or up to it."""
        block = self._blocks[bisect_right(self._firsts, value)]
        at = (bisect_right if itself else bisect_left)(block.values, value)
        return block.before | block.up_to[at - 1] if at else block.before

    def _split(self, place: int) -> None:
        block, half = self._blocks[place], len(self._blocks[place].values) // 2
        left = block.up_to[half - 1]
        up_to = [mask ^ left for mask in block.up_to[half:]]
        right = _Block(block.values[half:], up_to, block.before | left)
        del block.values[half:], block.up_to[half:]
        self._blocks.insert(place + 1, right)
        self._firsts.insert(place, right.values[0])


class _Ordered:
    """The ends that an ordered op compares with; values of another kind are never found."""

    __slots__ = ("_all", "_kind", "_op", "_steps")

    def __init__(self, op: str, kind: type) -> None:
        self._op = op
        self._kind = kind
        self._steps = Steps()
        self._all = 0

    def add(self, wanted: Any, slot: int) -> None:
        self._steps.add(wanted, slot)
        self._all |= 1 << slot

    def remove(self, wanted: Any, slot: int) -> None:
        self._steps.remove(wanted, slot)
        self._all = without(self._all, 1 << slot)

    def hits(self, found: Any, _among: int) -> int:
        if type(found) is not self._kind:
            return 0
        match self._op:
            case "gt":
                return self._steps.below(found, itself=False)
            case "gte":
                return self._steps.below(found, itself=True)
            case "lt":
                return self._all ^ self._steps.below(found, itself=True)
            case _:
                return self._all ^ self._steps.below(found, itself=False)


class _Between:
    """Pairs of ends, both included."""

    __slots__ = ("_high", "_kind", "_low")

    def __init__(self, kind: type) -> None:
        self._low = Steps()
        self._high = Steps()
        self._kind = kind

    def add(self, wanted: tuple[Any, Any], slot: int) -> None:
        if wanted[0] <= wanted[1]:  # else nothing is between
            self._low.add(wanted[0], slot)
            self._high.add(wanted[1], slot)

    def remove(self, wanted: tuple[Any, Any], slot: int) -> None:
        if wanted[0] <= wanted[1]:
            self._low.remove(wanted[0], slot)
            self._high.remove(wanted[1], slot)

    def hits(self, found: Any, _among: int) -> int:
        """Who begins by then and has not ended before."""
        if type(found) is not self._kind:
            return 0
        return self._low.below(found, itself=True) ^ self._high.below(found, itself=False)


def _inside(key: ColumnKey) -> Found:
    plain: dict[str, Callable[[], Found]] = {
        EXISTS: _Exists, EQUAL: _Equal, PREFIX: _Prefix, AREA: _Areas, ASKED: _Ask,
    }  # fmt: skip
    if key.family in plain:
        return plain[key.family]()
    assert key.kind is not None, "an order is one of a kind"
    return _Between(key.kind) if key.family == "between" else _Ordered(key.family, key.kind)
