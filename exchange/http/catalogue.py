"""Verticals, plans, sellers, buyers and contracts by HTTP: for admins, and for buyers their own."""

from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web

from buyers.guard import Guard
from exchange.checking import check_all, path_of
from exchange.errors import DocumentsInvalid, Problem, Refusal
from exchange.geo import load_places
from exchange.http import changes
from exchange.http.access import Caller
from exchange.http.certifying import Certifier
from exchange.http.limits import read_object
from exchange.http.paging import read_page
from exchange.http.problems import json_response
from exchange.http.requests import invalid
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.catalogue import ContractScope, Documents, StoredDocument
from exchange.store.database import Database
from exchange.store.documents import Change, Wanted, retire_document, write_documents
from exchange.store.reports import documents_page, one_document

Body = dict[str, Any]
_KEY: Final = {"plan": "vertical"}  # every other kind is named by its slug


@dataclass(frozen=True, slots=True)
class CatalogueDesk:
    """The handlers of documents; `kind` and caller come from the route."""

    db: Database
    vault: Vault
    guard: Guard
    http: HttpSettings
    certifier: Certifier

    async def list_all(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        page = read_page(request)
        rows = await documents_page(self.db, kind, caller.buyer, page.after or "", page.limit + 1)
        return page.answer(
            rows, lambda row: changes.shown(kind, row[1].body, caller), lambda row: row[0]
        )

    async def read(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        slug = slug_of(request)
        stored = changes.visible(kind, await one_document(self.db, kind, slug), caller)
        return _answer(200, changes.shown(kind, stored.body, caller), stored.version)

    async def create(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        body = await read_object(request, self.http, self.http.document_bytes_max)
        slug = body.get(_KEY.get(kind, "slug"))

        def decide(stored: Documents) -> Wanted:
            before = stored[kind].get(slug) if isinstance(slug, str) else None
            changes.refuse_taken(kind, before, standing=True)
            return self._checked(kind, body, None, stored, caller)

        change = await self._write(decide, kind, slug, body, caller)
        headers = {"Location": f"/v1/{kind}s/{change.slug}"}
        return _answer(201, _written(change, caller), change.version, headers)

    async def replace(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        body = await read_object(request, self.http, self.http.document_bytes_max)
        slug = slug_of(request)
        wanted = {_KEY.get(kind, "slug"): slug} | body

        def decide(stored: Documents) -> Wanted:
            found = stored[kind].get(slug)
            if found is not None:
                changes.refuse_foreign(found, caller)
            before = changes.standing(found)
            changes.match_etag(request, before)
            changes.refuse_taken(kind, found, standing=False)
            named = changes.misnamed(_KEY.get(kind, "slug"), slug, wanted)
            return self._checked(kind, wanted, before, stored, caller, named)

        change = await self._write(decide, kind, slug, body, caller)
        status = 201 if change.verb == "added" else 200
        return _answer(status, _written(change, caller), change.version)

    async def patch(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        body = await read_object(request, self.http, self.http.document_bytes_max)
        slug = slug_of(request)

        def decide(stored: Documents) -> Wanted:
            before = changes.visible(kind, stored[kind].get(slug), caller)
            changes.match_etag(request, before)
            wanted = changes.merge_patch(changes.shown(kind, before.body, caller), body)
            named = changes.misnamed(_KEY.get(kind, "slug"), slug, wanted)
            if caller.buyer is not None:
                wanted.setdefault("active", False)
                named = (*named, *changes.taken_away(body, before.body))
            return self._checked(kind, wanted, before, stored, caller, named)

        change = await self._write(decide, kind, slug, body, caller)
        return _answer(200, _written(change, caller), change.version)

    async def retire(self, request: web.Request, kind: str, caller: Caller) -> web.Response:
        slug = slug_of(request)

        def allow(stored: Documents) -> None:
            before = changes.visible(kind, stored[kind].get(slug), caller)
            changes.match_etag(request, before)
            changes.refuse_needed(kind, slug, stored)

        scope = ContractScope(slug, "", "") if kind == "contract" else None
        await retire_document(self.db, kind, slug, allow, by=caller.name, scope=scope)
        return web.Response(status=204)

    def _checked(
        self,
        kind: str,
        body: Body,
        before: StoredDocument | None,
        stored: Documents,
        caller: Caller,
        problems: tuple[Problem, ...] = (),
    ) -> Wanted:
        """The canonical document. Refuses with 422 and every problem, paths relative to it."""
        if caller.buyer is not None:
            body, found = changes.by_buyer(body, before.body if before else None, caller.buyer)
            problems = (*problems, *found)
        checked: Wanted = []
        try:
            checked = check_all([(kind, body)], stored, self.guard)
        except DocumentsInvalid as error:
            prefix = path_of(kind, body)
            problems = (*problems, *(changes.relative(one, prefix) for one in error.problems))
        if problems:
            raise invalid(list(problems))
        return checked

    async def _write(
        self, decide: Any, kind: str, slug: object, body: Body, caller: Caller
    ) -> Change:
        """One document, judged and written under the writers' lock."""
        scope = None
        if kind == "contract":
            words = (slug, body.get("vertical"), caller.buyer or body.get("buyer"))
            scope = ContractScope(*(one if _plain(one) else "" for one in words))  # type: ignore[arg-type]
        await load_places(body)
        if scope is not None and caller.buyer is not None:
            return await self.certifier.write(decide, scope, by=caller.name)
        done = await write_documents(self.db, self.vault, decide, by=caller.name, scope=scope)
        return done[0]


def slug_of(request: web.Request) -> str:
    """The slug in the address. Refuses with 404 what no slug could be."""
    slug = request.match_info["slug"]
    if not _plain(slug):
        raise Refusal(404, "not_found")
    return slug


def _plain(value: object) -> bool:
    return isinstance(value, str) and "\0" not in value


def _written(change: Change, caller: Caller) -> Body:
    return changes.shown(change.kind, change.body, caller, change.secret)


def _answer(
    status: int, body: Body, version: int, headers: dict[str, str] | None = None
) -> web.Response:
    return json_response(body, status, {"ETag": f'"{version}"'} | (headers or {}))
