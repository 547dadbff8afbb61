"""Judges all contracts of a market at once, by masks with a bit per contract; `screen` as in
screening.py, which it must agree with.

One index serves every snapshot of a market. A contract gets a slot (a bit) when it is put, as it is
then; changed, it gets another. A snapshot has a `View`: the slots that are its own. So a change costs
what the changed contract's filters cost, however many others there are, and who began with a snapshot
sees it as it was. A slot is free again when no view that has it is left.

What lasts is judged by masks. Contracts that it rules out are only counted, so it does not matter
which of a contract's filters fails: what costs a question each (circles, very long sets, filters that
stand there whole) is asked last, of who is still in. What passes is looked at one by one, for who is
left: each of those is asked, or named in the receipt.
"""

from operator import attrgetter
from typing import Any, Final

from buyers.contract import Contract
from exchange.eligibility.columns import Column, without
from exchange.eligibility.places import ColumnKey, LayerKey, Place, places_of
from exchange.eligibility.rows import Row
from exchange.eligibility.screening import Entry, Names
from exchange.eligibility.standing import Standing
from exchange.eligibility.values import Fields

_SWEPT_AT_ONCE: Final = 2  # slots that are cleared when a contract is put
_OUTS_MAX: Final = 128  # values of a field of which it is remembered whom they rule out
_PLAIN: Final = (str, int, bool, type(None))


class _Layer:
    """Clauses, at most one of a contract: a contract is out unless one of its columns holds."""

    __slots__ = ("asks", "columns", "keys", "universe")

    def __init__(self) -> None:
        self.keys: dict[ColumnKey, Column] = {}
        self.columns: tuple[Column, ...] = ()  # the same: those that ask questions last
        self.asks = False  # whether there are any
        self.universe = 0  # the slots that have a clause here

    def settle(self) -> None:
        """Once columns have come or gone."""
        self.columns = tuple(sorted(self.keys.values(), key=attrgetter("asks")))
        self.asks = any(column.asks for column in self.columns)

    def out(self, fields: Fields) -> int:
        """Who is out. Only for layers that ask nothing."""
        holding = 0
        for column in self.columns:
            holding |= column.holding(fields)
        return holding ^ self.universe

    def left(self, fields: Fields, among: int) -> int:
        """Who of these is not out."""
        out = among & self.universe
        for column in self.columns:
            if not out:
                return among
            out ^= out & column.holding(fields, out)
        return among ^ out


class _Group:
    """The layers whose filters read the same fields: known and kept together."""

    __slots__ = ("_outs", "_sole", "asking", "keys", "quick")

    def __init__(self, reads: frozenset[str]) -> None:
        self._sole = next(iter(reads)) if len(reads) == 1 else None  # the field, if it is but one
        # Who was out, by its value: true is not 1.
        self._outs: dict[type, dict[Any, int]] = {kind: {} for kind in _PLAIN}
        self.keys: dict[LayerKey, _Layer] = {}
        self.quick: tuple[_Layer, ...] = ()  # of them, those that ask nothing
        self.asking: tuple[_Layer, ...] = ()  # and the others: judged last

    def settle(self) -> None:
        """Once layers or their columns have come or gone."""
        layers = self.keys.values()
        self.quick = tuple(layer for layer in layers if not layer.asks)
        self.asking = tuple(layer for layer in layers if layer.asks)

    def forget(self) -> None:
        """Once a contract has come or gone."""
        for outs in self._outs.values():
            outs.clear()

    def out(self, fields: Fields) -> int:
        """Who is out by the layers that ask nothing. Pings are much alike, and so are their values."""
        if self._sole is None:
            return self._out(fields)
        value = fields.get(self._sole)
        outs = self._outs.get(type(value))
        if outs is None:
            return self._out(fields)
        found = outs.get(value)
        if found is None:
            if len(outs) >= _OUTS_MAX:
                outs.clear()
            found = outs[value] = self._out(fields)
        return found

    def _out(self, fields: Fields) -> int:
        out = 0
        for layer in self.quick:
            out |= layer.out(fields)
        return out


class Index:
    """Every contract that a view has, by what it wants. Changed by views that are being made."""

    def __init__(self) -> None:
        self.groups: dict[frozenset[str], _Group] = {}
        self._reads: tuple[str, ...] = ()  # every field that any of them reads
        self.standing = Standing()
        self.slots: dict[str, list[int]] = {}  # by slug
        self._placed: dict[int, tuple[Contract, list[Place]]] = {}  # by slot
        self._left: list[int] = []  # slots that nobody has any more, still to be cleared
        self._free: list[int] = []
        self._width = 0

    def put(self, entry: Entry) -> Row:
        """A slot for a contract as it is now. Views that are there do not have it."""
        self.sweep(_SWEPT_AT_ONCE)
        contract, filters = entry
        if self._free:
            slot = self._free.pop()
        else:
            slot, self._width = self._width, self._width + 1
        places = places_of(contract, filters)
        self._placed[slot] = contract, places
        self.slots.setdefault(contract.slug, []).append(slot)
        self.standing.add(contract, slot)
        for place in places:
            self._place(place, slot)
        return Row(entry, slot, self._left)

    def sweep(self, most: int) -> None:
        """Clear slots that nobody has any more, so that they can be used again."""
        for _ in range(min(len(self._left), most)):
            self._clear(self._left.pop())

    def suited(
        self, among: int, fields: Fields, *, known: Names, kept: Names
    ) -> tuple[int, list[_Layer]]:
        """Who of these fails no filter that is known and kept, and the layers of those that are known
        and not kept."""
        out = 0
        asking: list[_Layer] = []
        late: list[_Layer] = []
        unknown = [name for name in self._reads if not known(name)]
        unkept = [name for name in self._reads if not kept(name)]
        for reads, group in self.groups.items():
            if unknown and not reads.isdisjoint(unknown):
                continue
            if unkept and not reads.isdisjoint(unkept):
                late += [*group.quick, *group.asking]
                continue
            asking += group.asking
            out |= group.out(fields)
        among ^= among & out
        for layer in asking:
            among = layer.left(fields, among)
        return among, late

    def _place(self, place: Place, slot: int) -> None:
        group = self.groups.get(place.reads)
        if group is None:
            group = self.groups[place.reads] = _Group(place.reads)
            self._settle()
        group.forget()
        layer = group.keys.get(place.layer)
        if layer is None:
            layer = group.keys[place.layer] = _Layer()
            group.settle()
        layer.universe |= 1 << slot
        if place.column is None:
            return
        column = layer.keys.get(place.column)
        if column is None:
            column = layer.keys[place.column] = Column(place.column)
            layer.settle()
            group.settle()
        column.add(place.wanted, slot)

    def _clear(self, slot: int) -> None:
        contract, places = self._placed.pop(slot)
        self.slots[contract.slug].remove(slot)
        if not self.slots[contract.slug]:
            del self.slots[contract.slug]
        self.standing.remove(contract, slot)
        for reads, layer_key, key, wanted in places:
            group = self.groups[reads]
            group.forget()
            layer = group.keys[layer_key]
            layer.universe = without(layer.universe, 1 << slot)
            if key is not None:
                layer.keys[key].remove(wanted, slot)
        for place in places:
            self._prune(place)
        self._free.append(slot)

    def _prune(self, place: Place) -> None:
        """What nobody stands in any more is not looked at any more."""
        group = self.groups.get(place.reads)
        layer = None if group is None else group.keys.get(place.layer)
        if group is None or layer is None:
            return
        column = None if place.column is None else layer.keys.get(place.column)
        if place.column is not None and column is not None and not column.universe:
            del layer.keys[place.column]
            layer.settle()
            group.settle()
        if not layer.universe:
            del group.keys[place.layer]
            group.settle()
        if not group.keys:
            del self.groups[place.reads]
            self._settle()

    def _settle(self) -> None:
        """Once groups have come or gone."""
        self._reads = tuple(frozenset().union(*self.groups))
