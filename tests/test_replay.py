"""I10: what was recorded can be held again, and a tampered record is found out."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from exchange.auction import Offer
from exchange.receipt import read_offers, whole, write_offer
from exchange.replay import replay_ping, replay_price


def offer(contract: str, price: int, **changes: Any) -> dict[str, Any]:
    return {
        "contract": contract, "price": price, "fixed": False, "adjustment": 1_000_000, "priority": 10,
        "min": 0, "bid_id": None, "expires_in_s": None, **changes,
    }  # fmt: skip


def receipt() -> dict[str, Any]:
    return {
        "ping_id": "ping_1",
        "rules": {"margin_ppm": 200_000, "margin_fixed": 0, "floor": 0, "second_price": False},
        "offers": [offer("ann", 5_000_000), offer("bob", 9_000_000)],
        "ranking": [
            {"contract": "bob", "pay": 9_000_000, "net": 7_200_000},
            {"contract": "ann", "pay": 5_000_000, "net": 4_000_000},
        ],
    }


def test_a_true_receipt_replays() -> None:
    """The recorded bids under the recorded rules give the recorded ranking."""
    assert replay_ping(receipt()) == []


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("offers", 0, "price"), 9_500_000),  # a bid that would have won
        (("rules", "margin_ppm"), 100_000),  # another margin
        (("rules", "floor"), 8_000_000),  # a floor that nobody reached
        (("ranking", 0, "pay"), 8_000_000),  # a price that nobody bid
        (("ranking", 0, "contract"), "ann"),  # another winner
    ],
)
def test_a_tampered_receipt_is_found_out(path: tuple[Any, ...], value: Any) -> None:
    """Whatever is changed afterwards no longer follows from the rest."""
    changed = copy.deepcopy(receipt())
    place: Any = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value

    assert replay_ping(changed) != []


@pytest.mark.parametrize(
    ("contract", "price", "second_price", "faults"),
    [
        ("bob", 9_000_000, False, 0),  # its bid
        ("bob", 8_999_999, False, 1),  # a micro less
        ("bob", 8_000_000, True, 0),  # second price: less is right
        ("bob", 9_000_001, True, 1),  # but never more
        ("cyd", 1_000_000, False, 1),  # never made an offer
    ],
)
def test_a_booked_price_follows_from_its_offer(
    contract: str, price: int, second_price: bool, faults: int
) -> None:
    """First price pays the bid, second price at most the bid."""
    request = receipt()
    request["rules"]["second_price"] = second_price

    assert len(replay_price("lead_1", contract, price, request)) == faults


@given(
    st.builds(
        Offer, contract=st.just("c"), buyer=st.just("b"), price_micros=st.integers(1, 10**12),
        is_fixed=st.booleans(), adjustment_ppm=st.sampled_from([1_000_000, 900_000]),
        priority=st.sampled_from([10, 0, 3]), min_micros=st.sampled_from([0, 5]),
        bid_id=st.sampled_from([None, "", "x"]), expires_in_s=st.sampled_from([None, 0, 30]),
        is_shared=st.booleans(), max_shares=st.sampled_from([1, 3]),
    )
)  # fmt: skip
def test_an_offer_is_read_as_it_was_written(offer: Offer) -> None:
    """What goes without saying is not stored, and is shown."""
    stored = {"offers": [write_offer(offer)]}

    assert (offer,) == read_offers(stored)
    (shown,) = whole(stored)["offers"]
    assert {
        "fixed",
        "adjustment",
        "priority",
        "min",
        "bid_id",
        "shared",
        "max_shares",
    } <= shown.keys()


def test_what_goes_without_saying_is_not_stored() -> None:
    """There are ten of them in a receipt."""
    assert {"contract": "c", "buyer": "b", "price": 7} == write_offer(
        Offer(contract="c", buyer="b", price_micros=7)
    )
