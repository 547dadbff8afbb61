"""Leads as CSV: streamed batch by batch, whatever their number. No person is in it."""

import csv
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from buyers.money import format_micros
from exchange.office.console.frame import EVERYONE, Console, page
from exchange.office.console.leads.listing import PATH, Row, read_filters, row_of
from exchange.office.console.viewer import Viewer
from exchange.store.pings import utc
from exchange.store.views.leads import every_lead, names_of

BATCH: Final = 500
_LINES: Final = 200  # rows between two writes
# What a spreadsheet takes for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_EVERYBODY: Final = ("time", "lead_id", "ping_id", "vertical", "outcome", "currency")
_STAFF: Final = (
    "seller", "external_id", "reason", "test", "buyers", "contracts", "price", "payout", "margin", "returned",
    "elapsed_ms",
)  # fmt: skip
_SELLER: Final = ("external_id", "reason", "test", "payout", "returned", "elapsed_ms")
_BUYER: Final = ("seller", "contracts", "price", "returned")


@dataclass(frozen=True, slots=True)
class Export:
    """The handler."""

    console: Console

    async def csv(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Every lead that fits the filters, the newest first."""
        db, vault = self.console.db, self.console.vault
        names = await names_of(db)
        wanted = read_filters(request.query, viewer, names, vault)
        columns = columns_of(viewer)
        response = web.StreamResponse(
            headers={
                "Content-Type": "text/csv; charset=utf-8",
                "Content-Disposition": 'attachment; filename="leads.csv"',
            }
        )
        await response.prepare(request)
        await response.write(csv_lines([columns]))
        rows: list[list[str]] = []
        if wanted is not None:
            async for line in every_lead(db, names, wanted, BATCH):
                rows.append(cells(row_of(line, viewer, names, vault), columns))
                if len(rows) >= _LINES:
                    await response.write(csv_lines(rows))  # as slowly as it is read
                    rows.clear()
        await response.write(csv_lines(rows))
        return response


def columns_of(viewer: Viewer) -> tuple[str, ...]:
    """What this viewer may know of a lead."""
    if viewer.seller is not None:
        return (*_EVERYBODY, *_SELLER)
    return (*_EVERYBODY, *(_BUYER if viewer.buyer is not None else _STAFF))


def cells(row: Row, columns: Sequence[str]) -> list[str]:
    """A lead's cells; text of others cannot become a formula."""

    def money(micros: int | None) -> str:
        return "" if micros is None else format_micros(micros, row.currency)

    known: dict[str, Any] = {
        "time": utc(row.at),
        "price": money(row.price_micros),
        "payout": money(row.payout_micros),
        "margin": money(row.margin_micros),
        "buyers": " ".join(buyer for buyer, _ in row.buyers),
        "contracts": " ".join(contract for _, contract in row.buyers),
        "returned": "yes" if row.returned else "",
        "test": "yes" if row.test else "",
    }
    return [tamed(known[name] if name in known else getattr(row, name)) for name in columns]


def tamed(value: object) -> str:
    """As text; what a spreadsheet would run as a formula begins with an apostrophe."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def csv_lines(rows: Iterable[Sequence[str]]) -> bytes:
    """As RFC 4180 has it."""
    out = io.StringIO()
    csv.writer(out).writerows(rows)
    return out.getvalue().encode()


def routes(console: Console) -> list[web.RouteDef]:
    return [page(f"{PATH}.csv", Export(console).csv, *EVERYONE)]
