"""For each alert what makes it fire, and what does not: series a minute apart, as promtool reads them.

`up` are series that belong to both; a case has what differs. `at` is the minute of the question.
"""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Case:
    alert: str
    fires: dict[str, str]
    quiet: dict[str, str]
    both: dict[str, str] = field(default_factory=dict)
    at: int = 60
    also_quiet: tuple[dict[str, str], ...] = ()


JOB = 'job="exchange", instance="a"'
SEEN = "exchange_worker_seen_timestamp_seconds"
ALIVE = "0+60x200"  # says so at every moment
DEAD = "0x200"
WANTED = {f"exchange_workers_wanted{{{JOB}}}": "4x200"}
LEADS = 'exchange_leads_total{vertical="auto", outcome="unsold"}'
QUOTES = 'exchange_pings_total{vertical="auto", outcome="bid"}'
SALES = f'exchange_sales_total{{vertical="auto", currency="USD", {JOB}}}'
PINGS = "exchange_buyer_pings_total"
POOL = "exchange_database_connections"


def workers(alive: int, of: int = 4) -> dict[str, str]:
    return {
        f'{SEEN}{{worker="w{number}"}}': ALIVE if number < alive else DEAD for number in range(of)
    }


def pool(open_: int, idle: int) -> dict[str, str]:
    counts = {"open": open_, "idle": idle, "max": 4}
    return {
        f'{POOL}{{worker="w0", state="{state}"}}': f"{count}x200" for state, count in counts.items()
    }


def buyer(failed: int, bid: int, reason: str = "timed_out") -> dict[str, str]:
    return {
        f'{PINGS}{{buyer="acme", result="missed", reason="{reason}"}}': f"0+{failed}x200",
        f'{PINGS}{{buyer="acme", result="bid", reason=""}}': f"0+{bid}x200",
    }


def one(name: str, bad: str, good: str, labels: str = "") -> tuple[dict[str, str], dict[str, str]]:
    series = f"{name}{{{labels}}}" if labels else name
    return {series: bad}, {series: good}


CASES = (
    Case("ExchangeOfficeDown", *one("up", "0x200", "1x200", JOB)),
    Case("ExchangeNoWorker", workers(0), workers(1), WANTED),
    Case("ExchangeWorkersMissing", workers(2), workers(3), WANTED, also_quiet=(workers(0),)),
    Case(
        "ExchangeDatabaseAway", *one("exchange_database_up", "0x200", "1x200", JOB),
        {'exchange_database_away{worker="w0"}': "0x200"},
    ),
    Case(
        "ExchangeZeroSales", {SALES: "7x200"}, {SALES: "7+1x200"},
        {LEADS: "0+60x200", QUOTES: "0+60x200"},
    ),
    Case(
        "ExchangeZeroSales", {}, {SALES: "0+1x200"},  # never sold anything: there is no series yet
        {LEADS: "0+60x200", QUOTES: "0+60x200"},
    ),
    Case("ExchangeNoPings", {QUOTES: "0+60x100 6000x100"}, {QUOTES: "0+60x200"}, at=118,
         also_quiet=({QUOTES: "0x200"},)),
    Case("ExchangeBuyerFailing", buyer(60, 10), buyer(10, 60), also_quiet=(buyer(3, 0),)),
    Case(
        "ExchangeBuyerLeftAlone",
        *one("exchange_breaker_open", "1x200", "1x3 _x200", f'buyer="acme", contract="acme-1", call="ping", {JOB}'),
    ),
    Case(
        "ExchangeCapStuck",
        *one("exchange_cap_used_ratio", "1x200", "0.8x200", f'buyer="acme", contract="acme-1", kind="concurrent", period="total", {JOB}'),
        also_quiet=({f'exchange_cap_used_ratio{{buyer="acme", contract="acme-1", kind="sales", period="day", {JOB}}}': "1x200"},),
    ),
    Case("ExchangeUnconfirmedOld", *one("exchange_unconfirmed_oldest_seconds", "3600+60x200", "0+30x200", JOB)),
    Case("ExchangeUnconfirmedWaits", *one("exchange_unconfirmed_waiting", "1x200", "1x5 0x200", JOB)),
    Case(
        "ExchangeCreditRunsOut",
        *one("exchange_credit_micros", "500000000-500000x800", "500000000-100x800", f'buyer="acme", currency="USD", {JOB}'),
        at=480, also_quiet=({f'exchange_credit_micros{{buyer="acme", currency="USD", {JOB}}}': "0x800"},),
    ),
    Case("ExchangeInvariantBroken", *one("exchange_invariant_violations", "1x200", "0x200", f'invariant="I4", {JOB}')),
    Case("ExchangeAuditMissing", *one("exchange_audit_timestamp_seconds", "0x200", "0+60x200", JOB),
         ),
    Case("ExchangeAuditMissing", {}, {f"exchange_audit_timestamp_seconds{{{JOB}}}": "0+60x200"}),
    Case("ExchangeOverload", *one("exchange_shed_share", "0.5x200", "0.01x200", 'worker="w0"')),
    Case("ExchangeLoopLag", *one("exchange_loop_lag_seconds", "0.5x200", "0.01x200", 'worker="w0"')),
    Case(
        "ExchangeAuctionsLate",
        *one("exchange_auction_overhead_seconds_bucket", "0x200", "0+60x200", 'le="0.05"'),
        {'exchange_auction_overhead_seconds_bucket{le="0.25"}': "0+60x200",
         'exchange_auction_overhead_seconds_bucket{le="+Inf"}': "0+60x200"},
    ),
    Case("ExchangeDatabasePoolStarved", pool(4, 0), pool(4, 1), also_quiet=(pool(0, 0),)),
    Case("ExchangeWritesWait", *one("exchange_quote_wait_seconds", "0.6x200", "0.002x200", 'worker="w0"')),
    Case("ExchangeWritesWait", *one("exchange_queue_items", "2000x200", "20x200", 'worker="w0", queue="awards"')),
    Case("ExchangeCallbacksGivenUp", *one("exchange_callbacks_total", "0x30 5x170", "5x200", f'outcome="given_up", {JOB}')),
    Case("ExchangeCallbacksLate", *one("exchange_callbacks_open", "200x200", "20x200", f'state="due", {JOB}')),
    Case("ExchangeWirePoolFull", buyer(60, 60, "pool_full"), buyer(60, 60, "timed_out")),
    Case(
        "ExchangeDatabaseSessions",
        *one("exchange_database_backends", "95x200", "20x200", f'state="idle", {JOB}'),
        {f"exchange_database_backends_max{{{JOB}}}": "100x200"},
    ),
    Case("ExchangeTransactionOld", *one("exchange_database_transaction_oldest_seconds", "0+60x200", "5x200", JOB)),
    Case(
        "ExchangeDiskFilling", *one("exchange_disk_free_bytes", "5x200", "50x200", JOB),
        {f"exchange_disk_size_bytes{{{JOB}}}": "100x200"},
    ),
    Case("ExchangeFaults", *one("exchange_faults_total", "_x58 1x100", "1x200", 'where="recovery"')),
)  # fmt: skip
