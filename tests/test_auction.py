"""Ranking, prices and ties, in tables and against an oracle that is too plain to be wrong."""

import hashlib
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.auction import Offer, Rules, place_key, rank, tie_hash
from exchange.reasons import AuctionReason
from exchange.sellers import gross_up, margin_micros, net_micros
from exchange.verticals import Margin

PING = "ping_0198c0ffee"
NONE = Margin()
FIFTH = Margin(percent_ppm=200_000)  # 20 %
FIFTH_AND_DOLLAR = Margin(percent_ppm=200_000, fixed_micros=1_000_000)


def usd(dollars: str | int) -> int:
    return int(Fraction(dollars) * 1_000_000)


def bid(contract: str, dollars: str, **more: Any) -> Offer:
    return Offer(contract=contract, price_micros=usd(dollars), **({"buyer": contract} | more))


def rules(**more: Any) -> Rules:
    usual: dict[str, Any] = {"margin": NONE, "floor_micros": 0, "second_price": False}
    return Rules(ping_id=PING, **(usual | more))


def blake(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


FIRST_BY_HASH, LAST_BY_HASH = sorted(["ann", "bob"], key=lambda slug: blake(f"{PING}|{slug}"))

ORDERS = [
    # (offers, who stands where)
    ([], []),  # nobody bid
    ([bid("ann", "5"), bid("bob", "9"), bid("cyd", "7")], ["bob", "cyd", "ann"]),  # rank price
    # an adjustment of 0.5 halves the rank price
    ([bid("ann", "5"), bid("bob", "9", adjustment_ppm=500_000)], ["ann", "bob"]),
    # a fixed price competes at its price
    ([bid("ann", "5"), bid("bob", "6", is_fixed=True)], ["bob", "ann"]),
    # equal: the lower priority number
    ([bid("ann", "5", priority=11), bid("bob", "5", priority=10)], ["bob", "ann"]),
    # rank price comes before priority
    ([bid("ann", "5.000001", priority=99), bid("bob", "5", priority=1)], ["ann", "bob"]),
    # equal rank price by way of adjustments, exactly: 3 x 1/3 of a micro is never rounded
    (
        [
            bid("ann", "2", adjustment_ppm=500_000, priority=2),
            bid("bob", "1", adjustment_ppm=1_000_000, priority=1),
        ],
        ["bob", "ann"],
    ),
    # all equal: BLAKE2b-64 of `ping_id|slug`, lower first
    ([bid("ann", "5"), bid("bob", "5")], [FIRST_BY_HASH, LAST_BY_HASH]),
    ([bid("bob", "5"), bid("ann", "5")], [FIRST_BY_HASH, LAST_BY_HASH]),  # whoever answers first
]


@pytest.mark.parametrize(("offers", "order"), ORDERS, ids=range(len(ORDERS)))
def test_offers_stand_by_rank_price_then_priority_then_hash(
    offers: list[Offer], order: list[str]
) -> None:
    """The order depends on the values of the offers alone."""
    assert order == [placed.offer.contract for placed in rank(offers, rules()).placed]


def test_the_tie_hash_is_what_the_contract_says() -> None:
    """BLAKE2b with a digest of 8 bytes, read as a big-endian number: anybody can compute it."""
    assert blake("ping_1|ann") == tie_hash("ping_1", "ann")
    assert 0xC8385A5BE964A5BC == tie_hash("ping_1", "ann")


FLOORS = [
    # (bid, margin, floor, net, who is left)
    ("10", NONE, "10", "10", ["ann"]),  # at the floor
    ("10", NONE, "10.000001", None, []),  # a micro short
    ("10", FIFTH, "8", "8", ["ann"]),  # the floor is the seller's money, after the margin
    ("10", FIFTH, "8.01", None, []),
    ("10", FIFTH_AND_DOLLAR, "7", "7", ["ann"]),  # percent of the price, then the fixed part
    ("10", FIFTH_AND_DOLLAR, "7.000001", None, []),
    ("1.25", FIFTH_AND_DOLLAR, "0", None, []),  # a net of zero is no sale
    ("0.50", FIFTH_AND_DOLLAR, "0", None, []),  # less than the margin
    ("0.000001", FIFTH, "0", "0.000001", ["ann"]),  # the margin is rounded down
    ("10", Margin(percent_ppm=1_000_000), "0", None, []),  # we keep everything
]


@pytest.mark.parametrize(("price", "margin", "floor", "net", "left"), FLOORS)
def test_an_offer_below_the_floor_cannot_win(
    price: str, margin: Margin, floor: str, net: str | None, left: list[str]
) -> None:
    """Judged on the net at its own price: zero or below the floor is `below_floor`."""
    ranking = rank([bid("ann", price)], rules(margin=margin, floor_micros=usd(floor)))

    assert left == [placed.offer.contract for placed in ranking.placed]
    assert ([usd(net)] if net else []) == [placed.net_micros for placed in ranking.placed]
    assert (None if left else AuctionReason.BELOW_FLOOR) == ranking.reason_of("ann")


def test_everyone_who_did_not_win_is_told_why() -> None:
    """The winner and strangers have no reason; the rest was outbid or below the floor."""
    ranking = rank([bid("ann", "9"), bid("bob", "8"), bid("cyd", "1")], rules(floor_micros=usd(5)))

    found = {slug: ranking.reason_of(slug) for slug in ("ann", "bob", "cyd", "dan")}
    expected = {
        "ann": None,
        "bob": AuctionReason.OUTBID,
        "cyd": AuctionReason.BELOW_FLOOR,
        "dan": None,
    }
    assert expected == found


PRICES = [
    # (offers, margin, floor, what the winner pays under first price, under second price)
    ([bid("ann", "9")], NONE, "0", "9", "9"),  # alone and no floor: its bid
    ([bid("ann", "9")], NONE, "5", "9", "5"),  # alone: the floor
    ([bid("ann", "9")], FIFTH, "5", "9", "6.25"),  # the floor grossed up: 6.25 - 20 % = 5
    ([bid("ann", "9")], FIFTH_AND_DOLLAR, "5", "9", "7.50"),
    ([bid("ann", "9"), bid("bob", "7")], NONE, "0", "9", "7"),  # the next rank price
    ([bid("ann", "9"), bid("bob", "7")], NONE, "8", "9", "8"),  # bob is below the floor
    ([bid("ann", "9"), bid("bob", "7")], NONE, "6", "9", "7"),  # the greater of both
    ([bid("ann", "9"), bid("bob", "9")], NONE, "0", "9", "9"),  # a tie: its bid
    ([bid("ann", "9", min_micros=usd(8)), bid("bob", "7")], NONE, "0", "9", "8"),  # its own min
    ([bid("ann", "9", min_micros=usd(8))], NONE, "1", "9", "8"),
    ([bid("ann", "9", min_micros=usd(8))], NONE, "0", "9", "9"),  # alone stays alone
    # the next rank price divided by the winner's own adjustment: 3 / 0.5
    ([bid("ann", "9", adjustment_ppm=500_000), bid("bob", "3")], NONE, "0", "9", "6"),
    ([bid("ann", "9"), bid("bob", "10", adjustment_ppm=500_000)], NONE, "0", "9", "5"),
    # rounded up to a micro: 7 / 1.5 = 4.666666...
    ([bid("ann", "9", adjustment_ppm=1_500_000), bid("bob", "7")], NONE, "0", "9", "4.666667"),
    # a fixed price pays its price, and is a rival at it
    ([bid("ann", "9", is_fixed=True), bid("bob", "7")], NONE, "0", "9", "9"),
    ([bid("ann", "9"), bid("bob", "7", is_fixed=True)], NONE, "0", "9", "7"),
    ([bid("ann", "9"), bid("bob", "1.30")], FIFTH_AND_DOLLAR, "0", "9", "1.30"),
    ([bid("ann", "9"), bid("bob", "9", adjustment_ppm=1)], NONE, "0", "9", "0.000009"),
    (
        [bid("ann", "9"), bid("bob", "9", adjustment_ppm=1)],
        FIFTH_AND_DOLLAR,
        "0",
        "9",
        "1.250002",  # with a rival but no floor the seller still gets a micro: 1.000001 / 0.8
    ),
]


@pytest.mark.parametrize(
    ("offers", "margin", "floor", "first", "second"), PRICES, ids=range(len(PRICES))
)
def test_the_winner_pays_its_bid_or_the_least_that_still_wins(
    offers: list[Offer], margin: Margin, floor: str, first: str, second: str
) -> None:
    """Second price: max of the next rank price, the floor grossed up and its min; at most its bid."""
    for is_second, expected in ((False, first), (True, second)):
        found = rank(
            offers, rules(margin=margin, floor_micros=usd(floor), second_price=is_second)
        ).placed[0]

        assert usd(expected) == found.pay_micros
        assert found.pay_micros - margin_micros(margin, found.pay_micros) == found.net_micros


def test_a_failover_is_priced_by_who_is_left() -> None:
    """When ann fails, bob pays the least that beats cyd; when bob fails too, cyd is alone."""
    offers = [bid("ann", "9"), bid("bob", "7"), bid("cyd", "4")]
    second = rules(second_price=True)

    paid = [rank(offers[place:], second).placed[0].pay_micros for place in range(3)]

    assert [usd(7), usd(4), usd(4)] == paid


GROSS = [
    # (margin, net wanted, least pay)
    (NONE, 5_000_000, 5_000_000),
    (FIFTH, 8_000_000, 10_000_000),
    (FIFTH_AND_DOLLAR, 7_000_000, 10_000_000),
    (FIFTH, 5_000_000, 6_250_000),  # 6.249999 would do too: the margin is rounded down
    (FIFTH, 1, 2),  # 1.25 rounded up
    (NONE, 0, 0),
    (Margin(percent_ppm=1_000_000), 1, None),  # no price leaves anything
    (Margin(percent_ppm=999_999), 2, 2_000_000),  # at once, not by a million steps
]


@pytest.mark.parametrize(("margin", "net", "pay"), GROSS)
def test_gross_up_divides_by_what_is_kept_and_rounds_up(
    margin: Margin, net: int, pay: int | None
) -> None:
    """(net + fixed) / (1 - percent), rounded up to a micro; None where no price leaves anything."""
    assert pay == gross_up(margin, net)


margins = st.builds(
    Margin,
    percent_ppm=st.sampled_from([0, 1, 100_000, 333_333, 500_000, 990_000, 999_999, 1_000_000])
    | st.integers(0, 1_000_000),
    fixed_micros=st.integers(0, 5),
)


@settings(max_examples=300, deadline=None)
@given(margins, st.integers(1, 40))
def test_a_grossed_up_price_leaves_the_net(margin: Margin, net: int) -> None:
    """Exactly the net or, since the margin is rounded down, never less."""
    pay = gross_up(margin, net)

    if pay is None:
        assert 1_000_000 == margin.percent_ppm
        return
    assert net_micros(margin, pay) >= net
    # what the division leaves over is worth no more than a step of the price
    assert plain_net(margin, pay - 1) <= net


# --- the oracle ------------------------------------------------------------------------------------


def plain_net(margin: Margin, pay: int) -> int:
    percent = Fraction(margin.percent_ppm, 1_000_000)
    return pay - (int(pay * percent) + margin.fixed_micros)


def plain_pay(offer: Offer, rest: list[Offer], terms: Rules) -> int:
    """Try every price from nothing up to the bid, and take the first that still wins."""
    if offer.is_fixed or not terms.second_price or (not rest and terms.floor_micros == 0):
        return offer.price_micros
    mine = Fraction(offer.adjustment_ppm, 1_000_000)
    kept = 1 - Fraction(terms.margin.percent_ppm, 1_000_000)
    for pay in range(offer.price_micros):
        beats = all(
            pay * mine >= other.price_micros * Fraction(other.adjustment_ppm, 1_000_000)
            for other in rest
        )
        net = pay * kept - terms.margin.fixed_micros  # the margin as it is, not rounded
        if beats and net >= max(1, terms.floor_micros) and pay >= offer.min_micros:
            return pay
    return offer.price_micros


def plain_rank(offers: list[Offer], terms: Rules) -> list[tuple[str, int]]:
    """Pick the best of those left, again and again."""
    left = [
        offer
        for offer in offers
        if plain_net(terms.margin, offer.price_micros) > 0
        and plain_net(terms.margin, offer.price_micros) >= terms.floor_micros
    ]
    order: list[tuple[str, int]] = []
    while left:
        best = left[0]
        for other in left[1:]:
            ours = best.price_micros * Fraction(best.adjustment_ppm, 1_000_000)
            theirs = other.price_micros * Fraction(other.adjustment_ppm, 1_000_000)
            if theirs > ours or (theirs == ours and other.priority < best.priority):
                best = other
            elif theirs == ours and other.priority == best.priority:
                ours_hash = blake(f"{terms.ping_id}|{best.contract}")
                if blake(f"{terms.ping_id}|{other.contract}") < ours_hash:
                    best = other
        left.remove(best)
        order.append((best.contract, plain_pay(best, left, terms)))
    return order


@st.composite
def auctions(draw: st.DrawFn) -> tuple[list[Offer], Rules]:
    """Few prices, adjustments and priorities, so that ties are common."""
    offers = [
        Offer(
            contract=slug,
            buyer=slug,
            price_micros=draw(st.integers(1, 9)),
            is_fixed=draw(st.booleans()),
            adjustment_ppm=draw(st.sampled_from([500_000, 1_000_000, 1_500_000, 2_000_000])),
            priority=draw(st.integers(1, 2)),
            min_micros=draw(st.integers(0, 2)),
        )
        for slug in draw(st.lists(st.sampled_from("abcdefgh"), unique=True))
    ]
    offers = [o if o.min_micros <= o.price_micros else bid(o.contract, "0.000001") for o in offers]
    return offers, Rules(
        ping_id=draw(st.sampled_from(["ping_1", "ping_2"])),
        margin=draw(margins),
        floor_micros=draw(st.integers(0, 4)),
        second_price=draw(st.booleans()),
    )


@settings(max_examples=600, deadline=None)
@given(auctions())
def test_rank_agrees_with_the_oracle(auction: tuple[list[Offer], Rules]) -> None:
    """Order and prices, ties included, whatever the bids."""
    offers, terms = auction

    ranking = rank(offers, terms)

    found = [(placed.offer.contract, placed.pay_micros) for placed in ranking.placed]
    assert plain_rank(offers, terms) == found
    assert len(offers) == len(ranking.placed) + len(ranking.below_floor)


@settings(max_examples=200, deadline=None)
@given(auctions(), st.randoms())
def test_the_order_of_arrival_changes_nothing(
    auction: tuple[list[Offer], Rules], random: Any
) -> None:
    """The same bids in any order give the same ranking: a replay finds the same winner."""
    offers, terms = auction
    shuffled = offers.copy()
    random.shuffle(shuffled)

    assert rank(offers, terms).placed == rank(shuffled, terms).placed


@settings(max_examples=200, deadline=None)
@given(auctions())
def test_nobody_pays_more_than_it_bid_and_the_floor_is_kept(
    auction: tuple[list[Offer], Rules],
) -> None:
    """Every placed offer pays at most its bid, at least its min, and leaves the seller the floor."""
    offers, terms = auction

    for placed in rank(offers, terms).placed:
        assert placed.offer.min_micros <= placed.pay_micros <= placed.offer.price_micros
        assert placed.net_micros >= max(1, terms.floor_micros)


@settings(max_examples=100, deadline=None)
@given(auctions())
def test_places_never_tie(auction: tuple[list[Offer], Rules]) -> None:
    """The last key is a hash of the contract, so that no order is left to chance."""
    offers, terms = auction

    assert len(offers) == len({place_key(offer, terms.ping_id) for offer in offers})
