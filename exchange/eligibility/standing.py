"""What screening looks at besides filters, as masks: tier, test, seller, pause, exclusion."""

from collections.abc import Collection, Iterator

from buyers.contract import Contract
from exchange.eligibility.columns import Postings
from exchange.eligibility.values import Asker
from exchange.plan import Plan, Tier


class Standing:
    """What screening looks at besides filters: masks, and slots by slug."""

    __slots__ = (
        "active",
        "allowed",
        "buyers",
        "denied",
        "fixed",
        "picky",
        "retired",
        "tests",
        "tiers",
    )

    def __init__(self) -> None:
        self.active = 0
        self.retired = 0
        self.fixed = 0  # never pinged
        self.tests = 0  # accepts test leads
        self.picky = 0  # takes leads of some sellers only
        self.tiers = Postings()
        self.buyers = Postings()
        self.allowed = Postings()  # by seller
        self.denied = Postings()

    def add(self, contract: Contract, slot: int) -> None:
        bit = 1 << slot
        for name in _masks_of(contract):
            setattr(self, name, getattr(self, name) | bit)
        for postings, slug in self._postings_of(contract):
            postings.add(slug, slot)

    def remove(self, contract: Contract, slot: int) -> None:
        bit = 1 << slot
        for name in _masks_of(contract):
            setattr(self, name, getattr(self, name) ^ bit)
        for postings, slug in self._postings_of(contract):
            postings.remove(slug, slot)

    def _postings_of(self, contract: Contract) -> Iterator[tuple[Postings, str]]:
        yield self.tiers, contract.tier
        yield self.buyers, contract.buyer.slug
        yield from ((self.allowed, seller) for seller in contract.sellers_allow)
        yield from ((self.denied, seller) for seller in contract.sellers_deny)

    def of_tiers(self, plan: Plan, tiers: Collection[Tier], among: int) -> int:
        """Those of `among` that stand in one of these tiers of the plan."""
        named = found = 0
        for tier in plan.tiers:
            stand = self.tiers.mask(tier.name)
            named |= stand
            if tier in tiers:
                found |= stand
        if plan.catches_all and plan.tiers[-1] in tiers:
            found |= self.fixed ^ (self.fixed & named)
        return found & among

    def lasting(self, asker: Asker, plan: Plan, among: int) -> tuple[int, int, int]:
        """Of these who is retired, who of the others is not ruled out by tier, test or seller, and how
        many others there are."""
        retired = among & self.retired
        others = among ^ retired
        left = self.of_tiers(plan, plan.tiers, others)
        if asker.test:
            left &= self.tests
        picky = left & self.picky
        left ^= picky ^ (picky & self.allowed.mask(asker.seller))
        return retired, left ^ (left & self.denied.mask(asker.seller)), others.bit_count()

    def stopped(self, asker: Asker, among: int) -> int:
        """Who is paused, or a buyer that this lead is not for."""
        excluded = among ^ (among & self.active)
        for buyer in asker.excluded:
            excluded |= self.buyers.mask(buyer) & among
        return excluded


def _masks_of(contract: Contract) -> Iterator[str]:
    if contract.active and contract.buyer.active and not contract.retired:
        yield "active"
    if contract.retired:
        yield "retired"
    if not contract.is_pinged:
        yield "fixed"
    if contract.endpoint.accepts_test:
        yield "tests"
    if contract.sellers_allow:
        yield "picky"
