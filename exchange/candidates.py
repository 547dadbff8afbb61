"""Who would get a lead next: the auction's offers, best first, then the plan's waterfall."""

from collections.abc import AsyncIterator

from buyers.contract import Contract
from exchange.auction import Offer, rank
from exchange.eligibility import Asker, Skipped, first_failing, screen
from exchange.errors import StoreUnavailable
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Candidate, Lead
from exchange.plan import Tier, TierMode, Turns, order_tier
from exchange.reasons import SkipReason
from exchange.sellers import net_micros


async def candidates(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The auction's offers, best first, ranked anew after each failure; then the plan's tiers.

    `tried` grows while this runs: no buyer that was tried gets the lead under another contract. The
    first price is that of the whole field, as it was quoted; on failover it is that of who is left.
    """
    offers = list(lead.offers)
    while ranked := rank(offers, lead.rules).placed:
        out = {one.offer.contract: _passed_over(house, lead, one.offer, tried) for one in ranked}
        best = next((one for one in ranked if out[one.offer.contract] is None), None)
        ahead = ranked if best is None else ranked[: ranked.index(best)]
        skipped.extend(found for one in ahead if (found := out[one.offer.contract]))
        gone = {one.offer.contract for one in ahead}
        offers = [one for one in offers if one.contract not in gone]
        if best is None:
            break
        offers.remove(best.offer)
        contract = _contract(lead, best.offer.contract)
        yield Candidate(
            contract=contract,
            tier="auction",
            pay_micros=best.pay_micros,
            net_micros=best.net_micros,
            bid_id=best.offer.bid_id,
        )
        # Who is out by now no longer sets a price either.
        out = {one.contract: _passed_over(house, lead, one, tried) for one in offers}
        skipped.extend(found for found in out.values() if found)
        offers = [one for one in offers if out[one.contract] is None]
    async for candidate in _waterfall(house, lead, tried, skipped):
        yield candidate


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
    if _has_expired(house, lead, offer):
        return Skipped(slug, SkipReason.BID_EXPIRED)
    ping_fields = lead.market.checks.ping_field_names
    late = [one for one in filters if not one.fields <= ping_fields]
    failed = None if lead.judged else first_failing(late, lead.fields, lambda _name: True)
    return None if failed is None else Skipped(slug, SkipReason.FILTERED, failed)


def _has_expired(house: House, lead: Lead, offer: Offer) -> bool:
    return offer.expires_in_s is not None and house.now_s() - lead.pinged_s >= offer.expires_in_s


def _contract(lead: Lead, slug: str) -> Contract:
    entry = lead.market.contract(slug)
    assert entry is not None, "whoever is passed over has been taken out"
    return entry[0]


async def _waterfall(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The fixed-price contracts of every tier behind the auction, judged on all fields."""
    plan, market = lead.market.plan, lead.market
    if house.catalogue.paused:
        return
    behind = [entry for entry in market.contracts if plan.tier_of(entry[0]) in plan.waterfall]
    asker = Asker(seller=lead.seller.slug, excluded=lead.excluded, test=lead.test)
    screening = screen(
        behind,
        lead.fields,
        asker,
        plan,
        house.usage,
        now=house.store.now(),
        known=lambda _name: True,
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
            else:
                yield Candidate(
                    contract=contract,
                    tier=tier.name,
                    pay_micros=contract.pricing.price_micros,
                    net_micros=net,
                    bid_id=None,
                )


async def _turns(house: House, stands: list[Contract], tier: Tier) -> Turns:
    """Whose turn it is; while the database is away nobody's, and the award will wait for it."""
    try:
        return await house.store.turns([contract.id for contract in stands], tier.period)
    except StoreUnavailable:
        return Turns()
