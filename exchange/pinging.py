"""The auction of a ping: screen every contract, ask the eligible at once, rank what they say."""

from dataclasses import replace
from functools import partial
from typing import Final
from uuid import UUID

import orjson

from buyers.contract import Contract
from buyers.dialects import standard_v1
from buyers.guard import Target
from buyers.messages import Bid, Ping, PingResult
from exchange.auction import Offer, Rules, make_offer, rank
from exchange.deadline import Deadline
from exchange.eligibility import Screening, Skipped
from exchange.errors import StoreUnavailable
from exchange.fanout import Question, ask_all
from exchange.house import House
from exchange.ids import write_id
from exchange.lead import Asking, Auction
from exchange.reasons import SkipReason
from exchange.store.rows import LateBid

_LEASE_WITHIN_S: Final = 0.1


async def hold_auction(house: House, asking: Asking, deadline: Deadline) -> Auction:
    """Ask everyone eligible in the auction tier and rank what they say; ends by the deadline."""
    began_s = house.now_s()
    ping_id = house.new_uuid()
    ping_text = write_id("ping", ping_id, test=asking.test)
    market = asking.market
    screening = _screen(house, asking)
    tier = market.plan.auction
    stands = market.plan.in_auction(screening.eligible)
    well, unwell = (stands, []) if asking.test else house.vigil.admit(stands, ping_text)
    fixed = [contract for contract in well if not contract.is_pinged]
    asked = [contract for contract in well if contract.is_pinged] if fixed else well
    asked, limited = (asked, []) if asking.test else await _admit(house, asked)
    window_ms = deadline.left_ms(house.now_s())
    if tier is not None:
        window_ms = min(window_ms, tier.window_ms)
    shown = orjson.dumps(asking.ping_fields)  # once, for everybody asked and for the receipt
    results = await ask_all(
        asked,
        _questioner(house, asking, ping_text, shown, window_ms),
        transport=house.transport,
        ping_id=ping_text,
        read=standard_v1.read_bid,
        broke=partial(house.observer.broke, "read_bid"),
        late=partial(_tell_late, house, ping_id),
        grace_ms=house.late_grace_ms,
    )
    told = tuple(zip(asked, results, strict=True))
    if not asking.test:
        house.vigil.pinged(told, window_ms, tier.window_ms if tier is not None else window_ms)
    offers = _offers(told, fixed)
    rules = _rules(asking, ping_text)
    return Auction(
        ping_id=ping_id,
        asking=asking,
        catalogue_version=asking.catalogue.version,
        shown=shown,
        screening=_also_skipped(screening, (*unwell, *limited)),
        results=told,
        offers=offers,
        rules=rules,
        ranking=rank(offers, rules),
        waterfall=len(screening.eligible) > len(stands),
        window_ms=window_ms,
        elapsed_ms=(house.now_s() - began_s) * 1000,
    )


def _also_skipped(screening: Screening, more: tuple[Skipped, ...]) -> Screening:
    if not more:
        return screening
    return replace(screening, skipped=screening.skipped.also(more))


async def _admit(house: House, contracts: list[Contract]) -> tuple[list[Contract], list[Skipped]]:
    """Those whose rates and caps on pings have room; a lease that takes too long is not waited for."""
    metered = [contract for contract in contracts if contract.is_metered]
    if not metered:
        return contracts, []
    skipped, unknown = house.leases.admit_at_hand(metered)
    if unknown:
        try:
            work = house.leases.admit(unknown)
            skipped += await house.within(work, _LEASE_WITHIN_S, "leases")
        except StoreUnavailable:
            skipped += [Skipped(contract.slug, SkipReason.BUSY) for contract in unknown]
    out = {one.contract for one in skipped}
    return [contract for contract in contracts if contract.slug not in out], skipped


def _screen(house: House, asking: Asking) -> Screening:
    market = asking.market
    return market.index.screen(
        asking.fields,
        asking.asker,
        market.plan,
        house.usage,
        now=house.store.now(),
        known=asking.known,
        kept=market.checks.ping_field_names.__contains__,
        paused=asking.catalogue.paused,
    )


def _questioner(
    house: House, asking: Asking, ping_id: str, shown: bytes, window_ms: float
) -> Question:
    """Renders the ping for one contract after the other."""
    ping = Ping(
        ping_id=ping_id,
        vertical=asking.market.vertical.slug,
        sub_id=asking.sub_id,
        bid_valid_s=house.quote_ttl_s,
        test=asking.test,
        fields=orjson.Fragment(shown),
    )
    common = standard_v1.ping_common(ping)
    allowances: dict[int, tuple[float, bytes]] = {}  # by a contract's timeout: most have the same
    id_, timestamp = ping_id.encode(), b"%d" % int(house.wall_s())
    seller = asking.seller.slug
    letters = house.letters(seller)

    def question(contract: Contract) -> tuple[Target | None, bytes, float]:
        letter = letters.get(contract.slug)
        if letter is None or letter.contract is not contract:
            letter = house.new_letter(contract, seller)
            if letter is None:
                return None, b"", window_ms
        allowed = allowances.get(letter.timeout_ms)
        if allowed is None:
            timeout_ms = min(letter.timeout_ms, window_ms)
            allowed = timeout_ms, standard_v1.ping_rest(common, int(timeout_ms))
            allowances[letter.timeout_ms] = allowed
        timeout_ms, rest = allowed
        return letter.target, letter.ping(id_, timestamp, rest), timeout_ms

    return question


def _tell_late(house: House, ping_id: UUID, contract: Contract, bid: Bid, late_ms: float) -> None:
    house.observer.late(contract.buyer.slug, late_ms)
    late = LateBid(
        ping=ping_id, contract=contract.slug, price_micros=bid.price_micros, late_ms=round(late_ms)
    )
    house.own(_put_late(house, late), "late bid")


async def _put_late(house: House, late: LateBid) -> None:
    try:
        await house.store.put_late_bids([late])
    except StoreUnavailable:  # a note beside the receipt, not worth insisting on
        return


def _offers(
    told: tuple[tuple[Contract, PingResult], ...], fixed: list[Contract]
) -> tuple[Offer, ...]:
    """Everybody's bid, in the order asked, and then the fixed prices."""
    standing = [
        (contract, Bid(contract.pricing.price_micros, elapsed_ms=0.0)) for contract in fixed
    ]
    return tuple(
        [
            make_offer(
                contract.slug,
                contract.buyer.slug,
                bid.price_micros,
                not contract.is_pinged,
                contract.adjustment_ppm,
                contract.priority,
                contract.pricing.min_micros,
                bid.bid_id,
                bid.expires_in_s,
                contract.is_shared,
                contract.max_shares,
            )
            for contract, bid in (*told, *standing)
            if type(bid) is Bid
        ]
    )


def _rules(asking: Asking, ping_id: str) -> Rules:
    vertical = asking.market.vertical
    return Rules(
        ping_id=ping_id,
        margin=asking.seller.margin or vertical.margin,
        floor_micros=asking.floor_micros,
        second_price=vertical.auction == "second_price",
    )
