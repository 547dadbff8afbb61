"""Operations that both listeners have: health, this description, and documents."""

from exchange.http.openapi import answers, books, examples
from exchange.http.openapi.documents import DOCUMENTS
from exchange.http.openapi.operation import (
    CHECKED,
    IF_MATCH,
    KEY,
    MISSING,
    PAGED,
    PAGING,
    SLUG,
    Operation,
    Options,
    Parameter,
    Role,
    Told,
    an_id,
    in_path,
    one_of,
)
from exchange.http.outcomes import Outcome
from exchange.http.returning import NewReturn, NewReturnByAdmin

_TAGS = {"vertical": "Verticals", "plan": "Plans", "seller": "Sellers", "buyer": "Buyers", "contract": "Contracts"}  # fmt: skip
_EXAMPLES = {"vertical": "roofing", "plan": "roofing", "seller": "roofquotes", "buyer": "acme", "contract": "acme-tx"}  # fmt: skip
_TAKEN = ((409, "exists"), (409, "slug_retired"))
_STALE = ((412, "etag_mismatch"),)
_LATER = (
    (409, "changed_meanwhile"), (422, "not_certified"), (429, "rate_limited"), (429, "overloaded"),
)  # fmt: skip


def service() -> list[Operation]:
    """What needs no key."""
    html = "text/html"
    return [
        Operation(
            id="health", method="GET", path="/healthz", tag="Service", summary="The process answers",
            answers=((200, Told(text="It does.", model=answers.Health)),),
        ),
        Operation(
            id="ready", method="GET", path="/readyz", tag="Service", summary="It can do its work",
            answers=(
                (200, Told(text="Ready.", model=answers.Ready)),
                (503, Told(text="Not ready.", model=answers.Ready, headers=("Retry-After",))),
            ),
        ),
        Operation(
            id="describe", method="GET", path="/openapi.json", tag="Service", summary="This description",
            text="OpenAPI 3.1, made of the models that requests are checked with.",
            answers=((200, Told(text="The document.", model=answers.Object, headers=("ETag",))),),
        ),
        Operation(
            id="read_docs", method="GET", path="/docs", tag="Service", summary="This description as a page",
            answers=((200, Told(text="The page.", kind=html, headers=("ETag",))),),
        ),
    ]  # fmt: skip


def documents(kind: str, *roles: Role) -> list[Operation]:
    """List, create, read, replace, patch, retire."""
    model, page = DOCUMENTS[kind], books.DOCUMENT_PAGES[kind]
    many, one, tag = f"/v1/{kind}s", f"/v1/{kind}s/{{slug}}", _TAGS[kind]
    slug = in_path("slug", "A plan's is its vertical's." if kind == "plan" else "Its slug.", _EXAMPLES[kind])  # fmt: skip
    shown = Told(text=f"The {kind} as it is stored.", model=model, headers=("ETag",))
    body: Options = {"body": model, "examples": ((f"A {kind}", examples.DOCUMENTS[kind]),)}
    patch: Options = {
        "body": model,
        "patch": True,
        "examples": (("A change", examples.PATCHES[kind]),),
    }
    taken, later = _TAKEN[:1] if kind == "plan" else _TAKEN, _LATER if "buyer" in roles else ()
    judged = (*CHECKED, (422, "not_supported"), *((((422, "personal_data_in_ping")),) if kind == "vertical" else ()))  # fmt: skip
    if kind == "contract":
        judged = (*judged, *later)
    common: Options = {"tag": tag, "roles": roles}
    return [
        Operation(id=f"list_{kind}s", method="GET", path=many, summary=f"All {kind}s in force, by slug",
                  parameters=PAGING, answers=((200, Told(text="A page.", model=page)),), refused=(*KEY, *PAGED), **common),
        Operation(id=f"create_{kind}", method="POST", path=many, summary=f"A new {kind}", **body,
                  answers=((201, Told(text="Stored, and live within a second.", model=model, headers=("ETag", "Location"))),),
                  refused=(*KEY, *judged, *taken), **common),
        Operation(id=f"read_{kind}", method="GET", path=one, summary=f"One {kind}", parameters=(slug,),
                  answers=((200, shown),), refused=(*KEY, *MISSING), **common),
        Operation(id=f"put_{kind}", method="PUT", path=one, summary=f"Create or replace a {kind}", parameters=(slug, IF_MATCH),
                  answers=((200, shown), (201, Told(text="It is new.", model=model, headers=("ETag",)))), **body,
                  refused=(*KEY, *judged, *MISSING, *taken[1:], *_STALE), **common),
        Operation(id=f"patch_{kind}", method="PATCH", path=one, summary=f"Change a {kind} (RFC 7396)", parameters=(slug, IF_MATCH),
                  text="Null takes a property away, an object is merged, anything else replaces.", **patch,
                  answers=((200, shown),), refused=(*KEY, *judged, *MISSING, *_STALE), **common),
        Operation(id=f"retire_{kind}", method="DELETE", path=one, summary=f"Retire a {kind}", parameters=(slug, IF_MATCH),
                  text="Its slug is never used again; open posts come to their end." if kind == "contract" else "",
                  answers=((204, Told(text="Retired.")),), refused=(*KEY, *MISSING, (409, "in_use"), *_STALE), **common),
    ]  # fmt: skip


def contract_affairs(*roles: Role) -> list[Operation]:
    """What can be asked of one contract."""
    slug = in_path("slug", "Its slug.", "acme-tx")
    one = "/v1/contracts/{slug}"
    common: Options = {"tag": "Contracts", "roles": roles, "parameters": (slug,)}
    found = (*KEY, *MISSING)
    return [
        Operation(id="use_of_contract", method="GET", path=f"{one}/usage", summary="Caps and credit: limit, used, remaining",
                  answers=((200, Told(text="As it is now.", model=books.ContractUsage)),), refused=found, **common),
        Operation(id="list_versions", method="GET", path=f"{one}/versions", summary="Every version there was, newest first",
                  tag="Contracts", roles=roles, parameters=(slug, *PAGING), refused=(*found, *PAGED),
                  answers=((200, Told(text="A page.", model=answers.Page[books.ContractVersion])),)),
        Operation(id="certify_contract", method="POST", path=f"{one}/test", summary="Certify its endpoint now",
                  text="Sends about a dozen test pings and posts about a person who cannot exist, and shows every exchange.",
                  optional_body=True, answers=((200, Told(text="The report; `passed` says how it went.", model=books.Certificate)),),
                  refused=(*found, *CHECKED, *_LATER[2:]), **common),
        Operation(id="last_certificate", method="GET", path=f"{one}/certificate", summary="The last report on its endpoint",
                  answers=((200, Told(text="The report.", model=books.Certificate)),), refused=found, **common),
        Operation(id="health_of_contract", method="GET", path=f"{one}/health", summary="Breakers and failures, over all workers",
                  answers=((200, Told(text="As the workers find it.", model=books.EndpointHealth)),), refused=found, **common),
    ]  # fmt: skip


def after_sales(*roles: Role) -> list[Operation]:
    """Sales, outcomes and returns."""
    admin = "admin" in roles
    lead, back = an_id("lead", examples.LEAD), an_id("ret", examples.RETURN)
    status = one_of("status", "Only those.", "pending", "approved", "denied")
    contract = Parameter(name="contract", text="Only of this contract.", schema=SLUG)
    buyer = (Parameter(name="buyer", text="Only of this buyer.", schema=SLUG),) if admin else ()
    owner = (
        (Parameter(name="buyer", text="Whose.", schema=SLUG, required=True, example="acme"),)
        if admin
        else ()
    )
    common: Options = {"roles": roles}
    wish = {"lead_id": examples.LEAD, "reason": "disconnected_phone", "note": ""}
    returned = Told(text="The return.", model=books.Return)
    return [
        Operation(id="list_sales", method="GET", path="/v1/sales", tag="Sales", summary="Sales, newest award first, without the person",
                  parameters=(*owner, *PAGING), refused=(*KEY, *PAGED),
                  answers=((200, Told(text="A page.", model=answers.Page[books.BuyersSale])),), **common),
        Operation(id="tell_outcome", method="POST", path="/v1/leads/{id}/outcome", tag="Sales", summary="What became of an unconfirmed post",
                  text="The first definite word wins: the same again is 200, a contrary one 409.", parameters=(lead,),
                  body=Outcome, examples=(("Accepted", {"status": "accepted"}),), refused=(*KEY, *CHECKED, *MISSING, (409, "in_progress"), (409, "contrary_outcome")),
                  answers=((200, Told(text="Booked.", model=books.OutcomeBooked)),), **common),
        Operation(id="ask_return", method="POST", path="/v1/returns", tag="Returns", summary="Give a sold lead back",
                  body=NewReturnByAdmin if admin else NewReturn, examples=(("A number out of service", wish),),
                  answers=((200, Told(text="It was asked for before.", model=books.Return)), (201, returned)),
                  refused=(*KEY, *CHECKED, *MISSING, (409, "already_returned"), (422, "returns_not_allowed"),
                           (422, "return_reason_not_allowed"), (422, "return_window_over"), (422, "return_limit_reached")), **common),
        Operation(id="list_returns", method="GET", path="/v1/returns", tag="Returns", summary="Returns, newest first",
                  parameters=(status, contract, *buyer, *PAGING), refused=(*KEY, *PAGED),
                  answers=((200, Told(text="A page.", model=answers.Page[books.Return])),), **common),
        Operation(id="read_return", method="GET", path="/v1/returns/{id}", tag="Returns", summary="One return", parameters=(back,),
                  answers=((200, returned),), refused=(*KEY, *MISSING), **common),
    ]  # fmt: skip
