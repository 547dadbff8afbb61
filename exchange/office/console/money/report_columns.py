"""The columns of reports: what each figure is made of, and how it is written. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from markupsafe import Markup

from buyers.money import format_micros
from exchange.chores.cells import TIME_BOUNDS_MS, TIMES
from exchange.office.console.parts.amounts import rounded
from exchange.office.console.parts.widgets import DASH, count, duration, percent

Figures = Mapping[str, int]


class _Asked(dict[str, int]):
    """Figures that remember which of them were asked for. All are one: no column stops at a zero."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def __missing__(self, name: str) -> int:
        self.names.add(name)
        return 1


@dataclass(frozen=True, slots=True)
class Column:
    key: str
    words: str
    about: str  # what exactly it is; a title of its head
    kind: str  # count, share, money, rate (money for one of something), ms
    value: Callable[[Figures], float | None]

    def needs(self) -> frozenset[str]:
        """The figures it is made of."""
        asked = _Asked()
        self.value(asked)
        return frozenset(asked.names)

    def shown(self, figures: Figures, currency: str, *, unit: bool = True) -> Markup:
        """Money rounded as it is paid, rates to the hundredth part of that."""
        value = self.value(figures)
        if value is None:
            return DASH
        match self.kind:
            case "money" | "rate":
                return rounded(value, currency, 2 if self.kind == "rate" else 0, unit=unit)
            case "share":
                return percent(value, 1, 1)
            case "ms":
                if value > TIME_BOUNDS_MS[-1]:
                    return Markup('<span class="num">&gt; {:,} ms</span>').format(
                        TIME_BOUNDS_MS[-1]
                    )
                return duration(value)
            case _:
                return count(round(value))

    def plain(self, figures: Figures, currency: str) -> str:
        """As a cell of CSV: plain decimals; empty: unknown."""
        value = self.value(figures)
        if value is None:
            return ""
        if self.kind in {"money", "rate"}:
            return format_micros(round(value), currency)
        return f"{value:.4f}" if self.kind == "share" else f"{value:.0f}"


def share(part: str, *wholes: str) -> Callable[[Figures], float | None]:
    def value(figures: Figures) -> float | None:
        whole = sum(figures[name] for name in wholes)
        return figures[part] / whole if whole else None

    return value


def net_revenue(figures: Figures) -> int:
    return figures["revenue"] - figures["returned_revenue"]


def net_payout(figures: Figures) -> int:
    return figures["payout"] - figures["returned_payout"]


def _margin(figures: Figures) -> int:
    return net_revenue(figures) - net_payout(figures)


def _average(total: str, *numbers: str) -> Callable[[Figures], float | None]:
    return share(total, *numbers)


def _per(total: Callable[[Figures], int], number: str) -> Callable[[Figures], float | None]:
    return lambda figures: total(figures) / figures[number] if figures[number] else None


def percentile(figures: Figures, part: float) -> float | None:
    """The response time that `part` of all answers kept, between the bounds of its bucket: at most 19 %
    beside the truth if answers lie evenly in it. Above the last bound: nobody knows how far."""
    counts = [figures[name] for name in TIMES]
    wanted = part * sum(counts)
    if not wanted:
        return None
    before = 0
    for place, here in enumerate(counts):
        if before + here >= wanted:
            if place == len(TIME_BOUNDS_MS):
                return TIME_BOUNDS_MS[-1] + 1.0
            low = TIME_BOUNDS_MS[place - 1] if place else 0
            return low + (TIME_BOUNDS_MS[place] - low) * (wanted - before) / here
        before += here
    return None


def _p(part: float) -> Callable[[Figures], float | None]:
    return lambda figures: percentile(figures, part)


_missed: Final = ("timed_out", "unreachable", "garbled", "failed", "invalid")


def _named(name: str) -> Callable[[Figures], float | None]:
    return lambda figures: figures[name]


PINGS: Final = Column(
    "pings", "Pings", "Questions of sellers, without tests", "count", _named("pings")
)
QUOTE_RATE: Final = Column(
    "quote_rate",
    "Quoted",
    "Pings that were answered with a price",
    "share",
    share("quotes", "pings"),
)
LEADS: Final = Column("leads", "Leads", "Pings that were posted", "count", _named("leads"))
SOLD_RATE: Final = Column(
    "sold_rate", "Sold", "Posted leads that somebody bought", "share", share("sold", "leads")
)
SOLD: Final = Column(
    "sold", "Sold leads", "Posted leads that somebody bought", "count", _named("sold")
)
ASKED: Final = Column(
    "asked", "Asked", "Pings that were put to this buyer", "count", _named("asked")
)
BID_RATE: Final = Column(
    "bid_rate", "Bid rate", "Bids of all that were asked", "share", share("bids", "asked")
)
MISSED: Final = Column(
    "missed", "Missed", "Asked in vain: timed out, unreachable, unreadable, or an unusable bid", "share",
    lambda f: sum(f[name] for name in _missed) / f["asked"] if f["asked"] else None,
)  # fmt: skip
WIN_RATE: Final = Column(
    "win_rate",
    "Win rate",
    "Auctions won of all with a bid or a fixed price",
    "share",
    share("won", "bids", "fixed"),
)
ACCEPT_RATE: Final = Column(
    "accept_rate",
    "Accept rate",
    "Accepted of all posts that were answered",
    "share",
    share("accepted", "accepted", "rejected"),
)
AVERAGE_BID: Final = Column(
    "average_bid",
    "Average bid",
    "Of all bids and fixed prices, won or not",
    "money",
    _average("bid_sum", "bids", "fixed"),
)
POSTS: Final = Column("posts", "Posts", "Deliveries of the whole lead", "count", _named("posts"))
SALES: Final = Column(
    "sales", "Sales", "Accepted posts; a shared lead is several", "count", _named("accepted")
)
RETURNED: Final = Column(
    "returned", "Returned", "Sales that were given back", "count", _named("returned")
)
WAITING: Final = Column(
    "waiting", "Open", "Posts of which nobody knows the outcome yet", "count", _named("waiting")
)
REVENUE: Final = Column(
    "revenue", "Revenue", "What buyers pay, less what was given back", "money", net_revenue
)
SPENT: Final = Column(
    "spent", "Spent", "What these leads cost, less what was given back", "money", net_revenue
)
PAYOUT: Final = Column(
    "payout", "Payout", "What sellers get, less what was taken back", "money", net_payout
)
MARGIN: Final = Column("margin", "Margin", "Revenue less payout", "money", _margin)
EPL: Final = Column(
    "epl",
    "EPL",
    "Earnings per lead: payout for each posted lead, sold or not",
    "rate",
    _per(net_payout, "leads"),
)
EPP: Final = Column(
    "epp", "Per ping", "Payout for each ping, posted or not", "rate", _per(net_payout, "pings")
)
PER_SALE: Final = Column(
    "per_sale", "Per sale", "What a sale costs on average", "money", _per(net_revenue, "accepted")
)
P50: Final = Column("p50", "p50", "Half of the answers to pings came within", "ms", _p(0.5))
P95: Final = Column("p95", "p95", "95 of 100 answers to pings came within", "ms", _p(0.95))

OF_PINGS: Final = (
    PINGS,
    LEADS,
    BID_RATE,
    WIN_RATE,
    ACCEPT_RATE,
    AVERAGE_BID,
    REVENUE,
    PAYOUT,
    MARGIN,
    EPL,
    P50,
    P95,
)
OF_CONTRACTS: Final = (
    ASKED,
    BID_RATE,
    MISSED,
    WIN_RATE,
    ACCEPT_RATE,
    AVERAGE_BID,
    SALES,
    RETURNED,
    REVENUE,
    PAYOUT,
    MARGIN,
    P50,
    P95,
)
OF_BUYER: Final = (
    ASKED,
    BID_RATE,
    MISSED,
    WIN_RATE,
    ACCEPT_RATE,
    AVERAGE_BID,
    SALES,
    RETURNED,
    SPENT,
    PER_SALE,
    P50,
    P95,
)
OF_SELLER: Final = (PINGS, QUOTE_RATE, LEADS, SOLD, SOLD_RATE, RETURNED, PAYOUT, EPL, EPP)
OF_SELLERS_BUYERS: Final = (SALES, RETURNED, PAYOUT)
