"""Callbacks in the console: the seller's form and page, the lead's page, the word to send it again."""

from uuid import UUID

import orjson

from exchange.office.console.api import may_call
from exchange.receipt import read
from exchange.store.rows import Closing, LeadState
from tests.console.offices import ConsoleOffice

SELLER = "/console/sellers/roofquotes"
API = "/console/v1/sellers/roofquotes"
HOOK = "https://quotes.example/hook"


async def given_up(desk: ConsoleOffice) -> str:
    """A lead whose callback was given up."""
    market = desk.market
    lead, text = await market.lead()
    await market.store.owe_callback(lead)
    answer = orjson.dumps({"lead_id": text, "outcome": "unsold", "reason": "deadline"})
    await market.store.close_lead(
        Closing(
            lead_id=lead, owner=1, state=LeadState.UNSOLD, reason="deadline", receipt=b"{}", answer=answer
        )
    )  # fmt: skip
    await market.store.db.execute(
        "UPDATE callback SET state = 'given_up', tries = 9, last_status = 503, last_reason = 'http_503', last_at = now()"
    )
    return text


async def test_a_seller_gets_an_address_and_a_secret_once(desk: ConsoleOffice) -> None:
    """The form has both; the page shows the address, never the secret; emptied, both are gone."""
    admin = await desk.signed_in("admin")
    form = (await admin.get(f"{SELLER}/edit")).text
    assert 'name="callback_url"' in form
    assert 'data-show="callback_secret"' in form
    assert "made for you, and shown once" in form
    saved = await admin.send("PATCH", API, {"callback_url": HOOK})
    secret = saved.json["callback_secret"]
    assert secret.startswith("whsec_")
    for path in (SELLER, f"{SELLER}/edit", "/console/audit?kind=seller&slug=roofquotes"):
        page = await admin.get(path)
        assert 200 == page.status
        assert secret not in page.text, path
    assert HOOK in (await admin.get(SELLER)).words
    assert "stays as it is" in (await admin.get(f"{SELLER}/edit")).text
    gone = await admin.send("PATCH", API, {"callback_url": None})
    assert (None, None) == (gone.json["callback_url"], gone.json["callback_secret"])
    assert "Give it an address" in (await admin.get(SELLER)).words


async def test_what_became_of_a_callback_is_seen_and_sent_again(desk: ConsoleOffice) -> None:
    """On the lead's page and the seller's; by who may change, and it is in the audit."""
    admin = await desk.signed_in("admin")
    await admin.send("PATCH", API, {"callback_url": HOOK})
    text = await given_up(desk)
    seller, lead = await admin.get(SELLER), await admin.get(f"/console/leads/{text}")
    assert "Given up 1" in seller.words
    assert text in seller.text
    for page in (seller, lead):
        assert "given up" in page.words
        assert "HTTP 503, try 9" in page.words
    assert "callback owed" in lead.words
    assert "Send it again" in lead.words
    again = f"/console/v1/leads/{text}/callback"
    viewer = await desk.signed_in("viewer")
    assert "Send it again" not in (await viewer.get(f"/console/leads/{text}")).words
    assert 403 == (await viewer.send("POST", again)).status
    operator = await desk.signed_in("operator")
    sent = await operator.send("POST", again)
    assert (202, "due") == (sent.status, sent.json["state"])
    noted = await desk.market.store.db.fetch(
        "SELECT by, what FROM console_event WHERE subject = $1", text
    )
    assert [("user:r-operator", "callback_again")] == [tuple(row) for row in noted]


async def named(desk: ConsoleOffice, text: str) -> None:
    """The small market's receipts do not say whose ping it was."""
    db = desk.market.store.db
    where = "id = (SELECT ping_id FROM lead WHERE id = $1)"
    raw = await db.fetchval(f"SELECT receipt FROM ping WHERE {where}", text[5:])
    receipt = orjson.dumps(read(raw) | {"seller": "roofquotes"})
    await db.execute(f"UPDATE ping SET receipt = $2 WHERE {where}", text[5:], receipt)


async def test_a_seller_sees_its_own_and_a_buyer_none(desk: ConsoleOffice) -> None:
    admin = await desk.signed_in("admin")
    await admin.send("PATCH", API, {"callback_url": HOOK})
    text, sold = await given_up(desk), desk.sold[0]
    for one in (text, sold):
        await named(desk, one)
    own = await desk.signed_in("seller")
    for path in (SELLER, f"/console/leads/{text}"):
        page = await own.get(path)
        assert 200 == page.status
        assert "given up" in page.words
        assert "Send it again" not in page.words
    assert not may_call("seller", "POST", "/v1/leads/{id}/callback")
    await desk.market.store.owe_callback(UUID(hex=sold[5:]))
    told = {
        role: await (await desk.signed_in(role)).get(f"/console/leads/{sold}")
        for role in ("buyer", "seller")
    }
    assert {200} == {page.status for page in told.values()}
    assert "callback owed" in told["seller"].words
    assert "callback" not in told["buyer"].words.lower()


async def test_the_posting_instructions_tell_of_it(desk: ConsoleOffice) -> None:
    """Headers, an example, the proof, the pauses; whether this seller has an address."""
    admin = await desk.signed_in("admin")
    path = f"{SELLER}/posting/roofing"
    page = await admin.get(path)
    for word in ("webhook-signature", "5 s, 30 s, 2 min and 10 min", "whsec_", "hash_hmac", "410"):
        assert word in page.text, word
    assert "You have none yet" in page.words
    await admin.send("PATCH", API, {"callback_url": HOOK})
    page = await admin.get(path)
    assert "You have none yet" not in page.words
    assert HOOK not in page.text  # it may be passed on by a link
