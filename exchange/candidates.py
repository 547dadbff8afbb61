"""Who would get a lead next: the auction's offers, best first, then the plan's waterfall."""

from collections.abc import AsyncIterator

from buyers.contract import Contract
from exchange.auction import rank
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

    `tried` grows while this runs: no buyer that was tried gets the lead under another contract.
    """
    offers = list(lead.offers)
    while offers:
        offers = [
            offer for offer in offers if not _passed_over(lead, offer.contract, tried, skipped)
        ]
        ranking = rank(offers, lead.rules)
        if not ranking.placed:
            break
        best = ranking.placed[0]
        offers.remove(best.offer)
        entry = lead.market.contract(best.offer.contract)
        assert entry is not None, "whoever is passed over has been taken out"
        yield Candidate(
            contract=entry[0],
            tier="auction",
            pay_micros=best.pay_micros,
            net_micros=best.net_micros,
            bid_id=best.offer.bid_id,
        )
    async for candidate in _waterfall(house, lead, tried, skipped):
        yield candidate


def _passed_over(lead: Lead, slug: str, tried: set[int], skipped: list[Skipped]) -> bool:
    """Whether an offer is out at the post: retired, its buyer tried, a post-stage condition false."""
    entry = lead.market.contract(slug)
    if entry is None:
        skipped.append(Skipped(slug, SkipReason.PAUSED))
        return True
    contract, filters = entry
    if contract.buyer.id in tried:
        skipped.append(Skipped(slug, SkipReason.BUYER_ALREADY_TRIED))
        return True
    ping_fields = lead.market.checks.ping_field_names
    late = [one for one in filters if not one.fields <= ping_fields]
    failed = None if lead.judged else first_failing(late, lead.fields, lambda _name: True)
    if failed is not None:
        skipped.append(Skipped(slug, SkipReason.FILTERED, failed))
        return True
    return False


async def _waterfall(
    house: House, lead: Lead, tried: set[int], skipped: list[Skipped]
) -> AsyncIterator[Candidate]:
    """The fixed-price contracts of every tier behind the auction, judged on all fields."""
    plan, market = lead.market.plan, lead.market
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
