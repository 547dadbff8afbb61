"""What the pages of money share: their tabs, and transfers as CSV."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from aiohttp import web

from buyers.money import format_micros
from exchange.ids import write_id
from exchange.office.console.frame import Console, Viewer
from exchange.office.console.leads.export import csv_lines, tamed
from exchange.office.console.money.booking import booked, merged
from exchange.store.pings import utc
from exchange.store.views import money as view
from exchange.store.views.money import Transfer, Window

PATH: Final = "/console/money"
OWNED: Final = {"buyer": ("available", "held"), "seller": ("payable",)}
_BATCH: Final = 500


def side_of(viewer: Viewer) -> str:
    return viewer.role if viewer.role in OWNED else "staff"


def read_moment(text: str) -> datetime:
    """Of a cursor; in UTC where it names no zone. Raises ValueError, or OverflowError for what is no
    moment of the calendar in UTC."""
    moment = datetime.fromisoformat(text)
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def tabs_of(viewer: Viewer) -> list[tuple[str, str]]:
    if viewer.seller is not None:
        return []
    if viewer.buyer is not None:
        return [(PATH, "Statement"), (f"{PATH}/open", "Open"), (f"{PATH}/returns", "Returns")]
    return [
        (PATH, "Balances"), (f"{PATH}/statements", "Statements"), (f"{PATH}/open", "Open holds"), (f"{PATH}/returns", "Returns"),
    ]  # fmt: skip


async def stream_csv(
    console: Console,
    request: web.Request,
    viewer: Viewer,
    windows: Sequence[tuple[int, str, Window]],
    name: str,
) -> web.StreamResponse:
    """The transfers of some accounts, one after the other, as fast as they are read."""
    side = side_of(viewer)
    response = web.StreamResponse(headers={
        "Content-Type": "text/csv; charset=utf-8", "Content-Disposition": f'attachment; filename="{name}"',
    })  # fmt: skip
    await response.prepare(request)
    head = ["time", "kind", "amount", "currency", "lead_id", "contract"]
    await response.write(csv_lines([[*head, *(("transfer", "note") if side == "staff" else ())]]))
    for account, currency, window in windows:
        batch: list[Transfer] = []
        async for one in view.every_transfer(console.db, account, window, _BATCH):
            if len(batch) >= _BATCH and one.ref != batch[-1].ref:
                await response.write(
                    csv_lines(await _csv_rows(console, batch, account, currency, side))
                )
                batch.clear()
            batch.append(one)
        await response.write(csv_lines(await _csv_rows(console, batch, account, currency, side)))
    return response


async def _csv_rows(
    console: Console, batch: Sequence[Transfer], account: int, currency: str, side: str
) -> list[list[str]]:
    leads = await view.leads_of(console.db, [one.ref for one in batch])
    rows = []
    for line in booked(merged(batch) if side == "buyer" else batch, account, None):
        one = line.transfer
        lead, contract = leads.get(one.ref, (None, ""))
        row = [utc(one.at.astimezone(UTC)), one.kind, format_micros(line.amount, currency), currency,
               write_id("lead", lead) if lead else "", contract if side != "seller" else ""]  # fmt: skip
        rows.append([*row, one.ref.hex, tamed(one.note or "")] if side == "staff" else row)
    return rows
