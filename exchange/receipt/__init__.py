"""The frozen account of a ping or a lead: who was asked, what each said, who won, why not the rest.

writing: how it is stored, as small as it can be · reading: what everybody sees of it, in one shape
whichever way it was stored.
"""

from exchange.receipt.reading import (
    auction_reason,
    read,
    read_offers,
    read_rules,
    timeline,
    whole,
    whole_offers,
    with_unsuited,
)
from exchange.receipt.writing import VERSION, dump, lead_receipt, ping_receipt, write_offer

__all__ = [
    "VERSION", "auction_reason", "dump", "lead_receipt", "ping_receipt", "read", "read_offers", "read_rules",
    "timeline", "whole", "whole_offers", "with_unsuited", "write_offer",
]  # fmt: skip
