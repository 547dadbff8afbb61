"""Returns: a buyer gives a sold lead back, an operator or the contract's policy says whether."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from exchange.documents import KnownReason
from exchange.errors import Problem, Refusal
from exchange.http import receipts
from exchange.http.access import Caller
from exchange.http.limits import read_object
from exchange.http.paging import read_page
from exchange.http.problems import Handler, json_response
from exchange.http.receiving import Called
from exchange.http.requests import invalid, read_model
from exchange.ids import new_uuid, read_id, write_id
from exchange.reasons import RefusedReason
from exchange.returns import ReturnReason, ReturnStatus
from exchange.settings import HttpSettings
from exchange.store.postgres import PostgresStore
from exchange.store.returns import (
    Sold,
    decide_return,
    one_return,
    policy_of,
    request_return,
    returns_page,
    sales_of,
)
from exchange.store.rows import Decision, ReturnRow, ReturnWish

_LAST: Final = UUID(int=2**128 - 1)
Note = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]


class NewReturn(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    lead_id: str
    reason: KnownReason
    note: Note = ""


class NewReturnByAdmin(NewReturn):
    buyer: str | None = None  # whose sale, where the lead was sold to several


class Denial(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    note: Note = ""


class Approval(Denial):
    reverse_payout: bool | None = None
    restore_cap: bool | None = None


@dataclass(frozen=True, slots=True)
class ReturnDesk:
    """The handlers of returns. The caller comes from the route: a buyer, or an admin."""

    store: PostgresStore
    http: HttpSettings

    async def request(self, request: web.Request, caller: Caller) -> web.Response:
        """201; the same again is 200 with the first one, for another reason 409."""
        body = await read_object(request, self.http)
        model = NewReturnByAdmin if caller.buyer is None else NewReturn
        wanted = read_model(model, body)
        named = wanted.buyer if isinstance(wanted, NewReturnByAdmin) else caller.buyer
        sold = await self._sale(wanted.lead_id, named)
        wish = ReturnWish(
            id=new_uuid(int(time.time() * 1000), secrets.token_bytes),
            attempt_id=sold.attempt_id,
            contract_id=sold.contract_id,
            reason=ReturnReason(wanted.reason),
            note=wanted.note,
            by=caller.name,
        )
        policy = await policy_of(self.store.db, sold.contract_id)
        done = await request_return(self.store.db, wish, policy)
        if done.row is None:
            raise Refusal(422, done.refused or RefusedReason.RETURNS_NOT_ALLOWED)
        if not done.fresh and done.row.reason is not wish.reason:
            first = {"return_id": write_id("ret", done.row.id)}
            raise Refusal(409, RefusedReason.ALREADY_RETURNED, extra=first)
        return json_response(_shown(done.row, caller), 201 if done.fresh else 200)

    async def list_all(self, request: web.Request, caller: Caller) -> web.Response:
        """Newest first; a buyer's own, an admin's by any of the three."""
        names = (
            ("status", "contract") if caller.buyer is not None else ("status", "contract", "buyer")
        )
        page = read_page(request, *names)
        filters = _filters(request, names)
        if caller.buyer is not None:
            filters["buyer"] = caller.buyer
        before = _LAST if page.after is None else _cursor(page.after)
        rows = await returns_page(self.store.db, filters, before, page.limit + 1)
        return page.answer(rows, lambda row: _shown(row, caller), lambda row: row.id.hex)

    async def read(self, request: web.Request, caller: Caller) -> web.Response:
        return json_response(_shown(await self._found(request, caller), caller))

    async def approve(self, request: web.Request, caller: Caller) -> web.Response:
        """The money goes back; what the policy says may be overridden here."""
        found = read_model(Approval, await read_object(request, self.http))
        return await self._decide(
            request, caller, approved=True, note=found.note, reverse_payout=found.reverse_payout,
            restore_cap=found.restore_cap,
        )  # fmt: skip

    async def deny(self, request: web.Request, caller: Caller) -> web.Response:
        found = read_model(Denial, await read_object(request, self.http))
        return await self._decide(request, caller, approved=False, note=found.note)

    async def _decide(
        self, request: web.Request, caller: Caller, *, approved: bool, **said: Any
    ) -> web.Response:
        """The first decision stands: the same again is 200, a contrary one 409."""
        row = await self._found(request, caller)
        decision = Decision(id=row.id, approved=approved, by=caller.name, **said)
        stands = await decide_return(self.store.db, decision)
        assert stands is not None, "a return is never deleted"
        if stands.status is not (ReturnStatus.APPROVED if approved else ReturnStatus.DENIED):
            raise Refusal(409, RefusedReason.CONTRARY_OUTCOME, f"it is {stands.status.value}")
        return json_response(_shown(stands, caller))

    async def _found(self, request: web.Request, caller: Caller) -> ReturnRow:
        """The return in the address; a buyer's own. Refuses with 404."""
        ids = read_id("ret", request.match_info["id"])
        row = await one_return(self.store.db, ids[0]) if ids and not ids[1] else None
        if row is None or caller.buyer not in {None, row.buyer}:
            raise Refusal(404, RefusedReason.NOT_FOUND, "there is no such return")
        return row

    async def _sale(self, lead_id: str, buyer: str | None) -> Sold:
        """The sale of this lead to this buyer. Refuses with 404, and with 422 where one must be named."""
        ids = read_id("lead", lead_id)
        sales = await sales_of(self.store.db, ids[0]) if ids and not ids[1] else []
        found = [one for one in sales if buyer in {None, one.buyer}]
        if not found:
            raise Refusal(
                404, RefusedReason.NOT_FOUND, "there is no such lead, or it was never sold so"
            )
        if len(found) > 1:
            raise invalid([Problem("buyer", "required", "the lead was sold to several: name one")])
        return found[0]


def return_routes(
    desk: ReturnDesk, on: Callable[[Called], Handler], *, decides: bool
) -> list[web.RouteDef]:
    """What buyers and admins ask of returns; who decides on them is an admin."""
    routes = [
        web.post("/v1/returns", on(desk.request)),
        web.get("/v1/returns", on(desk.list_all)),
        web.get("/v1/returns/{id}", on(desk.read)),
    ]
    if decides:
        routes.append(web.post("/v1/returns/{id}/approve", on(desk.approve)))
        routes.append(web.post("/v1/returns/{id}/deny", on(desk.deny)))
    return routes


def _shown(row: ReturnRow, caller: Caller) -> dict[str, Any]:
    return receipts.return_shown(row, to_buyer=caller.buyer is not None)


def _filters(request: web.Request, names: tuple[str, ...]) -> dict[str, str]:
    found = {name: request.query[name] for name in names if name in request.query}
    problems = [
        Problem(name, "bad_format", "must not hold NUL characters")
        for name, value in found.items()
        if "\0" in value
    ]
    if found.get("status", ReturnStatus.PENDING) not in set(ReturnStatus):
        problems.append(Problem("status", "not_allowed", "is pending, approved or denied"))
    if problems:
        raise invalid(problems)
    return found


def _cursor(text: str) -> UUID:
    try:
        return UUID(hex=text)
    except ValueError:
        problem = Problem("cursor", "bad_format", "must be the `next` of another page")
        raise invalid([problem]) from None
