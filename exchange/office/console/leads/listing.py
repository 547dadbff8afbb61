"""The list of leads: found by id, filtered by the address, paged both ways."""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.http.requests import invalid
from exchange.ids import read_id, write_id
from exchange.office.console.frame import EVERYONE, Console, action, page, redirect
from exchange.office.console.parts.widgets import address
from exchange.office.console.viewer import Viewer
from exchange.persons import WHAT, Kind, find_by
from exchange.sealing import SealBroken, Vault
from exchange.store.rows import AttemptState, LeadState
from exchange.store.views.leads import (
    Found,
    LeadLine,
    Names,
    Sale,
    find_leads,
    lead_of,
    names_of,
    reasons_of,
)
from exchange.store.views.walk import CAME, LAST, Cursor, Filters

PATH: Final = "/console/leads"
PAGE: Final = 50
OUTCOMES: Final = {"sold": "Sold", "unsold": "Unsold", "open": "Pending", "gone": "Gone"}
POSTS: Final = {
    "accepted": "Accepted", "rejected": "Rejected", "unconfirmed": "Unconfirmed",
    "intent": "On its way", "not_sent": "Not sent",
}  # fmt: skip
SPANS: Final = {
    "1h": "Last hour",
    "24h": "Last 24 hours",
    "7d": "Last 7 days",
    "30d": "Last 30 days",
}
_HOURS: Final = {"1h": 1, "24h": 24, "7d": 168, "30d": 720}
_PURPOSE: Final = "console-search"


@dataclass(frozen=True, slots=True)
class Row:
    """A lead as one viewer sees it in the list. Money is micros; None: not told, or there is none."""

    lead_id: str
    at: datetime
    vertical: str
    currency: str
    seller: str | None
    external_id: str | None
    outcome: str
    reason: str | None
    test: bool
    buyers: tuple[tuple[str, str], ...]  # slug and contract of who bought it
    price_micros: int | None
    payout_micros: int | None
    returned: bool
    elapsed_ms: int | None
    ping_id: str

    @property
    def margin_micros(self) -> int | None:
        if self.price_micros is None or self.payout_micros is None:
            return None
        return self.price_micros - self.payout_micros


@dataclass(frozen=True, slots=True)
class LeadsPages:
    """The handlers of the list and of its search."""

    console: Console

    async def list(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        names = await names_of(self.console.db)
        wanted = read_filters(request.query, viewer, names, self.console.vault)
        found = Found(lines=(), older=None, newer=None)
        if wanted is not None:
            at = read_cursor(request.query)
            found = await find_leads(self.console.db, names, wanted, at, PAGE)
        return self.console.render(
            request,
            "leads/list.html",
            rows=[row_of(line, viewer, names, self.console.vault) for line in found.lines],
            found=found,
            older=_turn(request, after=found.older),
            newer=_turn(request, before=found.newer),
            filtered=bool(set(request.query) - {"after", "before"}),
            choices=await self._choices(viewer, names),
            export=address(f"{PATH}.csv", _kept(request)),
        )

    async def _choices(self, viewer: Viewer, names: Names) -> dict[str, Sequence[Any]]:
        """What each filter offers."""
        return {
            "verticals": sorted(names.currencies),
            "sellers": sorted(names.sellers.values()) if viewer.staff else (),
            "buyers": sorted(names.buyers.values()) if viewer.staff else (),
            "reasons": await reasons_of(self.console.db) if not viewer.buyer else (),
        }

    async def search(self, request: web.Request, viewer: Viewer) -> web.StreamResponse:
        """An id leads to its page; anything else becomes a filter. A person never stands in an
        address: what does is its blind index, sealed."""
        form = await request.post()
        text = str(form.get("q", "")).strip()[:255]
        if not text or not text.isprintable():
            return redirect(PATH)
        if (to := await self._by_id(text)) is not None:
            return redirect(to)
        if "@" in text or _is_phone(text):
            return self._by_person(text, viewer)
        return await self._by_external_id(text, viewer)

    async def _by_external_id(self, text: str, viewer: Viewer) -> web.Response:
        """A seller's own id. What is nobody's may be a person's name: it does not become an address."""
        db, names = self.console.db, await names_of(self.console.db)
        wanted = _within(Filters(external_id=text), {}, viewer, names)
        if wanted is not None and wanted.external_id is not None:
            found = await find_leads(db, names, wanted, Cursor(), 1)
            if found.lines:
                return redirect(address(PATH, external_id=text))
        return redirect(PATH, "No lead has this id. Persons are found by e-mail address or phone.")

    async def _by_id(self, text: str) -> str | None:
        """The page of what has this id; whether the viewer may see it that page decides."""
        plain = text.lower()
        if read_id("lead", plain):
            return f"{PATH}/{plain}"
        if read_id("ping", plain):
            return f"/console/pings/{plain}"
        ids = read_id("att", plain.replace("sale_", "att_", 1)) or read_id("ret", plain)
        if ids is None:
            return None
        lead = await lead_of(self.console.db, ids[0])
        return None if lead is None else f"{PATH}/{write_id('lead', lead)}"

    def _by_person(self, text: str, viewer: Viewer) -> web.Response:
        kind: Kind = "email" if "@" in text else "phone"
        if viewer.role == "viewer":
            return redirect(PATH, "Your role does not search by person.")
        indexes = find_by(self.console.vault, kind, text)
        if not indexes:
            return redirect(PATH, f"That is not {WHAT[kind]}.")
        return redirect(address(PATH, who=seal_person(self.console.vault, kind, indexes)))


def _is_phone(text: str) -> bool:
    """Digits and what people put between them, enough of them for a number."""
    digits = [one for one in text if one.isdigit()]
    return 10 <= len(digits) <= 15 and not text.strip("0123456789+-(). ")


def seal_person(vault: Vault, kind: Kind, indexes: Sequence[bytes]) -> str:
    """A filter by person that says nothing to anybody but this exchange."""
    sealed = vault.seal_text(_PURPOSE, f"{kind}:{','.join(one.hex() for one in indexes)}")
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def open_person(vault: Vault, text: str) -> tuple[str, tuple[bytes, ...]]:
    """The kind and the blind indexes. Raises Refusal for what is no such filter."""
    try:
        sealed = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        kind, _, indexes = vault.open_text(_PURPOSE, sealed).partition(":")
        return kind, tuple(map(bytes.fromhex, indexes.split(",")))
    except (SealBroken, ValueError, binascii.Error):
        raise invalid([Problem("who", "bad_format", "search again")]) from None


# --- the address ----------------------------------------------------------------------------------


def read_filters(
    query: Mapping[str, str], viewer: Viewer, names: Names, vault: Vault
) -> Filters | None:
    """What the address asks for, within what the viewer may see; None: nothing can fit. Raises Refusal
    naming the parameter that cannot be read."""
    said = {name: value.strip() for name, value in query.items() if value.strip()}
    if any("\0" in value for value in said.values()):
        raise invalid([Problem("filter", "bad_format", "must not hold NUL characters")])
    wanted = Filters(
        vertical=said.get("vertical"),
        state=LeadState(_one_of("outcome", said.get("outcome"), OUTCOMES)) if "outcome" in said else None,
        reason=said.get("reason"),
        test=_one_of("test", said["test"], ("yes", "no")) == "yes" if "test" in said else None,
        external_id=said.get("external_id"),
        sub_id=said.get("sub_id"),
        person=open_person(vault, said["who"]) if "who" in said else None,
        since=_since(said),
        until=_moment("until", said["until"]) if "until" in said else None,
    )  # fmt: skip
    if "post" in said:
        wanted = replace(wanted, post=(AttemptState(_one_of("post", said["post"], POSTS)),))
    return _within(wanted, said, viewer, names)


def _within(
    wanted: Filters, said: Mapping[str, str], viewer: Viewer, names: Names
) -> Filters | None:
    """With the parties: whom a viewer may choose, and to whom he is bound."""
    if viewer.role == "viewer" and wanted.person is not None:
        raise Refusal(404, "not_found")
    if viewer.seller is not None:
        seller = names.seller(viewer.seller)
        return None if seller is None else replace(wanted, seller=seller)
    if viewer.buyer is not None:
        buyer = names.buyer(viewer.buyer)
        posts = tuple(one for one in wanted.post if one in CAME)
        # How a lead ended for everybody else, and what its seller calls it, is not the buyer's.
        own = replace(wanted, buyer=buyer, post=posts, state=None, reason=None)
        own = replace(own, external_id=None, sub_id=None)
        return None if buyer is None or not posts else own
    parties = {}
    for kind, find in (("seller", names.seller), ("buyer", names.buyer)):
        if kind in said:
            parties[kind] = find(said[kind])
            if parties[kind] is None:
                return None
    return replace(wanted, **parties)  # type: ignore[arg-type]


def _one_of(name: str, value: str | None, allowed: Any) -> str:
    if value not in allowed:
        raise invalid([Problem(name, "not_allowed", f"is one of {', '.join(allowed)}")])
    return str(value)


def _since(said: Mapping[str, str]) -> datetime | None:
    if "span" in said:
        hours = _HOURS[_one_of("span", said["span"], SPANS)]
        return datetime.now(UTC) - timedelta(hours=hours)
    return _moment("since", said["since"]) if "since" in said else None


def _moment(name: str, text: str) -> datetime:
    """A day or a moment, in UTC where it names no zone."""
    try:
        found = datetime.fromisoformat(text)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
        found.timestamp()
    except (ValueError, OverflowError):
        raise invalid([Problem(name, "bad_format", "must be like 2026-01-31T09:30")]) from None
    return found


def read_cursor(query: Mapping[str, str]) -> Cursor:
    """Where the page begins; the newest leads where nothing is said."""
    for name, forth in (("before", True), ("after", False)):
        if query.get(name):
            try:
                return Cursor(id=UUID(hex=query[name]), forth=forth)
            except ValueError:
                problem = Problem(name, "bad_format", "must come from another page's address")
                raise invalid([problem]) from None
    return Cursor(id=LAST)


def _kept(request: web.Request) -> dict[str, str]:
    """The filters of an address without its place in the list."""
    return {name: value for name, value in request.query.items() if name not in {"after", "before"}}


def _turn(request: web.Request, **to: UUID | None) -> str | None:
    """The address of a neighbouring page; None: there is none."""
    ((name, id_),) = to.items()
    return None if id_ is None else address(PATH, _kept(request) | {name: id_.hex})


# --- one row --------------------------------------------------------------------------------------


def row_of(line: LeadLine, viewer: Viewer, names: Names, vault: Vault) -> Row:
    """What this viewer may know of a lead (contract §3)."""
    seller = names.sellers.get(line.seller)
    posts: Sequence[Sale] = line.posts
    if viewer.buyer is not None:
        own = [one for one in posts if names.buyers.get(one.buyer or 0) == viewer.buyer]
        posts = [one for one in own if one.state in CAME]
        seller = vault.opaque("seller", viewer.buyer, seller or "")
    sales = [one for one in posts if one.state is AttemptState.ACCEPTED]
    shown = sales if viewer.buyer is None else sales or posts[-1:]  # it was rejected under one, too
    outcome = line.state.value if viewer.buyer is None else _own_outcome(posts)
    return Row(
        lead_id=write_id("lead", line.id, test=line.test),
        at=line.created_at,
        vertical=line.vertical,
        currency=names.currencies.get(line.vertical, "USD"),
        seller=None if viewer.seller is not None else seller,
        external_id=None if viewer.buyer is not None else line.external_id,
        outcome="pending" if outcome == "open" else outcome,
        reason=line.reason if viewer.buyer is None else None,
        test=line.test,
        buyers=()
        if viewer.seller is not None
        else tuple((names.buyers.get(one.buyer or 0, ""), one.contract) for one in shown),
        price_micros=None if viewer.seller is not None else _sum(sales, "price_micros"),
        payout_micros=None if viewer.buyer is not None else _sum(sales, "payout_micros"),
        returned=any(one.returned == "approved" for one in sales),
        elapsed_ms=line.elapsed_ms if viewer.buyer is None else None,
        ping_id=write_id("ping", line.ping_id, test=line.test),
    )


def _own_outcome(posts: Sequence[Sale]) -> str:
    return posts[-1].state.value if posts else "gone"


def _sum(sales: Sequence[Sale], name: str) -> int | None:
    return sum(getattr(one, name) for one in sales) if sales else None


def routes(console: Console) -> list[web.RouteDef]:
    pages = LeadsPages(console)
    return [
        page(PATH, pages.list, *EVERYONE),
        action(f"{PATH}/search", pages.search, *EVERYONE),
    ]
