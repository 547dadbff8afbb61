"""The operators' side of the office's listener."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from buyers.guard import Guard
from exchange.house import Transport
from exchange.http.access import Caller, KeyRing
from exchange.http.catalogue import CatalogueDesk
from exchange.http.certificates import CertifyDesk
from exchange.http.certifying import Certifier
from exchange.http.deposits import DepositDesk
from exchange.http.health import HealthDesk
from exchange.http.inspect import InspectDesk
from exchange.http.keys import KeyDesk
from exchange.http.outcomes import post_outcome
from exchange.http.returning import Handle as CallerHandle
from exchange.http.returning import ReturnDesk, return_routes
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.catalogue import KINDS
from exchange.store.postgres import PostgresStore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Handle = Callable[[web.Request, str, Caller], Awaitable[web.StreamResponse]]


class AdminDesk:
    """Everything an admin's key opens."""

    def __init__(
        self,
        store: PostgresStore,
        vault: Vault,
        guard: Guard,
        http: HttpSettings,
        keys: KeyRing,
        transport: Transport,
    ) -> None:
        self._store = store
        self._http = http
        self._ring = keys
        certifier = Certifier(db=store.db, vault=vault, guard=guard, transport=transport)
        self.catalogue = CatalogueDesk(store.db, vault, guard, http, certifier)
        self.certify = CertifyDesk(certifier, http)
        self.keys = KeyDesk(store.db, vault, http)
        self.deposits = DepositDesk(store.db, http)
        self.inspect = InspectDesk(store)
        self.health = HealthDesk(store, http)
        self.returns = ReturnDesk(store, http)

    def routes(self) -> list[web.RouteDef]:
        look = self.inspect
        return [
            *(route for kind in KINDS for route in catalogue_routes(self.catalogue, kind, self.on)),
            web.get("/v1/contracts/{slug}/usage", self.on("contract", look.usage)),
            web.get("/v1/contracts/{slug}/versions", self.on("contract", look.versions)),
            web.post("/v1/contracts/{slug}/test", self.on("contract", self.certify.test)),
            web.get("/v1/contracts/{slug}/certificate", self.on("contract", self.certify.last)),
            web.get("/v1/contracts/{slug}/health", self.on("contract", self.health.read)),
            web.post("/v1/contracts/{slug}/health/reset", self.on("contract", self.health.reset)),
            web.get("/v1/buyers/{slug}/usage", self.on("buyer", look.usage)),
            web.post("/v1/buyers/{slug}/deposits", self._deposit),
            web.get("/v1/keys", self._for_admin(self.keys.list_all)),
            web.post("/v1/keys", self._for_admin(self.keys.create)),
            web.delete("/v1/keys/{id}", self._for_admin(self.keys.revoke)),
            web.get("/v1/leads", self._for_admin(look.leads)),
            web.get("/v1/leads/{id}", self._for_admin(look.lead)),
            web.post("/v1/leads/{id}/outcome", self._outcome),
            web.get("/v1/pings/{id}", self._for_admin(look.ping)),
            web.get("/v1/sales", self._sales),
            *return_routes(self.returns, self._called, decides=True),
            web.get("/v1/audit", self._for_admin(look.audit)),
        ]

    def on(self, kind: str, handle: Handle) -> Handler:
        """A handler of one kind of document, for admins."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, kind, await self._admin(request))

        return handler

    def _for_admin(self, handle: Handler) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            await self._admin(request)
            return await handle(request)

        return handler

    def _called(self, handle: CallerHandle) -> Handler:
        """A handler that wants to know which admin it is."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, await self._admin(request))

        return handler

    async def _deposit(self, request: web.Request) -> web.Response:
        return await self.deposits.deposit(request, await self._admin(request))

    async def _outcome(self, request: web.Request) -> web.Response:
        caller = await self._admin(request)
        return await post_outcome(self._store, self._http, request, caller)

    async def _sales(self, request: web.Request) -> web.Response:
        return await self.inspect.sales(request, await self._admin(request))

    async def _admin(self, request: web.Request) -> Caller:
        return await self._ring.caller(request, "admin")


def catalogue_routes(
    desk: CatalogueDesk, kind: str, on: Callable[[str, Handle], Handler]
) -> list[web.RouteDef]:
    """What every kind of document answers to."""
    all_, one = f"/v1/{kind}s", f"/v1/{kind}s/{{slug}}"
    return [
        web.get(all_, on(kind, desk.list_all)),
        web.post(all_, on(kind, desk.create)),
        web.get(one, on(kind, desk.read)),
        web.put(one, on(kind, desk.replace)),
        web.patch(one, on(kind, desk.patch)),
        web.delete(one, on(kind, desk.retire)),
    ]
