"""POST /v1/buyers/{slug}/pause and …/resume, and of contracts: an operator's own, beside `active`."""

from dataclasses import dataclass
from typing import Annotated, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from exchange.http import changes
from exchange.http.access import Caller
from exchange.http.catalogue import slug_of
from exchange.http.limits import read_object
from exchange.http.problems import json_response
from exchange.http.requests import read_model
from exchange.settings import HttpSettings
from exchange.store.database import Database
from exchange.store.pauses import set_paused
from exchange.store.reports import one_document


class Why(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    reason: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""


@dataclass(frozen=True, slots=True)
class PauseDesk:
    """The handlers of pauses. Who asks has been seen to be an admin."""

    db: Database
    http: HttpSettings

    async def pause(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        return await self._set(request, kind, caller, paused=True)

    async def resume(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        return await self._set(request, kind, caller, paused=False)

    async def _set(
        self, request: web.Request, kind: str, caller: Caller, *, paused: bool
    ) -> web.Response:
        """The same again is 200. Refuses with 404 what does not stand."""
        body = await read_object(request, self.http) if request.can_read_body else {}
        why, slug = read_model(Why, body), slug_of(request)
        changes.visible(kind, await one_document(self.db, kind, slug), caller)
        table: Literal["buyer", "contract"] = "buyer" if kind == "buyer" else "contract"
        done = await set_paused(self.db, table, slug, paused=paused, by=caller.name, why=why.reason)
        if not done:
            raise changes.not_found(kind)
        return json_response({kind: slug, "paused": paused})
