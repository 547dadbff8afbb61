"""The sums of reports as they are stored: cells are added to them, at every level, in one transaction.

Only the office that leads writes here, on the connection that holds its lock.
"""

from datetime import datetime
from typing import Any, Final

from exchange.chores.cells import FIGURES, OF_PINGS, OF_SALES, Cells, Key, no_cells

# ruff: noqa: S608 - statements are made of our own words only
_KEY: Final = "hour, vertical, currency, seller, contract"
_ALL: Final = ", ".join(FIGURES)
_SUMS: Final = ", ".join(f"sum({name})" for name in FIGURES)

_FRESH: Final = (
    "CREATE TEMP TABLE IF NOT EXISTS fresh_cell (LIKE report_hour) ON COMMIT DELETE ROWS"
)


def _upsert(table: str, key: str, rows: str) -> str:
    grown = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in FIGURES)
    return f"INSERT INTO {table} ({key}, {_ALL}) {rows} ON CONFLICT ({key}) DO UPDATE SET {grown}"


def _level(span: str, by: str, source: str, start: str, where: str) -> str:
    """Rows of `source` added up as rows of report_sum."""
    seller, contract = ("seller", "0") if by == "seller" else ("0", "contract")
    return f"""SELECT '{span}', '{by}', {start} AS s, vertical, currency, {seller} AS d, {contract} AS e, {_SUMS}
      FROM {source} WHERE {where} GROUP BY s, vertical, currency, d, e"""


def _cells_of_day(source: str, where: str) -> str:
    return f"""SELECT {_DAY} AS s, vertical, currency, seller, contract, {_SUMS}
      FROM {source} WHERE {where} GROUP BY s, vertical, currency, seller, contract"""


_DAY: Final = "date_trunc('day', hour, 'UTC')"
_DAY_KEY: Final = "day, vertical, currency, seller, contract"
_SUM_KEY: Final = "span, by, start, vertical, currency, seller, contract"
_IS_ASKED: Final = "contract > 0"
_MADE: Final = "hour < (SELECT days_upto FROM report_state)"
# What is added is always added to these; days that are made already get theirs too.
_ADD: Final = (
    _upsert("report_hour", _KEY, f"SELECT {_KEY}, {_ALL} FROM fresh_cell"),
    _upsert("report_sum", _SUM_KEY, _level("hour", "seller", "fresh_cell", "hour", "true")),
    _upsert("report_sum", _SUM_KEY, _level("hour", "contract", "fresh_cell", "hour", _IS_ASKED)),
    _upsert("report_sum", _SUM_KEY, _level("day", "seller", "fresh_cell", _DAY, _MADE)),
    _upsert("report_sum", _SUM_KEY, _level("day", "contract", "fresh_cell", _DAY, f"{_IS_ASKED} AND {_MADE}")),
    _upsert("report_day", _DAY_KEY, _cells_of_day("fresh_cell", f"{_IS_ASKED} AND {_MADE}")),
)  # fmt: skip
_OF_DAY: Final = "hour >= $1 AND hour < $1 + interval '24 hours'"
_MAKE_DAY: Final = (
    f"INSERT INTO report_sum ({_SUM_KEY}, {_ALL}) " + _level("day", "seller", "report_hour", _DAY, _OF_DAY),
    f"INSERT INTO report_sum ({_SUM_KEY}, {_ALL}) " + _level("day", "contract", "report_hour", _DAY, f"{_OF_DAY} AND {_IS_ASKED}"),
    # A seller's cells side by side: of one seller there are most to read.
    f"INSERT INTO report_day ({_DAY_KEY}, {_ALL}) " + _cells_of_day("report_hour", f"{_OF_DAY} AND {_IS_ASKED}") + " ORDER BY seller, contract",
)  # fmt: skip
_STORED: Final = {
    "pings": f"SELECT {_KEY}, {_ALL} FROM report_hour WHERE hour = $1",
    "sales": f"SELECT {_KEY}, {_ALL} FROM report_hour WHERE hour = $1 AND (leads > 0 OR posts > 0)",
}
_SHAPES: Final = {
    "pings": [1 if name in OF_PINGS else 0 for name in FIGURES],
    "sales": [1 if name in OF_SALES else 0 for name in FIGURES],
}


async def add_cells(connection: Any, cells: Cells) -> None:
    """Inside the caller's transaction: what says that they are added is written by the same one."""
    if not cells:
        return
    await connection.execute(_FRESH)
    records = [(*key, *figures) for key, figures in cells.items()]
    columns = [*_KEY.split(", "), *FIGURES]
    await connection.copy_records_to_table("fresh_cell", records=records, columns=columns)
    for sql in _ADD:
        await connection.execute(sql)
    await connection.execute("TRUNCATE fresh_cell")


async def stored_cells(connection: Any, hour: datetime, part: str) -> Cells:
    """What is stored of an hour: of its figures those of `pings` or of `sales`, the others 0."""
    shape = _SHAPES[part]
    cells = no_cells()
    for row in await connection.fetch(_STORED[part], hour):
        figures = [count * wanted for count, wanted in zip(row[5:], shape, strict=True)]
        if any(figures):
            cells[Key(*row[:5])] = figures
    return cells


async def make_day(connection: Any, day: datetime) -> None:
    """Inside the caller's transaction, once, when the day is over."""
    for sql in _MAKE_DAY:
        await connection.execute(sql, day)
