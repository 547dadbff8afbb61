"""Stories of single leads, as the exchange itself writes them down: screened by the real index, ranked by
the real auction, recorded by the real receipts. Only what buyers say is made up. A story is told many times,
each time with other ids and at another time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from random import Random
from typing import Any, Final
from uuid import UUID

import orjson

from benchmarks.past_market import vertical_of
from buyers.contract import Contract
from buyers.messages import Bid, Missed, NoBid, PingResult
from buyers.money import MICROS, format_micros
from buyers.reasons import BuyerReason
from exchange import receipt
from exchange.auction import Offer, Rules, rank
from exchange.catalogue import Catalogue
from exchange.deadline import Deadline
from exchange.eligibility import Usage
from exchange.ids import write_id
from exchange.lead import Asking, Attempt, Auction, Ending, Lead
from exchange.reasons import AuctionReason
from exchange.samples import Samples
from exchange.sealing import Vault
from exchange.sellers import Seller, net_micros
from exchange.store.rows import AttemptState

# What stands for the ids of a story until it is told.
PING: Final = UUID(int=0xA << 124 | 0xA)
LEAD: Final = UUID(int=0xB << 124 | 0xB)
ATTEMPTS: Final = tuple(UUID(int=0xC << 124 | 0xC00 | number) for number in range(4))
_NOON: Final = datetime(2026, 3, 4, 18, tzinfo=UTC)
_MISSES: Final = (BuyerReason.TIMED_OUT,) * 6 + (BuyerReason.UNREACHABLE, BuyerReason.GARBLED)
_REFUSALS: Final = ("already a customer", "phone not in service", "outside of our area")


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """One delivery of a story."""

    contract: Contract
    tier: str
    state: str
    price: int
    payout: int
    slot: int
    shares: int
    detail: bytes
    took_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    seller: Seller
    vertical: str
    currency: str
    quote: int | None
    ping_receipt: bytes
    elapsed_ms: float
    # Of the lead; what it would be if it is posted.
    fields: dict[str, Any]
    request: bytes
    state: str
    reason: str | None
    lead_receipt: bytes | None
    answer: bytes | None
    attempts: tuple[Told, ...]

    @property
    def is_open(self) -> bool:
        return self.state == "open"


class Storyteller:
    """Makes stories up; the same seed and catalogue give the same ones."""

    def __init__(self, catalogue: Catalogue, vault: Vault, samples: Samples, seed: int) -> None:
        self._catalogue = catalogue
        self._vault = vault
        self._samples = samples
        self._rng = Random(seed)
        self._sellers = sorted(catalogue.sellers.values(), key=lambda one: one.slug)
        self._weights = [1 / (place + 1) for place in range(len(self._sellers))]
        # Each contract has a habit: how often it bids, how much, how quickly, how it takes leads.
        self._habits = {
            entry[0].slug: (self._rng.uniform(0.3, 0.95), self._rng.uniform(4, 40), self._rng.uniform(15, 250), self._rng.uniform(0.02, 0.2))
            for market in catalogue.markets.values()
            for entry in market.contracts
        }  # fmt: skip

    def story(self, *, waiting: bool = False) -> Story:
        """The next one; `waiting`: its last post is one of which nobody knows the outcome."""
        while True:
            auction = self._auction()
            told = self._posts(auction, waiting=waiting)
            if told or not waiting:
                return self._written(auction, told)

    # --- the ping ---------------------------------------------------------------------------------

    def _auction(self) -> Auction:
        rng = self._rng
        sample = self._samples.lead(vertical_of(rng))
        market = self._catalogue.markets[sample.vertical]
        seller = rng.choices(self._sellers, self._weights)[0]
        asking = Asking(
            seller=seller, catalogue=self._catalogue, market=market, fields=dict(sample.fields), whole=True,
            floor_micros=rng.choice((0, 0, 2, 5)) * MICROS, sub_id=sample.sub_id, external_id=sample.external_id,
            excluded=frozenset(), test=False,
        )  # fmt: skip
        screening = market.index.screen(
            asking.ping_fields, asking.asker, market.plan, Usage(), now=_NOON, known=market.checks.ping_field_names.__contains__,
            kept=market.checks.ping_field_names.__contains__, paused=False,
        )  # fmt: skip
        asked = [c for c in screening.eligible if c.tier == "auction"][:12]
        taken: set[int] = set()
        results = tuple((contract, self._said(contract, taken)) for contract in asked)
        offers = _offers(results)
        rules = Rules(
            ping_id=write_id("ping", PING), margin=seller.margin or market.vertical.margin,
            floor_micros=asking.floor_micros, second_price=market.vertical.auction == "second_price",
        )  # fmt: skip
        took = [result.elapsed_ms or 0 for _, result in results]
        return Auction(
            ping_id=PING, asking=asking, catalogue_version=self._catalogue.version,
            shown=orjson.dumps(asking.ping_fields), screening=screening, results=results, offers=offers, rules=rules, ranking=rank(offers, rules),
            waterfall=len(screening.eligible) > len(asked), window_ms=500, elapsed_ms=max(took, default=0) + 1.5,
        )  # fmt: skip

    def _said(self, contract: Contract, taken: set[int]) -> PingResult:
        bids, price, ms, _ = self._habits[contract.slug]
        took = min(480.0, self._rng.lognormvariate(0, 0.5) * ms)
        if self._rng.random() < 0.02 or took >= 400:
            return Missed(reason=self._rng.choice(_MISSES), elapsed_ms=400.0)
        if self._rng.random() > bids:
            return NoBid(note=None, elapsed_ms=took)
        cents = max(100, round(price * self._rng.uniform(50, 150)))
        while cents in taken:  # a tie would hang on the ping's id, which changes with each telling
            cents += 1
        taken.add(cents)
        return Bid(price_micros=cents * 10_000, bid_id=None, expires_in_s=None, elapsed_ms=took)

    # --- the posts --------------------------------------------------------------------------------

    def _posts(self, auction: Auction, *, waiting: bool) -> tuple[Told, ...]:
        """Until somebody accepts: the winners, the next bids, the tier behind."""
        ranking, margin = auction.ranking, auction.rules.margin
        found: list[Told] = []
        if ranking.is_shared:
            shares = ranking.winning
            for slot, one in enumerate(ranking.winners, 1):
                contract = _contract(auction, one.offer.contract)
                state = self._outcome(contract)
                found.append(
                    self._told(
                        contract, "auction", state, one.pay_micros, one.net_micros, slot, shares
                    )
                )
        else:
            for one in [p for p in ranking.placed if not p.offer.is_shared][:3]:
                contract = _contract(auction, one.offer.contract)
                state = "unconfirmed" if waiting else self._outcome(contract)
                found.append(
                    self._told(contract, "auction", state, one.pay_micros, one.net_micros, 0, 1)
                )
                if state != "rejected":
                    return tuple(found)
        if any(one.state == "accepted" for one in found) or waiting:
            return tuple(found) if not waiting else ()
        behind = [c for c in auction.screening.eligible if c.tier == "remnant"]
        tried = {one.contract.buyer.slug for one in found}
        for contract in [c for c in behind if c.buyer.slug not in tried][: 4 - len(found)]:
            pay = contract.pricing.price_micros
            net = net_micros(margin, pay)
            if net >= max(1, auction.rules.floor_micros):
                state = self._outcome(contract)
                found.append(self._told(contract, "remnant", state, pay, net, 0, 1))
                if state == "accepted":
                    break
        return tuple(found[:4])

    def _outcome(self, contract: Contract) -> str:
        return "rejected" if self._rng.random() < self._habits[contract.slug][3] else "accepted"

    def _told(
        self, contract: Contract, tier: str, state: str, price: int, payout: int, slot: int, shares: int
    ) -> Told:  # fmt: skip
        took = round(self._rng.lognormvariate(0, 0.5) * 250)
        said: dict[str, Any] = {"elapsed_ms": float(took), "status": 200}
        if state == "accepted":
            said = {"elapsed_ms": float(took), "buyer_ref": f"R-{self._rng.randrange(10**8)}"}
        elif state == "rejected":
            said |= {"reason": "rejected", "note": self._rng.choice(_REFUSALS)}
        else:
            said = {"elapsed_ms": 5000.0, "reason": "no_definite_answer"}
        return Told(
            contract=contract, tier=tier, state=state, price=price, payout=payout, slot=slot, shares=shares,
            detail=orjson.dumps(said), took_ms=took,
        )  # fmt: skip

    # --- as it is stored --------------------------------------------------------------------------

    def _written(self, auction: Auction, told: Sequence[Told]) -> Story:
        asking = auction.asking
        currency = asking.market.vertical.currency
        answer: dict[str, Any] = {"ping_id": write_id("ping", PING)}
        quote = auction.ranking.net_micros if auction.ranking.winning else None
        if quote is not None:
            answer |= {
                "outcome": "bid",
                "price": format_micros(quote, currency),
                "currency": currency,
            }
        else:
            answer |= {
                "outcome": "no_bid",
                "reason": auction.reason,
                "waterfall": auction.waterfall,
            }
        lead = _lead(auction)
        waiting = any(one.state == "unconfirmed" for one in told)
        sold = any(one.state == "accepted" for one in told)
        reason = None if sold or waiting else self._reason(auction, told)
        ending = Ending(attempts=tuple(map(_attempt, told, ATTEMPTS)), skipped=(), reason=reason)
        request = receipt.lead_receipt(lead, Ending(attempts=(), skipped=()))
        stored = {key: request[key] for key in ("ping_id", "offers", "rules")}
        stored |= {
            "excluded": [],
            "judged": True,
            "ping_age_s": 3.2,
            "auction_reason": lead.auction_reason,
        }
        return Story(
            seller=asking.seller, vertical=asking.market.vertical.slug, currency=currency, quote=quote,
            ping_receipt=receipt.dump(receipt.ping_receipt(auction, answer)), elapsed_ms=auction.elapsed_ms,
            fields=dict(asking.fields), request=orjson.dumps(stored),
            state="open" if waiting else "sold" if sold else "unsold", reason=reason,
            lead_receipt=None if waiting else receipt.dump(receipt.lead_receipt(lead, ending)),
            answer=None if waiting else orjson.dumps(self._answer(asking.seller, told, reason, currency)),
            attempts=tuple(told),
        )  # fmt: skip

    def _reason(self, auction: Auction, told: Sequence[Told]) -> AuctionReason:
        if told or auction.reason is None:
            return AuctionReason.REJECTED_BY_ALL
        return auction.reason

    def _answer(
        self, seller: Seller, told: Sequence[Told], reason: str | None, currency: str
    ) -> dict[str, Any]:
        head = {"lead_id": write_id("lead", LEAD), "ping_id": write_id("ping", PING)}
        sold = [
            (one, id_) for one, id_ in zip(told, ATTEMPTS, strict=False) if one.state == "accepted"
        ]
        if not sold:
            return head | {"outcome": "unsold", "reason": reason, "elapsed_ms": 700}
        sales = [
            {"sale_id": f"sale_{id_.hex}", "price": format_micros(one.payout, currency),
             "buyer_ref": self._vault.opaque("buyer", seller.slug, one.contract.buyer.slug)}
            for one, id_ in sold
        ]  # fmt: skip
        price = format_micros(sum(one.payout for one, _ in sold), currency)
        return head | {
            "outcome": "sold",
            "price": price,
            "currency": currency,
            "redirect_url": None,
            "sales": sales,
            "elapsed_ms": 700,
        }


def _offers(results: Sequence[tuple[Contract, PingResult]]) -> tuple[Offer, ...]:
    return tuple(
        Offer(
            contract=contract.slug, buyer=contract.buyer.slug, price_micros=result.price_micros,
            adjustment_ppm=contract.adjustment_ppm, priority=contract.priority, min_micros=contract.pricing.min_micros,
            is_shared=contract.is_shared, max_shares=contract.max_shares,
        )
        for contract, result in results
        if isinstance(result, Bid)
    )  # fmt: skip


def _contract(auction: Auction, slug: str) -> Contract:
    return next(contract for contract, _ in auction.results if contract.slug == slug)


def _attempt(told: Told, id_: UUID) -> Attempt:
    return Attempt(
        id=id_, contract=told.contract.slug, buyer=told.contract.buyer.id, tier=told.tier,
        state=AttemptState(told.state), price_micros=told.price, payout_micros=told.payout,
        shares=told.shares, version=told.contract.version, detail=orjson.loads(told.detail),
    )  # fmt: skip


def _lead(auction: Auction) -> Lead:
    asking = auction.asking
    return Lead(
        id=LEAD, ping_id=PING, seller=asking.seller, market=asking.market, fields=asking.fields,
        min_price_micros=asking.floor_micros, excluded=asking.excluded, test=False, offers=auction.offers,
        rules=auction.rules, auction_reason=auction.reason, judged=True, pinged_s=0.0, began_s=3.2,
        deadline=Deadline(15.0),
    )  # fmt: skip
