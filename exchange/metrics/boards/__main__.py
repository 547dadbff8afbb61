"""`python -m exchange.metrics.boards [--write]`: print where the dashboards go, or write them there."""

import sys
from pathlib import Path
from typing import Final

import orjson

from exchange.metrics.boards.buyers import BUYER_BOARD, BUYERS
from exchange.metrics.boards.grafana import Board, dashboard
from exchange.metrics.boards.house import DATABASE, LATENCY
from exchange.metrics.boards.trade import MONEY, OVERVIEW, SELLERS

BOARDS: Final[tuple[Board, ...]] = (
    OVERVIEW, BUYERS, SELLERS, MONEY, LATENCY, DATABASE, BUYER_BOARD,
)  # fmt: skip
FOLDER: Final = Path(__file__).resolve().parents[3] / "config" / "grafana" / "dashboards"


def files() -> dict[Path, bytes]:
    """What is to stand in config/grafana/dashboards."""
    return {
        FOLDER / f"{board.uid}.json": orjson.dumps(
            dashboard(board, BOARDS), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE
        )
        for board in BOARDS
    }


if __name__ == "__main__":
    for path, content in files().items():
        if sys.argv[1:] == ["--write"]:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        sys.stdout.write(f"{path} {len(content)} bytes\n")
