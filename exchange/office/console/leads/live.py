"""The first page: what is being traded now. Drawn whole, then kept up by server-sent events."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson
from aiohttp import web
from markupsafe import Markup

from buyers.money import MICROS, format_micros
from exchange.errors import Refusal, StoreUnavailable
from exchange.office.console.frame import EVERYONE, Console, page
from exchange.office.console.leads.broadcast import Broadcaster, Snapshot
from exchange.office.console.leads.listing import row_of
from exchange.office.console.parts.charts import column_chart, line_chart
from exchange.office.console.viewer import Viewer
from exchange.store.views.leads import Names
from exchange.store.views.live import HOUSE, Scope, Tally, total

PARTS: Final = ("tiles", "chart", "funnel", "more", "ticker")
_HEARTBEAT_S: Final = 15.0
_LASTS_S: Final = 600.0  # a stream; then the browser asks again, and is let in again or not
_CHARTS_EVERY: Final = 5  # looks: the last minute of a chart need not move each second


@dataclass(slots=True)
class LivePages:
    """The page and its stream."""

    console: Console
    broadcaster: Broadcaster
    _drawn: dict[tuple[Scope, str], tuple[object, str]] = field(default_factory=dict)

    async def live(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        await self.broadcaster.fresh()
        scope = await self._scope(viewer)
        parts = {name: Markup(html) for name, html in (await self._parts(scope, viewer)).items()}  # noqa: S704 - our own templates
        return self.console.render(request, "leads/live.html", parts=parts)

    async def stream(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Each part again when it has changed; a comment as heartbeat. It ends with the session."""
        async with self.broadcaster.watched(viewer.login):
            response = web.StreamResponse(
                headers={
                    "Content-Type": "text/event-stream; charset=utf-8",
                    "Cache-Control": "no-store",
                    "X-Accel-Buffering": "no",  # a proxy that collects would hold it back
                }
            )
            await response.prepare(request)
            with suppress(ConnectionError):
                async for chunk in self._events(request, viewer):
                    await response.write(chunk)
            return response

    async def _events(self, request: web.Request, viewer: Viewer) -> AsyncIterator[bytes]:
        loop = asyncio.get_running_loop()
        began_s = said_s = loop.time()
        sent: dict[str, str] = {}
        yield b": live\n\n"
        while loop.time() - began_s < _LASTS_S:
            looked = await self.broadcaster.next_look(_HEARTBEAT_S)
            if self.broadcaster.ended:
                return
            if looked:
                with suppress(StoreUnavailable):
                    parts = await self._parts(await self._scope(viewer), viewer)
                    news = {name: html for name, html in parts.items() if sent.get(name) != html}
                    sent |= news
                    yield b"data: " + orjson.dumps(news) + b"\n\n"
            else:
                yield b": nothing new is known\n\n"
            if loop.time() - said_s > _HEARTBEAT_S:
                said_s = loop.time()
                if not await self._still(request, viewer):
                    return

    async def _still(self, request: web.Request, viewer: Viewer) -> bool:
        """Whether the session goes on, with the same role."""
        token = request.cookies.get(self.console.cookie(request), "")
        try:
            return await self.console.sessions.find(token, touches=False) == viewer
        except StoreUnavailable:
            return True  # nobody can say; nothing is shown meanwhile

    async def _scope(self, viewer: Viewer) -> Scope:
        """Whose trade this viewer sees."""
        if viewer.staff:
            return HOUSE
        found = await self.broadcaster.scope_of(viewer.role, viewer.owner or "")
        if found is None:
            raise Refusal(404, "not_found")
        return found

    async def _parts(self, scope: Scope, viewer: Viewer) -> dict[str, str]:
        """The HTML of each part; what has not changed is not drawn again."""
        snapshot = await self.broadcaster.snapshot(scope)
        seen: dict[str, object] = {
            "tiles": (snapshot.today, snapshot.yesterday, snapshot.whole, snapshot.lacks_since),
            "funnel": snapshot.today,
            "chart": self._turn(snapshot),
            "more": self._turn(snapshot),
            "ticker": snapshot.leads,
        }
        for name, state in seen.items():
            if (kept := self._drawn.get((scope, name))) is None or kept[0] != state:
                self._drawn[scope, name] = (state, self._draw(name, snapshot, viewer))
        return {name: self._drawn[scope, name][1] for name in PARTS}

    def _turn(self, snapshot: Snapshot) -> object:
        """Changes when the charts should: with the past, and every few seconds with the present."""
        now = datetime.now(UTC)
        return snapshot.minutes[:-1], snapshot.parties, now.second // _CHARTS_EVERY

    def _draw(self, name: str, snapshot: Snapshot, viewer: Viewer) -> str:
        names, vault = self.broadcaster.names, self.console.vault
        values: dict[str, Any] = {}
        if name == "tiles":
            values["tiles"] = tiles_of(snapshot.today, snapshot.yesterday, viewer)
            values["whole"], values["lacks_since"] = snapshot.whole, snapshot.lacks_since
        elif name == "funnel":
            values["steps"] = funnel_of(snapshot.today, viewer)
        elif name == "chart":
            values["chart"] = charts_of(snapshot, viewer)[0]
        elif name == "more":
            values["charts"] = charts_of(snapshot, viewer)[1:]
            values["parties"] = parties_of(snapshot, names) if viewer.staff else []
        else:
            values["rows"] = [row_of(line, viewer, names, vault) for line in snapshot.leads]
        template = self.console.templates.get_template(f"leads/live_{name}.html")
        return template.render(viewer=viewer, now=datetime.now(UTC), **values)


@dataclass(frozen=True, slots=True)
class Tile:
    """One figure, with yesterday's beside it. `kind` says how both are written."""

    name: str
    kind: str  # count, money, rate
    today: object
    yesterday: object
    currency: str = ""
    note: str = ""


def tiles_of(today: Tally, yesterday: Tally, viewer: Viewer) -> list[Tile]:
    """What this viewer looks at first."""
    if viewer.buyer is not None:
        return [
            Tile("Leads posted to you", "count", today.posts, yesterday.posts),
            Tile("Bought", "count", today.accepted, yesterday.accepted),
            Tile("Rejected", "count", today.rejected, yesterday.rejected),
            _rate("Accept rate", today, yesterday, "accepted", "posts"),
            *_money("Spent", today.revenue, yesterday.revenue),
            *_each("Average price", today.revenue, yesterday.revenue, today.accepted, yesterday.accepted),
        ]  # fmt: skip
    head = [
        Tile("Pings", "count", today.pings, yesterday.pings),
        Tile("Leads sold", "count", today.sold, yesterday.sold),
        _rate("Sale rate", today, yesterday, "sold", "leads"),
    ]
    if viewer.seller is not None:
        earned = today.payout, yesterday.payout
        posted = Tile("Leads posted", "count", today.leads, yesterday.leads)
        return [*head, posted, *_money("You earned", *earned), *_each("Per lead", *earned, today.leads, yesterday.leads)]  # fmt: skip
    return [
        *head,
        *_money("Revenue", today.revenue, yesterday.revenue),
        *_money("Margin", _less(today), _less(yesterday)),
        *_each("Revenue per lead", today.revenue, yesterday.revenue, today.leads, yesterday.leads),
    ]


def _rate(name: str, today: Tally, yesterday: Tally, part: str, whole: str) -> Tile:
    now, before = ((getattr(one, part), getattr(one, whole)) for one in (today, yesterday))
    return Tile(name, "rate", now, before)


def _money(name: str, today: Mapping[str, int], yesterday: Mapping[str, int]) -> list[Tile]:
    """In the currency in which most was traded; others are named beside it."""
    main, others = _currencies(today, yesterday)
    note = f"and {', '.join(others)}" if others else ""
    now, then = (to_cents(one.get(main, 0), main) for one in (today, yesterday))
    return [Tile(name, "money", now, then, main, note)]


def _each(
    name: str, today: Mapping[str, int], yesterday: Mapping[str, int], count: int, before: int
) -> list[Tile]:
    main, _ = _currencies(today, yesterday)
    now = to_cents(today.get(main, 0) / count, main) if count else None
    then = to_cents(yesterday.get(main, 0) / before, main) if before else None
    return [Tile(name, "money", now, then, main)]


def to_cents(micros: float, currency: str) -> int:
    """To the currency's own decimals: a figure to look at, not one to book."""
    decimals = len(format_micros(0, currency).partition(".")[2])
    step: int = MICROS // 10**decimals
    return round(micros / step) * step


def _currencies(today: Mapping[str, int], yesterday: Mapping[str, int]) -> tuple[str, list[str]]:
    sums = {one: today.get(one, 0) + yesterday.get(one, 0) for one in {*today, *yesterday}}
    known = sorted(sums, key=lambda one: (-sums[one], one))
    return (known[0] if known else "USD"), known[1:]


def _less(one: Tally) -> dict[str, int]:
    return {name: one.revenue[name] - one.payout.get(name, 0) for name in one.revenue}


def funnel_of(today: Tally, viewer: Viewer) -> list[tuple[str, int, int]]:
    """Each step with its count and that of the widest one."""
    steps = [("Pings", today.pings), ("Quoted", today.quotes), ("Posted", today.leads), ("Sold", today.sold)]  # fmt: skip
    if viewer.buyer is not None:
        steps = [("Posted to you", today.posts), ("Accepted", today.accepted), ("Rejected", today.rejected)]  # fmt: skip
    most = max(count for _, count in steps) or 1
    return [(name, count, most) for name, count in steps]


def charts_of(snapshot: Snapshot, viewer: Viewer) -> list[Markup]:
    """The last hour by the minute."""
    labels = [f"{at:%H:%M}" for at, _ in snapshot.minutes]
    each = [one for _, one in snapshot.minutes]
    if viewer.buyer is not None:
        accepted = [float(one.accepted) for one in each]
        others = [float(one.posts - one.accepted) for one in each]
        return [column_chart(labels, [("bought", accepted), ("not bought", others)], "Leads a minute")]  # fmt: skip
    sold = [float(one.sold) for one in each]
    unsold = [float(one.leads - one.sold) for one in each]
    pings = [float(one.pings) for one in each]
    middle, slow = [one.p50_ms for one in each], [one.p95_ms for one in each]
    return [
        column_chart(labels, [("sold", sold), ("not sold", unsold)], "Leads a minute"),
        line_chart(labels, [("pings", pings)], "Pings a minute"),
        line_chart(labels, [("median", middle), ("95 of 100", slow)], "From post to answer", "ms", area=False),
    ]  # fmt: skip


_PARTIES: Final = 6


def parties_of(
    snapshot: Snapshot, names: Names
) -> list[tuple[str, list[tuple[object, float]], str]]:
    """Who bought and who sold most in the last hour, in the currency in which most was traded."""
    main, _ = _currencies(total(one for _, one in snapshot.minutes).revenue, {})
    found = []
    for title, kind, known in (
        ("By buyer", "buyer", names.buyers),
        ("By seller", "seller", names.sellers),
    ):
        sums = [
            (known.get(scope[1], "?"), float(to_cents(one.revenue[main], main)))
            for scope, one in snapshot.parties
            if scope[0] == kind and one.revenue.get(main)
        ]
        best: list[tuple[object, float]] = [*sorted(sums, key=lambda one: -one[1])[:_PARTIES]]
        found.append((title, best, main))
    return found


def routes(console: Console) -> list[web.RouteDef]:
    pages = LivePages(console, Broadcaster(console.db))
    console.endings.append(pages.broadcaster.end)
    return [
        page("/console/", pages.live, *EVERYONE),
        page("/console/live/stream", pages.stream, *EVERYONE),
    ]
