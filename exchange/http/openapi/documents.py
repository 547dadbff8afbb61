"""Documents as the API describes them: the models that check them, with every part spelled out."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from buyers.contract import Op
from exchange.conditions import MILES_MAX
from exchange.documents.models import (
    BuyerDocument,
    ContractDocument,
    Factor,
    Money,
    PlanDocument,
    SellerDocument,
    Slug,
)
from exchange.fields import Field as LeadField
from exchange.verticals import VerticalHead


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Margin(_Strict):
    """What the exchange keeps of a pay price: floor(pay × percent) + fixed."""

    percent: Factor = "0"
    fixed: Money = "0"


class Near(_Strict):
    """The value of `zip_within`."""

    zip: Annotated[str, Field(pattern=r"^\d{5}$")]
    miles: Annotated[float, Field(gt=0, le=MILES_MAX)]


class FilterCondition(_Strict):
    """False on an absent field, but for `exists` with false. `between` takes the two ends."""

    field: Annotated[str, Field(examples=["state", "drivers.0.age"])]
    op: Op
    value: str | int | float | bool | list[str | int | float] | Near | None = None


class AnyOf(_Strict):
    """One of these must hold."""

    any: Annotated[list["Filter"], Field(min_length=1)]


class Negation(_Strict):
    """This must not hold."""

    negated: Annotated["Filter", Field(alias="not")]


Filter = FilterCondition | AnyOf | Negation


class Contract(ContractDocument):
    """A buyer's standing order in one vertical. Its secret reads masked."""

    filters: list[Filter] = Field(default=[])


class Seller(SellerDocument):
    """Who sends leads. `margin` null: the vertical's. `callback_url` gets the final answer of every lead
    that was answered 202, signed with `callback_secret`, which is made if none is given, shown once, and
    reads masked."""

    margin: Margin | None = None  # type: ignore[assignment]


class Buyer(BuyerDocument):
    """Who takes leads. `credit` null: postpaid; it is booked once, and moves by deposits and sales."""


class Plan(PlanDocument):
    """A vertical's ordered tiers: an auction at most, and first; then the waterfall."""


class Vertical(VerticalHead):
    """A kind of lead. `ping` fields are shown to everybody asked, `post` ones to who wins."""

    margin: Margin | None = None
    fields: Annotated[list[LeadField], Field(min_length=1, max_length=200)]


DOCUMENTS: dict[str, type[BaseModel]] = {
    "vertical": Vertical, "plan": Plan, "seller": Seller, "buyer": Buyer, "contract": Contract,
}  # fmt: skip
__all__ = ["DOCUMENTS", "Buyer", "Contract", "Margin", "Plan", "Seller", "Slug", "Vertical"]
