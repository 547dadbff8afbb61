"""The throttle of one endpoint: how the score moves, what share is skipped, who is drawn."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from buyers.throttle import SHARE_MAX, Pace, Throttle, after_results, draw, share

PACE = Pace(memory=200, results_min=50)


@pytest.mark.parametrize(
    ("score", "results", "expected"),
    [
        (0.0, 200, 0.0),
        (0.2, 200, 0.0),  # up to here nothing happens
        (0.4, 200, 0.225),
        (0.6, 200, 0.45),
        (1.0, 200, 0.9),  # and never more
        (1.0, 49, 0.0),  # too little is known
        (1.0, 50, 0.9),
    ],
)
def test_the_share_rises_in_a_line(score: float, results: int, expected: float) -> None:
    assert expected == pytest.approx(share(Throttle(score, results), PACE))


@pytest.mark.parametrize(
    ("good", "bad", "score"),
    [
        (0, 0, 0.0),
        (0, 10, 1.0),  # at first the plain mean
        (90, 10, 0.1),
        (150, 50, 0.25),
        (200, 1, 1 / 200),  # then each weighs 1/200
        (200, 200, 1 - (1 - 1 / 200) ** 200),
    ],
)
def test_the_score_is_a_mean_and_then_moves(good: int, bad: int, score: float) -> None:
    assert score == pytest.approx(after_results(Throttle(), PACE, good, bad).score)


def test_an_endpoint_that_recovers_is_asked_more_and_more() -> None:
    """From nine in ten skipped to none, after 322 good results in a row."""
    throttle = Throttle(1.0, 200)
    shares = []
    while share(throttle, PACE) > 0:
        shares.append(share(throttle, PACE))
        throttle = after_results(throttle, PACE, 1, 0)

    assert (0.9, 322) == (shares[0], len(shares))
    assert sorted(shares, reverse=True) == shares


@given(batches=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=30))
def test_many_at_once_are_as_many_one_by_one(batches: list[tuple[int, int]]) -> None:
    """Successes are gathered before they are judged: that must not change the score."""
    at_once = one_by_one = Throttle()
    for good, bad in batches:
        at_once = after_results(at_once, PACE, good, bad)
        for _ in range(good):
            one_by_one = after_results(one_by_one, PACE, 1, 0)
        for _ in range(bad):
            one_by_one = after_results(one_by_one, PACE, 0, 1)

        assert at_once.results == one_by_one.results <= PACE.memory
        assert math.isclose(at_once.score, one_by_one.score, abs_tol=1e-9)


@given(
    score=st.floats(0, 1), results=st.integers(0, 10**6),
    more=st.tuples(st.integers(0, 10**6), st.integers(0, 10**6)),
)  # fmt: skip
def test_a_tenth_goes_through_whatever_happens(
    score: float, results: int, more: tuple[int, int]
) -> None:
    throttle = after_results(Throttle(score, min(results, 200)), PACE, *more)

    assert 0 <= throttle.score <= 1
    assert 0 <= share(throttle, PACE) <= SHARE_MAX


@pytest.mark.parametrize("wanted", [0.1, 0.45, 0.9])
def test_the_draw_skips_that_share_of_pings(wanted: float) -> None:
    """Evenly over pings, and another set of pings for every contract."""
    pings = [f"ping_{number:026d}" for number in range(10_000)]
    skipped = [ping for ping in pings if draw(ping, "acme-1") < wanted]
    others = [ping for ping in pings if draw(ping, "zenith-1") < wanted]

    assert wanted == pytest.approx(len(skipped) / len(pings), abs=0.02)
    both = len(set(skipped) & set(others)) / len(pings)
    assert wanted**2 == pytest.approx(both, abs=0.02)


def test_the_draw_is_the_same_for_ever() -> None:
    """A replay of last year's pings skips whom last year skipped."""
    assert 0.0012896486217595 == pytest.approx(draw("ping_01", "acme-1"), abs=1e-15)


@given(ping=st.text(max_size=40), contract=st.text(max_size=64))
def test_the_draw_is_below_one(ping: str, contract: str) -> None:
    try:
        drawn = draw(ping, contract)
    except UnicodeEncodeError:  # lone surrogates are in no id
        return
    assert 0 <= drawn < 1
