"""/console/v1: the same desks under a session; who may, and what stays behind in the audit."""

from tests.console.offices import ConsoleOffice


async def test_a_change_is_made_in_the_users_name(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("operator")
    read = await browser.get("/console/v1/contracts/acme-1")
    etag = read.headers["ETag"]
    done = await browser.send(
        "PATCH", "/console/v1/contracts/acme-1", {"priority": 3}, If_Match=etag
    )
    assert (200, 3) == (done.status, done.json["priority"])

    stale = await browser.send(
        "PATCH", "/console/v1/contracts/acme-1", {"priority": 4}, If_Match=etag
    )
    assert (412, "etag_mismatch") == (stale.status, stale.json["code"])
    by = await desk.office.db.fetchval(
        "SELECT changed_by FROM document_history WHERE slug = 'acme-1' ORDER BY version DESC LIMIT 1"
    )
    assert "user:r-operator" == by


async def test_every_wrong_field_is_told_at_once(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    body = {"priority": "high", "endpoint": {"ping_timeout_ms": -1}}
    found = await browser.send("PATCH", "/console/v1/contracts/acme-1", body)

    assert 422 == found.status
    assert {"priority", "endpoint.ping_timeout_ms"} == {one["path"] for one in found.json["errors"]}


async def test_a_buyer_has_its_own_and_nothing_else(desk: ConsoleOffice) -> None:
    acme = await desk.signed_in("buyer")
    assert ["acme-1"] == [
        one["slug"] for one in (await acme.get("/console/v1/contracts")).json["items"]
    ]
    assert "adjustment" not in (await acme.get("/console/v1/contracts/acme-1")).json

    foreign = [
        await acme.get("/console/v1/contracts/zenith-1"),
        await acme.send("PATCH", "/console/v1/contracts/zenith-1", {"priority": 1}),
        await acme.send("DELETE", "/console/v1/contracts/zenith-1"),
    ]
    assert [404] * 3 == [one.status for one in foreign]
    staff_only = [
        await acme.send("POST", "/console/v1/keys", {"role": "admin"}),
        await acme.send(
            "POST", "/console/v1/buyers/acme/deposits", {"amount": "1"}, Idempotency_Key="k"
        ),
        await acme.get("/console/v1/leads"),
        await acme.get("/console/v1/audit"),
    ]
    assert [(403, "wrong_role")] * 4 == [(one.status, one.json["code"]) for one in staff_only]


async def test_a_seller_and_a_viewer_change_nothing(desk: ConsoleOffice) -> None:
    for role in ("seller", "viewer"):
        browser = await desk.signed_in(role)
        found = await browser.send("PATCH", "/console/v1/contracts/acme-1", {"active": False})
        assert (403, "wrong_role") == (found.status, found.json["code"])


async def test_what_is_in_no_history_is_in_the_audit(desk: ConsoleOffice) -> None:
    browser = await desk.signed_in("admin")
    made = await browser.send("POST", "/console/v1/keys", {"role": "seller", "owner": "roofquotes"})
    assert 201 == made.status
    deposit = await browser.send(
        "POST", "/console/v1/buyers/acme/deposits", {"amount": "5"}, Idempotency_Key="k1"
    )
    assert 201 == deposit.status
    assert 204 == (await browser.send("DELETE", f"/console/v1/keys/{made.json['id']}")).status
    assert 404 == (await browser.send("DELETE", "/console/v1/keys/nothing")).status
    await browser.send("PATCH", "/console/v1/contracts/acme-1", {"priority": 3})

    rows = await desk.office.db.fetch(
        "SELECT by, subject, detail->>'route' FROM console_event WHERE what = 'called' ORDER BY id"
    )
    assert [
        ("user:r-admin", made.json["id"], "POST /v1/keys"),
        ("user:r-admin", "acme", "POST /v1/buyers/{slug}/deposits"),
        ("user:r-admin", made.json["id"], "DELETE /v1/keys/{id}"),
    ] == [tuple(row) for row in rows]
    assert made.json["key"] not in str(
        await desk.office.db.fetch("SELECT e::text FROM console_event e")
    )


async def test_the_api_by_key_is_as_it_was(desk: ConsoleOffice) -> None:
    """The session opens /console/v1 only, the key /v1 only."""
    browser = await desk.signed_in("admin")

    assert 401 == (await browser.get("/v1/keys")).status
    bearer = f"Bearer {desk.market.keys['admin']}"
    assert 200 == (await desk.nobody().get("/v1/keys", Authorization=bearer)).status
    assert 401 == (await desk.nobody().get("/console/v1/keys", Authorization=bearer)).status
