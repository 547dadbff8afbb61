"""GET /v1/contracts/{slug}/health: how the workers find an endpoint; and the operator's reset."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from aiohttp import web

from exchange.hearsay import mean_score, newest_word
from exchange.http import changes
from exchange.http.access import Caller
from exchange.http.catalogue import slug_of
from exchange.http.problems import json_response
from exchange.http.requests import read_nothing
from exchange.settings import HttpSettings
from exchange.store.catalogue import StoredDocument
from exchange.store.events import note
from exchange.store.health import OPERATOR, HealthRow, HealthRows
from exchange.store.pings import utc
from exchange.store.postgres import PostgresStore
from exchange.store.reports import one_document
from exchange.vigil import Call

_FRESH: Final = timedelta(seconds=90)  # a worker that lives renews its counts within that
_FAILURES: Final = 10


@dataclass(frozen=True, slots=True)
class HealthDesk:
    """The handlers of endpoints' health."""

    store: PostgresStore
    http: HttpSettings

    async def read(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        stored = await self._contract(request, kind, caller)
        return await self._answer(stored)

    async def reset(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        """Close both breakers in every worker within about a second."""
        await read_nothing(request, self.http)
        stored = await self._contract(request, kind, caller)
        await HealthRows(self.store.db).reset(stored.id)
        await note(self.store.db, caller.name, "health_reset", f"{kind} {stored.body['slug']}")
        return await self._answer(stored)

    async def _contract(self, request: web.Request, kind: str, caller: Caller) -> StoredDocument:
        found = await one_document(self.store.db, kind, slug_of(request))
        return changes.visible(kind, found, caller)

    async def _answer(self, stored: StoredDocument) -> web.Response:
        rows, now = await HealthRows(self.store.db).of_contract(stored.id)
        of = {call: [row for row in rows if row.call == call.value] for call in Call}
        is_pinged = stored.body["pricing"]["mode"] == "bid"
        failures = {(at, one, row.call) for row in rows for one, at in row.failures}
        newest = sorted(failures, reverse=True)[:_FAILURES]
        return json_response(
            {
                "contract": stored.body["slug"],
                "ping": shown(of[Call.PING], now) if is_pinged else None,
                "post": shown(of[Call.POST], now),
                "last_failures": [
                    {"reason": one, "call": call, "at": utc(datetime.fromisoformat(at))}
                    for at, one, call in newest
                ],
            }
        )


def shown(rows: Sequence[HealthRow], now: datetime) -> dict[str, Any]:
    """What all workers' rows of one endpoint come to. Nulls where nobody knows anything."""
    word = newest_word(rows)
    is_open = word is not None and word.open
    # Of an open breaker those results that opened it, else the last window's.
    counted = [row for row in rows if row.open is is_open and (is_open or _is_fresh(row, now))]
    good, bad = (sum(getattr(row, name) for row in counted) for name in ("good", "bad"))
    workers = [row for row in rows if row.worker != OPERATOR]
    return {
        "state": _state(word, now),
        "since": utc(word.since) if word is not None and word.since is not None else None,
        "failure_ratio": round(bad / (good + bad), 3) if good + bad else None,
        "results": good + bad,
        "retry_at": utc(word.retry_at) if word is not None and word.retry_at is not None else None,
        "failure_score": round(mean_score(workers), 3),
        "throttle_share": round(_mean_share(workers), 3),
        "dry_run": max(workers, key=lambda row: row.at or now).dry_run if workers else None,
    }


def _state(word: HealthRow | None, now: datetime) -> str:
    if word is None or not word.open:
        return "closed"
    return "open" if word.retry_at is not None and word.retry_at > now else "half_open"


def _is_fresh(row: HealthRow, now: datetime) -> bool:
    return row.at is not None and now - row.at < _FRESH


def _mean_share(rows: Sequence[HealthRow]) -> float:
    known = sum(row.results for row in rows)
    return sum(row.share * row.results for row in rows) / known if known else 0.0
