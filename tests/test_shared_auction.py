"""Shared leads against exclusive ones: the best set, ties, second price, replacement."""

from itertools import combinations
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from exchange.auction import Offer, Rules, best_set, place_key, rank, replacement
from exchange.reasons import AuctionReason
from exchange.sellers import net_micros
from exchange.verticals import Margin

FIFTH = Margin(percent_ppm=200_000)


def one(contract: str, micros: int, **more: Any) -> Offer:
    """An exclusive offer."""
    return Offer(contract=contract, price_micros=micros, **({"buyer": contract} | more))


def leg(contract: str, micros: int, shares: int = 3, **more: Any) -> Offer:
    """A shared offer."""
    return one(contract, micros, is_shared=True, max_shares=shares, **more)


def rules(**more: Any) -> Rules:
    usual: dict[str, Any] = {"margin": Margin(), "floor_micros": 0, "second_price": False}
    return Rules(ping_id="ping_1", **(usual | more))


WINNERS = [
    # (offers, who wins together, what the seller gets)
    ([leg("ann", 4), leg("bob", 3), one("cyd", 6)], ["ann", "bob"], 7),  # the set's sum is more
    ([leg("ann", 4), leg("bob", 3), one("cyd", 7)], ["cyd"], 7),  # equal: the exclusive one
    ([leg("ann", 4), leg("bob", 3), one("cyd", 8)], ["cyd"], 8),
    ([leg("ann", 4)], ["ann"], 4),  # a set of one
    # No more than the least max_shares: two of 5 beat three of which one wants two at most.
    ([leg("ann", 5, 2), leg("bob", 5), leg("cyd", 4)], ["ann", "bob"], 10),
    ([leg("ann", 9, 1), leg("bob", 6), leg("cyd", 4)], ["bob", "cyd"], 10),  # alone it brings less
    ([leg("ann", 11, 1), leg("bob", 5), leg("cyd", 5)], ["ann"], 11),
    ([leg("ann", 10, 1), leg("bob", 5), leg("cyd", 5)], ["ann"], 10),  # equal: the smaller set
    # Distinct buyers: the better contract of each.
    ([leg("a1", 5, buyer="a"), leg("a2", 4, buyer="a"), leg("bob", 1)], ["a1", "bob"], 6),
    # Nobody bid enough.
    ([], [], 0),
]  # fmt: skip


@pytest.mark.parametrize(("offers", "winners", "net"), WINNERS, ids=range(len(WINNERS)))
def test_the_best_set_stands_against_the_best_exclusive_offer(
    offers: list[Offer], winners: list[str], net: int
) -> None:
    """By what the seller gets; the winners stand first."""
    ranking = rank(offers, rules())

    assert winners == [placed.offer.contract for placed in ranking.winners]
    assert net == ranking.net_micros
    assert (len(winners) > 1 or winners in (["ann"], ["a1"])) == ranking.is_shared
    assert len(offers) == len(ranking.placed)


def test_the_floor_binds_the_set_not_its_members() -> None:
    """6 + 5 reaches a floor of 10, though neither does alone; 4 + 5 does not."""
    enough = rank([leg("ann", 6), leg("bob", 5), one("cyd", 9)], rules(floor_micros=10))
    short = rank([leg("ann", 4), leg("bob", 5), one("cyd", 9)], rules(floor_micros=10))

    assert ["ann", "bob"] == [placed.offer.contract for placed in enough.winners]
    assert AuctionReason.BELOW_FLOOR == enough.reason_of("cyd")
    assert ((), 0) == (short.winners, short.net_micros)
    assert {AuctionReason.BELOW_FLOOR} == {short.reason_of(slug) for slug in ("ann", "bob", "cyd")}


def test_a_member_that_brings_nothing_is_left_out() -> None:
    """A margin that eats the whole bid makes no share."""
    terms = rules(margin=Margin(fixed_micros=3))

    ranking = rank([leg("ann", 9), leg("bob", 3)], terms)

    assert ["ann"] == [placed.offer.contract for placed in ranking.winners]
    assert AuctionReason.BELOW_FLOOR == ranking.reason_of("bob")


def test_why_each_lost_is_told() -> None:
    """Members of the set lost nothing; everybody else was outbid."""
    ranking = rank([leg("ann", 4, 2), leg("bob", 3), leg("cyd", 2), one("dan", 5)], rules())

    told = {slug: ranking.reason_of(slug) for slug in ("ann", "bob", "cyd", "dan")}
    assert told == {
        "ann": None,
        "bob": None,
        "cyd": AuctionReason.OUTBID,
        "dan": AuctionReason.OUTBID,
    }


def test_second_price_leaves_the_seller_what_the_set_would_have_brought() -> None:
    """Without rivals the set sets the price; members of a set pay their own bids."""
    terms = rules(second_price=True, margin=FIFTH)

    alone = rank([one("ann", 1000), leg("bob", 500), leg("cyd", 375)], terms)
    shared = rank([one("ann", 500), leg("bob", 500), leg("cyd", 375)], terms)

    assert 875 == alone.winners[0].pay_micros
    assert 700 == alone.net_micros == net_micros(FIFTH, 500) + net_micros(FIFTH, 375)
    assert [500, 375] == [placed.pay_micros for placed in shared.winners]


REPLACEMENTS = [
    # (what is left, of how many, who is still in, who comes)
    ([leg("ann", 3), leg("bob", 5)], 2, {"cyd"}, "bob"),
    ([leg("ann", 3), leg("bob", 5, 1)], 2, {"cyd"}, "ann"),  # bob shares with nobody
    ([leg("ann", 3), leg("b2", 5, buyer="bob")], 2, {"bob"}, "ann"),  # bob has it already
    ([leg("bob", 5, 1)], 2, {"cyd"}, None),
    ([], 2, {"cyd"}, None),
]  # fmt: skip


@pytest.mark.parametrize(("left", "shares", "buyers", "comes"), REPLACEMENTS)
def test_a_member_that_fell_out_is_replaced_by_the_best_that_agrees(
    left: list[Offer], shares: int, buyers: set[str], comes: str | None
) -> None:
    """Whoever has the lead was told how many share it."""
    found = replacement(left, shares, buyers, rules())

    assert comes == (found and found.contract)


@st.composite
def legs(draw: st.DrawFn) -> list[Offer]:
    return [
        leg(slug, draw(st.integers(1, 9)), draw(st.integers(1, 4)), buyer=draw(st.sampled_from("xyzw")))
        for slug in draw(st.lists(st.sampled_from("abcdefg"), unique=True))
    ]  # fmt: skip


@settings(max_examples=500, deadline=None)
@given(legs(), st.sampled_from([Margin(), FIFTH, Margin(fixed_micros=2)]))
def test_no_allowed_set_brings_more(offers: list[Offer], margin: Margin) -> None:
    """Against every subset there is."""
    terms = rules(margin=margin)
    able = [offer for offer in offers if net_micros(margin, offer.price_micros) > 0]
    sums = [0] + [
        sum(net_micros(margin, offer.price_micros) for offer in some)
        for size in range(1, len(able) + 1)
        for some in combinations(able, size)
        if size <= min(offer.max_shares for offer in some)
        and len({offer.buyer for offer in some}) == size
    ]

    found = best_set(able, terms)

    assert max(sums) == sum(net_micros(margin, offer.price_micros) for offer in found)
    assert len(found) == len({offer.buyer for offer in found})
    assert all(len(found) <= offer.max_shares for offer in found)


@settings(max_examples=200, deadline=None)
@given(legs(), st.lists(st.integers(1, 20), max_size=2), st.randoms())
def test_the_order_of_arrival_changes_nothing(
    shared: list[Offer], prices: list[int], random: Any
) -> None:
    """A replay finds the same winners at the same prices."""
    offers = [*shared, *(one(f"ex{n}", price) for n, price in enumerate(prices))]
    shuffled = offers.copy()
    random.shuffle(shuffled)

    ranking = rank(offers, rules())

    assert ranking.placed == rank(shuffled, rules()).placed
    assert ranking.winning == rank(shuffled, rules()).winning
    losers = ranking.placed[ranking.winning :]
    assert list(losers) == sorted(losers, key=lambda one: place_key(one.offer, "ping_1"))
