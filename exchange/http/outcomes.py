"""POST /v1/leads/{id}/outcome: what a buyer or an operator knows of an unconfirmed post."""

from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from exchange.errors import Problem, Refusal
from exchange.http.access import Caller
from exchange.http.limits import read_object
from exchange.http.problems import json_response
from exchange.http.requests import invalid, read_model
from exchange.ids import read_id
from exchange.resolving import attempt_meant, book_word
from exchange.settings import HttpSettings
from exchange.store.postgres import PostgresStore
from exchange.store.reports import attempts_of
from exchange.store.rows import AttemptRow, AttemptState, Settled


class Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    status: Literal["accepted", "rejected"]
    contract: str | None = None  # whose post, where several buyers share the lead


async def post_outcome(
    store: PostgresStore, http: HttpSettings, request: web.Request, caller: Caller
) -> web.Response:
    """The first definite word wins: the same again is 200, a contrary one 409."""
    body = await read_object(request, http)
    text = request.match_info["id"]
    rows = await _attempts_of(store, text, caller)
    outcome = read_model(Outcome, body)
    attempt, said = _meant(rows, outcome.contract), AttemptState(outcome.status)
    if attempt.state is AttemptState.INTENT:
        raise Refusal(409, "in_progress", "its post is still under way", retry_after_s=1)
    settled = await book_word(store, attempt, said)
    if settled is not Settled.OK and settled.value != said.value:
        if settled in {Settled.FENCED, Settled.INTENT, Settled.UNCONFIRMED}:
            raise Refusal(409, "in_progress", retry_after_s=1)
        raise Refusal(409, "contrary_outcome", f"it is {settled.value}")
    return json_response({"lead_id": text, "status": said.value})


async def _attempts_of(store: PostgresStore, text: str, caller: Caller) -> list[AttemptRow]:
    """The posts that a word may be about; a buyer's own. Refuses with 404."""
    ids = read_id("lead", text)
    rows = await store.attempts(ids[0]) if ids and not ids[1] else []
    owners = {row["id"]: row["buyer"] for row in await attempts_of(store.db, ids[0])} if ids else {}
    found = [
        row
        for row in rows
        if row.state is not AttemptState.NOT_SENT
        and (caller.buyer is None or owners.get(row.id) == caller.buyer)
    ]
    if not found:
        raise Refusal(404, "not_found", "there is no such lead, or it was never posted")
    return found


def _meant(rows: list[AttemptRow], contract: str | None) -> AttemptRow:
    """Refuses with 422 when the word could be about several posts, or about none."""
    found = attempt_meant(rows, contract)
    if found is None:
        known = ", ".join(sorted({one.contract for one in rows}))
        code = "required" if contract is None else "not_found"
        raise invalid([Problem("contract", code, f"name one that it was posted to: {known}")])
    return found
