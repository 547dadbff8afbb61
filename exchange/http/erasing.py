"""POST /v1/leads/{id}/erase, POST and GET /v1/erasures: persons erased on request, and who had received them.

A person's address or number comes in a body, never in a URL, and leaves nothing behind: neither answers,
nor the log, nor the audit name it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from exchange import log
from exchange.errors import Problem, Refusal
from exchange.http.access import Caller
from exchange.http.limits import read_object
from exchange.http.paging import read_page
from exchange.http.problems import json_response
from exchange.http.receipts import erasure_shown, when
from exchange.http.requests import invalid, read_model
from exchange.ids import read_id, write_id
from exchange.persons import WHAT, Kind, find_by
from exchange.reasons import AuctionReason, RefusedReason
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.database import Database
from exchange.store.erasures import Asking, Standing, erase, erasures_page, leads_of, standings
from exchange.store.pings import utc
from exchange.store.rows import Recipient

_LAST: Final = (datetime(9999, 1, 1, tzinfo=UTC), UUID(int=2**128 - 1))
_STATES: Final = {"waiting": True, "done": False}
Text = Annotated[str, Field(max_length=300)]


class EraseLead(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    dry_run: bool = False


class ErasePerson(EraseLead):
    """Exactly one of the three says whose."""

    lead_id: Text | None = None
    email: Text | None = None
    phone: Text | None = None


@dataclass(frozen=True, slots=True)
class EraseDesk:
    """The handlers of erasures. Who asks has been seen to be an admin, or an operator."""

    db: Database
    vault: Vault
    http: HttpSettings

    async def lead(self, request: web.Request, caller: Caller) -> web.Response:
        """200 when the person is gone, 202 when it waits for a post; the same again is answered alike."""
        body = await read_object(request, self.http) if request.can_read_body else {}
        asked = read_model(EraseLead, body)
        ids = read_id("lead", request.match_info["id"])
        found = await self._of_lead(ids)
        (stands,) = await self.erase(found, caller.name, dry_run=asked.dry_run)
        waits = _waits(stands, dry_run=asked.dry_run)
        return json_response(shown(stands) | {"dry_run": asked.dry_run}, 202 if waits else 200)

    async def person(self, request: web.Request, caller: Caller) -> web.Response:
        """All leads of one person. What was erased before is not found again by e-mail or phone."""
        asked = read_model(ErasePerson, await read_object(request, self.http))
        ids = await self._meant(asked)
        found = await self.erase(ids, caller.name, dry_run=asked.dry_run)
        return json_response(sorted_out(found, dry_run=asked.dry_run))

    async def list_all(self, request: web.Request) -> web.Response:
        """Newest first."""
        page = read_page(request, "state")
        state = request.query.get("state")
        if state not in {None, *_STATES}:
            raise invalid([Problem("state", "not_allowed", f"is one of {', '.join(_STATES)}")])
        before = _LAST if page.after is None else _place(page.after)
        waiting = None if state is None else _STATES[state]
        rows = await erasures_page(self.db, before, waiting, page.limit + 1)
        return page.answer(
            rows, erasure_shown, lambda row: f"{row.asked_at.isoformat()} {row.lead_id.hex}"
        )

    async def erase(self, ids: Sequence[UUID], by: str, *, dry_run: bool) -> list[Standing]:
        """How these leads stand then; with `dry_run` how they stand now."""
        if dry_run:
            return await standings(self.db, ids)
        return told(await erase(self.db, self.vault, ids, Asking(why="request", by=by)))

    async def _meant(self, asked: ErasePerson) -> list[UUID]:
        """Refuses with 422 where not exactly one thing is named, with 404 an unknown lead."""
        named = [name for name in ("lead_id", "email", "phone") if getattr(asked, name) is not None]
        if len(named) != 1:
            raise invalid([Problem("", "required", "name one of lead_id, email and phone")])
        if asked.lead_id is not None:
            return await self._of_lead(read_id("lead", asked.lead_id))
        kind: Kind = "email" if asked.email is not None else "phone"
        indexes = find_by(self.vault, kind, asked.email or asked.phone or "")
        if not indexes:
            raise invalid([Problem(kind, "bad_format", f"must be {WHAT[kind]}")])
        return await leads_of(self.db, kind, indexes)

    async def _of_lead(self, ids: tuple[UUID, bool] | None) -> list[UUID]:
        stand = await standings(self.db, [ids[0]]) if ids else []
        if ids is None or not stand or stand[0].test != ids[1]:
            raise Refusal(404, RefusedReason.NOT_FOUND, "there is no such lead")
        return [ids[0]]


def told(found: list[Standing]) -> list[Standing]:
    """One line of the log each: what must be done again should an older backup be restored."""
    for one in found:
        if one.row is not None:
            word = "person erased" if one.row.done_at else "erasure waits"
            log.event(word, lead=write_id("lead", one.lead_id, test=one.test), by=one.row.by)
    return found


def sorted_out(found: Sequence[Standing], *, dry_run: bool) -> dict[str, Any]:
    """Which are erased, or would be, and which have to wait."""
    return {
        "dry_run": dry_run,
        "erased": [shown(one) for one in found if not _waits(one, dry_run=dry_run)],
        "waiting": [shown(one) for one in found if _waits(one, dry_run=dry_run)],
    }


def _waits(one: Standing, *, dry_run: bool) -> bool:
    """What was asked for and is not done waits, also if its last post has just been answered."""
    return not one.done and (one.waits or not dry_run)


def shown(one: Standing) -> dict[str, Any]:
    """One lead, why it waits if it does, and every buyer to be told: Art. 19 GDPR, § 1798.105(c) CCPA."""
    row, reason = one.row, None
    if not one.done and (one.waits or row is not None):
        only = one.waits_for and not one.is_open
        reason = AuctionReason.UNCONFIRMED if only else RefusedReason.IN_PROGRESS
    return {
        "lead_id": write_id("lead", one.lead_id, test=one.test),
        "erased_at": when(row.done_at) if row else None,
        "asked_at": when(row.asked_at) if row else None,
        "reason": reason,
        "waits_for": list(one.waits_for),
        "received_by": [_recipient(each, test=one.test) for each in one.recipients],
    }


def _recipient(one: Recipient, *, test: bool) -> dict[str, Any]:
    return {
        "buyer": one.buyer,
        "contract": one.contract,
        "attempt_id": write_id("att", one.attempt_id, test=test),
        "state": one.state.value,
        "at": utc(one.at),
    }


def _place(text: str) -> tuple[datetime, UUID]:
    at, _, id_ = text.partition(" ")
    try:
        moment = datetime.fromisoformat(at)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC), UUID(
            hex=id_
        )
    except (ValueError, OverflowError):
        problem = Problem("cursor", "bad_format", "must be the `next` of another page")
        raise invalid([problem]) from None
