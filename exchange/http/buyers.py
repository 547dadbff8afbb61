"""The buyers' side of the public listener: their own contracts, sales and words."""

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Transport
from exchange.http.access import Caller, Callers
from exchange.http.admin import catalogue_routes
from exchange.http.catalogue import CatalogueDesk
from exchange.http.certificates import CertifyDesk
from exchange.http.certifying import Certifier
from exchange.http.health import HealthDesk
from exchange.http.inspect import InspectDesk
from exchange.http.outcomes import post_outcome
from exchange.http.receiving import Reception
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
        keys: Callers,
        transport: Transport,
    ) -> None:
        self._store = store
        self._http = http
        self._door = Reception(keys, "buyer")
        certifier = Certifier(db=store.db, vault=vault, guard=guard, transport=transport)
        self.catalogue = CatalogueDesk(store.db, vault, guard, http, certifier)
        self.certify = CertifyDesk(certifier, http)
        self.inspect = InspectDesk(store)
        self.health = HealthDesk(store, http)
        self.returns = ReturnDesk(store, http)

    def routes(self) -> list[web.RouteDef]:
        door = self._door
        return [
            *catalogue_routes(self.catalogue, "contract", door.on),
            web.get("/v1/contracts/{slug}/usage", door.on("contract", self.inspect.usage)),
            web.get("/v1/contracts/{slug}/versions", door.on("contract", self.inspect.versions)),
            web.post("/v1/contracts/{slug}/test", door.on("contract", self.certify.test)),
            web.get("/v1/contracts/{slug}/certificate", door.on("contract", self.certify.last)),
            web.get("/v1/contracts/{slug}/health", door.on("contract", self.health.read)),
            web.get("/v1/sales", door.called(self.inspect.sales)),
            *return_routes(self.returns, door.called, decides=False),
            web.post("/v1/leads/{id}/outcome", door.called(self._outcome)),
        ]

    async def _outcome(self, request: web.Request, caller: Caller) -> web.Response:
        return await post_outcome(self._store, self._http, request, caller)
