"""Ranks bids: who wins, what each would pay, and why everyone else lost (contract §5)."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from exchange.reasons import AuctionReason
from exchange.sellers import PPM, gross_up, net_micros
from exchange.verticals import Margin


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A price a contract stands by: a buyer's bid, or the fixed price of a contract."""

    contract: str  # slug
    price_micros: int
    is_fixed: bool = False
    adjustment_ppm: int = PPM  # rank price = price x this / 1,000,000
    priority: int = 10
    min_micros: int = 0  # the least it can be asked to pay under second price
    bid_id: str | None = None
    expires_in_s: int | None = None  # from the ping; None: as long as the quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a ranking depends on besides the offers; frozen into the receipt."""

    ping_id: str
    margin: Margin
    floor_micros: int  # the least the seller takes
    second_price: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Placed:
    """An offer that can win, at its place."""

    offer: Offer
    pay_micros: int  # what the buyer pays if it is this one
    net_micros: int  # what the seller gets


@dataclass(frozen=True, slots=True)
class Ranking:
    placed: tuple[Placed, ...]  # best first
    below_floor: tuple[Offer, ...]

    def reason_of(self, contract: str) -> AuctionReason | None:
        """Why this contract's offer did not win; None for the winner and for strangers."""
        if any(offer.contract == contract for offer in self.below_floor):
            return AuctionReason.BELOW_FLOOR
        if any(placed.offer.contract == contract for placed in self.placed[1:]):
            return AuctionReason.OUTBID
        return None


def rank(offers: Sequence[Offer], rules: Rules) -> Ranking:
    """Order the offers by rank price, then priority (lower first), then hash of ping and contract.

    An offer whose net at its own price is zero, or below the floor, cannot win. On failover the
    same function ranks what is left, so a second price is always that of the remaining field.
    """
    able: list[Offer] = []
    below: list[Offer] = []
    for offer in offers:
        net = net_micros(rules.margin, offer.price_micros)
        (able if net > 0 and net >= rules.floor_micros else below).append(offer)
    able.sort(key=lambda offer: place_key(offer, rules.ping_id))
    placed = []
    for place, offer in enumerate(able):
        runner_up = able[place + 1] if place + 1 < len(able) else None
        pay = _pay(offer, runner_up, rules)
        net = net_micros(rules.margin, pay)
        placed.append(Placed(offer=offer, pay_micros=pay, net_micros=net))
    return Ranking(tuple(placed), tuple(below))


def place_key(offer: Offer, ping_id: str) -> tuple[int, int, int]:
    """Smaller is better. The rank price stays an exact integer: bid x ppm, never divided."""
    return (
        -offer.price_micros * offer.adjustment_ppm,
        offer.priority,
        tie_hash(ping_id, offer.contract),
    )


def tie_hash(seed: str, slug: str) -> int:
    """BLAKE2b-64 of `seed|slug`: the last word in every tie, the same wherever it is computed."""
    digest = hashlib.blake2b(f"{seed}|{slug}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")


def _pay(offer: Offer, runner_up: Offer | None, rules: Rules) -> int:
    """First price: its bid. Second price: the least that still wins, at most its bid."""
    if offer.is_fixed or not rules.second_price:
        return offer.price_micros
    if runner_up is None and rules.floor_micros == 0:
        return offer.price_micros
    least = [
        offer.min_micros,
        gross_up(rules.margin, max(rules.floor_micros, 1)) or offer.price_micros,
    ]
    if runner_up is not None:
        rival = runner_up.price_micros * runner_up.adjustment_ppm
        least.append(-(-rival // offer.adjustment_ppm))
    return min(offer.price_micros, max(least))
