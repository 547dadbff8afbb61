"""Every Prometheus series of the exchange: its name, what it counts, and how many there can be.

No other package knows a metric's name. Labels are closed sets (outcomes, reasons) or slugs of the
catalogue; never the id of a ping or a lead. What is one per worker also has the label `worker`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal

from buyers.reasons import BuyerReason
from exchange.reasons import AuctionReason, RefusedReason, SkipReason
from exchange.returns import ReturnStatus

Kind = Literal["counter", "gauge", "histogram"]
# What a series is multiplied by: one for each of them that the catalogue, or the machine, has.
Thing = Literal["worker", "buyer", "contract", "cap", "seller", "vertical", "currency", "exchange"]

SECONDS: Final = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0, 30.0,
)  # fmt: skip
# Of what should be next to nothing.
FINE: Final = (
    0.001, 0.002, 0.003, 0.004, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip
FANOUT: Final = (0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0)

_RESULTS: Final = 3 + len(BuyerReason)  # won, outbid, below the floor; and why there was no bid
_OUTCOMES: Final = 1 + 2 * len(BuyerReason)  # a reason stands with one outcome, or with two


@dataclass(frozen=True, slots=True)
class Series:
    """One family. `name` is without `_total`; `most` series for each `per`, at most."""

    name: str
    kind: Kind
    text: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    per: Thing = "exchange"
    most: int = 1

    @property
    def shown(self) -> str:
        """As it stands in a scrape."""
        return f"{self.name}_total" if self.kind == "counter" else self.name

    @property
    def lines_most(self) -> int:
        """Lines of a scrape for each `per`: a histogram has one per bucket, +Inf, sum and count."""
        return self.most * (len(self.buckets) + 3 if self.kind == "histogram" else 1)


WORKERS: Final[dict[str, Series]] = {}  # counted by workers, by name
OFFICE: Final[dict[str, Series]] = {}  # added by the office


def _counted(kind: Kind, name: str, text: str, *labels: str, per: Thing, most: int = 1) -> Series:
    return WORKERS.setdefault(name, Series(name, kind, text, labels, (), per, most))


def _timed(
    name: str, text: str, *labels: str, buckets: tuple[float, ...] = SECONDS, most: int = 1
) -> Series:
    series = Series(name, "histogram", text, labels, buckets, "exchange", most)
    return WORKERS.setdefault(name, series)


def _seen(
    kind: Kind, name: str, text: str, *labels: str, per: Thing = "exchange", most: int = 1
) -> Series:
    return OFFICE.setdefault(name, Series(name, kind, text, labels, (), per, most))


# --- the trade ------------------------------------------------------------------------------------

PINGS = _counted(
    "counter", "exchange_pings", "Auctions by outcome; `bid` was quoted.",
    "vertical", "outcome", "reason", per="vertical", most=1 + len(AuctionReason),
)  # fmt: skip
SELLER_PINGS = _counted(
    "counter", "exchange_seller_pings", "Auctions by seller and outcome.",
    "seller", "outcome", per="seller", most=2,
)  # fmt: skip
LEADS = _counted(
    "counter", "exchange_leads", "Leads that ended; `tier` is where they sold.",
    "vertical", "outcome", "reason", "tier", per="vertical", most=20 + len(AuctionReason),
)  # fmt: skip
SELLER_LEADS = _counted(
    "counter", "exchange_seller_leads", "Leads that ended, by seller and outcome.",
    "seller", "outcome", per="seller", most=2,
)  # fmt: skip
AUCTION = _timed(
    "exchange_auction_seconds",
    "From the first question to the ranking; `missed`: somebody asked gave no usable answer in time.",
    "end", most=2,
)  # fmt: skip
OVERHEAD = _timed(
    "exchange_auction_overhead_seconds",
    "What an auction took beyond its slowest buyer.", buckets=FINE,
)  # fmt: skip
OVERSHOOT = _timed(
    "exchange_auction_overshoot_seconds",
    "How far auctions that lasted their whole window ended after it.", buckets=FINE,
)  # fmt: skip
BUDGET = _timed(
    "exchange_auction_budget_seconds", "Time that was left for buyers when they were asked."
)
FANNED = _timed("exchange_auction_buyers", "Contracts asked per auction.", buckets=FANOUT)
ANSWER = _timed(
    "exchange_answer_seconds",
    "How long buyers who answered took, of one auction in sixteen; who was missed is not in it.",
)
LEAD = _timed("exchange_lead_seconds", "From a lead's arrival to its end.", "outcome", most=2)
AWARD = _timed(
    "exchange_award_seconds", "From the wish to post to the commit of the intent, granted ones."
)
POST_BUDGET = _timed(
    "exchange_post_budget_seconds", "The seller's time that was left when a post was sent."
)
POST = _timed(
    "exchange_post_seconds", "How long deliveries took, by what came of them.", "outcome", most=4
)

# --- each buyer: counters only, a scrape of 1,000 buyers stays small --------------------------------

BUYER_PINGS = _counted(
    "counter", "exchange_buyer_pings", "Results of pings by buyer; a bid without a reason won its auction.",
    "buyer", "result", "reason", per="buyer", most=_RESULTS,
)  # fmt: skip
LATE_BIDS = _counted(
    "counter", "exchange_buyer_late_bids", "Bids after the close: void.", "buyer", per="buyer"
)
BUYER_POSTS = _counted(
    "counter", "exchange_buyer_posts", "Deliveries by buyer.",
    "buyer", "outcome", "reason", per="buyer", most=_OUTCOMES,
)  # fmt: skip
BREAKER_CHANGES = _counted(
    "counter", "exchange_breaker_changes",
    "Breakers that opened or closed; a contract that never failed has no series.",
    "contract", "call", "to", per="contract", most=6,
)  # fmt: skip
HEALTH_SKIPS = _counted(
    "counter", "exchange_health_skips",
    "Contracts skipped for their endpoint's health; dry_run: that would have been.",
    "contract", "reason", per="contract", most=3,
)  # fmt: skip

# --- the house ------------------------------------------------------------------------------------

REFUSALS = _counted(
    "counter", "exchange_refusals", "Requests stopped at the door.",
    "code", per="exchange", most=len(RefusedReason) + len(SkipReason),  # and what HTTP itself refuses
)  # fmt: skip
DOOR = _counted(
    "counter", "exchange_door_pings", "Pings that came: let in, or refused for overload.",
    "answer", per="exchange", most=2,
)  # fmt: skip
RECOVERED = _counted(
    "counter", "exchange_recovered", "Left by dead workers and taken over.",
    "what", per="exchange", most=3,
)  # fmt: skip
FAULTS = _counted(
    "counter", "exchange_faults", "Bugs caught by a last net.", "where", per="exchange", most=120
)
SHED = _counted(
    "gauge", "exchange_shed_share",
    "The share of pings that this worker refuses, since more come than it can serve.", per="worker",
)  # fmt: skip
WIRE = _counted(
    "gauge", "exchange_wire_connections", "Connections to buyers; in_flight: calls under way.",
    "state", per="worker", most=4,
)  # fmt: skip
WIRE_CALLS = _counted(
    "counter", "exchange_wire_events",
    "Connections opened, TLS sessions resumed; calls that reused an idle connection, that waited for one.",
    "event", per="exchange", most=4,
)  # fmt: skip
WIRE_WAIT = _counted(
    "counter", "exchange_wire_wait_seconds", "Time that calls waited for a connection, in sum.",
    per="exchange",
)  # fmt: skip
BREAKERS_OPEN = _counted(
    "gauge", "exchange_breakers_open", "Endpoints that this worker leaves alone now.",
    "call", per="worker", most=2,
)  # fmt: skip
QUEUE = _counted(
    "gauge", "exchange_queue_items", "What waits for its turn to be written, by queue.",
    "queue", per="worker", most=16,
)  # fmt: skip
QUOTE_WAIT = _counted(
    "gauge", "exchange_quote_wait_seconds",
    "How long the quote that has waited longest to be written has waited.", per="worker",
)  # fmt: skip
DB_POOL = _counted(
    "gauge", "exchange_database_connections",
    "The worker's pool: open, idle, and how many it may open.", "state", per="worker", most=3,
)  # fmt: skip
DB_AWAY = _counted(
    "gauge", "exchange_database_away", "1 while the worker cannot reach the database.", per="worker"
)
TASKS = _counted("gauge", "exchange_tasks", "Tasks in the event loop.", per="worker")
LAG = _counted("gauge", "exchange_loop_lag_seconds", "How late the event loop is.", per="worker")
CATALOGUE = _counted("gauge", "exchange_catalogue_version", "The catalogue in force.", per="worker")
SEEN_AT = _counted(
    "gauge", "exchange_worker_seen_timestamp_seconds", "When the worker last said so.", per="worker"
)
CPU = _counted("counter", "exchange_worker_cpu_seconds", "CPU that the worker used.", per="worker")
RESIDENT = _counted(
    "gauge", "exchange_worker_resident_bytes", "Memory of the worker.", per="worker"
)

# --- what the office reads in the books: the same at every office, take the max, never the sum ------

_MONEY: Final = ("vertical", "currency")
SALES = _seen(
    "counter", "exchange_sales", "Sales in the books; a shared lead is several.",
    *_MONEY, per="vertical",
)  # fmt: skip
REVENUE = _seen(
    "counter", "exchange_revenue_micros", "What buyers pay for their sales.",
    *_MONEY, per="vertical",
)  # fmt: skip
PAYOUT = _seen(
    "counter", "exchange_payout_micros", "What sellers get for them.", *_MONEY, per="vertical"
)
MARGIN = _seen(
    "counter", "exchange_margin_micros", "What stays with the house, before returns.",
    *_MONEY, per="vertical",
)  # fmt: skip
OPEN = _seen(
    "gauge", "exchange_open_attempts", "Posts without an outcome: holds that are open.",
    "state", most=2,
)  # fmt: skip
HELD = _seen(
    "gauge", "exchange_held_micros", "Money held for open posts.", "currency", per="currency"
)
OLDEST = _seen(
    "gauge", "exchange_unconfirmed_oldest_seconds", "Age of the oldest unconfirmed post."
)
WAITING = _seen(
    "gauge", "exchange_unconfirmed_waiting", "Unconfirmed posts that wait for a person."
)
ERASED = _seen(
    "counter", "exchange_erasures", "Leads whose person was erased: on request, or after so many days.",
    "why", most=2,
)  # fmt: skip
ERASURES_WAIT = _seen(
    "gauge", "exchange_erasures_waiting", "Erasures that wait for a post without an outcome."
)
LEADS_OPEN = _seen("gauge", "exchange_leads_open", "Leads that have not ended.")
CAP_USED = _seen(
    "gauge", "exchange_cap_used_ratio",
    "The used part of a cap in its present period; contract is empty for a buyer's own.",
    "buyer", "contract", "kind", "period", per="cap",
)  # fmt: skip
CREDIT = _seen(
    "gauge", "exchange_credit_micros", "What a prepaid buyer has left.",
    "buyer", "currency", per="buyer",
)  # fmt: skip
BREAKER_OPEN = _seen(
    "gauge", "exchange_breaker_open", "1 for an endpoint that is left alone now; else no series.",
    "buyer", "contract", "call", per="contract", most=2,
)  # fmt: skip
RETURNS = _seen(
    "gauge", "exchange_returns", "Returns asked for in the last 30 days, as they stand.",
    "buyer", "status", per="buyer", most=len(ReturnStatus),
)  # fmt: skip
CALLBACKS_OPEN = _seen(
    "gauge", "exchange_callbacks_open",
    "Callbacks that sellers are owed: due once their leads have ended, waiting before.",
    "state", most=2,
)  # fmt: skip
ALIVE = _seen("gauge", "exchange_workers_alive", "Workers whose heart beats, on all machines.")
DATABASE_UP = _seen(
    "gauge", "exchange_database_up", "1 when the office could read the books for this scrape."
)
BACKENDS = _seen(
    "gauge", "exchange_database_backends", "The exchange's sessions in Postgres, by what they do.",
    "state", most=8,
)  # fmt: skip
BACKENDS_MOST = _seen(
    "gauge", "exchange_database_backends_max", "How many sessions Postgres allows."
)
DATABASE_SIZE = _seen("gauge", "exchange_database_size_bytes", "Size of the database.")
LONGEST = _seen(
    "gauge", "exchange_database_transaction_oldest_seconds", "Age of the oldest transaction."
)
DATABASE_EVENTS = _seen(
    "counter", "exchange_database_events",
    "Postgres's own counts: commits, rollbacks, blocks read and hit, deadlocks, rows written.",
    "event", most=6,
)  # fmt: skip

# --- the office itself ------------------------------------------------------------------------------

CALLBACKS = _seen(
    "counter", "exchange_callbacks",
    "Callbacks that this office made, by what came of each try; a failed one is made again.",
    "outcome", most=3,
)  # fmt: skip
WANTED = _seen(
    "gauge", "exchange_workers_wanted", "Workers that this machine's supervisor keeps running."
)
DISK_FREE = _seen(
    "gauge",
    "exchange_disk_free_bytes",
    "Free space where the data folder is, as the office sees it.",
)
DISK_SIZE = _seen("gauge", "exchange_disk_size_bytes", "The size of that disk.")
VIOLATIONS = _seen(
    "gauge", "exchange_invariant_violations",
    "What the last cheap audit found wrong; always 0. From the office that does the chores.",
    "invariant", most=8,
)  # fmt: skip
AUDITED_AT = _seen("gauge", "exchange_audit_timestamp_seconds", "When that audit ended.")
AUDIT_TOOK = _seen("gauge", "exchange_audit_seconds", "How long it took.")
SCRAPE_TOOK = _seen(
    "gauge", "exchange_scrape_seconds", "How long the last scrape took: the books, and the text.",
    "part", most=2,
)  # fmt: skip


def lines_most(count: Mapping[Thing, int]) -> int:
    """The most lines a scrape can have, comments left out, for so many of each thing."""
    return sum(one.lines_most * count[one.per] for one in (*WORKERS.values(), *OFFICE.values()))


def lines_per() -> dict[Thing, int]:
    """The most lines for each one of a thing: the formula of `lines_most`."""
    found: dict[Thing, int] = {}
    for one in (*WORKERS.values(), *OFFICE.values()):
        found[one.per] = found.get(one.per, 0) + one.lines_most
    return found
