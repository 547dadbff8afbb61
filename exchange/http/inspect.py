"""What operators and buyers look at: leads, pings, caps in use, sales, history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

import orjson
from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.http import changes, receipts
from exchange.http.access import Caller
from exchange.http.catalogue import slug_of
from exchange.http.paging import Page, read_page
from exchange.http.problems import json_response
from exchange.http.requests import invalid
from exchange.ids import read_id, write_id
from exchange.recalling import recall
from exchange.receipt import read, whole
from exchange.store import reports
from exchange.store.catalogue import KINDS
from exchange.store.erasures import erasure_of
from exchange.store.pings import utc
from exchange.store.postgres import PostgresStore
from exchange.store.returns import returns_of
from exchange.store.rows import LeadRow, LeadState

_LAST: Final = UUID(int=2**128 - 1)
_LAST_VERSION: Final = 2**63 - 1
_END_OF_TIME: Final = datetime(9999, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class InspectDesk:
    """The handlers of looking; nothing here writes."""

    store: PostgresStore

    async def leads(self, request: web.Request) -> web.Response:
        page = read_page(request, "external_id", "state", "seller")
        filters = _filters(request, "external_id", "state", "seller")
        if filters.get("state", "open") not in set(LeadState):
            raise invalid([Problem("state", "not_allowed", "is open, sold, unsold or gone")])
        before = _LAST if page.after is None else _uuid(page.after)
        rows = await reports.leads_page(self.store.db, filters, before, page.limit + 1)
        sellers = {
            id_: await reports.slug_of_party(self.store.db, id_)
            for id_ in {row.seller for row in rows}
        }
        return page.answer(
            rows, lambda row: receipts.lead_head(row, sellers[row.seller]), lambda row: row.id.hex
        )

    async def lead(self, request: web.Request) -> web.Response:
        """The whole receipt; of the person only whether it is still there."""
        ids = read_id("lead", request.match_info["id"])
        row = await self.store.lead(ids[0]) if ids else None
        if row is None or ids is None or row.test != ids[1]:
            raise Refusal(404, "not_found", "there is no such lead")
        return json_response(await self._receipt(row))

    async def _receipt(self, row: LeadRow) -> dict[str, Any]:
        db = self.store.db
        seller = await reports.slug_of_party(db, row.seller)
        currency = await reports.currency_of(db, row.vertical)
        attempts = await reports.attempts_of(db, row.id)
        transfers = await reports.transfers_of(db, [one["id"] for one in attempts])
        record = read(row.receipt) if row.receipt else None
        erasure = await erasure_of(db, row.id)
        return receipts.lead_head(row, seller) | {
            "erased_at": receipts.when(erasure.done_at) if erasure else None,
            "min_price": receipts.money(row.min_price_micros, currency),
            "currency": currency,
            "person": None if row.person.key is None else receipts.PERSON,
            "erasure": erasure and receipts.erasure_shown(erasure),
            "answer": orjson.loads(row.answer) if row.answer else None,
            "receipt": record and receipts.in_words(whole(record), currency),
            "attempts": [receipts.attempt_shown(one, currency) for one in attempts],
            "transfers": [receipts.transfer_shown(one, currency) for one in transfers],
            "returns": [
                receipts.return_shown(one, to_buyer=False) for one in await returns_of(db, row.id)
            ],
            "ping": await self._ping_receipt(row.ping_id),
        }

    async def ping(self, request: web.Request) -> web.Response:
        ids = read_id("ping", request.match_info["id"])
        found = await self.store.ping(ids[0]) if ids else None
        if found is None or ids is None or found.row.test != ids[1]:
            raise Refusal(404, "not_found", "there is no such ping")
        shown = await self._ping_receipt(ids[0]) or {}
        lead_id = found.lead_id and write_id("lead", found.lead_id, test=found.row.test)
        moments = {"at": utc(found.at), "expires_at": utc(found.row.expires_at)}
        return json_response(shown | moments | {"lead_id": lead_id})

    async def _ping_receipt(self, ping_id: UUID) -> dict[str, Any] | None:
        found = await self.store.ping(ping_id)
        if found is None:
            return None
        record = await recall(self.store.db, read(found.row.receipt))
        return receipts.ping_shown(record, await self.store.late_bids(ping_id))

    async def usage(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        """Caps of a contract or a buyer with what they have left, and the buyer's credit."""
        db, slug = self.store.db, slug_of(request)
        stored = changes.visible(kind, await reports.one_document(db, kind, slug), caller)
        credit = await reports.credit_of(db, stored.body.get("buyer", slug))
        currency = credit["currency"]
        caps = await reports.caps_in_use(db, stored.id)
        return json_response(
            {
                kind: slug,
                "currency": currency,
                "caps": [receipts.cap_shown(one, currency) for one in caps],
                "credit": {
                    "prepaid": credit["prepaid"],
                    "available": receipts.money(credit["available"], currency),
                    "held": receipts.money(credit["held"], currency),
                },
            }
        )

    async def versions(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        """Every version of a document, the retired one's too: receipts name them."""
        page = read_page(request)
        slug = slug_of(request)
        found = await reports.one_document(self.store.db, kind, slug)
        if found is None:
            raise changes.not_found(kind)
        changes.refuse_foreign(found, caller)
        before = _LAST_VERSION if page.after is None else _version(page)
        rows = await reports.versions_page(self.store.db, kind, slug, before, page.limit + 1)
        return page.answer(
            rows,
            lambda row: _version_shown(kind, row, caller),
            lambda row: str(row["version"]),
        )

    async def sales(self, request: web.Request, caller: Caller) -> web.Response:
        """A buyer's sales; an admin names the buyer."""
        page = read_page(request, *([] if caller.buyer is not None else ["buyer"]))
        buyer = caller.buyer if caller.buyer is not None else request.query.get("buyer")
        if not buyer or "\0" in buyer:
            raise invalid([Problem("buyer", "required", "name the buyer: ?buyer=")])
        before = (_END_OF_TIME, _LAST) if page.after is None else _moment(page.after)
        rows = await reports.sales_page(self.store.db, buyer, before, page.limit + 1)
        return page.answer(
            rows,
            receipts.sale_shown,
            lambda row: f"{row['created_at'].isoformat()} {row['id'].hex}",
        )

    async def audit(self, request: web.Request) -> web.Response:
        page = read_page(request, "kind", "slug")
        wanted = _filters(request, "kind", "slug")
        if wanted.get("kind", KINDS[0]) not in KINDS:
            raise invalid([Problem("kind", "not_allowed", f"is one of {', '.join(KINDS)}")])
        before = _LAST_VERSION if page.after is None else _version(page)
        rows = await reports.audit_page(
            self.store.db, wanted.get("kind"), wanted.get("slug"), before, page.limit + 1
        )
        return page.answer(rows, receipts.change_shown, lambda row: str(row["version"]))


def _version_shown(kind: str, row: Mapping[str, Any], caller: Caller) -> dict[str, Any]:
    """A document as it was; null when it was retired. Only admins see whose key it was."""
    body = orjson.loads(row["body"])
    shown = {"version": row["version"], "changed_at": utc(row["changed_at"])}
    if caller.buyer is None:
        shown["changed_by"] = row["changed_by"]
    return shown | {kind: None if body is None else changes.shown(kind, body, caller)}


def _filters(request: web.Request, *names: str) -> dict[str, str]:
    found = {name: request.query[name] for name in names if name in request.query}
    problems = [
        Problem(name, "bad_format", "must not hold NUL characters")
        for name, value in found.items()
        if "\0" in value
    ]
    if problems:
        raise invalid(problems)
    return found


def _uuid(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        raise _no_cursor() from None


def _moment(text: str) -> tuple[datetime, UUID]:
    at, _, id_ = text.partition(" ")
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None:
            raise _no_cursor()
        return moment.astimezone(UTC), _uuid(id_)
    except (ValueError, OverflowError):  # no moment, or one beyond the end of time
        raise _no_cursor() from None


def _version(page: Page) -> int:
    text = page.after or ""
    if not (text.isascii() and text.isdecimal() and len(text) < 19):
        raise _no_cursor()
    return int(text)


def _no_cursor() -> Refusal:
    return invalid([Problem("cursor", "bad_format", "must be the `next` of another page")])
