"""`python -m benchmarks [SCENARIO…] [--seed N] [--quick] [--pings N] [--no-save]`; `make bench` runs them all.

`python -m benchmarks --hold S` keeps ten buyers and 16 connections busy for S seconds and prints the
worker's process id, for a profiler.
"""

import argparse
import asyncio
import sys
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

from benchmarks.catalogue import catalogue
from benchmarks.console import QUICK as CONSOLE_QUICK
from benchmarks.console import console
from benchmarks.deadline import QUICK as DEADLINE_QUICK
from benchmarks.deadline import deadline
from benchmarks.fanout import QUICK as FANOUT_QUICK
from benchmarks.fanout import fanout
from benchmarks.filters import filters
from benchmarks.findings import Findings, Goal
from benchmarks.hold import hold
from benchmarks.memory import QUICK as MEMORY_QUICK
from benchmarks.memory import MemorySize, memory
from benchmarks.overload import QUICK as OVERLOAD_QUICK
from benchmarks.overload import overload
from benchmarks.pings import QUICK as PINGS_QUICK
from benchmarks.pings import pings
from benchmarks.report import RESULTS, append, machine, summary, table
from benchmarks.sales import QUICK as SALES_QUICK
from benchmarks.sales import sales
from benchmarks.scenarios import Size, quote_deadline
from benchmarks.scrape import QUICK as SCRAPE_QUICK
from benchmarks.scrape import scrape
from benchmarks.tls import QUICK as TLS_QUICK
from benchmarks.tls import tls

Run = Callable[[int], Coroutine[Any, Any, Findings]]

SCENARIOS: dict[str, Run] = {
    "pings": pings,
    "fanout": fanout,
    "deadline": deadline,
    "filters": filters,
    "sales": sales,
    "memory": memory,
    "overload": overload,
    "tls": tls,
    "scrape": scrape,
    "quote_deadline": quote_deadline,
    "catalogue": catalogue,
    "console": console,
}
# The same with less of everything.
QUICK: dict[str, Run] = {
    "pings": partial(pings, size=PINGS_QUICK),
    "fanout": partial(fanout, size=FANOUT_QUICK),
    "deadline": partial(deadline, size=DEADLINE_QUICK),
    "sales": partial(sales, size=SALES_QUICK),
    "memory": partial(memory, size=MEMORY_QUICK),
    "overload": partial(overload, size=OVERLOAD_QUICK),
    "tls": partial(tls, size=TLS_QUICK),
    "scrape": partial(scrape, size=SCRAPE_QUICK),
    "console": partial(console, size=CONSOLE_QUICK),
    "quote_deadline": partial(quote_deadline, size=Size(pings=20, rate_per_s=5)),
}


def main() -> int:
    """Run, print, append; 1 when counts do not add up."""
    chosen = _parser().parse_args()
    where = machine()
    print(f"{where['cpu']} · {where['cores']} cores · {where['system']} · Python {where['python']}")
    print(f"load before {where['load_before']} · seed {chosen.seed}", flush=True)
    if chosen.hold:
        of = {"connections": chosen.hold_connections, "buyers": chosen.hold_buyers}
        asyncio.run(hold(chosen.hold, seed=chosen.seed, others=chosen.hold_others, **of))
        return 0
    sound = True
    goals: list[Goal] = []
    for name in chosen.scenario or SCENARIOS:
        run = QUICK.get(name, SCENARIOS[name]) if chosen.quick else SCENARIOS[name]
        if name == "memory" and chosen.pings:
            few = MemorySize(
                pings=chosen.pings, each=chosen.pings // 100, warm_up=chosen.pings // 10
            )
            run = partial(memory, size=few)
        where = machine()
        found = asyncio.run(run(chosen.seed))
        print(f"\n{table(found)}", flush=True)
        goals += found.goals
        sound = sound and not found.complaints
        if not chosen.no_save:
            append(found, chosen.seed, where)
    print(f"\n{summary(goals)}")
    if not chosen.no_save:
        print(f"\nappended to {RESULTS.relative_to(RESULTS.parents[2])}")
    return 0 if sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *SCENARIOS], help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="less of each: seconds, not minutes")
    parser.add_argument(
        "--pings", type=int, default=0, metavar="N", help="of memory: N, from 100 up"
    )
    parser.add_argument("--no-save", action="store_true", help="do not append to the results")
    parser.add_argument("--hold", type=float, default=0, metavar="S", help="for a profiler")
    for name, usual in (("connections", 16), ("buyers", 10), ("others", 990)):
        parser.add_argument(f"--hold-{name}", type=int, default=usual, metavar="N")
    return parser


if __name__ == "__main__":
    sys.exit(main())
