"""`python -m benchmarks [SCENARIO…] [--seed N] [--no-save]`; `make bench` runs them all."""

import argparse
import asyncio
import sys

from benchmarks.catalogue import catalogue
from benchmarks.filters import filters
from benchmarks.report import RESULTS, append, machine, table
from benchmarks.scenarios import SCENARIOS

_ALL = {**SCENARIOS, "filters": filters, "catalogue": catalogue}


def main() -> int:
    """Run, print, append; 1 when counts do not add up."""
    chosen = _parser().parse_args()
    where = machine()
    print(f"{where['cpu']} · {where['cores']} cores · {where['system']} · Python {where['python']}")
    print(f"load before {where['load_before']} · seed {chosen.seed}", flush=True)
    sound = True
    for name in chosen.scenario or _ALL:
        found = asyncio.run(_ALL[name](chosen.seed))
        print(f"\n{table(found)}", flush=True)
        sound = sound and not found.complaints
        if not chosen.no_save:
            append(found, chosen.seed, where)
    if not chosen.no_save:
        print(f"\nappended to {RESULTS.relative_to(RESULTS.parents[2])}")
    return 0 if sound else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenario", nargs="*", choices=[[], *_ALL], help="default: all")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--no-save", action="store_true", help="do not append to the results")
    return parser


if __name__ == "__main__":
    sys.exit(main())
