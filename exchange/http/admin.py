"""The operators' side of the office's listener."""

from collections.abc import Callable

from aiohttp import web

from buyers.guard import Guard
from buyers.wire import Transport
from exchange.http.access import Caller, Callers
from exchange.http.callbacks import CallbackDesk
from exchange.http.catalogue import CatalogueDesk
from exchange.http.certificates import CertifyDesk
from exchange.http.certifying import Certifier
from exchange.http.deposits import DepositDesk
from exchange.http.erasing import EraseDesk
from exchange.http.health import HealthDesk
from exchange.http.inspect import InspectDesk
from exchange.http.keys import KeyDesk
from exchange.http.outcomes import post_outcome
from exchange.http.pausing import PauseDesk
from exchange.http.receiving import Handler, OfKind, Reception
from exchange.http.returning import ReturnDesk, return_routes
from exchange.sealing import Vault
from exchange.settings import HttpSettings
from exchange.store.catalogue import KINDS
from exchange.store.postgres import PostgresStore


class AdminDesk:
    """Everything an admin's key opens."""

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
        self._door = Reception(keys, "admin")
        certifier = Certifier(db=store.db, vault=vault, guard=guard, transport=transport)
        self.catalogue = CatalogueDesk(store.db, vault, guard, http, certifier)
        self.certify = CertifyDesk(certifier, http)
        self.keys = KeyDesk(store.db, vault, http)
        self.deposits = DepositDesk(store.db, http)
        self.inspect = InspectDesk(store)
        self.erasures = EraseDesk(store.db, vault, http)
        self.health = HealthDesk(store, http)
        self.returns = ReturnDesk(store, http)
        self.pauses = PauseDesk(store.db, http)
        self.callbacks = CallbackDesk(store, http)

    def routes(self) -> list[web.RouteDef]:
        look, door = self.inspect, self._door
        return [
            *(route for kind in KINDS for route in catalogue_routes(self.catalogue, kind, door.on)),
            web.get("/v1/contracts/{slug}/usage", door.on("contract", look.usage)),
            web.get("/v1/contracts/{slug}/versions", door.on("contract", look.versions)),
            web.post("/v1/contracts/{slug}/test", door.on("contract", self.certify.test)),
            web.get("/v1/contracts/{slug}/certificate", door.on("contract", self.certify.last)),
            web.get("/v1/contracts/{slug}/health", door.on("contract", self.health.read)),
            web.post("/v1/contracts/{slug}/health/reset", door.on("contract", self.health.reset)),
            *(
                web.post(f"/v1/{kind}s/{{slug}}/{verb}", door.on(kind, handle))
                for kind in ("buyer", "contract")
                for verb, handle in (("pause", self.pauses.pause), ("resume", self.pauses.resume))
            ),
            web.get("/v1/buyers/{slug}/usage", door.on("buyer", look.usage)),
            web.post("/v1/buyers/{slug}/deposits", door.called(self.deposits.deposit)),
            web.get("/v1/keys", door.let_in(self.keys.list_all)),
            web.post("/v1/keys", door.let_in(self.keys.create)),
            web.delete("/v1/keys/{id}", door.let_in(self.keys.revoke)),
            web.get("/v1/leads", door.let_in(look.leads)),
            web.get("/v1/leads/{id}", door.let_in(look.lead)),
            web.post("/v1/leads/{id}/outcome", door.called(self._outcome)),
            web.post("/v1/leads/{id}/erase", door.called(self.erasures.lead)),
            web.get("/v1/erasures", door.let_in(self.erasures.list_all)),
            web.post("/v1/erasures", door.called(self.erasures.person)),
            web.get("/v1/leads/{id}/callback", door.let_in(self.callbacks.read)),
            web.post("/v1/leads/{id}/callback", door.called(self.callbacks.again)),
            web.get("/v1/pings/{id}", door.let_in(look.ping)),
            web.get("/v1/sales", door.called(look.sales)),
            *return_routes(self.returns, door.called, decides=True),
            web.get("/v1/audit", door.let_in(look.audit)),
        ]

    async def _outcome(self, request: web.Request, caller: Caller) -> web.Response:
        return await post_outcome(self._store, self._http, request, caller)


def catalogue_routes(
    desk: CatalogueDesk, kind: str, on: Callable[[str, OfKind], Handler]
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
