"""I10: recorded bids ranked again under the recorded rules give the recorded winner and price."""

from collections.abc import Mapping
from typing import Any

from exchange.auction import rank
from exchange.receipt import read_offers, read_rules


def replay_ping(receipt: Mapping[str, Any]) -> list[str]:
    """What differs when a ping's auction is held again; nothing when the receipt is true."""
    ranking = rank(read_offers(receipt), read_rules(receipt))
    again = [(one.offer.contract, one.pay_micros, one.net_micros) for one in ranking.placed]
    recorded = [(one["contract"], one["pay"], one["net"]) for one in receipt["ranking"]]
    if again != recorded:
        return [f"I10 {receipt['ping_id']}: ranked {recorded}, replayed {again}"]
    winning = receipt.get("winning", min(1, len(recorded)))  # absent: before leads were shared
    if ranking.winning != winning:
        return [f"I10 {receipt['ping_id']}: {winning} won, {ranking.winning} in the replay"]
    return []


def replay_price(lead_id: str, contract: str, price: int, request: Mapping[str, Any]) -> list[str]:
    """Whether the price of an attempt out of the auction follows from the recorded offer.

    First price: exactly the offer. Second price: never above it.
    """
    offer = next((one for one in read_offers(request) if one.contract == contract), None)
    if offer is None:
        return [f"I10 {lead_id}: {contract} was posted to and had made no offer"]
    exact = offer.is_fixed or offer.is_shared or not request["rules"]["second_price"]
    if price > offer.price_micros or (exact and price != offer.price_micros):
        return [f"I10 {lead_id}: {contract} offered {offer.price_micros}, booked {price}"]
    return []
