"""The waterfall's five orders, their ties, and which tier a contract stands in."""

from collections import Counter
from collections.abc import Sequence

import pytest

from buyers.contract import Contract
from exchange.auction import tie_hash
from exchange.plan import Plan, Tier, TierMode, Turns, default_plan, order_tier
from tests.making import a_contract, fixed

LEAD = "lead_0198c0ffee"
FIRST_BY_HASH, LAST_BY_HASH = sorted(["ann", "bob"], key=lambda slug: tie_hash(LEAD, slug))
IDS = {"ann": 1, "bob": 2, "cyd": 3}


def stands(slug: str, **more: object) -> Contract:
    return a_contract(slug, id=IDS[slug], pricing=fixed(5_000_000), **more)


def order(
    mode: str, contracts: Sequence[Contract], turns: Turns | None = None, lead_id: str = LEAD
) -> list[str]:
    tier = Tier(name="behind", mode=TierMode(mode))
    return [c.slug for c in order_tier(tier, contracts, lead_id, turns or Turns())]


ANN_BOB = [stands("ann"), stands("bob")]
TIED = [FIRST_BY_HASH, LAST_BY_HASH]

ORDERS = [
    # (mode, contracts, what the tier remembers, order)
    ("priority", [], Turns(), []),
    ("priority", [stands("ann", priority=2), stands("bob", priority=1)], Turns(), ["bob", "ann"]),
    ("priority", ANN_BOB, Turns(), TIED),
    # highest price first; then priority; then the hash
    (
        "price",
        [
            a_contract("ann", pricing=fixed(4_000_000)),
            a_contract("bob", pricing=fixed(4_000_001), priority=99),
        ],
        Turns(),
        ["bob", "ann"],
    ),
    ("price", [stands("ann", priority=2), stands("bob", priority=1)], Turns(), ["bob", "ann"]),
    ("price", ANN_BOB, Turns(), TIED),
    # who sold longest ago first; who never sold before everybody
    ("round_robin", ANN_BOB, Turns(last_turn={1: 20.0, 2: 10.0}), ["bob", "ann"]),
    ("round_robin", ANN_BOB, Turns(last_turn={1: 20.0}), ["bob", "ann"]),
    ("round_robin", ANN_BOB, Turns(last_turn={1: 10.0, 2: 10.0}), TIED),
    (
        "round_robin",
        [stands("ann", priority=2), stands("bob", priority=1)],
        Turns(),
        ["bob", "ann"],
    ),
    # furthest below its share first; an empty period starts with the largest share
    (
        "percentage",
        [stands("ann", percent_ppm=300_000), stands("bob", percent_ppm=700_000)],
        Turns(),
        ["bob", "ann"],
    ),
    (
        "percentage",
        [stands("ann", percent_ppm=300_000), stands("bob", percent_ppm=700_000)],
        Turns(sold={1: 2, 2: 8}),
        ["ann", "bob"],
    ),
    # equally far: 0 - 0.1 x 4 and 3 - 0.85 x 4, which floats would tell apart
    (
        "percentage",
        [stands("ann", percent_ppm=100_000), stands("bob", percent_ppm=850_000)],
        Turns(sold={1: 0, 2: 3}),
        TIED,
    ),
    (
        "percentage",
        [stands("ann", percent_ppm=500_000), stands("bob", percent_ppm=500_000)],
        Turns(sold={1: 7, 2: 7}),
        TIED,
    ),
    # without a percent a contract is due nothing
    ("percentage", [stands("ann"), stands("bob", percent_ppm=1)], Turns(), ["bob", "ann"]),
    # weight 0 is drawn last
    ("weighted", [stands("ann", weight=0), stands("bob", weight=1)], Turns(), ["bob", "ann"]),
    (
        "weighted",
        [stands("ann", weight=0, priority=1), stands("bob", weight=0, priority=2)],
        Turns(),
        ["ann", "bob"],
    ),
]


@pytest.mark.parametrize(("mode", "contracts", "turns", "expected"), ORDERS, ids=range(len(ORDERS)))
def test_a_tier_is_posted_to_in_its_order(
    mode: str, contracts: list[Contract], turns: Turns, expected: list[str]
) -> None:
    """Its mode, then priority, then BLAKE2b-64 of `lead_id|slug`; whoever is named first."""
    assert expected == order(mode, contracts, turns)
    assert expected == order(mode, contracts[::-1], turns)


def test_a_weighted_tier_draws_by_weight() -> None:
    """Over 20,000 leads each contract comes first in the proportion of its weight, within 1.5 %."""
    contracts = [stands("ann", weight=50), stands("bob", weight=30), stands("cyd", weight=20)]

    drawn = [order("weighted", contracts, lead_id=f"lead_{n}") for n in range(20_000)]

    first = Counter(one[0] for one in drawn)
    second_after_ann = Counter(one[1] for one in drawn if one[0] == "ann")
    assert {"ann": 0.5, "bob": 0.3, "cyd": 0.2} == pytest.approx(
        {slug: count / 20_000 for slug, count in first.items()}, abs=0.015
    )
    # of those left the draw goes on by weight: 30 to 20
    assert 0.6 == pytest.approx(second_after_ann["bob"] / second_after_ann.total(), abs=0.02)


def test_a_weighted_draw_of_one_lead_is_always_the_same() -> None:
    """A hash of lead and contract draws: recovery and replay continue in the same order."""
    contracts = [stands("ann", weight=50), stands("bob", weight=30), stands("cyd", weight=20)]

    assert order("weighted", contracts) == order("weighted", contracts[::-1])


def test_a_percentage_tier_converges_to_its_shares() -> None:
    """After 1,000 sales everybody is within one sale of its percentage, and at every moment near."""
    shares = {"ann": 505_000, "bob": 333_000, "cyd": 162_000}
    contracts = [stands(slug, percent_ppm=ppm) for slug, ppm in shares.items()]
    sold: Counter[int] = Counter()
    for n in range(1000):
        first = order("percentage", contracts, Turns(sold=sold), lead_id=f"lead_{n}")[0]
        sold[IDS[first]] += 1
        assert all(
            abs(sold[IDS[slug]] - ppm * (n + 1) / 1_000_000) < 1.5 for slug, ppm in shares.items()
        )

    assert [505, 333, 162] == [sold[IDS[slug]] for slug in shares]


def test_a_round_robin_tier_takes_turns() -> None:
    """When every lead is sold to the first, everybody sells once in three leads."""
    contracts = [stands("ann"), stands("bob"), stands("cyd")]
    last_turn: dict[int, float] = {}
    winners = []
    for n in range(30):
        first = order("round_robin", contracts, Turns(last_turn=last_turn), lead_id=f"lead_{n}")[0]
        last_turn[IDS[first]] = float(n)
        winners.append(first)

    assert all({"ann", "bob", "cyd"} == set(winners[at : at + 3]) for at in range(len(winners) - 2))


AUCTION = Tier(name="auction", mode=TierMode.AUCTION, window_ms=500)
GOLD = Tier(name="gold", mode=TierMode.PRICE)
REST = Tier(name="rest", mode=TierMode.PRIORITY)
OWN = Plan(vertical="auto_insurance", tiers=(AUCTION, GOLD, REST))
DEFAULT = default_plan("auto_insurance")

TIERS = [
    # (plan, contract's tier, fixed price, the tier it stands in)
    (OWN, "auction", False, "auction"),
    (OWN, "auction", True, "auction"),  # a fixed price competes in the auction
    (OWN, "gold", True, "gold"),
    (OWN, "rest", True, "rest"),
    (OWN, "silver", True, None),  # the plan lacks it: no_tier
    (OWN, "silver", False, None),
    (DEFAULT, "auction", False, "auction"),
    (DEFAULT, "auction", True, "auction"),
    (DEFAULT, "gold", True, "waterfall"),  # every fixed price that is not in the auction
    (DEFAULT, "gold", False, None),  # who bids has no place behind the auction
]


@pytest.mark.parametrize(("plan", "tier", "is_fixed", "expected"), TIERS)
def test_a_contract_stands_in_the_tier_it_names(
    plan: Plan, tier: str, is_fixed: bool, expected: str | None
) -> None:
    """Without a plan the fixed prices that name no auction stand in one waterfall tier."""
    contract = a_contract("ann", tier=tier, **({"pricing": fixed(1)} if is_fixed else {}))

    found = plan.tier_of(contract)

    assert expected == (found.name if found else None)


def test_a_plan_is_an_auction_and_what_is_behind_it() -> None:
    """The auction is the first tier or there is none."""
    behind = Plan(vertical="solar", tiers=(GOLD, REST))

    assert (AUCTION, (GOLD, REST)) == (OWN.auction, OWN.waterfall)
    assert (None, (GOLD, REST)) == (behind.auction, behind.waterfall)


def test_without_a_plan_there_is_an_auction_and_a_tier_by_priority() -> None:
    """The default plan's window is 500 ms."""
    assert [("auction", TierMode.AUCTION), ("waterfall", TierMode.PRIORITY)] == [
        (tier.name, tier.mode) for tier in DEFAULT.tiers
    ]
    assert DEFAULT.auction is not None
    assert 500 == DEFAULT.auction.window_ms
