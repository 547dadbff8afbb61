"""A vertical's plan: its auction, then the waterfall's tiers, and the order inside each tier."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from buyers.contract import Contract
from exchange.auction import tie_hash
from exchange.sellers import PPM


class TierMode(StrEnum):
    AUCTION = "auction"
    PRIORITY = "priority"  # lowest priority first
    PRICE = "price"  # highest price first
    ROUND_ROBIN = "round_robin"  # who sold longest ago first
    WEIGHTED = "weighted"  # a draw by hash of the lead, by weight
    PERCENTAGE = "percentage"  # furthest below its share of the period first


@dataclass(frozen=True, slots=True, kw_only=True)
class Tier:
    name: str
    mode: TierMode
    window_ms: int = 500  # auction only
    period: str | None = None  # percentage only: hour day week month total


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """At most one auction tier, first; then waterfall tiers."""

    vertical: str
    tiers: tuple[Tier, ...]
    catches_all: bool = False  # the last tier takes every fixed contract that is in no other

    @property
    def auction(self) -> Tier | None:
        return self.tiers[0] if self.tiers and self.tiers[0].mode is TierMode.AUCTION else None

    @property
    def waterfall(self) -> tuple[Tier, ...]:
        return self.tiers[1:] if self.auction else self.tiers

    def in_auction(self, contracts: Iterable[Contract]) -> list[Contract]:
        """Those that stand in the auction tier, as `tier_of` says; in their order."""
        if self.auction is None:
            return []
        name = self.auction.name
        return [contract for contract in contracts if contract.tier == name]

    def tier_of(self, contract: Contract) -> Tier | None:
        """The tier a contract stands in; None when the plan has none for it."""
        for tier in self.tiers:
            if tier.name == contract.tier:
                return tier
        return self.tiers[-1] if self.catches_all and not contract.is_pinged else None


def default_plan(vertical: str) -> Plan:
    """Without a plan: an auction, then `priority` over every fixed price not in it."""
    auction = Tier(name="auction", mode=TierMode.AUCTION)
    return Plan(
        vertical=vertical,
        tiers=(auction, Tier(name="waterfall", mode=TierMode.PRIORITY)),
        catches_all=True,
    )


@dataclass(frozen=True, slots=True)
class Turns:
    """What a tier remembers of its contracts' sales, by contract id."""

    last_turn: Mapping[int, float] = field(default_factory=dict)  # when it last sold; absent: never
    sold: Mapping[int, int] = field(default_factory=dict)  # sales in the tier's current period


def order_tier(
    tier: Tier, contracts: Sequence[Contract], lead_id: str, turns: Turns
) -> list[Contract]:
    """The contracts of one waterfall tier in the order they are posted to.

    Every mode ends its ties by priority, then BLAKE2b-64 of `lead_id|slug`, lower first.
    """
    total = sum(turns.sold.get(contract.id, 0) for contract in contracts)

    def wish(contract: Contract) -> float:
        match tier.mode:
            case TierMode.PRICE:
                return -contract.pricing.price_micros
            case TierMode.ROUND_ROBIN:
                return turns.last_turn.get(contract.id, -math.inf)
            case TierMode.WEIGHTED:
                return _draw(contract, lead_id)
            case TierMode.PERCENTAGE:
                # Compared after this sale, so that an empty period starts with the largest share.
                due_ppm = (contract.percent_ppm or 0) * (total + 1)
                return turns.sold.get(contract.id, 0) * PPM - due_ppm
            case _:
                return 0.0

    return sorted(contracts, key=lambda c: (wish(c), c.priority, tie_hash(lead_id, c.slug)))


def _draw(contract: Contract, lead_id: str) -> float:
    """An exponential race: the first is drawn with probability weight / sum, and so on down."""
    uniform = (tie_hash(lead_id, contract.slug) + 1) / (2**64 + 1)
    return -math.log(uniform) / contract.weight if contract.weight else math.inf
