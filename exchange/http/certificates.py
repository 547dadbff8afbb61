"""POST /v1/contracts/{slug}/test certifies an endpoint; GET …/certificate shows the last report."""

from dataclasses import dataclass
from typing import Any

from aiohttp import web

from exchange.errors import Refusal
from exchange.http import changes
from exchange.http.access import Caller
from exchange.http.catalogue import slug_of
from exchange.http.certifying import Certifier
from exchange.http.problems import json_response
from exchange.http.requests import read_nothing
from exchange.settings import HttpSettings
from exchange.store.catalogue import ContractScope, read_documents
from exchange.store.certificates import Certified, last_certificate
from exchange.store.pings import utc

Body = dict[str, Any]


@dataclass(frozen=True, slots=True)
class CertifyDesk:
    """POST …/test and GET …/certificate, of one's own contract or, for an admin, of any."""

    certifier: Certifier
    http: HttpSettings

    async def test(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        """Certify the endpoint as it is stored, and keep the report."""
        await read_nothing(request, self.http)
        slug, db = slug_of(request), self.certifier.db
        stored = await read_documents(db, ContractScope(slug, "", ""))
        body = changes.visible(kind, stored["contract"].get(slug), caller).body
        kept = await self.certifier.test(self.certifier.subject(body, stored))
        if kept is None:
            raise changes.not_found(kind)
        return json_response(_shown(slug, kept))

    async def last(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        """The last report."""
        slug, db = slug_of(request), self.certifier.db
        stored = await read_documents(db, ContractScope(slug, "", ""))
        changes.visible(kind, stored["contract"].get(slug), caller)
        kept = await last_certificate(db, slug)
        if kept is None:
            raise Refusal(404, "not_found", "this contract was never certified: POST …/test")
        return json_response(_shown(slug, kept))


def _shown(slug: str, kept: Certified) -> Body:
    return {"contract": slug, "at": utc(kept.at)} | kept.report
