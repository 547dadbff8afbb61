"""Ranks bids: who wins, what each would pay, and why everyone else lost (contract §5).

A lead is sold to one buyer, or to a set of buyers that share it. The best exclusive offer stands
against the set whose nets add up to most; at equal sums the exclusive one wins.
"""

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from buyers.value import maker, value
from exchange.reasons import AuctionReason
from exchange.sellers import PPM, gross_up, net_micros, net_micros_of
from exchange.verticals import Margin


@value(kw_only=False)
class Offer:
    """A price a contract stands by: a buyer's bid, or the fixed price of a contract."""

    contract: str  # slug
    buyer: str  # slug
    price_micros: int
    is_fixed: bool = False
    adjustment_ppm: int = PPM  # rank price = price x this / 1,000,000
    priority: int = 10
    min_micros: int = 0  # the least it can be asked to pay under second price
    bid_id: str | None = None
    expires_in_s: int | None = None  # from the ping; None: as long as the quote
    is_shared: bool = False  # others may buy the lead too
    max_shares: int = 1  # shared: how many at most, this one included


make_offer = maker(Offer)
_SPAN: Final = 1 << 64  # more than there are priorities, or hashes


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What a ranking depends on besides the offers; frozen into the receipt."""

    ping_id: str
    margin: Margin
    floor_micros: int  # the least the seller takes
    second_price: bool


@value(kw_only=False)
class Placed:
    """An offer that can win, at its place."""

    offer: Offer
    pay_micros: int  # what the buyer pays if it is this one
    net_micros: int  # what the seller gets


make_placed = maker(Placed)


@dataclass(frozen=True, slots=True)
class Ranking:
    placed: tuple[Placed, ...]  # the winners first, then the rest by rank
    below_floor: tuple[Offer, ...]
    winning: int  # how many of the placed win together; 0: nobody bid enough

    @property
    def winners(self) -> tuple[Placed, ...]:
        """One exclusive offer, or the members of a set, the highest net first."""
        return self.placed[: self.winning]

    @property
    def net_micros(self) -> int:
        """What the seller gets if every winner accepts; 0 without one."""
        return sum(one.net_micros for one in self.winners)

    @property
    def is_shared(self) -> bool:
        return bool(self.winning) and self.placed[0].offer.is_shared

    def reason_of(self, contract: str) -> AuctionReason | None:
        """Why this contract's offer did not win; None for the winner and for strangers."""
        return self.reasons().get(contract)

    def reasons(self) -> dict[str, AuctionReason]:
        """Of everybody who lost, by contract."""
        lost = {one.offer.contract: AuctionReason.OUTBID for one in self.placed[self.winning :]}
        return lost | {one.contract: AuctionReason.BELOW_FLOOR for one in self.below_floor}


def rank(offers: Sequence[Offer], rules: Rules) -> Ranking:
    """Order the offers by rank price, then priority (lower first), then hash of ping and contract.

    An exclusive offer whose net at its own price is zero, or below the floor, cannot win; of shared
    ones the set's sum must reach the floor. On failover the same function ranks what is left, so a
    second price is always that of the remaining field. Members of a set pay their bids.
    """
    margin, least_net = rules.margin, max(rules.floor_micros, 1)
    nets: dict[str, int] = {}
    single, sharing = [], []
    prices = [one.price_micros for one in offers]
    for one, net in zip(offers, net_micros_of(margin, prices), strict=True):
        nets[one.contract] = net
        if one.is_shared:
            if net > 0:
                sharing.append(one)
        elif net >= least_net:
            single.append(one)
    shared, shared_micros = _best_able(sharing, nets, rules) if sharing else ((), 0)
    able = in_place([*single, *sharing] if shared else single, rules.ping_id)
    if rules.second_price:
        placed = _second_prices(able, shared_micros, rules)
    else:
        placed = [make_placed(one, one.price_micros, nets[one.contract]) for one in able]
    winning = 1 if able else 0
    if shared:
        placed, winning = _winners_first(placed, shared, shared_micros, nets)
    below_floor: tuple[Offer, ...] = ()
    if len(able) < len(offers):
        names = {one.contract for one in able}
        below_floor = tuple([one for one in offers if one.contract not in names])
    return Ranking(tuple(placed), below_floor, winning)


def _best_able(
    sharing: Sequence[Offer], nets: Mapping[str, int], rules: Rules
) -> tuple[tuple[Offer, ...], int]:
    """The set whose nets add up to most, and to how much; nobody and 0 if that is below the floor."""
    shared = best_set(sharing, rules)
    micros = sum(nets[one.contract] for one in shared)
    return (shared, micros) if micros >= rules.floor_micros else ((), 0)


def _winners_first(
    placed: list[Placed], shared: Sequence[Offer], shared_micros: int, nets: Mapping[str, int]
) -> tuple[list[Placed], int]:
    """The set before the others if it brings more than the best exclusive offer, else that one; and
    how many win."""
    best = next((one for one in placed if not one.offer.is_shared), None)
    first = [one.contract for one in shared]
    if best is not None and nets[best.offer.contract] >= shared_micros:
        first = [best.offer.contract]
    by_name = {one.offer.contract: one for one in placed}
    rest = [one for one in placed if one.offer.contract not in first]
    return [*[by_name[name] for name in first], *rest], len(first)


def best_set(shared: Sequence[Offer], rules: Rules) -> tuple[Offer, ...]:
    """The shared offers whose nets add up to most: distinct buyers, no more of them than the least
    `max_shares` among them. At equal sums the smaller set; within it the highest net first."""
    found: tuple[Offer, ...] = ()
    most = 0
    for size in range(1, max((one.max_shares for one in shared), default=0) + 1):
        members = _best_of_each_buyer([one for one in shared if one.max_shares >= size], rules)
        total = sum(_net(one, rules) for one in members[:size])
        if total > most:
            found, most = tuple(members[:size]), total
    return found


def replacement(
    shared: Sequence[Offer], shares: int, buyers: Collection[str], rules: Rules
) -> Offer | None:
    """Who takes the place of a member that fell out of a set of `shares`: the highest net among the
    buyers that are not in it and agree to so many; None when nobody does."""
    fit = [
        one
        for one in shared
        if one.max_shares >= shares and one.buyer not in buyers and _net(one, rules) > 0
    ]
    return next(iter(_best_of_each_buyer(fit, rules)), None)


def _best_of_each_buyer(shared: Sequence[Offer], rules: Rules) -> list[Offer]:
    """By net, highest first, ties as in the ranking."""
    best: dict[str, Offer] = {}
    for one in sorted(shared, key=lambda o: (-_net(o, rules), place_key(o, rules.ping_id))):
        best.setdefault(one.buyer, one)
    return list(best.values())


def _net(offer: Offer, rules: Rules) -> int:
    return net_micros(rules.margin, offer.price_micros)


def _second_prices(able: Sequence[Offer], shared_micros: int, rules: Rules) -> list[Placed]:
    """Each with what it would pay against the exclusive offer behind it; members of a set and fixed
    prices pay what they said."""
    behind = iter([*[one for one in able if not one.is_shared][1:], None])
    placed = []
    for one in able:
        runner_up = None if one.is_shared else next(behind)
        pay = one.price_micros
        if not (one.is_fixed or one.is_shared):
            pay = _second_price(one, runner_up, shared_micros, rules)
        net = net_micros(rules.margin, pay)
        placed.append(make_placed(one, pay, net))
    return placed


def in_place(offers: Sequence[Offer], ping_id: str) -> list[Offer]:
    """By `place_key`, smallest first, as one number each; the hashes, which cost most of it, only
    where there is a tie."""
    places = [one.priority - one.price_micros * one.adjustment_ppm * _SPAN for one in offers]
    if len(set(places)) < len(places):
        hashes = tie_hashes(ping_id, [one.contract for one in offers])
        places = [place * _SPAN + tie for place, tie in zip(places, hashes, strict=True)]
    return [offers[n] for n in sorted(range(len(places)), key=places.__getitem__)]


def place_key(offer: Offer, ping_id: str) -> tuple[int, int, int]:
    """Smaller is better. The rank price stays an exact integer: bid x ppm, never divided."""
    rank_price = offer.price_micros * offer.adjustment_ppm
    return -rank_price, offer.priority, tie_hash(ping_id, offer.contract)


def tie_hash(seed: str, slug: str) -> int:
    """BLAKE2b-64 of `seed|slug`: the last word in every tie, the same wherever it is computed."""
    return tie_hashes(seed, (slug,))[0]


def tie_hashes(seed: str, slugs: Iterable[str]) -> list[int]:
    """`tie_hash` of each."""
    begun = hashlib.blake2b(f"{seed}|".encode(), digest_size=8)
    hashes = []
    for slug in slugs:
        one = begun.copy()
        one.update(slug.encode())
        hashes.append(int.from_bytes(one.digest(), "big"))
    return hashes


def _second_price(offer: Offer, runner_up: Offer | None, shared_micros: int, rules: Rules) -> int:
    """The least that still wins, at most its bid.

    `shared_micros`: what the best set would bring the seller, 0 without one.
    """
    least_net = max(rules.floor_micros, shared_micros)
    if runner_up is None and least_net == 0:
        return offer.price_micros
    least = max(offer.min_micros, gross_up(rules.margin, max(least_net, 1)) or offer.price_micros)
    if runner_up is not None:
        rank_price = runner_up.price_micros * runner_up.adjustment_ppm
        least = max(least, -(-rank_price // offer.adjustment_ppm))
    return min(offer.price_micros, least)
