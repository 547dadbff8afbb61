"""POST /v1/buyers/{slug}/deposits: more credit for a buyer, once per Idempotency-Key."""

from dataclasses import dataclass
from typing import Annotated

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from buyers.money import format_micros, parse_micros
from exchange.documents import Money
from exchange.errors import Problem, Refusal
from exchange.http import changes
from exchange.http.access import Caller
from exchange.http.catalogue import slug_of
from exchange.http.idempotency import key_of
from exchange.http.limits import read_object
from exchange.http.problems import json_response
from exchange.http.requests import invalid, read_model
from exchange.settings import HttpSettings
from exchange.store.database import Database
from exchange.store.deposits import book_deposit
from exchange.store.reports import one_document


class NewDeposit(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)
    amount: Money
    note: Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")] = ""


@dataclass(frozen=True, slots=True)
class DepositDesk:
    """The handler of deposits. Who asks has been seen to be an admin."""

    db: Database
    http: HttpSettings

    async def deposit(self, request: web.Request, caller: Caller) -> web.Response:
        body = await read_object(request, self.http)
        slug, key = slug_of(request), key_of(request)
        buyer = changes.visible("buyer", await one_document(self.db, "buyer", slug), caller)
        wanted = read_model(NewDeposit, body)
        micros = parse_micros(wanted.amount)
        if micros == 0:
            raise invalid([Problem("amount", "out_of_range", "must be above 0")])
        path = request.path
        booked = await book_deposit(self.db, slug, micros, wanted.note, path=path, key=key)
        if not booked.same:
            raise Refusal(422, "idempotency_mismatch")
        currency = buyer.body["currency"]
        left = booked.available_micros
        answer = {
            "id": f"dep_{booked.ref.hex}",
            "amount": format_micros(micros, currency),
            "available": None if left is None else format_micros(left, currency),
        }
        return json_response(answer, 201)
