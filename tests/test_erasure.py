"""Persons erased: nothing of them is left anywhere, and nothing of the books is changed."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
import orjson
import pytest

from exchange import erasure
from exchange.chores import erasing, indexing
from exchange.chores.erasing import Erasing
from exchange.ids import new_uuid, read_id, write_id
from exchange.operating import explain, verify
from exchange.persons import Kind, find_by
from exchange.recalling import recall
from exchange.recovery import one_round
from exchange.resolving import attempt_meant, book_word, resolve
from exchange.sealing import SealBroken, Vault
from exchange.store.database import connect
from exchange.store.erasures import Asking, erase, erase_some, leads_of, standings
from exchange.store.rows import AttemptState, Closing, LeadState, NewLead
from exchange.store.views.leads import look_up
from tests.erasing import (
    ASKED,
    PERSON,
    TAKEN,
    Market,
    everything,
    id_of,
    money,
    open_market,
    traces,
)

ASKING = Asking(why="request", by="cli")
ANOTHER_SPELLING = "ZEB.quirk@EXAMPLE.com"


@pytest.fixture
async def market(database: str) -> AsyncIterator[Market]:
    async with open_market(database) as found:
        yield found


@pytest.fixture
async def chores(database: str) -> AsyncIterator[Any]:
    """A connection as the office's chores have it."""
    connection = await connect(database)
    yield connection
    await connection.close()


# --- what is left of what -------------------------------------------------------------------------

SAID = {"reason": "rejected", "status": 200, "elapsed_ms": 1.5, "price_said_micros": 7}
NAMED = {"note": "Ann again", "buyer_ref": "ann-7", "redirect_url": "https://x.example/ann"}
ANN = {"name": "Ann", "phone": "+12125550123", "zip": "59301"}
PING = {"ping_id": "p", "rules": {"floor": 1}, "offers": [{"contract": "c"}], "ranking": []}


@pytest.mark.parametrize(
    ("bare", "before", "after"),
    [
        (erasure.bare_detail, SAID | NAMED, SAID),
        (erasure.bare_receipt, {"reason": None, "attempts": [{"contract": "c"} | NAMED]}, {"reason": None, "attempts": [{"contract": "c"}]}),
        (erasure.bare_answer, {"price": "9.60", "redirect_url": "https://x.example/ann"}, {"price": "9.60", "redirect_url": None}),
        (lambda raw: erasure.bare_ping(raw, ANN), PING | {"fields": {"zip": "59301"}, "asked": [{"note": "not in 59301", "ms": 1}]},
         PING | {"fields": {}, "erased": True, "asked": [{"ms": 1}]}),
        (lambda raw: erasure.bare_ping(raw, ANN), PING | {"fields": {}, "sub_id": "fb-7", "external_id": "212-555-0123"},
         PING | {"fields": {}, "erased": True, "sub_id": "fb-7", "external_id": None}),
    ],
)  # fmt: skip
def test_what_stays_of_what_was_said(
    bare: Any, before: dict[str, Any], after: dict[str, Any]
) -> None:
    assert after == orjson.loads(bare(orjson.dumps(before)))


def test_what_names_nobody_stays_byte_for_byte() -> None:
    raw = b'{"price": "9.60",  "redirect_url": null}'

    assert raw == erasure.bare_answer(raw)
    assert b'{ "reason":"x"}' == erasure.bare_detail(b'{ "reason":"x"}')


@pytest.mark.parametrize(
    ("text", "person", "stays"),
    [
        ("form-77", ANN, True),
        ("59301-a", ANN, True),  # the ping said so: its ZIP code is no name
        ("lead of ann", ANN, False),
        ("2125550123", ANN, False),
        ("Ann_77", ANN, False),
        ("77ann-b", ANN, False),
        ("e%3Dx%26p%3D%2B12125550123", ANN, False),
        ("annex_77", ANN, True),
        ("form-77", None, False),  # nobody can tell any more
        (None, ANN, False),
    ],
)
def test_a_sellers_own_id_stays_unless_it_names_the_person(
    text: str | None, person: dict[str, Any] | None, stays: bool
) -> None:
    personal = erasure.personal_names({"fields": {"zip": "59301"}}, person)

    assert (text if stays else None) == erasure.unnamed(text, person, personal)


@pytest.mark.parametrize(
    ("kind", "text", "same"),
    [
        ("email", "ann@example.com", True),
        ("email", " Ann@Example.COM ", True),
        ("email", "ann@example.org", False),
        ("phone", "+12125550123", True),
        ("phone", "(212) 555-0123", True),
        ("phone", "1-212-555-0124", False),
    ],
)
def test_however_it_is_spelled(kind: Kind, text: str, same: bool) -> None:
    vault = Vault(b"k" * 32, secrets.token_bytes)
    stored = {"email": "ann@example.com", "phone": "+12125550123"}[kind]

    found = find_by(vault, kind, text)
    assert same is (vault.blind(kind, stored) in found)
    assert () == find_by(vault, kind, "no such thing")


def test_an_address_that_was_stored_before_case_was_left_out_is_found() -> None:
    vault = Vault(b"k" * 32, secrets.token_bytes)

    assert vault.blind("email", "Ann@example.com") in find_by(vault, "email", "Ann@example.com")


# --- everything of one person ---------------------------------------------------------------------


async def test_nothing_of_the_person_is_left_and_the_books_stay(market: Market) -> None:
    sold = await market.lead(external_id="zeb.quirk@example.com")
    lead = sold["lead_id"]
    back = {"lead_id": lead, "reason": "wrong_person", "note": "Zebulon hung up"}
    assert 201 == (await market.offices.zenith("POST", "/v1/returns", back)).status
    was, books = await traces(market.dsn), await money(market.dsn)
    ping_table = next(name for name in was if name.startswith("ping_2"))
    assert {"attempt.detail", "lead.answer", "lead.receipt", "lead.external_id", "sale_return.note", ping_table} <= was.keys()  # fmt: skip

    answer = await market.admin("POST", "/v1/erasures", {"email": ANOTHER_SPELLING})

    assert (200, [], False) == (answer.status, answer.body["waiting"], answer.body["dry_run"])
    (erased,) = answer.body["erased"]
    assert (lead, None, []) == (erased["lead_id"], erased["reason"], erased["waits_for"])
    told = [(one["buyer"], one["contract"], one["state"]) for one in erased["received_by"]]
    assert [("acme", "top", "rejected"), ("zenith", "good", "accepted")] == told
    assert [one["attempt_id"] for one in erased["received_by"]] == [id_ for _, id_ in market.posts]
    assert {} == await traces(market.dsn)
    assert books == await money(market.dsn)
    assert [] == (await verify(market.dsn))[0]


async def test_neither_key_nor_index_opens_or_finds_it(market: Market) -> None:
    lead = id_of((await market.lead())["lead_id"])
    store, vault = market.offices.store, market.offices.vault
    before = await store.lead(lead)
    assert before is not None
    assert PERSON["first_name"] == vault.open(str(lead), before.person)["first_name"]
    indexes = {kind: find_by(vault, kind, PERSON[kind]) for kind in ("email", "phone")}  # type: ignore[arg-type]
    assert [[lead], [lead]] == [
        await leads_of(store.db, kind, one) for kind, one in indexes.items()
    ]  # type: ignore[arg-type]

    await erase(store.db, vault, [lead], ASKING)

    row = await store.lead(lead)
    assert row is not None
    assert (None, b"") == (row.person.key, row.person.body)
    with pytest.raises(SealBroken):
        vault.open(str(lead), row.person)
    assert [[], []] == [await leads_of(store.db, kind, one) for kind, one in indexes.items()]  # type: ignore[arg-type]
    dump = "\n".join(line for rows in (await everything(market.dsn)).values() for line in rows)
    for one in (*indexes["email"], *indexes["phone"], before.person.body, before.person.key or b""):
        assert one.hex() not in dump


async def test_life_goes_on_after_it(market: Market) -> None:
    """The seller is answered as before, but for the page the consumer was sent to; the buyer gives the
    lead back; what it says of the person then is not kept."""
    ping = (await market.sell("POST", "/v1/pings", {"vertical": "roofing", "fields": ASKED})).body
    body = {"ping_id": ping["ping_id"], "fields": PERSON, "external_id": "form-77"}
    first = await market.sell("POST", "/v1/leads", body, Idempotency_Key="k-1")
    lead = first.body["lead_id"]
    assert first.body["redirect_url"]
    done = await market.admin("POST", f"/v1/leads/{lead}/erase")
    assert (200, lead) == (done.status, done.body["lead_id"])

    told = first.body | {"redirect_url": None}
    assert told == (await market.sell("POST", "/v1/leads", body, Idempotency_Key="k-1")).body
    assert told == (await market.sell("POST", "/v1/leads", body)).body
    (seen,) = (await market.sell("GET", "/v1/leads?external_id=form-77")).body["items"]
    assert (told["price"], None) == (seen["price"], seen["redirect_url"])
    (sale,) = (await market.offices.zenith("GET", "/v1/sales")).body["items"]
    assert (done.body["erased_at"], None) == (sale["erased_at"], sale["buyer_ref"])
    back = {"lead_id": lead, "reason": "fraud", "note": "Zebulon is no Quirk"}
    asked = await market.offices.zenith("POST", "/v1/returns", back)
    assert (201, "") == (asked.status, asked.body["note"])
    path = f"/v1/returns/{asked.body['return_id']}/approve"
    approved = await market.admin("POST", path, {"note": "granny it is"})
    assert (200, "approved", "") == (
        approved.status, approved.body["status"], approved.body["decision_note"],
    )  # fmt: skip
    assert {} == await traces(market.dsn)
    assert [] == (await verify(market.dsn))[0]


async def test_it_is_told_when_by_whom_and_why(market: Market) -> None:
    lead = (await market.lead())["lead_id"]
    store, db = market.offices.store, market.offices.store.db

    async def why() -> str:
        lines = await explain(store, lead, lambda record: recall(db, record), lambda id_, record: look_up(db, id_, record))  # fmt: skip
        return "\n".join(lines)

    assert "erase" not in await why()
    assert None is (await market.admin("GET", f"/v1/leads/{lead}")).body["erased_at"]
    await market.admin("POST", "/v1/erasures", {"lead_id": lead})
    receipt = (await market.admin("GET", f"/v1/leads/{lead}")).body
    by = receipt["erasure"]["by"]
    assert (None, "request", True) == (receipt["person"], receipt["erasure"]["why"], by.startswith("key:"))  # fmt: skip
    assert receipt["erasure"]["erased_at"] == receipt["erased_at"] is not None
    assert "  erased  its person " in await why()
    assert f"by {by} (request)" in await why()
    (listed,) = (await market.admin("GET", "/v1/erasures?state=done")).body["items"]
    assert receipt["erasure"] == listed
    assert [] == (await market.admin("GET", "/v1/erasures?state=waiting")).body["items"]
    events = await db.fetch("SELECT by, what, subject, detail::text AS detail FROM console_event")
    assert [(by, "erased", lead, "{}")] == [tuple(one) for one in events]


async def test_again_changes_nothing(market: Market) -> None:
    lead = (await market.lead())["lead_id"]
    first = (await market.admin("POST", f"/v1/leads/{lead}/erase")).body
    before = await everything(market.dsn)

    again = await market.admin("POST", f"/v1/leads/{lead}/erase", {})
    assert (200, first) == (again.status, again.body)
    nobody = await market.admin("POST", "/v1/erasures", {"phone": PERSON["phone"]})
    assert ([], []) == (nobody.body["erased"], nobody.body["waiting"])
    assert before == await everything(market.dsn)


async def test_a_dry_run_changes_nothing(market: Market) -> None:
    lead = (await market.lead())["lead_id"]
    before = await everything(market.dsn)

    for path, body in (
        ("/v1/erasures", {"phone": "212.555.0188"}),
        (f"/v1/leads/{lead}/erase", {}),
    ):
        found = await market.admin("POST", path, body | {"dry_run": True})
        (one,) = found.body.get("erased", [found.body])
        assert (200, lead, None, 2) == (found.status, one["lead_id"], one["erased_at"], len(one["received_by"]))  # fmt: skip
    assert before == await everything(market.dsn)


async def test_all_leads_of_one_person_and_nobody_elses(market: Market) -> None:
    """By phone also the one that came with another address; a test's person is a person, too."""
    mine = [(await market.lead())["lead_id"], (await market.lead(fields=ASKED | PERSON | {"email": "z@example.org"}))["lead_id"]]  # fmt: skip
    test = await market.sell("POST", "/v1/leads", {"vertical": "roofing", "fields": ASKED | PERSON, "test": True})  # fmt: skip
    other = (await market.lead(fields=ASKED | PERSON | {"phone": "+12125550177", "email": "else@example.com"}))["lead_id"]  # fmt: skip

    found = (await market.admin("POST", "/v1/erasures", {"phone": PERSON["phone"]})).body
    assert {*mine, test.body["lead_id"]} == {one["lead_id"] for one in found["erased"]}
    row = await market.offices.store.lead(id_of(other))
    assert row is not None
    assert row.person.key is not None


async def test_whom_a_test_was_posted_to_is_told_too(market: Market) -> None:
    """Its posts are in no book, but its buyers got a person. Of an unconfirmed one nobody ever asks."""
    market.says["top"] = 500
    lead = (await market.lead(test=True))["lead_id"]

    dry = (await market.admin("POST", f"/v1/leads/{lead}/erase", {"dry_run": True})).body
    done = await market.admin("POST", f"/v1/leads/{lead}/erase")
    assert (200, []) == (done.status, done.body["waits_for"])
    (told,) = done.body["received_by"]
    assert ("acme", "top", "unconfirmed") == (told["buyer"], told["contract"], told["state"])
    assert [("top", told["attempt_id"])] == market.posts
    assert done.body["received_by"] == dry["received_by"]
    assert done.body == (await market.admin("POST", f"/v1/leads/{lead}/erase")).body


async def test_an_address_is_found_in_any_spelling_also_of_a_lead_from_before(
    market: Market, chores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its index had the case of the address: neither the search found it by another, nor dedupe."""
    before = [id_of((await market.lead())["lead_id"]) for _ in range(5)]
    store, vault = market.offices.store, market.offices.vault
    cased = vault.blind("email", "Zeb.Quirk@example.com")
    await store.db.execute("UPDATE lead SET email_index = $1", cased)
    new = id_of((await market.lead())["lead_id"])
    await erase(store.db, vault, before[:1], ASKING)
    index = find_by(vault, "email", ANOTHER_SPELLING)
    assert [new] == await leads_of(store.db, "email", index)

    monkeypatch.setattr(indexing, "SLICE_MAX", 2)
    monkeypatch.setattr(indexing, "SLICES_MAX", 1)
    rounds = indexing.Indexing(vault)
    await rounds.index_emails(chores)
    assert [before[4], new] == await leads_of(store.db, "email", index), "the newest first"
    for _ in range(3):
        await rounds.index_emails(chores)
    assert [*before[1:], new] == await leads_of(store.db, "email", index)
    await store.db.execute("UPDATE lead SET email_index = $1 WHERE id = $2", cased, new)
    await rounds.index_emails(chores)
    assert before[1:] == await leads_of(store.db, "email", index), "never again"


# --- what has to wait -----------------------------------------------------------------------------


async def unconfirmed(market: Market) -> tuple[str, UUID]:
    """A lead whose post nobody knows the outcome of: the lead and the attempt."""
    market.says["top"] = 500
    answer = await market.lead(max_wait_ms=1500)
    assert "pending" == answer["outcome"]
    (attempt,) = await market.offices.store.attempts(id_of(answer["lead_id"]))
    assert AttemptState.UNCONFIRMED is attempt.state
    return answer["lead_id"], attempt.id


async def test_an_open_post_delays_it_and_then_it_is_carried_out(
    market: Market, chores: Any
) -> None:
    lead, _ = await unconfirmed(market)
    erasings = Erasing(0, market.offices.vault)

    asked = await market.admin("POST", f"/v1/leads/{lead}/erase")
    assert (202, None, "in_progress", ["top"]) == (
        asked.status, asked.body["erased_at"], asked.body["reason"], asked.body["waits_for"],
    )  # fmt: skip
    assert [("acme", "unconfirmed")] == [(one["buyer"], one["state"]) for one in asked.body["received_by"]]  # fmt: skip
    found = (await market.admin("POST", "/v1/erasures", {"email": ANOTHER_SPELLING})).body
    assert ([], [lead]) == (found["erased"], [one["lead_id"] for one in found["waiting"]])
    (waiting,) = (await market.admin("GET", "/v1/erasures?state=waiting")).body["items"]
    await erasings.erase_waiting(chores)
    row = await market.offices.store.lead(id_of(lead))
    assert row is not None
    assert PERSON["phone"] == market.offices.vault.open(str(row.id), row.person)["phone"], "it may be sent again"  # fmt: skip

    word = await market.admin("POST", f"/v1/leads/{lead}/outcome", {"status": "accepted"})
    assert 200 == word.status
    await erasings.erase_waiting(chores)
    assert await traces(market.dsn), "its seller has not been answered for good"
    await one_round(market.house, sweep=False)
    assert 0 == await market.house.drain(10)
    await erasings.erase_waiting(chores)

    assert {} == await traces(market.dsn)
    (done,) = (await market.admin("GET", "/v1/erasures")).body["items"]
    assert waiting == done | {"erased_at": None}
    assert done["erased_at"] is not None
    assert [] == (await verify(market.dsn))[0]
    counted = await market.offices.store.db.fetch("SELECT why, n FROM erasure_count")
    assert [("request", 1)] == [tuple(one) for one in counted]


async def test_who_asks_goes_before_his_age(market: Market) -> None:
    """Whoever asked is in the audit, also where the lead waited already because it is old."""
    lead, _ = await unconfirmed(market)
    store, vault = market.offices.store, market.offices.vault
    await erase(store.db, vault, [id_of(lead)], Asking(why="retention", by="chores"))

    await market.admin("POST", f"/v1/leads/{lead}/erase")
    (waiting,) = (await market.admin("GET", "/v1/erasures?state=waiting")).body["items"]
    assert ("request", True) == (waiting["why"], waiting["by"].startswith("key:"))
    who = await store.db.fetch(
        "SELECT by FROM console_event WHERE by <> 'chores' AND what = 'erased'"
    )
    assert [waiting["by"]] == [row[0] for row in who]
    await erase(store.db, vault, [id_of(lead)], Asking(why="retention", by="chores"))
    await erase(store.db, vault, [id_of(lead)], Asking(why="request", by="cli"))
    (still,) = (await market.admin("GET", "/v1/erasures?state=waiting")).body["items"]
    assert waiting == still, "of two who ask, the first"


async def test_one_post_of_a_sold_lead_without_an_outcome_is_enough_to_wait(market: Market) -> None:
    lead = id_of((await market.lead())["lead_id"])
    db = market.offices.store.db
    await db.execute("UPDATE attempt SET state = 'unconfirmed', slot = 1, shares = 2 WHERE contract = 'top'")  # fmt: skip

    (stands,) = await erase(db, market.offices.vault, [lead], ASKING)
    assert (False, True, ("top",), False) == (stands.done, stands.waits, stands.waits_for, stands.is_open)  # fmt: skip
    said = await market.admin("POST", "/v1/erasures", {"lead_id": write_id("lead", lead)})
    assert ["unconfirmed"] == [one["reason"] for one in said.body["waiting"]]


async def test_who_sends_again_finds_nobody_to_send(market: Market) -> None:
    """The re-send has claimed its attempt; before it reads the lead, a person has said what became of the
    post, the lead has ended, and its person is erased."""
    lead, attempt = await unconfirmed(market)
    store = market.house.store
    (claimed,) = await store.due(market.house.worker, attempt)
    sent, read = len(market.posts), store.lead

    async def erased_meanwhile(lead_id: UUID) -> Any:
        found = await market.admin("POST", f"/v1/leads/{lead}/outcome", {"status": "accepted"})
        assert 200 == found.status
        closing = Closing(lead_id=lead_id, owner=1, state=LeadState.SOLD, reason=None, receipt=b'{"attempts":[]}', answer=b"{}")  # fmt: skip
        await store.close_lead(closing)
        assert 200 == (await market.admin("POST", f"/v1/leads/{lead}/erase")).status
        return await read(lead_id)

    store.lead = erased_meanwhile  # type: ignore[method-assign]
    assert None is await resolve(market.house, claimed)
    store.lead = read  # type: ignore[method-assign]
    assert sent == len(market.posts)
    assert {} == await traces(market.dsn)
    assert [] == (await verify(market.dsn))[0]


async def test_a_race_with_words_and_re_sends(market: Market, chores: Any) -> None:
    """Whoever is first, in the end all are erased, once each, and the books are whole."""
    waiting = [await unconfirmed(market) for _ in range(6)]
    market.says["top"] = TAKEN
    store, vault = market.offices.store, market.offices.vault

    async def word(lead: str, said: AttemptState) -> None:
        meant = attempt_meant(await store.attempts(id_of(lead)), None)
        assert meant is not None
        await book_word(store, meant, said)

    async def again(attempt: UUID) -> None:
        for claimed in await market.house.store.due(market.house.worker, attempt):
            await resolve(market.house, claimed)

    await asyncio.gather(
        *(erase(store.db, vault, [id_of(lead)], ASKING) for lead, _ in waiting),
        *(word(lead, AttemptState.ACCEPTED) for lead, _ in waiting[:3]),
        *(again(attempt) for _, attempt in waiting[2:]),
        *(erase(store.db, vault, [id_of(lead)], ASKING) for lead, _ in waiting[::-1]),
    )
    while any(one.waits for one in await standings(store.db, [id_of(lead) for lead, _ in waiting])):
        await one_round(market.house, sweep=False)
        assert 0 == await market.house.drain(10)
    await Erasing(0, vault).erase_waiting(chores)

    assert {} == await traces(market.dsn)
    assert [("request", 6)] == [tuple(one) for one in await store.db.fetch("SELECT * FROM erasure_count")]  # fmt: skip
    assert [] == (await verify(market.dsn))[0]


async def test_what_somebody_else_holds_is_done_later_and_told_with_the_rest(
    market: Market, chores: Any
) -> None:
    """An answer that broke off in the middle would have lost whom to tell."""
    leads = [(await market.lead())["lead_id"] for _ in range(2)]
    async with chores.transaction():
        await chores.execute("SELECT 1 FROM lead WHERE id = $1 FOR UPDATE", id_of(leads[1]))
        asked = await market.admin("POST", "/v1/erasures", {"phone": PERSON["phone"]})
    assert 200 == asked.status
    (done,), (waits,) = asked.body["erased"], asked.body["waiting"]
    assert leads == [done["lead_id"], waits["lead_id"]]
    assert ("in_progress", 2) == (waits["reason"], len(waits["received_by"]))

    await Erasing(0, market.offices.vault).erase_waiting(chores)
    assert {} == await traces(market.dsn)


async def test_a_ping_is_not_kept_as_it_was_before(
    market: Market, chores: Any, database: str
) -> None:
    """Its day is being dropped while its fields are erased: who copies it waits, and copies what is left."""
    lead = id_of((await market.lead())["lead_id"])
    table = f"ping_{datetime.now(UTC):%Y%m%d}"
    other = await asyncpg.connect(database)
    keep = f"SELECT keep_pings('{table}', $1, $2, 10)"
    try:
        async with other.transaction():
            await erase_some(other, market.offices.vault, [lead], ASKING)
            kept = asyncio.create_task(chores.fetchval(keep, UUID(int=0), UUID(int=2**128 - 1)))
            while not await other.fetchval("SELECT count(*) FROM pg_locks WHERE NOT granted"):
                assert not kept.done(), "it did not wait"
                await asyncio.sleep(0.01)
        assert await kept
    finally:
        await other.close()
    assert 1 == await chores.fetchval("SELECT count(*) FROM kept_ping")
    assert {} == await traces(market.dsn)


async def test_a_ping_that_was_kept_is_erased_in_both_places(market: Market, chores: Any) -> None:
    lead = id_of((await market.lead())["lead_id"])
    day = datetime.now(UTC).date()
    await chores.fetchval("SELECT keep_pings($1, $2, $3, 10)", f"ping_{day:%Y%m%d}", UUID(int=0), UUID(int=2**128 - 1))  # fmt: skip
    assert "kept_ping.receipt" in await traces(market.dsn)
    path = f"/v1/leads/{write_id('lead', lead)}"
    assert ["west"] == [one["contract"] for one in (await market.admin("GET", path)).body["ping"]["skipped"]]  # fmt: skip

    await erase(market.offices.store.db, market.offices.vault, [lead], ASKING)
    assert {} == await traces(market.dsn)
    await chores.execute("SELECT drop_day('ping', $1)", day)
    receipt = (await market.admin("GET", path)).body["ping"]
    assert ({}, True) == (receipt["fields"], receipt["erased"])
    assert ([], 1) == (receipt["skipped"], receipt["unsuited"]), "by what is not known any more"
    assert ["top", "good"] == [one["contract"] for one in receipt["ranking"]]


# --- persons that were kept long enough -----------------------------------------------------------


async def an_old_lead(market: Market, days: float, *, closed: bool = True) -> UUID:
    at = datetime.now(UTC) - timedelta(days=days)
    id_ = new_uuid(int(at.timestamp() * 1000), secrets.token_bytes)
    seller = (await market.offices.catalogue()).sellers_by_slug["roofquotes"].id
    vault, store = market.offices.vault, market.offices.store
    new = NewLead(
        id=id_, ping_id=id_, seller=seller, vertical="roofing", test=False, min_price_micros=0, external_id="form-1",
        owner=1, answer_in_ms=1000, request=b"{}", person=vault.seal(str(id_), PERSON),
        phone_index=find_by(vault, "phone", PERSON["phone"])[0], email_index=None,
    )  # fmt: skip
    assert await store.open_lead(new, None) is None
    if closed:
        closing = Closing(lead_id=id_, owner=1, state=LeadState.UNSOLD, reason="no_bids", receipt=b"{}", answer=b"{}")  # fmt: skip
        await store.close_lead(closing)
    return id_


async def test_old_persons_are_erased_a_bounded_slice_at_a_time(
    market: Market, chores: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = [await an_old_lead(market, 31) for _ in range(25)]
    still_open = await an_old_lead(market, 31, closed=False)
    young = await an_old_lead(market, 29)
    slices: list[int] = []

    async def seen(connection: Any, vault: Vault, ids: list[UUID], asking: Asking) -> int | None:
        slices.append(len(ids))
        return await erase_some(connection, vault, ids, asking)

    monkeypatch.setattr(erasing, "erase_some", seen)
    monkeypatch.setattr(erasing, "SLICE_MAX", 4)
    monkeypatch.setattr(erasing, "SLICES_MAX", 3)
    db, erasings = market.offices.store.db, Erasing(30, market.offices.vault)
    done = (
        "SELECT count(*) FROM lead WHERE person_key IS NULL AND person = '' AND phone_index IS NULL"
    )

    await Erasing(0, market.offices.vault).erase_old(chores)
    assert 0 == await db.fetchval(done), "0: until somebody asks"
    await erasings.erase_old(chores)
    assert ([4, 4, 4], 12) == (slices, await db.fetchval(done))
    while await db.fetchval(done) < 25:
        await erasings.erase_old(chores)
    await erasings.erase_old(chores)
    assert max(slices) == 4

    stands = {one.lead_id: one for one in await standings(db, [*old, still_open, young])}
    assert all(stands[one].done for one in old)
    assert (False, None) == (stands[still_open].done, stands[young].row)
    assert {("retention", "chores")} == {(one.row.why, one.row.by) for one in stands.values() if one.row}  # fmt: skip
    assert 0 == await db.fetchval("SELECT count(*) FROM console_event"), (
        "the list of erasures tells"
    )
    await market.offices.store.close_lead(Closing(lead_id=still_open, owner=1, state=LeadState.UNSOLD, reason=None, receipt=b"{}", answer=b"{}"))  # fmt: skip
    await erasings.erase_waiting(chores)
    assert (await standings(db, [still_open]))[0].done
    assert [("retention", 26)] == [tuple(one) for one in await db.fetch("SELECT * FROM erasure_count")]  # fmt: skip


async def test_a_day_that_is_set_again_goes_on_where_it_was(market: Market, chores: Any) -> None:
    older, newer = await an_old_lead(market, 50), await an_old_lead(market, 20)
    db, vault = market.offices.store.db, market.offices.vault
    for days in (40, 60, 10):
        await Erasing(days, vault).erase_old(chores)
        gone = [one.done for one in await standings(db, [older, newer])]
        assert [True, days == 10] == gone


# --- who may, and what is no such thing -----------------------------------------------------------

LEAD = f"lead_{'0' * 32}"


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", f"/v1/leads/{LEAD}/erase"), ("POST", "/v1/erasures"), ("GET", "/v1/erasures")],
)
async def test_only_an_admins_key(market: Market, method: str, path: str) -> None:
    for name, status in (("acme", 403), ("roofquotes", 403), (None, 401)):
        side = market.admin.with_key(market.offices.keys[name] if name else None)
        assert status == (await side(method, path, {} if method == "POST" else None)).status
    assert 404 == (await market.offices.acme(method, path)).status, "buyers have no such thing"


@pytest.mark.parametrize(
    ("body", "status", "errors"),
    [
        ({}, 422, {("", "required")}),
        ({"email": "a@example.com", "phone": "+12125550123"}, 422, {("", "required")}),
        ({"email": "zeb.quirk"}, 422, {("email", "bad_format")}),
        ({"phone": "zeb 12"}, 422, {("phone", "bad_format")}),
        ({"phone": 12125550188}, 422, {("phone", "invalid_type")}),
        ({"name": "zeb"}, 422, {("name", "unknown_field")}),
        ({"lead_id": LEAD}, 404, None),
        ({"lead_id": "zeb"}, 404, None),
    ],
)  # fmt: skip
async def test_a_fault_is_named_and_nobody_repeated(
    market: Market, body: dict[str, Any], status: int, errors: set[tuple[str, str]] | None
) -> None:
    found = await market.admin("POST", "/v1/erasures", body)

    assert status == found.status
    assert errors is None or errors == found.errors
    assert not any(one in str(found.body).lower() for one in ("zeb", "5550188"))


async def test_the_list_is_paged_newest_first(market: Market) -> None:
    leads = [await an_old_lead(market, days) for days in (3, 2, 1)]
    for one in leads:
        await erase(market.offices.store.db, market.offices.vault, [one], ASKING)
    found, path = [], "/v1/erasures?limit=2"
    while path:
        body = (await market.admin("GET", path)).body
        found += [read_id("lead", one["lead_id"]) for one in body["items"]]
        path = body["next"] and f"/v1/erasures?limit=2&cursor={body['next']}"
    assert [(one, False) for one in leads[::-1]] == found
    assert 422 == (await market.admin("GET", "/v1/erasures?state=gone")).status
    assert 422 == (await market.admin("GET", "/v1/erasures?cursor=eA==")).status
