"""POST /v1/leads/{id}/outcome: what a buyer or an operator knows of an unconfirmed post."""

from collections.abc import Sequence
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from exchange.errors import Refusal
from exchange.http.access import Caller
from exchange.http.limits import read_object
from exchange.http.problems import json_response
from exchange.http.requests import read_model
from exchange.ids import read_id
from exchange.resolving import book_word
from exchange.settings import HttpSettings
from exchange.store.postgres import PostgresStore
from exchange.store.reports import attempts_of
from exchange.store.rows import AttemptRow, AttemptState, Settled


class Outcome(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    status: Literal["accepted", "rejected"]


async def post_outcome(
    store: PostgresStore, http: HttpSettings, request: web.Request, caller: Caller
) -> web.Response:
    """The first definite word wins: the same again is 200, a contrary one 409."""
    body = await read_object(request, http)
    text = request.match_info["id"]
    attempt = await _attempt_of(store, text, caller)
    said = AttemptState(read_model(Outcome, body).status)
    if attempt.state is AttemptState.INTENT:
        raise Refusal(409, "in_progress", "its post is still under way", retry_after_s=1)
    settled = await book_word(store, attempt, said)
    if settled is not Settled.OK and settled.value != said.value:
        if settled in {Settled.FENCED, Settled.INTENT, Settled.UNCONFIRMED}:
            raise Refusal(409, "in_progress", retry_after_s=1)
        raise Refusal(409, "contrary_outcome", f"it is {settled.value}")
    return json_response({"lead_id": text, "status": said.value})


async def _attempt_of(store: PostgresStore, text: str, caller: Caller) -> AttemptRow:
    """The post that the word is about; a buyer's own. Refuses with 404."""
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
    return _told(found)


def _told(rows: Sequence[AttemptRow]) -> AttemptRow:
    """The one without an outcome, else the one that was sold, else the last refused."""
    rank = {AttemptState.INTENT: 0, AttemptState.UNCONFIRMED: 0, AttemptState.ACCEPTED: 1}
    return min(reversed(rows), key=lambda row: rank.get(row.state, 2))
