"""The next snapshot while it is made: what was known, with what was read put over it."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final, TypeVar

from buyers.contract import Buyer
from exchange.catalogue import (
    EMPTY,
    Catalogue,
    Entry,
    Shelf,
    checks_of,
    market_of,
    reads_alike,
)
from exchange.documents import buyer_value, plan_value, seller_value
from exchange.plan import default_plan
from exchange.sellers import Seller
from exchange.store.pace import Pace
from exchange.store.stored import Listed, Look, StoredDocument
from exchange.verticals import read_vertical

Key = TypeVar("Key")
Value = TypeVar("Value")
_NOTHING: Final = Look(0, 0, False, frozenset(), frozenset(), "")


@dataclass(slots=True)
class Known:
    """What a process holds, and what it was made from. Changed by `Draft.come_into_force` only."""

    snapshot: Catalogue = EMPTY
    look: Look = _NOTHING
    held: dict[int, Listed] = field(default_factory=dict)  # documents that were read, by id
    traded: dict[int, str] = field(default_factory=dict)  # contract -> vertical it stands in
    buyers: dict[str, Buyer] = field(default_factory=dict)
    retired: set[int] = field(default_factory=set)  # contracts kept for their open attempts
    certified: dict[int, int] = field(default_factory=dict)
    unplaced: set[int] = field(default_factory=set)  # contracts that lack the places of ZIP codes


class Draft:
    """One refresh. Nothing of what was known is changed before it is in force as a whole."""

    def __init__(self, known: Known) -> None:
        self.known = known
        old = known.snapshot
        self.markets = dict(old.markets) if known.held else {}
        self.payable: dict[tuple[int, str], int] = {}
        self.margin: dict[str, int] = {}
        self.outdated: set[str] = set()  # verticals whose contracts have to be compiled again
        self.certified = known.certified
        self.unplaced = set(known.unplaced)
        self._held: dict[int, Listed] = {}
        self._ended: set[int] = set()  # documents that are held no more
        self._traded: dict[int, str] = {}
        self._untraded: set[int] = set()
        self._retired: set[int] = set()
        self._sellers: dict[int, Seller] = {}
        self._buyers: dict[str, Buyer] = {}
        self._shelves: dict[str, Shelf] = {}  # by vertical
        self._read: dict[str, set[str]] = defaultdict(set)  # contracts, by vertical

    def hold(self, listed: Listed) -> None:
        if listed.ended:
            self._ended.add(listed.id)
        else:
            self._held[listed.id] = listed

    def put_vertical(self, document: StoredDocument) -> None:
        vertical = read_vertical(document.body)
        market = self.markets.get(vertical.slug)
        if market is None:
            before = self.known.snapshot.markets.get(vertical.slug)
            self.markets[vertical.slug] = market_of(vertical, None, (), before)
            return
        if not reads_alike(market.vertical, vertical):
            self.outdated.add(vertical.slug)
        checks = checks_of(vertical, market)
        self.markets[vertical.slug] = replace(market, vertical=vertical, checks=checks)

    def put_plan(self, document: StoredDocument) -> None:
        slug = document.body["vertical"]
        plan = default_plan(slug) if document.deleted else plan_value(document.body)
        if slug in self.markets:
            self.markets[slug] = replace(self.markets[slug], plan=plan)

    def put_seller(self, document: StoredDocument) -> None:
        active = not document.deleted
        self._sellers[document.id] = seller_value(document.id, document.body, active=active)

    def put_buyer(self, document: StoredDocument) -> None:
        active = not (document.paused or document.deleted)
        self._buyers[document.body["slug"]] = buyer_value(document.id, document.body, active=active)

    def buyer(self, slug: str) -> Buyer:
        return self._buyers.get(slug) or self.known.buyers[slug]

    def put_contract(self, document: StoredDocument, entry: Entry | None) -> None:
        """None: it cannot be read, and is nowhere."""
        slug, vertical = document.body["slug"], document.body["vertical"]
        self.unplaced.discard(document.id)
        before = self.known.traded.get(document.id)
        if before is not None and (entry is None or before != vertical):
            self._shelf(before).drop(slug)
        if entry is not None:
            self._shelf(vertical).put(entry)
            self._read[vertical].add(slug)
            self._traded[document.id] = vertical
        else:
            self._untraded.add(document.id)
        if document.deleted:
            self._retired.add(document.id)

    def drop_contract(self, listed: Listed) -> None:
        self.unplaced.discard(listed.id)
        before = self.known.traded.get(listed.id)
        if before is not None:
            self._shelf(before).drop(listed.slug)
        self._untraded.add(listed.id)

    def _shelf(self, vertical: str) -> Shelf:
        found = self._shelves.get(vertical)
        if found is None:
            found = self._shelves[vertical] = Shelf(self.markets[vertical])
        return found

    async def follow_buyers(self, pace: Pace) -> None:
        """Contracts know their buyer: those of a changed one get the new, their filters stay."""
        changed = {buyer.id: buyer for buyer in self._buyers.values()}
        if not changed or not self.known.traded:
            return
        for vertical, market in self.markets.items():
            read = self._read[vertical]
            for contract, filters in market.contracts:
                buyer = changed.get(contract.buyer.id)
                moved = self._traded.get(contract.id, vertical) != vertical
                if buyer is not None and not moved and contract.slug not in read:
                    self._shelf(vertical).put((replace(contract, buyer=buyer), filters))
                await pace.breathe()

    def read_in(self, vertical: str) -> int:
        """How many of a vertical's contracts were read."""
        return len(self._read[vertical])

    async def come_into_force(self, look: Look, pace: Pace) -> None:
        """Whatever was known is now what was drafted."""
        for vertical, shelf in self._shelves.items():
            await pace.breathe()
            self.markets[vertical] = shelf.done(self.markets[vertical])
        await pace.breathe()
        known, old = self.known, self.known.snapshot
        sellers = {one.slug: one for one in self._sellers.values()}
        buyers = {one.id: one for one in self._buyers.values()}
        snapshot = Catalogue(
            version=look.version,
            markets=self.markets,
            sellers=_over(old.sellers, self._sellers),
            sellers_by_slug=_over(old.sellers_by_slug, sellers),
            buyers=_over(old.buyers, buyers),
            payable=_over(old.payable, self.payable),
            margin=_over(old.margin, self.margin),
            paused=look.paused,
        )
        await pace.breathe()  # and from here to the end nothing waits
        known.held = _updated(known.held, self._held)
        known.traded = _updated(known.traded, self._traded)
        for id_ in self._ended | self._untraded:
            known.traded.pop(id_, None)
        for id_ in self._ended:
            known.held.pop(id_, None)
        known.buyers = _updated(known.buyers, self._buyers)
        known.retired = known.retired - self._ended | self._retired
        known.unplaced = self.unplaced
        known.certified, known.look, known.snapshot = self.certified, look, snapshot


def _over(known: Mapping[Key, Value], changed: Mapping[Key, Value]) -> Mapping[Key, Value]:
    """A new mapping: snapshots never change."""
    return {**known, **changed} if changed else known


def _updated(known: dict[Key, Value], changed: dict[Key, Value]) -> dict[Key, Value]:
    """The same, changed in place; of nothing, what it was changed to, for a copy takes its time."""
    if not known:
        return changed
    known.update(changed)
    return known
