"""A receipt is read as it was before it was stored in fewer bytes, and so are those from before."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buyers.contract import Contract, Pricing, PricingMode
from buyers.messages import Bid, Invalid, Missed, NoBid, PingResult
from buyers.reasons import BuyerReason
from exchange import receipt
from exchange.auction import Offer, Rules, rank
from exchange.catalogue import market_of
from exchange.chores.cells import PingSeen, add_pings, no_cells
from exchange.eligibility import Screening, Skipped, Skips
from exchange.erasure import bare_ping
from exchange.lead import Asking, Auction
from exchange.pinging import _offers
from exchange.reasons import AuctionReason, SkipReason
from exchange.replay import replay_ping
from exchange.sellers import PPM, Seller
from exchange.verticals import Margin, read_vertical
from tests.making import a_buyer, a_contract, fixed

MARKET = market_of(
    read_vertical(
        {
            "slug": "auto", "name": "Auto", "currency": "USD",
            "fields": [
                {"name": "state", "type": "state", "stage": "ping"},
                {"name": "email", "type": "email", "stage": "post"},
            ],
        }
    ),
    None,
    (),
)  # fmt: skip
SELLER = Seller(
    id=1, slug="form", name="Form", verticals=frozenset({"auto"}), margin=None, rate_per_s=1, active=True
)  # fmt: skip
ANSWER = {"ping_id": "ping_1", "outcome": "bid", "price": "9.00"}


# --- as it was written and read before --------------------------------------------------------------


def before(auction: Auction) -> dict[str, Any]:
    """What version 1 stored of a ping. `skipped` stood as it came: now it is by contract."""
    asking, lost = auction.asking, auction.ranking.reasons()
    return {
        "v": 1,
        "ping_id": auction.rules.ping_id,
        "seller": asking.seller.slug,
        "vertical": asking.market.vertical.slug,
        "currency": asking.market.vertical.currency,
        "catalogue": auction.catalogue_version,
        "test": asking.test,
        "one_step": asking.whole,
        "fields": asking.ping_fields,
        "floor": asking.floor_micros,
        "sub_id": asking.sub_id,
        "external_id": asking.external_id,
        "excluded": sorted(asking.excluded),
        "rules": {
            "margin_ppm": auction.rules.margin.percent_ppm,
            "margin_fixed": auction.rules.margin.fixed_micros,
            "floor": auction.rules.floor_micros,
            "second_price": auction.rules.second_price,
        },
        "window_ms": round(auction.window_ms),
        "elapsed_ms": round(auction.elapsed_ms, 1),
        "asked": [asked_before(contract, result, lost) for contract, result in auction.results],
        "offers": [offer_before(offer, lost) for offer in auction.offers],
        "ranking": [
            {"contract": one.offer.contract, "pay": one.pay_micros, "net": one.net_micros}
            for one in auction.ranking.placed
        ],
        "winning": auction.ranking.winning,
        "skipped": [
            {"contract": one.contract, "reason": one.reason, "detail": one.detail}
            for one in sorted(auction.screening.skipped, key=lambda one: one.contract)
        ],
        "unsuited": auction.screening.unsuited,
        "waterfall": auction.waterfall,
        "answer": ANSWER,
    }


def asked_before(
    contract: Contract, result: PingResult, lost: dict[str, AuctionReason]
) -> dict[str, Any]:
    row: dict[str, Any] = {
        "contract": contract.slug,
        "version": contract.version,
        "buyer": contract.buyer.slug,
        "ms": None if result.elapsed_ms is None else round(result.elapsed_ms, 1),
    }
    match result:
        case Bid():
            reason = lost.get(contract.slug)
            return row | {"result": "bid", "price": result.price_micros, "reason": reason}
        case NoBid():
            return row | {"result": "no_bid", "reason": "declined", "note": result.note}
        case Invalid():
            return row | {"result": "invalid", "reason": result.reason}
        case Missed():
            return row | {"result": "missed", "reason": result.reason, "status": result.status}


def offer_before(offer: Offer, lost: dict[str, AuctionReason]) -> dict[str, Any]:
    parts = {
        "fixed": (offer.is_fixed, False),
        "adjustment": (offer.adjustment_ppm, PPM),
        "priority": (offer.priority, 10),
        "min": (offer.min_micros, 0),
        "bid_id": (offer.bid_id, None),
        "expires_in_s": (offer.expires_in_s, None),
        "shared": (offer.is_shared, False),
        "max_shares": (offer.max_shares, 1),
    }
    row = {"contract": offer.contract, "buyer": offer.buyer, "price": offer.price_micros}
    row |= {name: value for name, (value, usual) in parts.items() if value != usual}
    return row | ({"reason": lost.get(offer.contract)} if offer.is_fixed else {})


# --- any auction ------------------------------------------------------------------------------------

# None lies between two tenths: which of them is the nearer is then a matter of its last bit.
milliseconds = st.integers(0, 500_000).filter(lambda n: n % 10 != 5).map(lambda n: n / 100)
contracts = st.builds(
    lambda number, low, **more: a_contract(
        f"c-{number}",
        buyer=a_buyer(f"b-{number % 3}"),
        pricing=Pricing(mode=PricingMode.BID, min_micros=low),
        **more,
    ),
    st.integers(0, 9),
    st.sampled_from([0, 5]),
    version=st.integers(0, 3),
    adjustment_ppm=st.sampled_from([PPM, 900_000]),
    priority=st.sampled_from([10, 0, 3]),
    is_shared=st.booleans(),
    max_shares=st.sampled_from([1, 3]),
)
fixed_prices = st.builds(
    lambda number, price, **more: a_contract(f"f-{number}", pricing=fixed(price), **more),
    st.integers(0, 3),
    st.integers(1, 10**8),
    priority=st.sampled_from([10, 3]),
)
bids = st.builds(
    Bid,
    price_micros=st.sampled_from([5, 10**6, 9 * 10**6]) | st.integers(1, 10**8),
    bid_id=st.sampled_from([None, "", "x-1"]),
    expires_in_s=st.sampled_from([None, 0, 30]),
    elapsed_ms=milliseconds,
)
results = bids | st.one_of(
    bids,
    st.builds(NoBid, note=st.sampled_from([None, "", "not now"]), elapsed_ms=milliseconds),
    st.builds(Invalid, reason=st.just(BuyerReason.BID_ABOVE_MAX), elapsed_ms=milliseconds),
    st.builds(
        Missed,
        reason=st.sampled_from([BuyerReason.TIMED_OUT, BuyerReason.GARBLED]),
        elapsed_ms=st.none() | milliseconds,
        status=st.sampled_from([None, 503]),
    ),
)
skipped = st.lists(
    st.builds(
        Skipped,
        st.integers(0, 99).map("s-{}".format),
        st.sampled_from([SkipReason.CLOSED, SkipReason.CAP_SALES, SkipReason.FILTERED]),
        st.sampled_from([None, "filters.2: state in", ""]),
    ),
    unique_by=lambda one: one.contract,
    max_size=6,
)
askings = st.builds(
    Asking,
    seller=st.just(SELLER),
    catalogue=st.just(SimpleNamespace(version=7)),
    market=st.just(MARKET),
    fields=st.sampled_from([{}, {"state": "TX"}, {"state": "TX", "email": "ann@example.com"}]),
    whole=st.booleans(),
    floor_micros=st.sampled_from([0, 2 * 10**6]),
    sub_id=st.sampled_from([None, "", "mail-3"]),
    external_id=st.sampled_from([None, "", "x-9"]),
    excluded=st.frozensets(st.sampled_from(["ann", "bob"])),
    test=st.booleans(),
)


@st.composite
def auctions(draw: Any) -> Auction:
    asked = draw(st.lists(contracts, unique_by=lambda one: one.slug, max_size=6))
    told = tuple((contract, draw(results)) for contract in asked)
    offers = _offers(told, draw(st.lists(fixed_prices, unique_by=lambda one: one.slug, max_size=2)))
    asking = draw(askings)
    rules = Rules(
        ping_id="ping_1",
        margin=Margin(percent_ppm=200_000, fixed_micros=draw(st.sampled_from([0, 10_000]))),
        floor_micros=asking.floor_micros,
        second_price=draw(st.booleans()),
    )
    everybody = draw(skipped)
    first = draw(st.integers(0, len(everybody)))
    return Auction(
        ping_id=UUID(int=1),
        asking=asking,
        catalogue_version=7,
        shown=orjson.dumps(asking.ping_fields),
        screening=Screening((), Skips(everybody[:first]).also(everybody[first:]), draw(st.integers(0, 9))),
        results=told,
        offers=offers,
        rules=rules,
        ranking=rank(offers, rules),
        waterfall=draw(st.booleans()),
        window_ms=500.4,
        elapsed_ms=draw(milliseconds),
    )  # fmt: skip


def stored(auction: Auction) -> bytes:
    return receipt.dump(receipt.ping_receipt(auction, ANSWER))


def rest(record: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name not in names}


@given(auctions())
def test_whoever_reads_it_sees_what_he_always_saw(auction: Auction) -> None:
    """Bids with every unusual part, fixed prices, sets, second prices, no-bids, silence, skips."""
    expected = orjson.loads(orjson.dumps(before(auction)))
    found = receipt.read(stored(auction))

    assert expected == found
    assert receipt.whole(expected) == receipt.whole(found)
    assert auction.offers == receipt.read_offers(found)
    assert auction.rules == receipt.read_rules(found)
    assert replay_ping(found) == []


def test_who_wins_together_has_lost_nothing() -> None:
    """Both members of a set; whoever stands behind them was outbid."""
    shared: dict[str, Any] = {"is_shared": True, "max_shares": 2}
    told: tuple[tuple[Contract, PingResult], ...] = (
        (one("ann", 1, **shared), Bid(price_micros=6_000_000, elapsed_ms=1.0)),
        (one("bob", 1), Bid(price_micros=9_000_000, elapsed_ms=1.0)),
        (one("cyd", 1, **shared), Bid(price_micros=5_000_000, elapsed_ms=1.0)),
    )
    offers = _offers(told, [])
    auction = replace(
        the_auction(), results=told, offers=offers, ranking=rank(offers, the_auction().rules)
    )
    found = receipt.read(stored(auction))

    assert 2 == found["winning"]
    assert [None, "outbid", None] == [row["reason"] for row in found["asked"]]


@given(auctions())
def test_one_from_before_is_read_as_it_is(auction: Auction) -> None:
    """And gives the same offers."""
    raw = orjson.dumps(before(auction))

    assert orjson.loads(raw) == receipt.read(raw)
    assert auction.offers == receipt.read_offers(receipt.read(raw))


@given(auctions())
def test_reports_count_the_same_of_both(auction: Auction) -> None:
    """Hours before and after an upgrade are one report."""
    contracts = {contract.slug: n for n, (contract, _) in enumerate(auction.results, 1)}
    contracts |= {offer.contract: 99 for offer in auction.offers if offer.is_fixed}
    found = []
    for raw in (stored(auction), orjson.dumps(before(auction))):
        found.append(no_cells())
        assert 0 == add_pings(found[-1], [PingSeen(UUID(int=1), 1, 5, raw)], contracts)

    assert found[0] == found[1]


@given(auctions())
def test_an_erasure_leaves_it_in_its_version_and_as_true_as_it_was(auction: Auction) -> None:
    """Fields and buyers' words go; bids, rules and ranking stay, whichever way it is stored."""
    for raw in (stored(auction), orjson.dumps(before(auction))):
        bare = bare_ping(raw, {"email": "ann@example.com"})
        was, now = receipt.read(raw), receipt.read(bare)

        assert orjson.loads(raw)["v"] == orjson.loads(bare)["v"]
        assert ({}, True) == (now["fields"], now["erased"])
        assert rest(was, "fields", "asked") == rest(now, "fields", "asked", "erased")
        assert [rest(one, "note") for one in was["asked"]] == [rest(one, "note") for one in now["asked"]]  # fmt: skip
        assert b"not now" not in bare
        assert replay_ping(now) == []


# --- these very bytes -------------------------------------------------------------------------------

ONE = b"""{"v":1,"ping_id":"ping_1","seller":"form","vertical":"auto","currency":"USD","catalogue":7,"test":false,"one_step":false,\
"fields":{"state":"TX"},"floor":2000000,"sub_id":"mail-3","external_id":null,"excluded":["cyd"],\
"rules":{"margin_ppm":200000,"margin_fixed":0,"floor":2000000,"second_price":false},"window_ms":500,"elapsed_ms":41.5,"asked":[\
{"contract":"ann-1","version":3,"buyer":"ann","ms":12.5,"result":"bid","price":9000000,"reason":"outbid"},\
{"contract":"bob-1","version":4,"buyer":"bob","ms":40.1,"result":"bid","price":10000000,"reason":null},\
{"contract":"dan-1","version":5,"buyer":"dan","ms":7.0,"result":"no_bid","reason":"declined","note":"not now"},\
{"contract":"eve-1","version":6,"buyer":"eve","ms":9.0,"result":"invalid","reason":"bid_above_max"},\
{"contract":"fay-1","version":7,"buyer":"fay","ms":30.0,"result":"missed","reason":"garbled","status":503},\
{"contract":"gus-1","version":8,"buyer":"gus","ms":null,"result":"missed","reason":"pool_full","status":null}],"offers":[\
{"contract":"ann-1","buyer":"ann","price":9000000},\
{"contract":"bob-1","buyer":"bob","price":10000000,"adjustment":950000,"bid_id":"b-7","expires_in_s":60},\
{"contract":"hal-1","buyer":"hal","price":2000000,"fixed":true,"reason":"below_floor"}],"ranking":[\
{"contract":"bob-1","pay":10000000,"net":8000000},{"contract":"ann-1","pay":9000000,"net":7200000}],"winning":1,"skipped":[\
{"contract":"ian-1","reason":"closed","detail":null},{"contract":"joy-1","reason":"breaker_open","detail":"ping"},\
{"contract":"kim-1","reason":"closed","detail":null}],"unsuited":953,"waterfall":true,"answer":{"ping_id":"ping_1","outcome":"bid","price":"8.00"}}"""
TWO = b"""{"v":2,"ping_id":"ping_1","seller":"form","vertical":"auto","currency":"USD","catalogue":7,"test":false,\
"fields":{"state":"TX"},"floor":2000000,"rules":{"margin_ppm":200000,"margin_fixed":0,"floor":2000000,"second_price":false},\
"window_ms":500,"elapsed_ms":41.5,"asked":[["ann-1",3,"ann",12.5,"bid","outbid",9000000],\
["bob-1",4,"bob",40.1,"bid",null,{"price":10000000,"adjustment":950000,"bid_id":"b-7","expires_in_s":60}],\
["dan-1",5,"dan",7.0,"no_bid","declined",{"note":"not now"}],["eve-1",6,"eve",9.0,"invalid","bid_above_max",null],\
["fay-1",7,"fay",30.0,"missed","garbled",{"status":503}],["gus-1",8,"gus",null,"missed","pool_full",null]],\
"offers":[{"contract":"hal-1","buyer":"hal","price":2000000,"fixed":true,"reason":"below_floor"}],\
"ranking":[["bob-1",10000000,8000000],["ann-1",9000000,7200000]],"winning":1,\
"skipped":[{"closed":["ian-1","kim-1"]},{"breaker_open":[["joy-1","ping"]]}],"unsuited":953,"waterfall":true,\
"answer":{"ping_id":"ping_1","outcome":"bid","price":"8.00"},"sub_id":"mail-3","excluded":["cyd"]}"""


def the_auction() -> Auction:
    told: tuple[tuple[Contract, PingResult], ...] = (
        (one("ann", 3), Bid(price_micros=9_000_000, elapsed_ms=12.5)),
        (one("bob", 4, adjustment_ppm=950_000), Bid(price_micros=10_000_000, bid_id="b-7", expires_in_s=60, elapsed_ms=40.1)),
        (one("dan", 5), NoBid(note="not now", elapsed_ms=7.0)),
        (one("eve", 6), Invalid(reason=BuyerReason.BID_ABOVE_MAX, elapsed_ms=9.0)),
        (one("fay", 7), Missed(reason=BuyerReason.GARBLED, elapsed_ms=30.0, status=503)),
        (one("gus", 8), Missed(reason=BuyerReason.POOL_FULL, elapsed_ms=None)),
    )  # fmt: skip
    offers = _offers(told, [one("hal", 1, pricing=fixed(2_000_000))])
    rules = Rules(
        ping_id="ping_1", margin=Margin(percent_ppm=200_000, fixed_micros=0), floor_micros=2_000_000, second_price=False
    )  # fmt: skip
    asking = Asking(
        seller=SELLER, catalogue=None, market=MARKET, fields={"state": "TX"}, whole=False, floor_micros=2_000_000,  # type: ignore[arg-type]
        sub_id="mail-3", external_id=None, excluded=frozenset({"cyd"}), test=False,
    )  # fmt: skip
    screened = Skips([Skipped("ian-1", SkipReason.CLOSED), Skipped("kim-1", SkipReason.CLOSED)])
    also = screened.also([Skipped("joy-1", SkipReason.BREAKER_OPEN, "ping")])
    return Auction(
        ping_id=UUID(int=1), asking=asking, catalogue_version=7, shown=orjson.dumps(asking.ping_fields),
        screening=Screening((), also, 953), results=told,
        offers=offers, rules=rules, ranking=rank(offers, rules), waterfall=True, window_ms=500, elapsed_ms=41.5,
    )  # fmt: skip


def one(name: str, version: int, **more: Any) -> Contract:
    return a_contract(f"{name}-1", buyer=a_buyer(name), version=version, **more)


def test_both_versions_say_the_same() -> None:
    """Stored receipts outlive us: another way to store one needs a version of its own."""
    answer = ANSWER | {"price": "8.00"}

    assert receipt.dump(receipt.ping_receipt(the_auction(), answer)) == TWO
    assert receipt.read(TWO) == receipt.read(ONE) == orjson.loads(ONE)


@pytest.mark.parametrize("raw", [b"{}", b'{"v":1}', b'{"v":2,"asked":[]}', b'{"v":9,"asked":[]}'])
def test_what_is_no_receipt_of_ours_is_handed_back(raw: bytes) -> None:
    """Reports leave it out and say so; they do not stop at it."""
    assert receipt.read(raw) == orjson.loads(raw)


def test_whom_many_pings_skip_is_rendered_once() -> None:
    """There may be hundreds in each; and whoever comes besides is rendered alone."""
    screened = Skips([Skipped("b", SkipReason.CLOSED), Skipped("d", SkipReason.CAP_SALES)])
    (often,) = screened.stored
    more = screened.also([Skipped("c", SkipReason.MAX_QPS)])

    assert screened.stored[0] is often is more.stored[0]
    assert ["b", "c", "d"] == [skipped.contract for skipped in more]
    assert len(more.stored) == 2
    assert orjson.dumps(Skips().also([]).stored) == b"[]"
