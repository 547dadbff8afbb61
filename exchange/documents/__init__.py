"""Documents of plans, sellers, buyers and contracts: every problem at once, or a value.

`models` says what may be written and gives the canonical document (every default written out) that is
stored; `values` makes the frozen values of it that trade. What this version does not enforce is
refused as `not_supported`, never stored and ignored.
"""

from exchange.documents.models import (
    MASK,
    SLUG,
    BuyerDocument,
    ContractDocument,
    KnownReason,
    Money,
    PlanDocument,
    SellerDocument,
    canonical,
    check_seller,
)
from exchange.documents.values import (
    buyer_value,
    caps_value,
    contract_value,
    plan_value,
    returns_value,
    seller_value,
)

__all__ = [
    "MASK", "SLUG", "BuyerDocument", "ContractDocument", "KnownReason", "Money", "PlanDocument",
    "SellerDocument", "buyer_value", "canonical", "caps_value", "check_seller", "contract_value",
    "plan_value", "returns_value", "seller_value",
]  # fmt: skip
