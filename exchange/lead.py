"""What a seller asks, as values: a ping's question and a lead to be sold."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from buyers.contract import Contract
from buyers.messages import PingResult
from buyers.value import value
from exchange.auction import Offer, Ranking, Rules
from exchange.catalogue import Catalogue, Market
from exchange.deadline import Deadline
from exchange.eligibility import Asker, Screening, Skipped, make_asker
from exchange.reasons import AuctionReason
from exchange.sellers import Seller
from exchange.store.rows import AttemptState


def _all(_name: str) -> bool:
    return True


@value
class Asking:
    """A checked ping, or the ping inside a one-step lead."""

    seller: Seller
    catalogue: Catalogue  # in force when it was read: its auction knows no other
    market: Market
    fields: Mapping[str, Any]  # normalised
    whole: bool  # one step: the post-stage fields are there too
    floor_micros: int  # net; the least the seller takes
    sub_id: str | None
    external_id: str | None
    excluded: frozenset[str]  # buyers' slugs
    test: bool

    @property
    def asker(self) -> Asker:
        return make_asker(seller=self.seller.slug, excluded=self.excluded, test=self.test)

    @property
    def known(self) -> Callable[[str], bool]:
        """Whether a filter on a field can be judged now; what cannot is left to the post."""
        return _all if self.whole else self.market.checks.ping_field_names.__contains__

    @property
    def ping_fields(self) -> dict[str, Any]:
        """What a ping may show."""
        if not self.whole:
            return dict(self.fields)
        shown = self.market.checks.ping_field_names
        return {name: value for name, value in self.fields.items() if name in shown}


@value
class Auction:
    """A finished auction, frozen: what the receipt is written from."""

    ping_id: UUID
    asking: Asking
    catalogue_version: int
    shown: bytes  # the ping's fields as everybody asked was shown them: JSON
    screening: Screening
    results: tuple[tuple[Contract, PingResult], ...]  # everyone asked, in the order asked
    offers: tuple[Offer, ...]  # usable bids and fixed prices
    rules: Rules
    ranking: Ranking
    waterfall: bool  # whether anybody stands in the tiers behind
    window_ms: float
    elapsed_ms: float

    @property
    def reason(self) -> AuctionReason | None:
        """Why there is no quote; None when there is one."""
        if self.ranking.winning:
            return None
        if self.ranking.below_floor:
            return AuctionReason.BELOW_FLOOR
        if not self.results:
            return AuctionReason.NO_ELIGIBLE_BUYERS
        if all(type(result).__name__ == "Missed" for _, result in self.results):
            return AuctionReason.ALL_MISSED
        return AuctionReason.NO_BIDS


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """A full lead that is in the books and being sold."""

    id: UUID
    ping_id: UUID
    seller: Seller
    market: Market
    fields: Mapping[str, Any]  # all stages, normalised
    min_price_micros: int  # net
    excluded: frozenset[str]
    test: bool
    offers: tuple[Offer, ...]  # of its auction, unexpired
    rules: Rules  # the auction's, with the lead's own floor
    auction_reason: AuctionReason | None  # why its auction gave no quote
    judged: bool  # every filter was judged before the ping (one step)
    pinged_s: float  # when the offers were made, on the loop's clock
    began_s: float  # when the request came, on the loop's clock
    deadline: Deadline


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """Who would get the lead next, and at what price."""

    contract: Contract
    tier: str
    pay_micros: int
    net_micros: int
    bid_id: str | None
    slot: int = 0  # 0: exclusive; else its place among those that share the lead
    shares: int = 1  # to how many buyers at most the lead is sold


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One delivery, as the sale and the receipt see it."""

    id: UUID
    contract: str
    buyer: int  # id
    tier: str
    state: AttemptState
    price_micros: int
    payout_micros: int
    shares: int = 1
    version: int | None = None  # of the contract; None: of an attempt that recovery found
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a sale stands when nothing more can be done now.

    Sold it is when an attempt was accepted, whatever else is open; `pending`: an attempt is open and
    only time or a person can tell; otherwise `reason` says why it is unsold, and `gone` that nothing
    ever left and nothing counts.
    """

    attempts: tuple[Attempt, ...]
    skipped: tuple[Skipped, ...]
    under_way: int = 0  # posts of a shared lead that have not ended
    pending: bool = False
    gone: bool = False
    reason: AuctionReason | None = None

    @property
    def sold(self) -> tuple[Attempt, ...]:
        """The accepted attempts, the highest payout first: one, or those that share the lead."""
        found = [one for one in self.attempts if one.state is AttemptState.ACCEPTED]
        return tuple(sorted(found, key=lambda one: -one.payout_micros))

    @property
    def waiting(self) -> int:
        """How many posts nobody knows the outcome of."""
        return self.under_way + sum(one.state.is_open for one in self.attempts)


class Progress:
    """What the seller's connection and the sale tell each other while both run."""

    __slots__ = ("gone", "intents")

    def __init__(self) -> None:
        self.intents = 0  # that may be in the books: with one, only 200 and 202 are left
        self.gone = False  # the seller hung up: stop, if nothing has left
