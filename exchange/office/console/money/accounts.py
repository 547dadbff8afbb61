"""Money: what everybody has, and every transfer of one account. Buyers and sellers see their own."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from exchange.errors import Refusal
from exchange.ids import write_id
from exchange.office.console.frame import EVERYONE, Console, Viewer, page
from exchange.office.console.money import statements, unsettled
from exchange.office.console.money.booking import (
    ACCOUNT_ABOUT,
    ACCOUNT_WORDS,
    booked,
    kinds_of,
    merged,
    place_after,
    words_of,
)
from exchange.office.console.money.parts import (
    OWNED,
    PATH,
    read_moment,
    side_of,
    stream_csv,
    tabs_of,
)
from exchange.office.console.money.periods import NAMED, ZONES, read_period
from exchange.office.console.parts.amounts import rounded
from exchange.office.console.parts.widgets import address
from exchange.store.views import money as view
from exchange.store.views.money import Account, Transfer, Window

PAGE_SIZE: Final = 50
_EVER: Final = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Money:
    """The handlers."""

    console: Console

    async def overview(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        if not viewer.staff:
            return await statements.own(self.console, request, viewer)
        db, query = self.console.db, request.query
        every = await view.balances(db)
        wanted = query.get("kind", "")
        search = query.get("owner", "").strip().lower()
        rows = [
            one
            for one in every
            if (not wanted or one.kind == wanted)
            and search in f"{one.slug} {one.name.lower()}"
            and (one.moves or wanted or search)
        ]
        start = _number(query.get("after", ""))
        return self.console.render(
            request, "money/overview.html", tabs_=tabs_of(viewer), here=PATH, trial=trial_balance(every),
            rows=rows[start : start + PAGE_SIZE], number=len(rows), first=start + 1,
            older=str(start + PAGE_SIZE) if start + PAGE_SIZE < len(rows) else None,
            open_=await view.open_sums(db, ""), returns=await view.returns_waiting(db, ""),
            words=ACCOUNT_WORDS, about=ACCOUNT_ABOUT, rounded=rounded, kinds=view.ACCOUNTS, filtered=bool(wanted or search), path_=PATH,
        )  # fmt: skip

    async def account(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """One account's transfers, newest first."""
        db, side = self.console.db, side_of(viewer)
        account = await self._found(request, viewer)
        window, period, complaint, kind = self._window(request, side)
        after = read_cursor(request.query.get("after", ""))
        wide = PAGE_SIZE + 1 if side != "buyer" else 2 * PAGE_SIZE + 2
        raw, balance = await view.transfers_page(db, account.id, window, after, wide)
        plain = merged(raw) if side == "buyer" else raw
        shown = plain[:PAGE_SIZE]
        older = None
        if len(plain) > PAGE_SIZE:
            older = write_cursor(place_after(raw, shown[-1], side))
        now = datetime.now(UTC)
        total = view.net(await view.moved(db, account.id, None, view.END_OF_TIME))
        return self.console.render(
            request, "money/account.html", tabs_=tabs_of(viewer), account=account, total=total, now_=now,
            rows=booked(shown, account.id, None if kind else balance), kinds=self._kinds(account, side), kind=kind,
            leads=await self._leads(shown), sides=await self._sides(shown, account, viewer), older=older,
            period=period, complaint=complaint, ranges=[("", "Any time"), *NAMED], zones=ZONES, side=side,
            words=ACCOUNT_WORDS, about=ACCOUNT_ABOUT, kind_words=words_of(side), rounded=rounded, path_=f"{PATH}/accounts/{account.id}",
            csv=address(f"{PATH}/accounts/{account.id}.csv", request.query, after=None),
            filtered=bool(kind or request.query.get("range")),
        )  # fmt: skip

    async def csv(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """Every transfer of the window: a line each."""
        account = await self._found(request, viewer)
        window, _, _, _ = self._window(request, side_of(viewer))
        found = [(account.id, account.currency, window)]
        return await stream_csv(
            self.console, request, viewer, found, f"{account.slug or 'house'}-{account.kind}.csv"
        )

    async def _found(self, request: web.Request, viewer: Viewer) -> Account:
        """The account in the address. Another's is one that is not there."""
        text = request.match_info["id"]
        account = await view.account(self.console.db, int(text)) if len(text) < 10 else None
        if account is None:
            raise Refusal(404, "not_found", "there is no such account")
        if not viewer.staff and (
            account.slug != viewer.owner or account.kind not in OWNED[viewer.role]
        ):
            raise Refusal(404, "not_found", "there is no such account")
        return account

    def _window(self, request: web.Request, side: str) -> tuple[Window, Any, str, str]:
        query = request.query
        kind = query.get("kind", "")
        kind = kind if kind in words_of(side) else ""
        kinds = kinds_of(kind, side)
        if not (query.get("range") or query.get("from") or query.get("to")):
            return Window(kinds, _EVER, view.END_OF_TIME), None, "", kind
        period, complaint = read_period(query, datetime.now(UTC), usual="month")
        return Window(kinds, period.start, period.end), period, complaint, kind

    def _kinds(self, account: Account, side: str) -> list[tuple[str, str]]:
        """Which kinds there can be on such an account."""
        can = {
            "available": ("deposit", "hold", "release", "return", "return_margin"),
            "held": ("hold", "release", "sale", "margin"), "payable": ("sale", "return"),
            "margin": ("margin", "return", "return_margin"), "external": ("deposit",),
        }[account.kind]  # fmt: skip
        return [(kind, words) for kind, words in words_of(side).items() if kind in can]

    async def _leads(self, shown: Sequence[Transfer]) -> dict[UUID, tuple[str, str]]:
        found = await view.leads_of(self.console.db, [one.ref for one in shown])
        return {ref: (write_id("lead", lead), contract) for ref, (lead, contract) in found.items()}

    async def _sides(
        self, shown: Sequence[Transfer], account: Account, viewer: Viewer
    ) -> dict[int, tuple[str, str]]:
        """The other accounts by id; a buyer is told its own only, a seller an opaque name."""
        others = {one.debit for one in shown} | {one.credit for one in shown}
        found = await view.sides(self.console.db, sorted(others - {account.id}))
        if viewer.seller is not None:
            seller, vault = viewer.seller, self.console.vault
            return {
                id_: ("buyer", vault.opaque("buyer", seller, slug))
                for id_, (_, slug) in found.items()
            }
        if viewer.buyer is not None:
            return {
                id_: (kind, slug) for id_, (kind, slug) in found.items() if slug == viewer.buyer
            }
        return found


def trial_balance(accounts: Sequence[Account]) -> dict[str, dict[str, int]]:
    """By currency, then by kind of account; `sum` is zero as long as the books are sound."""
    found: dict[str, dict[str, int]] = {}
    for one in accounts:
        of = found.setdefault(one.currency, dict.fromkeys((*view.ACCOUNTS, "owed", "sum"), 0))
        of[one.kind] += one.balance
        of["sum"] += one.balance
        if one.kind == "available" and not one.prepaid and one.balance < 0:
            of["owed"] -= one.balance
    return found


def read_cursor(text: str) -> view.Cursor:
    """What cannot be read is the first page."""
    try:
        at, ref, kind = text.split(" ")
        return read_moment(at), UUID(hex=ref), kind.replace("\0", "")
    except (ValueError, OverflowError):
        return view.FIRST


def write_cursor(one: Transfer) -> str:
    return f"{one.at.isoformat()} {one.ref.hex} {one.kind}"


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0


def routes(console: Console) -> list[web.RouteDef]:
    money = Money(console)
    return [
        page(PATH, money.overview, *EVERYONE),
        page(PATH + r"/accounts/{id:\d+}", money.account, *EVERYONE),
        page(PATH + r"/accounts/{id:\d+}.csv", money.csv, *EVERYONE),
        *statements.routes(console),
        *unsettled.routes(console),
    ]
