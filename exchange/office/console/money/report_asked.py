"""What a report is asked for, by whom, and what came of it: whose figures they may be is decided here."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from aiohttp import web

from exchange.chores.cells import FIGURES
from exchange.office.console.frame import Console, Viewer
from exchange.office.console.money import report_columns as columns
from exchange.office.console.money.periods import Period, read_period
from exchange.office.console.money.report_columns import Column
from exchange.store.views import reports as view
from exchange.store.views.reports import Line, Question

_HOURS_DAYS: Final = 14  # by the hour at most so many days
MONEY: Final = frozenset({"revenue", "payout", "margin", "spent"})
COUNTS: Final = frozenset({"pings", "asked", "leads", "sales", "sold"})
_DRAWN: Final = MONEY | COUNTS
GROUPS: Final = {
    "staff": (("seller", "Seller"), ("buyer", "Buyer"), ("contract", "Contract"), ("vertical", "Vertical"), ("day", "Day"), ("hour", "Hour")),
    "buyer": (("contract", "Contract"), ("vertical", "Vertical"), ("day", "Day"), ("hour", "Hour")),
    "seller": (("vertical", "Vertical"), ("buyer", "Buyer"), ("day", "Day"), ("hour", "Hour")),
}  # fmt: skip
FILTERS: Final = {
    "staff": ("seller", "buyer", "contract", "vertical"), "buyer": ("contract", "vertical"), "seller": ("vertical",),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What was asked for, and what came of it."""

    side: str  # staff, buyer, seller
    period: Period
    question: Question
    columns: tuple[Column, ...]
    lines: list[Line]
    names: Mapping[Any, tuple[str, str]]  # words and address, by key
    currency: str
    currencies: tuple[str, ...]
    complaint: str

    @property
    def total(self) -> dict[str, int]:
        return total(self.lines)


def side_of(viewer: Viewer) -> str:
    return viewer.role if viewer.role in {"buyer", "seller"} else "staff"


async def ask(console: Console, request: web.Request, viewer: Viewer) -> Report:
    db, query, side = console.db, request.query, side_of(viewer)
    period, complaint = read_period(query, datetime.now(UTC))
    groups = dict(GROUPS[side])
    by = query.get("by", "")
    by = by if by in groups else next(iter(groups))
    wanted: dict[str, Any] = {}
    for name in FILTERS[side]:
        text = query.get(name, "").replace("\0", "")
        if text:
            wanted[name] = text if name == "vertical" else await view.id_of(db, name, text) or 0
    for name, owner in (("buyer", viewer.buyer), ("seller", viewer.seller)):
        if owner is not None:
            wanted[name] = await view.id_of(db, name, owner) or 0
    period, told = _bounded(period, by, both=_is_cross(by, wanted))
    question = Question(
        by=by,
        start=on_the_hour(period.start),
        end=on_the_hour(period.end),
        zone=period.zone,
        **wanted,
    )
    shown = _columns(side, question)
    lines = await view.answer(db, question, needs(shown))
    currencies = tuple(sorted({one.currency for one in lines}))
    currency = query.get("currency", "")
    if currency not in currencies:
        currency = max(
            currencies, key=lambda c: sum(one.currency == c for one in lines), default="USD"
        )
    return Report(
        side=side, period=period, question=question, columns=shown,
        lines=[one for one in lines if one.currency == currency],
        names=await _names(console, viewer, question), currency=currency, currencies=currencies,
        complaint=complaint or told,
    )  # fmt: skip


def _is_cross(by: str, wanted: Mapping[str, Any]) -> bool:
    """Whether sellers and buyers are told apart at once: then sums are many."""
    of_contracts = by in {"buyer", "contract"} or bool({"buyer", "contract"} & wanted.keys())
    return of_contracts and (by == "seller" or "seller" in wanted)


def _bounded(period: Period, by: str, *, both: bool) -> tuple[Period, str]:
    """Not more hours than can be added up while somebody waits; and a word on what was left out."""
    by_hours = by == "hour" or (both and by == "day" and period.zone != "UTC")
    if not by_hours or period.days <= _HOURS_DAYS:
        return period, ""
    first = period.last - timedelta(days=_HOURS_DAYS - 1)
    told = f"At most {_HOURS_DAYS} days are told apart by the hour: these are the last ones. Days of UTC have no such limit."
    return replace(period, name="custom", first=first), told


def _columns(side: str, asked: Question) -> tuple[Column, ...]:
    if side == "buyer":
        return columns.OF_BUYER
    if side == "seller":
        return columns.OF_SELLERS_BUYERS if asked.by == "buyer" else columns.OF_SELLER
    return columns.OF_CONTRACTS if asked.is_of_contracts else columns.OF_PINGS


async def _names(console: Console, viewer: Viewer, asked: Question) -> dict[Any, tuple[str, str]]:
    """What a group is called and where it leads. A seller knows buyers by their opaque names only."""
    if asked.by not in {"seller", "buyer", "contract"}:
        return {}
    found = await view.names_of(console.db, asked.by)
    if viewer.seller is not None:
        seller = viewer.seller
        return {
            id_: (console.vault.opaque("buyer", seller, slug), "")
            for id_, (slug, _) in found.items()
        }
    named = {id_: slug if asked.by == "contract" else name for id_, (slug, name) in found.items()}
    return {id_: (named[id_], f"/console/{asked.by}s/{slug}") for id_, (slug, _) in found.items()}


def on_the_hour(moment: datetime) -> datetime:
    return moment.replace(minute=0, second=0, microsecond=0)


async def before(console: Console, report: Report) -> list[Line]:
    """The same question about the period before; of one that runs, as much as has passed."""
    then, now = report.period.before(), datetime.now(UTC)
    start, end = on_the_hour(then.start), on_the_hour(then.end)
    if report.question.end > now:
        end = min(end, start + (on_the_hour(now) - report.question.start))
    if start >= end:
        return []
    wanted = needs(column for column in report.columns if column.kind != "ms")
    lines = await view.answer(console.db, replace(report.question, start=start, end=end), wanted)
    return [one for one in lines if one.currency == report.currency]


async def over_time(console: Console, report: Report) -> list[Line]:
    if report.question.by in {"hour", "day"}:
        return report.lines
    by = "hour" if report.period.days <= 2 else "day"
    if _bounded(report.period, by, both=report.question.sums == "both")[1]:
        return []  # no chart
    wanted = needs(column for column in report.columns if column.key in _DRAWN)
    lines = await view.answer(console.db, replace(report.question, by=by), wanted)
    return [one for one in lines if one.currency == report.currency]


def total(lines: Sequence[Line]) -> dict[str, int]:
    """Of nothing: zero, whatever is asked for."""
    found: dict[str, int] = defaultdict(int)
    for one in lines:
        for name, figure in one.figures.items():
            found[name] += figure
    return found


def needs(chosen: Iterable[Column]) -> tuple[str, ...]:
    wanted = {name for column in chosen for name in column.needs()}
    return tuple(name for name in FIGURES if name in wanted)
