"""Sellers, and what the exchange keeps of a price."""

from collections.abc import Iterable
from dataclasses import dataclass

from exchange.verticals import Margin

PPM = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seller:
    id: int
    slug: str
    name: str
    verticals: frozenset[str]  # those it may sell in; empty: none
    margin: Margin | None  # None: the vertical's
    rate_per_s: int  # requests per second, all workers together
    active: bool
    callback_url: str | None = None  # gets the final answer after a 202; None: he asks for it


def margin_micros(margin: Margin, pay_micros: int) -> int:
    """What the exchange keeps: floor(pay x percent) + fixed."""
    return pay_micros * margin.percent_ppm // PPM + margin.fixed_micros


def net_micros(margin: Margin, pay_micros: int) -> int:
    """What the seller gets; zero or below means that nothing can be sold at this price."""
    return net_micros_of(margin, (pay_micros,))[0]


def net_micros_of(margin: Margin, pays_micros: Iterable[int]) -> list[int]:
    """`net_micros` of each, without a call for each."""
    percent_ppm, fixed_micros = margin.percent_ppm, margin.fixed_micros
    return [pay - pay * percent_ppm // PPM - fixed_micros for pay in pays_micros]


def gross_up(margin: Margin, net: int) -> int | None:
    """(net + fixed) / (1 - percent), rounded up to a micro: a pay price whose net is at least
    `net` micros; None when no price is."""
    keeps_ppm = PPM - margin.percent_ppm
    if keeps_ppm <= 0:
        return None
    return -(-(net + margin.fixed_micros) * PPM // keeps_ppm)
