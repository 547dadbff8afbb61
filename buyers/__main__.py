"""`python -m buyers`: run reference buyers, check a buyer's endpoint."""

import argparse
import sys
from pathlib import Path

from buyers.certify.command import add_parser, check


def main(arguments: list[str] | None = None) -> int:
    chosen = _parser().parse_args(arguments)
    if chosen.command == "check":
        return check(chosen)
    from buyers.reference.running import run

    return run(chosen.file, chosen.listen, die_with_parent=chosen.die_with_parent)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m buyers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="serve the reference buyers of a TOML file of tempers")
    run.add_argument("file", type=Path, metavar="FILE")
    run.add_argument("--listen", default="127.0.0.1:8090", metavar="HOST:PORT")
    run.add_argument("--die-with-parent", action="store_true", help="stop when standard input ends")
    add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
