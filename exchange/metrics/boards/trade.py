"""Boards of the trade: how is it going, sellers, money."""

from typing import Final

from exchange.metrics.boards.asking import books, or_0, over, per_s, rate
from exchange.metrics.boards.grafana import Board, Panel, Row, Target, Variable
from exchange.metrics.series import (
    CALLBACKS,
    CALLBACKS_OPEN,
    CREDIT,
    ERASED,
    ERASURES_WAIT,
    HELD,
    LEADS,
    MARGIN,
    OLDEST,
    OPEN,
    PAYOUT,
    PINGS,
    REFUSALS,
    REVENUE,
    SALES,
    SELLER_LEADS,
    SELLER_PINGS,
    SHED,
    WAITING,
)

_VERTICAL: Final = 'vertical=~"$vertical"'
_SELLER: Final = 'seller=~"$seller"'
VERTICAL = Variable(name="vertical", label="Vertical", metric=PINGS.shown, of="vertical")
SELLER = Variable(name="seller", label="Seller", metric=SELLER_PINGS.shown, of="seller")


_PINGED: Final = rate(PINGS.shown, _VERTICAL)
_QUOTED: Final = rate(PINGS.shown, f'{_VERTICAL}, outcome="bid"')
_POSTED: Final = rate(LEADS.shown, _VERTICAL)
_SOLD: Final = rate(LEADS.shown, f'{_VERTICAL}, outcome="sold"')

OVERVIEW: Final = Board(
    uid="exchange-overview",
    title="Exchange / Overview",
    text="Is it trading, and how well: the funnel, money, what is refused, what is open.",
    variables=(VERTICAL,),
    rows=(
        Row(
            title="Now",
            panels=(
                Panel(
                    title="Pings", text="Auctions a second.", unit="reqps", look="stat", width=4, height=4,
                    targets=(Target(_PINGED, "pings"),),
                ),
                Panel(
                    title="Quoted", text="The share of pings that were offered a price.", unit="percentunit",
                    look="stat", width=4, height=4, warn=0.5, alarm=0.2, falling=True,
                    targets=(Target(or_0(over(_QUOTED, _PINGED)), "quoted"),),
                ),
                Panel(
                    title="Sold", text="The share of leads that were sold.", unit="percentunit",
                    look="stat", width=4, height=4, warn=0.8, alarm=0.5, falling=True,
                    targets=(Target(or_0(over(_SOLD, _POSTED)), "sold"),),
                ),
                Panel(
                    title="Revenue an hour", text="What buyers pay, at the present pace, by currency.",
                    look="stat", width=4, height=4, decimals=2,
                    targets=(Target(f"{per_s(REVENUE.shown, 'currency', _VERTICAL)} * 3600 / 1e6", "{{currency}}"),),
                ),
                Panel(
                    title="Workers", text="Workers that said something in the last ten seconds, of those wanted.",
                    look="stat", width=4, height=4, warn=0.99, alarm=0.5, falling=True, unit="percentunit",
                    targets=(Target("exchange:workers:ratio", "alive"),),
                ),
                Panel(
                    title="Broken invariants", text="What the last audit found wrong. Anything but 0 is a reason to stop.",
                    look="stat", width=4, height=4, alarm=1,
                    targets=(Target(or_0("exchange:invariant_violations:sum"), "violations"),),
                ),
            ),
        ),
        Row(
            title="Funnel",
            panels=(
                Panel(
                    title="From ping to sale", text="Pings, those quoted, leads posted, leads sold, a second.",
                    unit="reqps", width=12,
                    targets=(
                        Target(_PINGED, "pings"), Target(_QUOTED, "quoted"),
                        Target(_POSTED, "posted"), Target(_SOLD, "sold"),
                    ),
                ),
                Panel(
                    title="Why nothing was quoted or sold", text="Pings and leads without a buyer, by reason.",
                    unit="reqps", width=12, stacked=True,
                    targets=(
                        Target(or_0(rate(PINGS.shown, f'{_VERTICAL}, outcome!="bid"', "reason")), "ping: {{reason}}"),
                        Target(or_0(rate(LEADS.shown, f'{_VERTICAL}, outcome!="sold"', "reason")), "lead: {{reason}}"),
                    ),
                ),
                Panel(
                    title="Refused at the door", text="Requests that were stopped, by code.", unit="reqps", stacked=True,
                    targets=(Target(or_0(rate(REFUSALS.shown, by='code')), "{{code}}"),),
                ),
                Panel(
                    title="Refused for overload", text="The share of pings that each worker refuses.", unit="percentunit",
                    warn=0.01, alarm=0.05, targets=(Target(f"max by (worker) ({SHED.shown})", "{{worker}}"),),
                ),
                Panel(
                    title="Sales by vertical", text="A second, out of the books.", unit="ops", stacked=True,
                    targets=(Target(per_s(SALES.shown, "vertical", _VERTICAL), "{{vertical}}"),),
                ),
            ),
        ),
        Row(
            title="Open",
            panels=(
                Panel(
                    title="Posts without an outcome", text="intent: under way; unconfirmed: nobody knows whether it arrived.",
                    targets=(Target(books(OPEN.shown, "state"), "{{state}}"),),
                ),
                Panel(
                    title="Oldest unconfirmed post", text="Its cap and credit stay held until somebody says what became of it.",
                    unit="s", warn=600, alarm=3600, targets=(Target(f"max({OLDEST.shown})", "age"),),
                ),
                Panel(
                    title="Waiting for a person", text="Unconfirmed posts that nothing but a person can settle: exchange unconfirmed.",
                    warn=1, targets=(Target(f"max({WAITING.shown})", "posts"),),
                ),
                Panel(
                    title="Persons erased", text="In an hour; and erasures that wait for a post without an outcome.",
                    targets=(
                        Target(or_0(books(ERASED.shown, "why", fn="increase({}[1h])")), "erased {{why}}"),
                        Target(f"max({ERASURES_WAIT.shown})", "waiting"),
                    ),
                ),
            ),
        ),
    ),
)  # fmt: skip

_S_PINGED: Final = rate(SELLER_PINGS.shown, _SELLER, "seller")
_S_POSTED: Final = rate(SELLER_LEADS.shown, _SELLER, "seller")
SELLERS: Final = Board(
    uid="exchange-sellers",
    title="Exchange / Sellers",
    text="Who sends what, and how much of it sells.",
    variables=(SELLER,),
    rows=(
        Row(
            title="Sellers",
            panels=(
                Panel(
                    title="Pings", text="A second, by seller.", unit="reqps", stacked=True, width=12,
                    targets=(Target(f"topk(20, {_S_PINGED})", "{{seller}}"),),
                ),
                Panel(
                    title="Quoted", text="The share of a seller's pings that were offered a price.", unit="percentunit", most=1, width=12,
                    targets=(Target(over(rate(SELLER_PINGS.shown, f'{_SELLER}, outcome="bid"', "seller"), _S_PINGED), "{{seller}}"),),
                ),
                Panel(
                    title="Leads", text="That ended, a second, by seller.", unit="reqps", stacked=True, width=12,
                    targets=(Target(f"topk(20, {_S_POSTED})", "{{seller}}"),),
                ),
                Panel(
                    title="Sold", text="The share of a seller's leads that were sold.", unit="percentunit", most=1, width=12,
                    targets=(Target(over(rate(SELLER_LEADS.shown, f'{_SELLER}, outcome="sold"', "seller"), _S_POSTED), "{{seller}}"),),
                ),
                Panel(
                    title="Refused", text="Requests that were stopped at the door, by code: keys, rates, fields.", unit="reqps", stacked=True, width=24,
                    targets=(Target(or_0(rate(REFUSALS.shown, by='code')), "{{code}}"),),
                ),
                Panel(
                    title="Callbacks", text="Tries an hour, by what came of them: a failed one is made again, one that was given up never.", width=12,
                    targets=(Target(or_0(f"sum by (outcome) (increase({CALLBACKS.shown}[1h]))"), "{{outcome}}"),),
                ),
                Panel(
                    title="Callbacks owed", text="Waiting for the end of their leads, or due.", width=12,
                    targets=(Target(or_0(books(CALLBACKS_OPEN.shown, "state")), "{{state}}"),),
                ),
            ),
        ),
    ),
)  # fmt: skip


def _hourly(name: str) -> str:
    return f"{per_s(name, 'currency', _VERTICAL)} * 3600 / 1e6"


MONEY: Final = Board(
    uid="exchange-money",
    title="Exchange / Money",
    text="Out of the ledger, in units of each currency.",
    variables=(VERTICAL,),
    rows=(
        Row(
            title="At the present pace",
            panels=(
                Panel(
                    title="Revenue an hour", text="What buyers pay.", look="stat", height=4, decimals=2,
                    targets=(Target(_hourly(REVENUE.shown), "{{currency}}"),),
                ),
                Panel(
                    title="Payout an hour", text="What sellers get.", look="stat", height=4, decimals=2,
                    targets=(Target(_hourly(PAYOUT.shown), "{{currency}}"),),
                ),
                Panel(
                    title="Margin an hour", text="What stays with the house, before returns.", look="stat", height=4, decimals=2,
                    alarm=0, falling=True, targets=(Target(_hourly(MARGIN.shown), "{{currency}}"),),
                ),
            ),
        ),
        Row(
            title="By vertical",
            panels=(
                Panel(
                    title="Revenue", text="An hour, by vertical.", stacked=True, width=12, decimals=2,
                    targets=(Target(f"{per_s(REVENUE.shown, 'vertical, currency', _VERTICAL)} * 3600 / 1e6", "{{vertical}} {{currency}}"),),
                ),
                Panel(
                    title="Margin", text="An hour, by vertical.", stacked=True, width=12, decimals=2,
                    targets=(Target(f"{per_s(MARGIN.shown, 'vertical, currency', _VERTICAL)} * 3600 / 1e6", "{{vertical}} {{currency}}"),),
                ),
                Panel(
                    title="Margin rate", text="The part of the revenue that stays.", unit="percentunit", width=12,
                    targets=(
                        Target(
                            over(per_s(MARGIN.shown, "vertical", _VERTICAL), per_s(REVENUE.shown, "vertical", _VERTICAL)),
                            "{{vertical}}",
                        ),
                    ),
                ),
                Panel(
                    title="Average price", text="What a buyer pays for a lead.", width=12, decimals=2,
                    targets=(
                        Target(
                            f"{over(per_s(REVENUE.shown, 'vertical, currency', _VERTICAL), per_s(SALES.shown, 'vertical, currency', _VERTICAL))} / 1e6",
                            "{{vertical}} {{currency}}",
                        ),
                    ),
                ),
            ),
        ),
        Row(
            title="Held",
            panels=(
                Panel(
                    title="Money held", text="For posts whose outcome is not known yet.", width=12, decimals=2,
                    targets=(Target(or_0(f"{books(HELD.shown, 'currency')} / 1e6"), "{{currency}}"),),
                ),
                Panel(
                    title="Credit of prepaid buyers", text="What they can still spend, in sum.", width=12, decimals=2,
                    targets=(Target(or_0(f"{books(CREDIT.shown, 'currency')} / 1e6"), "{{currency}}"),),
                ),
            ),
        ),
    ),
)  # fmt: skip
