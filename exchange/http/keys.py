"""API keys by HTTP: create, list, revoke."""

from dataclasses import dataclass
from typing import Any, Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict

from exchange.errors import Problem, Refusal
from exchange.http.limits import read_object
from exchange.http.paging import read_page
from exchange.http.problems import json_response
from exchange.http.requests import invalid, read_model
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.database import Database
from exchange.store.keys import ListedKey, create_key, list_keys, owner_exists, revoke_key
from exchange.store.pings import utc


class NewKey(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    role: Literal["admin", "seller", "buyer"]
    owner: str | None = None


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """The handlers of keys. Who asks has been seen to be an admin."""

    db: Database
    vault: Vault
    http: HttpSettings

    async def create(self, request: web.Request) -> web.Response:
        wanted = read_model(NewKey, await read_object(request, self.http))
        problem = await self._owner_problem(wanted)
        if problem is not None:
            raise invalid([problem])
        key_id, key = await create_key(self.db, self.vault, wanted.role, wanted.owner)
        return json_response({"id": key_id, "key": key}, 201, {"Cache-Control": "no-store"})

    async def _owner_problem(self, wanted: NewKey) -> Problem | None:
        if wanted.role == "admin":
            if wanted.owner is None:
                return None
            return Problem("owner", "not_allowed", "an admin's key has none")
        if wanted.owner is None:
            return Problem("owner", "required", "is the slug of the seller or buyer")
        if "\0" in wanted.owner or not await owner_exists(self.db, wanted.role, wanted.owner):
            return Problem("owner", "not_found", f"there is no such {wanted.role}")
        return None

    async def list_all(self, request: web.Request) -> web.Response:
        page = read_page(request)
        found = sorted(await list_keys(self.db), key=_place)
        after = [one for one in found if page.after is None or _place(one) > page.after]
        return page.answer(after[: page.limit + 1], _shown, _place)

    async def revoke(self, request: web.Request) -> web.Response:
        key_id = request.match_info["id"]
        if "\0" in key_id or not await revoke_key(self.db, key_id):
            raise Refusal(404, "not_found", "there is no such live key")
        return web.Response(status=204)


def _place(one: ListedKey) -> str:
    return f"{one.created_at.isoformat()} {one.key.id}"


def _shown(one: ListedKey) -> dict[str, Any]:
    return {
        "id": one.key.id,
        "role": one.key.role,
        "owner": one.key.owner,
        "created_at": utc(one.created_at),
        "revoked_at": utc(one.revoked_at) if one.revoked_at else None,
    }
