"""The listener of operators."""

from exchange.http.deposits import NewDeposit
from exchange.http.erasing import EraseLead, ErasePerson
from exchange.http.keys import NewKey
from exchange.http.openapi import answers, books, examples
from exchange.http.openapi.common import after_sales, contract_affairs, documents, service
from exchange.http.openapi.operation import (
    CHECKED,
    IDEMPOTENCY,
    KEY,
    MISSING,
    PAGED,
    PAGING,
    SLUG,
    Operation,
    Options,
    Parameter,
    Told,
    an_id,
    in_path,
    one_of,
)
from exchange.http.pausing import Why
from exchange.http.returning import Approval, Denial
from exchange.store.catalogue import KINDS

TITLE = "Ping-post exchange: operators"
TEXT = """Verticals, plans, sellers, buyers and contracts; keys, credit, returns; every lead's receipt.

Send `Authorization: Bearer KEY` with an admin's key. A change is judged together with everything that stands, told with
all its problems, written all or nothing, and live in every worker within a second. Money is written as a decimal string
(or a number) and answered as a string. Times are RFC 3339, UTC."""
_ADMIN: Options = {"roles": ("admin",)}


def operations() -> list[Operation]:
    """In the order in which they are read."""
    return [
        *(one for kind in KINDS for one in documents(kind, "admin")),
        *contract_affairs("admin"),
        *affairs(),
        *pauses(),
        *leads(),
        *erasures(),
        *after_sales("admin"),
        *decisions(),
        *keys(),
        *service(),
        Operation(
            id="scrape", method="GET", path="/metrics", tag="Service", summary="Series for Prometheus",
            answers=((200, Told(text="Of all workers of this machine.", kind="text/plain")),),
        ),
    ]  # fmt: skip


def affairs() -> list[Operation]:
    slug = in_path("slug", "Its slug.", "acme")
    money = {"amount": "25.00", "note": "wire 7"}
    return [
        Operation(
            id="close_breakers", method="POST", path="/v1/contracts/{slug}/health/reset", tag="Contracts",
            summary="Close its breakers everywhere", parameters=(in_path("slug", "Its slug.", "acme-tx"),), optional_body=True,
            answers=((200, Told(text="As it is now.", model=books.EndpointHealth)),), refused=(*KEY, *CHECKED, *MISSING), **_ADMIN,
        ),
        Operation(
            id="use_of_buyer", method="GET", path="/v1/buyers/{slug}/usage", tag="Buyers", summary="Caps and credit",
            parameters=(slug,), answers=((200, Told(text="As it is now.", model=books.BuyerUsage)),), refused=(*KEY, *MISSING), **_ADMIN,
        ),
        Operation(
            id="deposit", method="POST", path="/v1/buyers/{slug}/deposits", tag="Buyers", summary="More credit",
            parameters=(slug, IDEMPOTENCY), body=NewDeposit, examples=(("A wire", money),),
            answers=((201, Told(text="Booked.", model=books.Deposit)),),
            refused=(*KEY, *CHECKED, *MISSING, (422, "idempotency_mismatch")), **_ADMIN,
        ),
        Operation(
            id="read_audit", method="GET", path="/v1/audit", tag="History", summary="Every change of a document, newest first",
            parameters=(one_of("kind", "Only of this kind.", *KINDS), Parameter(name="slug", text="Only of this one.", schema=SLUG), *PAGING),
            answers=((200, Told(text="A page.", model=answers.Page[books.Change])),), refused=(*KEY, *PAGED), **_ADMIN,
        ),
    ]  # fmt: skip


def pauses() -> list[Operation]:
    found = []
    for kind, example in (("buyer", "acme"), ("contract", "acme-tx")):
        for verb, text in (
            ("pause", "Neither pinged nor posted to"),
            ("resume", "As its `active` says again"),
        ):
            found.append(
                Operation(
                    id=f"{verb}_{kind}", method="POST", path=f"/v1/{kind}s/{{slug}}/{verb}", tag=f"{kind.title()}s",
                    summary=f"{verb.title()} a {kind}", text=f"{text}, within a second. The same again is 200.",
                    parameters=(in_path("slug", "Its slug.", example),), body=Why, optional_body=True,
                    examples=(("With a word", {"reason": "their tests fail"}),),
                    answers=((200, Told(text="As it is now.", model=books.PauseOfBuyer if kind == "buyer" else books.PauseOfContract)),),
                    refused=(*KEY, *CHECKED, *MISSING), **_ADMIN,
                )
            )  # fmt: skip
    return found


def leads() -> list[Operation]:
    filters = (
        Parameter(name="external_id", text="The seller's own id."),
        one_of("state", "Only those.", "open", "sold", "unsold", "gone"),
        Parameter(name="seller", text="Only of this seller.", schema=SLUG),
    )
    return [
        Operation(
            id="list_leads", method="GET", path="/v1/leads", tag="Leads", summary="Leads, newest first", parameters=(*filters, *PAGING),
            answers=((200, Told(text="A page.", model=answers.Page[books.LeadHead])),), refused=(*KEY, *PAGED), **_ADMIN,
        ),
        Operation(
            id="read_lead", method="GET", path="/v1/leads/{id}", tag="Leads", summary="The whole receipt",
            text="With attempts, transfers and late bids. The person stays masked.", parameters=(an_id("lead", examples.LEAD),),
            answers=((200, Told(text="The receipt.", model=books.LeadReceipt)),), refused=(*KEY, *MISSING), **_ADMIN,
        ),
        Operation(
            id="read_callback", method="GET", path="/v1/leads/{id}/callback", tag="Leads", summary="How its seller's callback stands",
            parameters=(an_id("lead", examples.LEAD),), refused=(*KEY, *MISSING),
            answers=((200, Told(text="As it is now.", model=books.Callback)),), **_ADMIN,
        ),
        Operation(
            id="send_callback", method="POST", path="/v1/leads/{id}/callback", tag="Leads", summary="Send its callback again",
            text="One that was given up, or delivered, is sent at once. One that has not ended is under way as it is.",
            parameters=(an_id("lead", examples.LEAD),), optional_body=True, refused=(*KEY, *CHECKED, *MISSING),
            answers=((202, Told(text="As it is now.", model=books.Callback)),), **_ADMIN,
        ),
        Operation(
            id="read_ping", method="GET", path="/v1/pings/{id}", tag="Leads", summary="A ping's receipt",
            parameters=(an_id("ping", examples.PING),), refused=(*KEY, *MISSING),
            answers=((200, Told(text="The receipt.", model=books.PingReceipt)),), **_ADMIN,
        ),
    ]  # fmt: skip


def erasures() -> list[Operation]:
    text = """The person, and all that could name him, is destroyed for good; money, outcome and reasons stay. A lead with a
post under way, or one without an outcome, waits for it."""
    return [
        Operation(
            id="erase_lead", method="POST", path="/v1/leads/{id}/erase", tag="Erasure", summary="Erase a lead's person", text=text,
            parameters=(an_id("lead", examples.LEAD),), body=EraseLead, optional_body=True, examples=(("Only look", {"dry_run": True}),),
            answers=((200, Told(text="Erased.", model=books.EraseLeadAnswer)), (202, Told(text="It waits.", model=books.EraseLeadAnswer))),
            refused=(*KEY, *CHECKED, *MISSING), **_ADMIN,
        ),
        Operation(
            id="erase_person", method="POST", path="/v1/erasures", tag="Erasure", summary="Erase a person in every lead",
            text=text + " Name exactly one of the three. Once erased, nobody is found by e-mail or phone any more: keep the answer.",
            body=ErasePerson, examples=(("By e-mail", {"email": "ann@example.com"}), ("Only look", {"phone": "+15125550123", "dry_run": True})),
            answers=((200, Told(text="What was erased, and who has it.", model=books.ErasedPerson)),),
            refused=(*KEY, *CHECKED, *MISSING), **_ADMIN,
        ),
        Operation(
            id="list_erasures", method="GET", path="/v1/erasures", tag="Erasure", summary="Erasures, newest first",
            parameters=(one_of("state", "Only those.", "waiting", "done"), *PAGING),
            answers=((200, Told(text="A page.", model=answers.Page[books.Erasure])),), refused=(*KEY, *PAGED), **_ADMIN,
        ),
    ]  # fmt: skip


def decisions() -> list[Operation]:
    back = (an_id("ret", examples.RETURN),)
    done = ((200, Told(text="The return.", model=books.Return)),)
    common: Options = {"tag": "Returns", "parameters": back, "answers": done, **_ADMIN}
    refused = (*KEY, *CHECKED, *MISSING, (409, "contrary_outcome"))
    return [
        Operation(
            id="approve_return", method="POST", path="/v1/returns/{id}/approve", summary="The money goes back", body=Approval,
            text="What the contract's policy says may be overridden. The same again is 200, a contrary word 409.",
            examples=(("By the policy", {"note": "called it"}),), refused=refused, **common,
        ),
        Operation(
            id="deny_return", method="POST", path="/v1/returns/{id}/deny", summary="The sale stands", body=Denial,
            examples=(("With a word", {"note": "the number works"}),), refused=refused, **common,
        ),
    ]  # fmt: skip


def keys() -> list[Operation]:
    key = in_path("id", "A key's id.", "5f2c01aa", (("type", "string"),))
    return [
        Operation(
            id="list_keys", method="GET", path="/v1/keys", tag="Keys", summary="Keys, oldest first", parameters=PAGING,
            answers=((200, Told(text="A page.", model=answers.Page[books.ListedKey])),), refused=(*KEY, *PAGED), **_ADMIN,
        ),
        Operation(
            id="create_key", method="POST", path="/v1/keys", tag="Keys", summary="A new key, shown this once", body=NewKey,
            examples=(("For a seller", {"role": "seller", "owner": "roofquotes"}),),
            answers=((201, Told(text="The key.", model=books.FreshKey)),), refused=(*KEY, *CHECKED), **_ADMIN,
        ),
        Operation(
            id="revoke_key", method="DELETE", path="/v1/keys/{id}", tag="Keys", summary="Revoke a key",
            text="Refused everywhere within a second.", parameters=(key,),
            answers=((204, Told(text="Revoked.")),), refused=(*KEY, *MISSING), **_ADMIN,
        ),
    ]  # fmt: skip
