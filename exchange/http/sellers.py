"""The sellers' side of the public listener."""

from aiohttp import web

from exchange.house import House
from exchange.http.access import KeyRing
from exchange.http.desk import Desk
from exchange.http.leads import LeadDesk
from exchange.http.pings import PingDesk
from exchange.http.spec import SpecDesk
from exchange.http.valve import Valve


class SellerDesk:
    """Everything a seller's key opens."""

    def __init__(self, house: House, keys: KeyRing, valve: Valve | None = None) -> None:
        desk = Desk(house, keys)
        self.pings = PingDesk(desk, valve)
        self.leads = LeadDesk(desk)
        self.spec = SpecDesk(desk)

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/pings", self.pings.post_ping),
            web.get("/v1/pings/{id}", self.pings.get_ping),
            web.post("/v1/leads", self.leads.post_lead),
            web.get("/v1/leads", self.leads.find_leads),
            web.get("/v1/leads/{id}", self.leads.get_lead),
            web.get("/v1/spec", self.spec.get_specs),
            web.get("/v1/spec/{vertical}", self.spec.get_spec),
        ]
