"""Who would get a lead next: the auction's offers, best first, then the plan's waterfall."""

from collections.abc import AsyncIterator, Collection

from buyers.contract import Contract
from exchange.auction import Offer, Placed, rank, replacement
from exchange.eligibility import Asker, Skipped, first_failing
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Candidate, Lead
from exchange.plan import Tier, TierMode, Turns, order_tier
from exchange.reasons import SkipReason
from exchange.sellers import net_micros


class Shelf:
    """The auction's offers that have not been tried yet.

    `tried` grows while a lead is sold: no buyer that was tried gets it under another contract. Why an
    offer was passed over is told in `skipped`.
    """

    def __init__(self, house: House, lead: Lead, tried: set[int], skipped: list[Skipped]) -> None:
        self._house = house
        self._lead = lead
        self._tried = tried
        self._skipped = skipped
        self._offers = list(lead.offers)
        self._begun = False

    def take_best(self) -> tuple[Candidate, ...]:
        """The winner, or the members of the winning set; empty when nobody is left who can win.

        The first price is that of the whole field, as it was quoted; on failover it is that of who is
        left: who is out by then no longer sets a price either.
        """
        if self._begun:
            self._drop(self._offers)
        self._begun = True
        while winners := rank(self._offers, self._lead.rules).winners:
            if not self._drop([one.offer for one in winners]):
                taken = {one.offer.contract for one in winners}
                self._offers = [one for one in self._offers if one.contract not in taken]
                shares = len(winners)
                return tuple(self._candidate(w, n, shares) for n, w in enumerate(winners, 1))
        low, self._offers = self._offers, []
        self._skipped.extend(Skipped(one.contract, SkipReason.BELOW_MIN_PRICE) for one in low)
        return ()

    def take_replacement(self, fallen: Candidate, buyers: Collection[str]) -> Candidate | None:
        """Who takes the place of a member that fell out of a set; `buyers` are still in it."""
        shared = [one for one in self._offers if one.is_shared]
        while found := replacement(shared, fallen.shares, buyers, self._lead.rules):
            shared.remove(found)
            if not self._drop([found]):
                self._offers.remove(found)
                pay = found.price_micros
                net = net_micros(self._lead.rules.margin, pay)
                placed = Placed(offer=found, pay_micros=pay, net_micros=net)
                return self._candidate(placed, fallen.slot, fallen.shares)
        return None

    def _drop(self, offers: list[Offer]) -> bool:
        """Take out of these offers the ones that are passed over; whether there were any."""
        out = {
            one.contract: _passed_over(self._house, self._lead, one, self._tried) for one in offers
        }
        self._skipped.extend(found for found in out.values() if found)
        self._offers = [one for one in self._offers if out.get(one.contract) is None]
        return any(out.values())

    def _candidate(self, placed: Placed, place: int, shares: int) -> Candidate:
        entry = self._lead.market.contract(placed.offer.contract)
        assert entry is not None, "whoever is passed over has been taken out"
        if not self._lead.test:
            self._house.vigil.begin_post(entry[0])
        return Candidate(
            contract=entry[0],
            tier="auction",
            pay_micros=placed.pay_micros,
            net_micros=placed.net_micros,
            bid_id=placed.offer.bid_id,
            slot=place if placed.offer.is_shared else 0,
            shares=shares,
        )


async def offerings(
    house: House, lead: Lead, shelf: Shelf, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[tuple[Candidate, ...]]:
    """Whom to post to next: one candidate, or a set that is posted to at once."""
    while best := shelf.take_best():
        yield best
    async for candidate in _waterfall(house, lead, tried, skipped):
        yield (candidate,)


def _passed_over(house: House, lead: Lead, offer: Offer, tried: set[int]) -> Skipped | None:
    """Why an offer is out at the post; None when its contract may have the lead."""
    slug = offer.contract
    entry = lead.market.contract(slug)
    if entry is None:
        return Skipped(slug, SkipReason.PAUSED)
    contract, filters = entry
    # The award judges pauses again; a test has no award.
    if house.catalogue.paused or (lead.test and not (contract.active and contract.buyer.active)):
        return Skipped(slug, SkipReason.PAUSED)
    if contract.buyer.id in tried:
        return Skipped(slug, SkipReason.BUYER_ALREADY_TRIED)
    if not lead.test and house.vigil.refuses_post(contract):
        return Skipped(slug, SkipReason.BREAKER_OPEN, "post")
    if _has_expired(house, lead, offer):
        return Skipped(slug, SkipReason.BID_EXPIRED)
    ping_fields = lead.market.checks.ping_field_names
    late = [one for one in filters if not one.fields <= ping_fields]
    failed = None if lead.judged else first_failing(late, lead.fields, lambda _name: True)
    return None if failed is None else Skipped(slug, SkipReason.FILTERED, failed.told)


def _has_expired(house: House, lead: Lead, offer: Offer) -> bool:
    return offer.expires_in_s is not None and house.now_s() - lead.pinged_s >= offer.expires_in_s


async def _waterfall(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The fixed-price contracts of every tier behind the auction, judged on all fields."""
    plan, market = lead.market.plan, lead.market
    asker = Asker(seller=lead.seller.slug, excluded=lead.excluded, test=lead.test)
    screening = market.index.screen(
        lead.fields,
        asker,
        plan,
        house.usage,
        now=house.store.now(),
        known=lambda _name: True,
        kept=lambda _name: False,  # the person is sealed
        paused=house.catalogue.paused,
        tiers=plan.waterfall,
    )
    skipped.extend(screening.skipped)
    for tier in plan.waterfall:
        stands = [contract for contract in screening.eligible if plan.tier_of(contract) is tier]
        turns = Turns()
        if stands and tier.mode in {TierMode.ROUND_ROBIN, TierMode.PERCENTAGE}:
            turns = await _turns(house, stands, tier)
        for contract in order_tier(tier, stands, write_id("lead", lead.id, test=lead.test), turns):
            net = net_micros(lead.rules.margin, contract.pricing.price_micros)
            if contract.buyer.id in tried:
                skipped.append(Skipped(contract.slug, SkipReason.BUYER_ALREADY_TRIED))
            elif net <= 0 or net < lead.min_price_micros:
                skipped.append(Skipped(contract.slug, SkipReason.BELOW_MIN_PRICE))
            elif not lead.test and house.vigil.refuses_post(contract):
                skipped.append(Skipped(contract.slug, SkipReason.BREAKER_OPEN, "post"))
            else:
                if not lead.test:
                    house.vigil.begin_post(contract)
                yield Candidate(
                    contract=contract,
                    tier=tier.name,
                    pay_micros=contract.pricing.price_micros,
                    net_micros=net,
                    bid_id=None,
                    slot=1 if contract.is_shared else 0,
                    shares=1,  # a waterfall sells to one
                )


async def _turns(house: House, stands: list[Contract], tier: Tier) -> Turns:
    """Whose turn it is; while the database is away nobody's, and the award will wait for it."""
    try:
        return await house.store.turns([contract.id for contract in stands], tier.period)
    except StoreUnavailable:
        return Turns()
