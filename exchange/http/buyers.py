"""The buyers' side of the public listener: their own contracts, sales and words."""

from aiohttp import web

from buyers.guard import Guard
from exchange.house import Transport
from exchange.http.access import Caller, KeyRing
from exchange.http.admin import Handle, Handler, catalogue_routes
from exchange.http.catalogue import CatalogueDesk
from exchange.http.certificates import CertifyDesk
from exchange.http.certifying import Certifier
from exchange.http.health import HealthDesk
from exchange.http.inspect import InspectDesk
from exchange.http.outcomes import post_outcome
from exchange.http.returning import Handle as CallerHandle
from exchange.http.returning import ReturnDesk, return_routes
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.postgres import PostgresStore


class BuyerDesk:
    """Everything a buyer's key opens; whatever is not its own is 404."""

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
        self.inspect = InspectDesk(store)
        self.health = HealthDesk(store, http)
        self.returns = ReturnDesk(store, http)

    def routes(self) -> list[web.RouteDef]:
        return [
            *catalogue_routes(self.catalogue, "contract", self.on),
            web.get("/v1/contracts/{slug}/usage", self.on("contract", self.inspect.usage)),
            web.get("/v1/contracts/{slug}/versions", self.on("contract", self.inspect.versions)),
            web.post("/v1/contracts/{slug}/test", self.on("contract", self.certify.test)),
            web.get("/v1/contracts/{slug}/certificate", self.on("contract", self.certify.last)),
            web.get("/v1/contracts/{slug}/health", self.on("contract", self.health.read)),
            web.get("/v1/sales", self._sales),
            *return_routes(self.returns, self._called, decides=False),
            web.post("/v1/leads/{id}/outcome", self._outcome),
        ]

    def on(self, kind: str, handle: Handle) -> Handler:
        """A handler of one kind of document, for buyers."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, kind, await self._buyer(request))

        return handler

    def _called(self, handle: CallerHandle) -> Handler:
        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, await self._buyer(request))

        return handler

    async def _sales(self, request: web.Request) -> web.Response:
        return await self.inspect.sales(request, await self._buyer(request))

    async def _outcome(self, request: web.Request) -> web.Response:
        caller = await self._buyer(request)
        return await post_outcome(self._store, self._http, request, caller)

    async def _buyer(self, request: web.Request) -> Caller:
        return await self._ring.caller(request, "buyer")
