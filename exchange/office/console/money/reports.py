"""Reports: one table of figures, grouped one way, over some days; beside it how the days went.

Staff see everything; a buyer its own answers and purchases, a seller its own pings and payouts.
"""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from zoneinfo import ZoneInfo

from aiohttp import web
from markupsafe import Markup

from buyers.money import MICROS
from exchange.chores.cells import FIGURES
from exchange.office.console.frame import EVERYONE, Console, Viewer, page
from exchange.office.console.leads.export import csv_lines, tamed
from exchange.office.console.money import report_columns as columns
from exchange.office.console.money.periods import NAMED, ZONES
from exchange.office.console.money.report_asked import (
    COUNTS,
    FILTERS,
    GROUPS,
    MONEY,
    Report,
    ask,
    before,
    on_the_hour,
    over_time,
    total,
)
from exchange.office.console.money.report_columns import Column
from exchange.office.console.parts import charts
from exchange.office.console.parts.amounts import to_the_cent
from exchange.office.console.parts.widgets import address, stat
from exchange.store.views import reports as view
from exchange.store.views.reports import Line

PATH: Final = "/console/reports"
PAGE_SIZE: Final = 100
_CHARTED: Final = 8


def routes(console: Console) -> list[web.RouteDef]:
    async def show(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _show(console, request, viewer)

    async def csv(request: web.Request, viewer: Viewer) -> web.StreamResponse:
        return await _csv(console, request, viewer)

    return [page(PATH, show, *EVERYONE), page(f"{PATH}.csv", csv, *EVERYONE)]


# --- what is shown --------------------------------------------------------------------------------


async def _show(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    report = await ask(console, request, viewer)
    earlier, days = await asyncio.gather(before(console, report), over_time(console, report))
    rows, sort = _sorted(report, request.query.get("sort", ""))
    start = _number(request.query.get("after", ""))
    older = str(start + PAGE_SIZE) if start + PAGE_SIZE < len(rows) else None
    then = {one.key: one.figures for one in earlier}
    shown = [_row(report, one, then.get(one.key)) for one in rows[start : start + PAGE_SIZE]]
    choices = {
        name: await view.slugs_of(console.db, name)
        for name in FILTERS[report.side]
        if name in {"seller", "buyer", "vertical"}
    }
    total_figures = report.total
    return console.render(
        request, "reports/report.html",
        report=report, rows=shown, number=len(rows), first=start + 1, older=older, sort=sort,
        heads=[(column, _sort_link(request, column, sort)) for column in report.columns],
        totals=[column.shown(total_figures, report.currency, unit=False) for column in report.columns],
        stats=_stats(report, total_figures, total(earlier)), charts=_charts(report, rows, days),
        groups=GROUPS[report.side], by_words=dict(GROUPS[report.side])[report.question.by],
        choices=choices, filters=FILTERS[report.side], ranges=NAMED, zones=ZONES,
        filtered=any(request.query.get(name) for name in FILTERS[report.side]),
        counted=await view.counted_upto(console.db), csv=address(f"{PATH}.csv", request.query, after=None),
        path_=PATH,
    )  # fmt: skip


def _row(report: Report, line: Line, then: Mapping[str, int] | None) -> dict[str, Any]:
    money = columns.PAYOUT if report.side == "seller" else columns.REVENUE
    words, href = _name(report, line.key)
    return {
        "words": words, "href": href,
        "cells": [column.shown(line.figures, line.currency, unit=False) for column in report.columns],
        "change": _change(money.value(line.figures), money.value(then) if then else None),
    }  # fmt: skip


def _name(report: Report, key: Any) -> tuple[str, str]:
    if isinstance(key, datetime):
        local = key.astimezone(ZoneInfo(report.period.zone))
        return (
            f"{local:%a %d %b %H:%M}" if report.question.by == "hour" else f"{local:%a %d %b %Y}"
        ), ""
    return report.names.get(key, (str(key), ""))


def _sorted(report: Report, wanted: str) -> tuple[list[Line], str]:
    """By a column, `-` in front for the largest first; of time the newest, else what brings most."""
    by_key = {column.key: column for column in report.columns}
    column = by_key.get(wanted.removeprefix("-"))
    if column is None and report.question.by in {"hour", "day"}:
        return sorted(report.lines, key=lambda one: one.key, reverse=True), ""
    if column is None:
        column = next(
            by_key[name] for name in ("revenue", "spent", "payout", "sales") if name in by_key
        )
        wanted = f"-{column.key}"
    down = wanted.startswith("-")
    known = [(column.value(one.figures), _name(report, one.key)[0], one) for one in report.lines]
    have = sorted((x for x in known if x[0] is not None), key=lambda x: x[1])
    have.sort(key=lambda x: x[0] or 0, reverse=down)
    lack = sorted((x for x in known if x[0] is None), key=lambda x: x[1])
    return [one for *_, one in (*have, *lack)], wanted


def _sort_link(request: web.Request, column: Column, sort: str) -> str:
    wanted = f"-{column.key}"
    return address(PATH, request.query, sort=column.key if sort == wanted else wanted, after=None)


def _stats(report: Report, now: Mapping[str, int], then: Mapping[str, int]) -> list[Markup]:
    """Four figures and how they have changed since the period before."""
    keys = {
        "staff": ("pings", "asked", "bid_rate", "accept_rate", "revenue", "payout", "margin"),
        "buyer": ("asked", "bid_rate", "win_rate", "sales", "spent", "per_sale"),
        "seller": ("pings", "leads", "sold_rate", "sales", "payout", "epl"),
    }[report.side]  # fmt: skip
    found = [column for key in keys for column in report.columns if column.key == key]
    return [
        stat(
            column.words,
            column.shown(now, report.currency),
            _change(column.value(now), column.value(then)),
        )
        for column in found[:6]
    ]


def _change(now: float | None, then: float | None) -> Markup:
    """Against the period before: in per cent, with an arrow and a word."""
    if now is None or not then:
        return Markup(
            '<span class="change" title="There is no figure of the period before">–</span>'
        )
    part = (now - then) / abs(then)
    if abs(part) < 0.0005:
        return Markup('<span class="change">as before</span>')
    shown = f"{abs(part) * 100:,.1f} %" if abs(part) < 10 else f"{abs(part) + 1:,.0f} ×"
    tone, arrow, word = ("up", "▲", "more") if part > 0 else ("down", "▼", "less")
    return Markup('<span class="change {}"><span aria-hidden="true">{}</span> {} {}</span>').format(
        tone, arrow, shown, word
    )


def _charts(report: Report, rows: Sequence[Line], days: Sequence[Line]) -> list[Markup]:
    """Money and volume over time; and who brings most, where it is not grouped by time."""
    labels, filled = _filled(report, days)
    currency = report.currency
    money = [column for column in report.columns if column.key in MONEY]
    counts = [column for column in report.columns if column.key in COUNTS][:2]
    sums = [(c.words, [(c.value(f) or 0) / MICROS for f in filled]) for c in money]
    numbers = [(c.words, [c.value(f) for f in filled]) for c in counts]
    found = [
        charts.line_chart(labels, sums, f"Money, {currency}"),
        charts.line_chart(labels, numbers, "Volume"),
    ]
    if money and report.question.by not in {"hour", "day"}:
        top = [
            (_name(report, one.key)[0], to_the_cent(max(0, money[0].value(one.figures) or 0), currency))
            for one in rows
        ]  # fmt: skip
        top.sort(key=lambda one: -one[1])
        found.append(charts.bars(top[:_CHARTED], money[0].words, currency))
    return found if days else []


def _filled(report: Report, lines: Sequence[Line]) -> tuple[list[str], list[Mapping[str, int]]]:
    """Every hour or day that has begun, in order; nothing where nothing happened."""
    zone, by = ZoneInfo(report.period.zone), report.question.by
    hourly = by == "hour" or (by != "day" and report.period.days <= 2)
    known = {one.key: one.figures for one in lines}
    nothing = dict.fromkeys(FIGURES, 0)
    end = min(report.question.end, datetime.now(UTC))
    if hourly:
        moments = view.hours_of(report.question.start, on_the_hour(end) + timedelta(hours=1))
        moments = [at for at in moments if at < report.question.end]
    else:
        days = [report.period.first + timedelta(days=n) for n in range(report.period.days)]
        moments = [datetime.combine(day, datetime.min.time(), zone).astimezone(UTC) for day in days]
        moments = [at for at in moments if at < end]
    shape = "%a %H:%M" if hourly else "%d %b"
    return [f"{at.astimezone(zone):{shape}}" for at in moments], [
        known.get(at, nothing) for at in moments
    ]


# --- CSV ------------------------------------------------------------------------------------------


async def _csv(console: Console, request: web.Request, viewer: Viewer) -> web.Response:
    """Every line of what is shown, in its order."""
    report = await ask(console, request, viewer)
    rows, _ = _sorted(report, request.query.get("sort", ""))
    head = [report.question.by, "currency", *(column.key for column in report.columns)]
    body = [
        [
            _csv_name(report, one.key),
            one.currency,
            *(c.plain(one.figures, one.currency) for c in report.columns),
        ]
        for one in rows
    ]
    name = f"report-{report.question.by}-{report.period.first}-{report.period.last}.csv"
    return web.Response(
        body=csv_lines([head, *body]), content_type="text/csv", charset="utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )  # fmt: skip


def _csv_name(report: Report, key: Any) -> str:
    if isinstance(key, datetime):
        return key.astimezone(ZoneInfo(report.period.zone)).isoformat(timespec="minutes")
    return tamed(_name(report, key)[0])


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
