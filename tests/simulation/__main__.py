"""`make simulate SEED=7 SEEDS=200`: prints what a seed did, and how to repeat one that failed."""

import argparse
import sys
import time

from tests.simulation.run import simulate


def main() -> None:
    parser = argparse.ArgumentParser(prog="simulate")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--leads", type=int, default=20, help="per seller")
    wanted = parser.parse_args()
    began, failed, ended = time.monotonic(), [], dict[str, int]()
    for seed in range(wanted.seed, wanted.seed + wanted.seeds):
        result = simulate(seed, wanted.leads)
        for name, count in result.ended.items():
            ended[name] = ended.get(name, 0) + count
        if wanted.seeds == 1 or result.faults:
            print(f"seed {seed}: {result}")
        if result.faults:
            failed.append(seed)
            print("\n".join(f"    {fault}" for fault in result.faults))
            print(f"    again: make simulate SEED={seed}")
    print(
        f"{wanted.seeds} seeds in {time.monotonic() - began:.1f} s, ended {ended}, failed {failed}"
    )
    sys.exit(bool(failed))


main()
