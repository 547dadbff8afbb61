"""Boards of buyers: all of them, and one."""

from typing import Final

from exchange.metrics.boards.asking import books, or_0, over, rate
from exchange.metrics.boards.grafana import Board, Panel, Row, Target, Variable
from exchange.metrics.series import (
    BREAKER_OPEN,
    BUYER_PINGS,
    BUYER_POSTS,
    CAP_USED,
    CREDIT,
    HEALTH_SKIPS,
    LATE_BIDS,
    RETURNS,
)

_BUYER: Final = 'buyer=~"$buyer"'
_ONE: Final = 'buyer="$buyer"'
BUYER = Variable(name="buyer", label="Buyer", metric=BUYER_PINGS.shown, of="buyer")
_ASKED: Final = rate(BUYER_PINGS.shown, _BUYER, "buyer")
BUYERS: Final = Board(
    uid="exchange-buyers",
    title="Exchange / Buyers",
    text="Who bids, who wins, who fails, who is full.",
    variables=(BUYER,),
    rows=(
        Row(
            title="Auctions",
            panels=(
                Panel(
                    title="Asked", text="Pings to each buyer, a second.", unit="reqps",
                    targets=(Target(f"topk(20, {_ASKED})", "{{buyer}}"),),
                ),
                Panel(
                    title="Bid rate", text="The share of pings that a buyer bid on.", unit="percentunit", most=1,
                    targets=(Target(over(rate(BUYER_PINGS.shown, f'{_BUYER}, result="bid"', "buyer"), _ASKED), "{{buyer}}"),),
                ),
                Panel(
                    title="Win rate", text="The share of a buyer's bids that won their auction.", unit="percentunit", most=1,
                    targets=(
                        Target(
                            over(
                                rate(BUYER_PINGS.shown, f'{_BUYER}, result="bid", reason=""', "buyer"),
                                rate(BUYER_PINGS.shown, f'{_BUYER}, result="bid"', "buyer"),
                            ),
                            "{{buyer}}",
                        ),
                    ),
                ),
                Panel(
                    title="Failures", text="The share of pings without a usable answer.", unit="percentunit", most=1,
                    warn=0.2, alarm=0.5, targets=(Target(f"buyer:failures:ratio5m{{{_BUYER}}}", "{{buyer}}"),),
                ),
                Panel(
                    title="Why they failed", text="Answers that never came or cannot be used, by reason.", unit="reqps", stacked=True,
                    targets=(Target(or_0(rate(BUYER_PINGS.shown, f'{_BUYER}, result=~"missed|invalid"', "reason")), "{{reason}}"),),
                ),
                Panel(
                    title="Late bids", text="Bids after the close: void. Such a buyer should answer quicker, or be given longer.",
                    unit="reqps", targets=(Target(or_0(rate(LATE_BIDS.shown, _BUYER, 'buyer')), "{{buyer}}"),),
                ),
            ),
        ),
        Row(
            title="Deliveries",
            panels=(
                Panel(
                    title="Posts by outcome", text="A second, of the buyers chosen.", unit="reqps", stacked=True,
                    targets=(Target(or_0(rate(BUYER_POSTS.shown, _BUYER, 'outcome')), "{{outcome}}"),),
                ),
                Panel(
                    title="Accepted", text="The share of posts that a buyer accepted.", unit="percentunit", most=1,
                    targets=(
                        Target(
                            over(
                                rate(BUYER_POSTS.shown, f'{_BUYER}, outcome="accepted"', "buyer"),
                                rate(BUYER_POSTS.shown, _BUYER, "buyer"),
                            ),
                            "{{buyer}}",
                        ),
                    ),
                ),
                Panel(
                    title="Left alone", text="Endpoints whose breaker is open, and pings they were spared.",
                    targets=(
                        Target(or_0(books(BREAKER_OPEN.shown, 'contract, call')), "open: {{contract}} {{call}}"),
                        Target(or_0(rate(HEALTH_SKIPS.shown, by='reason')), "a second: {{reason}}"),
                    ),
                ),
            ),
        ),
        Row(
            title="Orders",
            panels=(
                Panel(
                    title="Fullest caps", text="The used part of each cap in its present period.", unit="percentunit", look="bargauge",
                    width=12, most=1, warn=0.9, alarm=1,
                    targets=(Target(f"topk(20, {books(CAP_USED.shown, 'buyer, contract, kind, period', _BUYER)})", "{{buyer}} {{contract}} {{kind}}/{{period}}"),),
                ),
                Panel(
                    title="Credit left", text="Of prepaid buyers, in units of their currency; the least first.", look="table", width=6,
                    decimals=2, targets=(Target(f"sort({books(CREDIT.shown, 'buyer, currency', _BUYER)}) / 1e6", "", instant=True),),
                ),
                Panel(
                    title="Returns", text="Asked for in the last 30 days, as they stand.", look="table", width=6,
                    targets=(Target(or_0(books(RETURNS.shown, 'buyer, status', _BUYER)), "", instant=True),),
                ),
            ),
        ),
    ),
)  # fmt: skip

BUYER_BOARD: Final = Board(
    uid="exchange-buyer",
    title="Exchange / One buyer",
    text="Everything about one buyer: what it was asked, what it said, what it bought.",
    variables=(Variable(name="buyer", label="Buyer", metric=BUYER_PINGS.shown, of="buyer", many=False),),
    rows=(
        Row(
            title="Auctions",
            panels=(
                Panel(
                    title="Answers", text="Results of its pings, a second.", unit="reqps", stacked=True, width=12,
                    targets=(Target(rate(BUYER_PINGS.shown, _ONE, "result"), "{{result}}"),),
                ),
                Panel(
                    title="Reasons", text="Why it lost, declined or failed; `won` has no reason.", unit="reqps", stacked=True, width=12,
                    targets=(
                        Target(rate(BUYER_PINGS.shown, f'{_ONE}, reason!=""', "reason"), "{{reason}}"),
                        Target(or_0(rate(BUYER_PINGS.shown, f'{_ONE}, result="bid", reason=""')), "won"),
                    ),
                ),
                Panel(
                    title="Failures", text="The share of its pings without a usable answer.", unit="percentunit", most=1, warn=0.2, alarm=0.5,
                    targets=(Target(f"buyer:failures:ratio5m{{{_ONE}}}", "failures"),),
                ),
                Panel(
                    title="Late bids", text="After the close: void.", unit="reqps",
                    targets=(Target(or_0(rate(LATE_BIDS.shown, _ONE)), "late"),),
                ),
                Panel(
                    title="Left alone", text="1 while a breaker of it is open.",
                    targets=(Target(or_0(books(BREAKER_OPEN.shown, 'contract, call', _ONE)), "{{contract}} {{call}}"),),
                ),
            ),
        ),
        Row(
            title="Purchases",
            panels=(
                Panel(
                    title="Posts", text="Deliveries by outcome and reason, a second.", unit="reqps", stacked=True, width=12,
                    targets=(Target(or_0(rate(BUYER_POSTS.shown, _ONE, 'outcome, reason')), "{{outcome}} {{reason}}"),),
                ),
                Panel(
                    title="Caps", text="The used part of each, in its present period.", unit="percentunit", look="bargauge", width=12,
                    most=1, warn=0.9, alarm=1,
                    targets=(Target(or_0(books(CAP_USED.shown, 'contract, kind, period', _ONE)), "{{contract}} {{kind}}/{{period}}"),),
                ),
                Panel(
                    title="Credit left", text="In units of its currency; a postpaid buyer has none.", look="stat", width=12, height=4,
                    decimals=2, targets=(Target(or_0(f"{books(CREDIT.shown, 'currency', _ONE)} / 1e6"), "{{currency}}"),),
                ),
                Panel(
                    title="Returns", text="Of the last 30 days, as they stand.", look="stat", width=12, height=4,
                    targets=(Target(or_0(books(RETURNS.shown, 'status', _ONE)), "{{status}}"),),
                ),
            ),
        ),
    ),
)  # fmt: skip
