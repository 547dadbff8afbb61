"""A percentage tier from its document to the books: every sale goes to who is furthest below its share."""

import secrets
from collections import Counter
from typing import Any

from buyers.guard import Guard
from exchange.apply import apply
from exchange.catalogue import EMPTY
from exchange.ids import new_uuid
from exchange.plan import TierMode, order_tier
from exchange.sealing import Sealed, Vault
from exchange.store.catalogue import load_catalogue
from exchange.store.postgres import PostgresStore
from exchange.store.rows import AttemptState, AwardOrder, NewLead, Settlement, Verdict

VERTICAL = {
    "slug": "loans",
    "name": "Loans",
    "currency": "USD",
    "fields": [{"name": "state", "type": "state", "stage": "ping", "required": True}],
}
PLAN = {"vertical": "loans", "tiers": [{"name": "shares", "mode": "percentage", "period": "day"}]}
SHARES = {"ann": "50", "bob": "30", "cyd": "20"}


def contract(slug: str, percent: str) -> dict[str, Any]:
    return {
        "slug": f"{slug}-loans",
        "buyer": slug,
        "vertical": "loans",
        "tier": "shares",
        "percent": percent,
        "endpoint": {"post_url": f"https://{slug}.example.com/post"},
        "pricing": {"mode": "fixed", "price": "5.00"},
    }


async def test_a_percentage_tier_keeps_its_shares(database: str) -> None:
    """Fifty, thirty and twenty of a hundred; what was rejected does not count."""
    store = PostgresStore(database, name="w0")
    vault = Vault(secrets.token_bytes(32), secrets.token_bytes)
    wanted = [
        ("vertical", VERTICAL),
        ("plan", PLAN),
        ("seller", {"slug": "mill", "name": "Mill", "verticals": ["loans"]}),
        *(("buyer", {"slug": slug, "name": slug}) for slug in SHARES),
        *(("contract", contract(slug, percent)) for slug, percent in SHARES.items()),
    ]
    await apply(store.db, vault, Guard(), wanted, by="test")
    market = (catalogue := await load_catalogue(store.db, vault, EMPTY)).markets["loans"]
    contracts = [one for one, _ in market.contracts]
    (tier,) = market.plan.waterfall
    assert tier.mode is TierMode.PERCENTAGE
    seller = catalogue.sellers_by_slug["mill"].id

    sold: Counter[str] = Counter()
    for number in range(40):
        lead = new_uuid(number, secrets.token_bytes)
        await store.open_lead(_lead(lead, seller), None)
        turns = await store.turns([one.id for one in contracts], tier.period)
        first = order_tier(tier, contracts, str(lead), turns)[0]
        attempt = new_uuid(number, secrets.token_bytes)
        order = AwardOrder(
            id=attempt, lead_id=lead, contract_id=first.id, price_micros=5, payout_micros=4,
            seller_account=catalogue.payable[seller, "USD"], margin_account=catalogue.margin["USD"],
            tier=tier.name, bid_id=None, owner=1,
        )  # fmt: skip
        assert await store.award(order) is Verdict.GRANTED
        outcome = AttemptState.REJECTED if number % 4 == 3 else AttemptState.ACCEPTED
        await store.settle(Settlement(id=attempt, fence=0, outcome=outcome, detail=b"{}"))
        sold[first.buyer.slug] += outcome is AttemptState.ACCEPTED
    await store.close()

    assert {"ann": 15, "bob": 9, "cyd": 6} == dict(sold)


def _lead(id_: Any, seller: int) -> NewLead:
    return NewLead(
        id=id_, ping_id=id_, seller=seller, vertical="loans", test=False, min_price_micros=0,
        external_id=None, owner=1, answer_in_ms=1000, request=b"{}", person=Sealed(b"k", b"p"),
        phone_index=None, email_index=None,
    )  # fmt: skip
