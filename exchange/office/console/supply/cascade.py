"""A plan as the cascade it is: its tiers one below the other, in each the contracts in their order. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from buyers.money import parse_micros
from exchange.store.views.contracts import Listed

Body = Mapping[str, Any]

MODES: Final = {
    "auction": "Auction: all are asked at once, the best bid wins",
    "priority": "Priority: one after the other, lowest number first",
    "price": "Price: one after the other, highest price first",
    "round_robin": "Round robin: who sold longest ago first",
    "weighted": "Weighted: a draw by weight for each lead",
    "percentage": "Percentage: furthest below its share first",
}
PERIODS: Final = ("hour", "day", "week", "month", "total")
DEFAULT: Final[tuple[Body, ...]] = (
    {"name": "auction", "mode": "auction", "window_ms": None, "period": None},
    {"name": "waterfall", "mode": "priority", "window_ms": None, "period": None},
)


@dataclass(frozen=True, slots=True)
class Standing:
    """One contract in its tier."""

    contract: Listed
    share: float | None  # of a weighted or a percentage tier: what it should get, 0 to 1
    sold: int  # in 24 hours
    posts: int

    @property
    def fixed_micros(self) -> int | None:
        """None: it bids."""
        pricing = self.contract.head["pricing"]
        return parse_micros(pricing["price"]) if pricing["mode"] == "fixed" else None


@dataclass(frozen=True, slots=True)
class TierView:
    name: str
    mode: str
    window_ms: int | None
    period: str | None
    standings: tuple[Standing, ...]

    @property
    def words(self) -> str:
        return MODES[self.mode]

    @property
    def sold(self) -> int:
        return sum(one.sold for one in self.standings)

    @property
    def live(self) -> int:
        return sum(one.contract.state == "live" for one in self.standings)


@dataclass(frozen=True, slots=True)
class Cascade:
    tiers: tuple[TierView, ...]
    outside: tuple[Standing, ...]  # whose tier the plan lacks: skipped as no_tier
    is_default: bool


def cascade(
    tiers: Sequence[Body] | None,
    contracts: Sequence[Listed],
    sold: Mapping[int, tuple[int, int]],
    last: Mapping[int, datetime],
) -> Cascade:
    """`tiers` None: the default plan, whose waterfall takes every fixed price that is in no tier.
    `sold`: sales and posts by contract's id; `last`: when it sold last."""
    wanted = DEFAULT if tiers is None else tiers
    names = [one["name"] for one in wanted]
    inside: dict[str, list[Listed]] = {name: [] for name in names}
    outside: list[Listed] = []
    for one in contracts:
        tier = one.head["tier"]
        if tier not in inside and tiers is None and one.head["pricing"]["mode"] == "fixed":
            tier = names[-1]
        inside.get(tier, outside).append(one)
    views = tuple(_tier(one, inside[one["name"]], sold, last) for one in wanted)
    rest = tuple(Standing(one, None, *sold.get(one.id, (0, 0))) for one in outside)
    return Cascade(views, rest, tiers is None)


def _tier(
    tier: Body,
    contracts: Sequence[Listed],
    sold: Mapping[int, tuple[int, int]],
    last: Mapping[int, datetime],
) -> TierView:
    mode = tier["mode"]
    ordered = sorted(contracts, key=lambda one: (_place(mode, one, last), _priority(one), one.slug))
    shares = _shares(mode, ordered)
    standings = tuple(
        Standing(one, shares.get(one.id), *sold.get(one.id, (0, 0))) for one in ordered
    )
    return TierView(tier["name"], mode, tier.get("window_ms"), tier.get("period"), standings)


def _place(mode: str, one: Listed, last: Mapping[int, datetime]) -> float:
    """What comes before priority in this mode; lower first."""
    match mode:
        case "price":
            return -parse_micros(one.head["pricing"].get("price") or 0)
        case "round_robin":
            return last[one.id].timestamp() if one.id in last else 0.0
        case "weighted":
            return -float(one.head["weight"])
        case "percentage":
            return -float(one.head["percent"] or 0)
    return 0.0


def _priority(one: Listed) -> int:
    return int(one.head["priority"])


def _shares(mode: str, contracts: Sequence[Listed]) -> dict[int, float]:
    """Among those that are live, for only they are posted to."""
    if mode == "percentage":
        return {one.id: float(one.head["percent"] or 0) / 100 for one in contracts}
    if mode != "weighted":
        return {}
    total = sum(one.head["weight"] for one in contracts if one.state == "live")
    return {
        one.id: one.head["weight"] / total if total and one.state == "live" else 0.0
        for one in contracts
    }
