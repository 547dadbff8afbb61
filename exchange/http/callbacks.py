"""/v1/leads/{id}/callback: how a seller's callback stands; and the operator's word to send it again."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from aiohttp import web

from exchange.errors import Refusal
from exchange.http.access import Caller
from exchange.http.problems import json_response
from exchange.http.requests import read_nothing
from exchange.ids import read_id, write_id
from exchange.settings import HttpSettings
from exchange.store.callbacks import Callbacks
from exchange.store.events import note
from exchange.store.pings import utc
from exchange.store.postgres import PostgresStore
from exchange.store.rows import CallbackRow


@dataclass(frozen=True, slots=True)
class CallbackDesk:
    """The handlers of callbacks."""

    store: PostgresStore
    http: HttpSettings

    async def read(self, request: web.Request) -> web.Response:
        return json_response(shown(await self._row(request)))

    async def again(self, request: web.Request, caller: Caller) -> web.Response:
        """Of one that has ended; one that has not is under way as it is."""
        await read_nothing(request, self.http)
        row = await self._row(request)
        if await Callbacks(self.store.db).again(row.lead_id):
            subject = write_id("lead", row.lead_id, test=row.test)
            await note(self.store.db, caller.name, "callback_again", subject)
        return json_response(shown(await self._row(request)), 202)

    async def _row(self, request: web.Request) -> CallbackRow:
        ids: tuple[UUID, bool] | None = read_id("lead", request.match_info["id"])
        row = await Callbacks(self.store.db).one(ids[0]) if ids else None
        if row is None or ids is None or row.test != ids[1]:
            raise Refusal(404, "not_found", "no callback was ever owed for such a lead")
        return row


def shown(row: CallbackRow) -> dict[str, Any]:
    return {
        "lead_id": write_id("lead", row.lead_id, test=row.test),
        "seller": row.seller,
        "state": row.stands,
        "tries": row.tries,
        "due_at": utc(row.due_at) if row.state == "open" else None,
        "last_at": utc(row.last_at) if row.last_at else None,
        "last_status": row.last_status,
        "last_reason": row.last_reason,
        "created_at": utc(row.created_at),
    }
