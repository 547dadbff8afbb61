"""Boards of those who run it: latency and the workers, the database and the disk."""

from typing import Final

from exchange.metrics.boards.grafana import Board, Panel, Row, Target
from exchange.metrics.series import (
    ANSWER,
    AUCTION,
    AUDIT_TOOK,
    AWARD,
    BACKENDS,
    BACKENDS_MOST,
    BUDGET,
    CATALOGUE,
    CPU,
    DATABASE_EVENTS,
    DATABASE_SIZE,
    DATABASE_UP,
    DB_AWAY,
    DB_POOL,
    DISK_FREE,
    DISK_SIZE,
    DOOR,
    FANNED,
    FAULTS,
    LAG,
    LEAD,
    LEADS_OPEN,
    LONGEST,
    OVERHEAD,
    OVERSHOOT,
    POST,
    POST_BUDGET,
    QUEUE,
    QUOTE_WAIT,
    RECOVERED,
    RESIDENT,
    SCRAPE_TOOK,
    TASKS,
    VIOLATIONS,
    WIRE,
    WIRE_CALLS,
    WIRE_WAIT,
    Series,
)


def _at(quantile: float, one: Series, match: str = "") -> Target:
    expr = (
        f"histogram_quantile({quantile}, sum by (le) (rate({one.name}_bucket{{{match}}}[$rate])))"
    )
    return Target(expr, f"p{quantile * 100:g}")


def _spread(one: Series, match: str = "") -> tuple[Target, ...]:
    return tuple(_at(quantile, one, match) for quantile in (0.5, 0.95, 0.99))


def _rate(name: str, by: str) -> str:
    return f"sum by ({by}) (rate({name}[$rate]))"


def _per_worker(one: Series, label: str = "") -> Target:
    by = f"worker, {label}" if label else "worker"
    legend = f"{{{{worker}}}} {{{{{label}}}}}" if label else "{{worker}}"
    return Target(f"max by ({by}) ({one.shown})", legend)


LATENCY: Final = Board(
    uid="exchange-latency",
    title="Exchange / Latency",
    text="Auctions, what we add to them, posts, the wire to buyers, the event loops.",
    rows=(
        Row(
            title="Auctions",
            panels=(
                Panel(
                    title="Everybody answered", text="Auctions that ended by themselves: as long as their slowest buyer.",
                    unit="s", targets=_spread(AUCTION, 'end="answered"'),
                ),
                Panel(
                    title="Somebody was missed", text="Auctions that waited for a buyer in vain, or lost one.",
                    unit="s", targets=_spread(AUCTION, 'end="missed"'),
                ),
                Panel(
                    title="Overhead", text="What an auction took beyond its slowest buyer: our own part.",
                    unit="s", warn=0.015, alarm=0.05, targets=_spread(OVERHEAD),
                ),
                Panel(
                    title="Overshoot", text="How far auctions that lasted their window ended after it.",
                    unit="s", warn=0.01, alarm=0.05, targets=_spread(OVERSHOOT),
                ),
                Panel(
                    title="Time given to buyers", text="What was left when they were asked. Little means that sellers ask for too short a wait.",
                    unit="s", targets=_spread(BUDGET),
                ),
                Panel(
                    title="Buyers' answers", text="How long those took who answered; a sample of one auction in sixteen.",
                    unit="s", targets=_spread(ANSWER),
                ),
                Panel(title="Asked per auction", text="Contracts.", targets=_spread(FANNED)),
                Panel(
                    title="Pings at the door", text="Let in, and refused because more came than could be served.",
                    unit="reqps", targets=(Target(_rate(DOOR.shown, "answer"), "{{answer}}"),),
                ),
            ),
        ),
        Row(
            title="Leads",
            panels=(
                Panel(title="Lead to sale", text="From arrival to the end, of leads that sold.", unit="s", targets=_spread(LEAD, 'outcome="sold"')),
                Panel(title="Lead unsold", text="From arrival to the end, of leads nobody took.", unit="s", targets=_spread(LEAD, 'outcome="unsold"')),
                Panel(
                    title="Award", text="From the wish to post to the commit of its intent: caps, credit, the disk.",
                    unit="s", warn=0.05, alarm=0.5, targets=_spread(AWARD),
                ),
                Panel(
                    title="Deliveries that were accepted", text="How long buyers took to take a lead.", unit="s",
                    targets=_spread(POST, 'outcome="accepted"'),
                ),
                Panel(
                    title="Deliveries that were not", text="p95 by what came of them; unconfirmed ones ran into their time-out.", unit="s",
                    targets=(
                        Target(
                            f'histogram_quantile(0.95, sum by (le, outcome) (rate({POST.name}_bucket{{outcome!="accepted"}}[$rate])))',
                            "{{outcome}}",
                        ),
                    ),
                ),
                Panel(
                    title="Seller's time left at a post", text="p05 and p50: how little there was when a post was sent.", unit="s",
                    targets=(_at(0.05, POST_BUDGET), _at(0.5, POST_BUDGET)),
                ),
            ),
        ),
        Row(
            title="The wire to buyers",
            panels=(
                Panel(title="Connections", text="Open, idle, being dialled, with a call under way.", targets=(Target(f"sum by (state) ({WIRE.shown})", "{{state}}"),)),
                Panel(title="Use", text="Connections opened, TLS sessions resumed, calls on an idle one, calls that waited.", unit="ops", targets=(Target(_rate(WIRE_CALLS.shown, "event"), "{{event}}"),)),
                Panel(
                    title="Wait for a connection", text="On average, of the calls that waited for one.", unit="s", warn=0.1,
                    targets=(Target(f'sum(rate({WIRE_WAIT.shown}[$rate])) / (sum(rate({WIRE_CALLS.shown}{{event="waited"}}[$rate])) > 0) or on() vector(0)', "wait"),),
                ),
            ),
        ),
        Row(
            title="Workers",
            panels=(
                Panel(title="Loop lag", text="How late each event loop is.", unit="s", warn=0.05, alarm=0.25, targets=(_per_worker(LAG),)),
                Panel(title="CPU", text="Cores that each worker uses; it cannot use more than one.", unit="percentunit", warn=0.85, alarm=0.95, targets=(Target(_rate(CPU.shown, "worker"), "{{worker}}"),)),
                Panel(title="Memory", text="Of each worker.", unit="bytes", targets=(_per_worker(RESIDENT),)),
                Panel(title="Tasks", text="In each event loop.", targets=(_per_worker(TASKS),)),
                Panel(title="Catalogue", text="The version each worker trades by: within a second all the same.", unit="none", targets=(_per_worker(CATALOGUE),)),
                Panel(
                    title="Faults and what was taken over", text="Bugs caught by a last net, and work of dead workers, an hour.",
                    alarm=1,
                    targets=(
                        Target(f"sum by (where) (increase({FAULTS.shown}[1h])) or on() vector(0)", "fault: {{where}}"),
                        Target(f"sum by (what) (increase({RECOVERED.shown}[1h])) or on() vector(0)", "taken over: {{what}}"),
                    ),
                ),
            ),
        ),
    ),
)  # fmt: skip

_HIT: Final = f'max(rate({DATABASE_EVENTS.shown}{{event="blocks_hit"}}[$rate]))'
_READ: Final = f'max(rate({DATABASE_EVENTS.shown}{{event="blocks_read"}}[$rate]))'
DATABASE: Final = Board(
    uid="exchange-database",
    title="Exchange / Database",
    text="Whether Postgres is there, who waits for it, how it fills.",
    rows=(
        Row(
            title="Is it there",
            panels=(
                Panel(title="Books can be read", text="1 when the office could, for the last scrape.", look="stat", height=4, width=6, alarm=1, falling=True, unit="none", targets=(Target(f"min({DATABASE_UP.shown})", "office"),)),
                Panel(title="Workers cut off", text="Workers that cannot reach it.", look="stat", height=4, width=6, alarm=1, targets=(Target(f"sum({DB_AWAY.shown})", "workers"),)),
                Panel(title="Sessions", text="The share of those that Postgres allows.", look="stat", height=4, width=6, unit="percentunit", warn=0.7, alarm=0.85, targets=(Target(f"max(sum by (instance) ({BACKENDS.shown}) / on (instance) {BACKENDS_MOST.shown})", "used"),)),
                Panel(title="Disk free", text="Of the disk with the data folder.", look="stat", height=4, width=6, unit="percentunit", warn=0.2, alarm=0.1, falling=True, targets=(Target(f"min({DISK_FREE.shown} / {DISK_SIZE.shown})", "free"),)),
            ),
        ),
        Row(
            title="Who waits",
            panels=(
                Panel(title="Queues", text="What waits for its turn to be written; a batch takes up to 128.", warn=200, targets=(Target(f"sum by (queue) ({QUEUE.shown})", "{{queue}}"),)),
                Panel(title="Oldest quote that waits", text="To be written, in each worker.", unit="s", warn=0.02, alarm=0.05, targets=(_per_worker(QUOTE_WAIT),)),
                Panel(title="Workers' pools", text="Connections open, idle, and how many there may be.", targets=(Target(f"sum by (state) ({DB_POOL.shown})", "{{state}}"),)),
                Panel(title="Sessions by state", text="As Postgres sees them.", stacked=True, targets=(Target(f"max by (state) ({BACKENDS.shown})", "{{state}}"),)),
                Panel(title="Oldest transaction", text="A long one keeps old rows alive and may hold locks.", unit="s", warn=10, alarm=300, targets=(Target(f"max({LONGEST.shown})", "age"),)),
                Panel(title="Leads that have not ended", text="In the books.", targets=(Target(f"max({LEADS_OPEN.shown})", "open"),)),
            ),
        ),
        Row(
            title="Work",
            panels=(
                Panel(title="Transactions", text="Commits and rollbacks a second.", unit="ops", targets=(Target(f'max by (event) (rate({DATABASE_EVENTS.shown}{{event=~"commits|rollbacks"}}[$rate]))', "{{event}}"),)),
                Panel(title="Rows written", text="Inserted, changed and deleted, a second.", unit="ops", targets=(Target(f'max(rate({DATABASE_EVENTS.shown}{{event="rows_written"}}[$rate]))', "rows"),)),
                Panel(title="Cache hits", text="The share of blocks that were in Postgres's memory.", unit="percentunit", most=1, targets=(Target(f"{_HIT} / ({_HIT} + {_READ} > 0) or on() vector(1)", "hits"),)),
                Panel(title="Deadlocks", text="In the last hour. There is a lock order, so there should be none.", alarm=1, targets=(Target(f'max(increase({DATABASE_EVENTS.shown}{{event="deadlocks"}}[1h]))', "deadlocks"),)),
            ),
        ),
        Row(
            title="Size and audit",
            panels=(
                Panel(title="Database", text="Its size.", unit="bytes", targets=(Target(f"max({DATABASE_SIZE.shown})", "size"),)),
                Panel(title="Disk", text="Free where the data folder is.", unit="bytes", targets=(Target(f"min({DISK_FREE.shown})", "free"),)),
                Panel(title="Violations", text="What the cheap audit found wrong, by invariant: always 0.", alarm=1, targets=(Target(f"max by (invariant) ({VIOLATIONS.shown})", "{{invariant}}"),)),
                Panel(
                    title="What looking costs", text="The last scrape, and the last audit.", unit="s", warn=1,
                    targets=(Target(f"max by (part) ({SCRAPE_TOOK.shown})", "scrape: {{part}}"), Target(f"max({AUDIT_TOOK.shown})", "audit")),
                ),
            ),
        ),
    ),
)  # fmt: skip
