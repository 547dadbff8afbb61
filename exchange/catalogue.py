"""The catalogue: verticals, plans, sellers, buyers and contracts as one immutable snapshot."""

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from operator import attrgetter

from buyers.contract import Buyer, Contract
from exchange.eligibility import Entry, View, compile_filters
from exchange.plan import Plan, default_plan
from exchange.sellers import Seller
from exchange.verticals import FieldChecks, Vertical, compile_fields

__all__ = [
    "EMPTY",
    "Catalogue",
    "Entry",
    "Market",
    "Shelf",
    "checks_of",
    "entry_of",
    "market_of",
    "reads_alike",
]


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True)
class Market:
    """One vertical with everything that trades in it. Who begins with one ends with it."""

    vertical: Vertical
    checks: FieldChecks
    plan: Plan
    contracts: tuple[Entry, ...]  # by slug
    by_slug: Mapping[str, Entry]  # the same
    index: View = field(default_factory=View)  # the same, screened at once

    def contract(self, slug: str) -> Entry | None:
        return self.by_slug.get(slug)


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    version: int  # grows with every change of a document
    markets: Mapping[str, Market] = field(default_factory=dict)
    sellers: Mapping[int, Seller] = field(default_factory=dict)
    sellers_by_slug: Mapping[str, Seller] = field(default_factory=dict)
    buyers: Mapping[int, Buyer] = field(default_factory=dict)
    payable: Mapping[tuple[int, str], int] = field(
        default_factory=dict
    )  # (seller, currency) -> account
    margin: Mapping[str, int] = field(default_factory=dict)  # currency -> account
    paused: bool = False  # the whole exchange

    def contract(self, slug: str) -> Contract | None:
        """A contract by slug in any vertical; None when it is not loaded (any more)."""
        for market in self.markets.values():
            entry = market.by_slug.get(slug)
            if entry is not None:
                return entry[0]
        return None


EMPTY = Catalogue(version=0)


def market_of(
    vertical: Vertical,
    plan: Plan | None,
    contracts: Iterable[Contract],
    known: Market | None = None,
    *,
    screens: bool = True,
) -> Market:
    """Compile one vertical. Field checks that did not change are taken over: a build takes 1 ms.
    `screens`: False for one that only explains what was, and needs no index."""
    bare = Market(
        vertical=vertical,
        checks=checks_of(vertical, known),
        plan=plan or default_plan(vertical.slug),
        contracts=(),
        by_slug={},
    )
    if not screens:
        by_slug = {one.slug: entry_of(one) for one in sorted(contracts, key=attrgetter("slug"))}
        return replace(bare, contracts=tuple(by_slug.values()), by_slug=by_slug)
    shelf = Shelf(bare)
    for contract in contracts:
        shelf.put(entry_of(contract))
    return shelf.done(bare)


def entry_of(contract: Contract) -> Entry:
    return contract, compile_filters(contract.filters)


def checks_of(vertical: Vertical, known: Market | None) -> FieldChecks:
    return (
        known.checks
        if known and reads_alike(known.vertical, vertical)
        else compile_fields(vertical)
    )


def reads_alike(one: Vertical, other: Vertical) -> bool:
    """Whether field checks and filters compiled for one vertical are right for the other."""
    return (one.fields, one.on_personal_data_in_ping) == (
        other.fields,
        other.on_personal_data_in_ping,
    )


class Shelf:
    """A market's contracts while some of them change; nothing of the market itself does.

    Replacing one costs what its filters cost in the index, however many others there are: some tens
    of microseconds; the shelf and `done` copy references.
    """

    def __init__(self, market: Market) -> None:
        self._order = list(market.contracts)
        self._by_slug = dict(market.by_slug)
        self._index = market.index.copy()

    def put(self, entry: Entry) -> None:
        """A new contract, or another value of one that is there."""
        slug = entry[0].slug
        place = bisect_left(self._order, slug, key=_slug_of)
        self._order[place : place + (slug in self._by_slug)] = [entry]
        self._by_slug[slug] = entry
        self._index.put(entry)

    def drop(self, slug: str) -> None:
        if self._by_slug.pop(slug, None) is not None:
            del self._order[bisect_left(self._order, slug, key=_slug_of)]
            self._index.drop(slug)

    def done(self, market: Market) -> Market:
        """The market with these contracts. The shelf is used up."""
        return replace(
            market, contracts=tuple(self._order), by_slug=self._by_slug, index=self._index
        )


def _slug_of(entry: Entry) -> str:
    return entry[0].slug
