"""`make race`: a million reservations on an embedded Postgres of its own; exit 1 if one fault is found."""

import argparse
import asyncio
import re
import shutil
import sys
import tempfile
from pathlib import Path

from exchange.store.embedded import EmbeddedPostgres
from exchange.store.migrate import migrate
from tests.race.run import Result, race

# Whoever looked before the server was up, and whoever waited too long for a row and asked again.
_BAD = re.compile(
    "deadlock|PANIC|FATAL:  (?!the database system is starting up)"
    "|ERROR:  (?!canceling statement due to lock timeout)"
)


def table(result: Result) -> str:
    counts = result.counts
    reservations, granted = counts["reservations"], counts["granted"]
    refused = [
        "cap_sales", "cap_spend", "credit", "already_sold", "repeat", "closed", "paused", "busy",
    ]  # fmt: skip
    settled = ["accepted", "rejected", "not_sent", "unconfirmed"]
    rows = [
        ("reservations", f"{reservations:,}"),
        ("granted", f"{granted:,}"),
        *((f"  {name}", f"{counts[name]:,}") for name in refused),
        ("cancelled", f"{counts['cancelled']:,}"),
        ("in doubt", f"{counts['in_doubt']:,}"),
        ("  of both granted", f"{counts['doubted_granted']:,}"),
        *((f"settled {name}", f"{counts[f'settled_{name}']:,}") for name in settled),
        ("last sweep took", f"{counts['swept']:,}"),
        ("lock timeouts", f"{counts['lock timeouts']:,}"),
        ("seconds", f"{result.race_s:.1f}"),
        ("reservations/s", f"{reservations / result.race_s:,.0f}"),
        ("grants/s", f"{granted / result.race_s:,.0f}"),
        ("snapshots looked at", f"{result.looks:,}"),
        ("  recounted", f"{result.recounts:,}"),
        *((f"faults: {name}", f"{len(found):,}") for name, found in result.faults.items()),
        ("seconds to open leads", f"{result.open_s:.1f}"),
        ("seconds to judge", f"{result.judge_s:.1f}"),
        ("memory to judge, MiB", f"{result.memory_mib:,}"),
    ]
    return "\n".join(f"{name:<24}{value:>12}" for name, value in rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="race")
    parser.add_argument("--reservations", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    wanted = parser.parse_args()
    made = Path(tempfile.mkdtemp(prefix="race-", dir="/tmp"))
    made.chmod(0o711)  # Postgres may run as another user
    server = EmbeddedPostgres(made / "d")
    try:
        dsn = server.start()
        asyncio.run(migrate(dsn))
        result = asyncio.run(race(dsn, wanted.reservations, wanted.workers, wanted.seed))
    finally:
        server.stop()
        log = (made / "d" / "pg" / "postgres.log").read_text("utf-8", "replace")
        shutil.rmtree(made)
    result.faults["server log"] = [line for line in log.splitlines() if _BAD.search(line)]
    result.counts["lock timeouts"] = log.count("due to lock timeout")  # the store asks again
    print("\n".join(result.notes))
    print(table(result))
    for name, found in result.faults.items():
        print("\n".join(f"{name}: {fault}" for fault in found[:10]))
    sys.exit(not result.is_sound)


if __name__ == "__main__":
    main()
