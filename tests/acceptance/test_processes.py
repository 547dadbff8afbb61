"""One supervisor and its children: what is refused, what is restarted, what ends with what."""

import asyncio
import os
import re
import shutil
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from exchange.store.embedded import EmbeddedPostgres
from tests.acceptance.conftest import OpenMarket
from tests.acceptance.exchanges import (
    EXCHANGE,
    Exchange,
    an_exchange,
    eventually,
    kill,
    runs,
    scratch,
)
from tests.acceptance.markets import a_market, ask, bids
from tests.test_embedded import CHECKOUT, wait_for

pytestmark = pytest.mark.acceptance


async def get(url: str) -> tuple[int, bytes]:
    async with aiohttp.ClientSession() as session:
        try:
            async with session.get(url) as response:
                return response.status, await response.read()
        except aiohttp.ClientError:
            return 0, b""


async def test_both_listeners_tell_their_health(exchange: Exchange) -> None:
    """/healthz names worker, build and catalogue version; nothing of it needs a key."""
    for url in (exchange.url, exchange.office_url):
        assert 200 == (await get(f"{url}/readyz"))[0]
        status, raw = await get(f"{url}/healthz")
        assert 200 == status
        assert {"worker", "build", "catalogue"} <= orjson.loads(raw).keys()
    status, raw = await get(f"{exchange.office_url}/metrics")
    assert (200, True) == (status, b"# TYPE exchange_" in raw)


async def test_a_second_serve_is_refused(exchange: Exchange) -> None:
    """On the same data folder, and on either listener; the first one goes on."""
    again = await exchange.command("serve")
    assert (2, True) == (again.returncode, "in use" in again.stderr), again.stderr
    with scratch() as folder:
        for name, url in (("LISTEN", exchange.url), ("OFFICE_LISTEN", exchange.office_url)):
            other = Exchange(folder)
            other.environment[f"EXCHANGE_{name}"] = url.removeprefix("http://")
            refused = await asyncio.to_thread(other.run, "serve")
            assert 2 == refused.returncode
            assert "Traceback" not in refused.stderr
            assert url.removeprefix("http://") in refused.stderr
    assert 200 == (await get(f"{exchange.url}/readyz"))[0]


async def test_whoever_dies_is_started_again(exchange: Exchange) -> None:
    """A killed worker and a killed office are back, ready, within seconds, time after time."""
    for _ in range(2):
        for module, url in (
            ("exchange.app", exchange.url), ("exchange.office", exchange.office_url),
        ):  # fmt: skip
            before = set(exchange.children(module))
            victim = min(before)
            began = time.monotonic()
            kill(victim)
            await eventually(
                lambda m=module, b=before: (
                    len(set(exchange.children(m)) - b) == 1  # type: ignore[misc]
                    and len(exchange.children(m)) == len(b)
                )
            )
            await eventually(lambda u=url: _ready(u))  # type: ignore[misc]
            print(f"{module} back after {time.monotonic() - began:.1f} s")


async def test_the_office_takes_what_the_workers_leave_of_a_core(exchange: Exchange) -> None:
    """Its own niceness, and where the kernel shares a core by session, its session's too."""
    (office,) = exchange.children("exchange.office")
    (worker, *_) = exchange.children("exchange.app")
    assert (10, 0) == tuple(os.getpriority(os.PRIO_PROCESS, pid) for pid in (office, worker))
    assert (session_nice(office), session_nice(worker)) in {("10", "0"), ("", "")}


def session_nice(pid: int) -> str:
    """Of the kernel's group of a process; empty where there are none."""
    told = Path(f"/proc/{pid}/autogroup")
    return told.read_text(encoding="ascii").rpartition(" ")[2].strip() if told.exists() else ""


async def _ready(url: str) -> bool:
    return (await get(f"{url}/readyz"))[0] == 200


def test_children_end_with_a_killed_supervisor() -> None:
    """kill -9: workers and office are gone within seconds, Postgres is adopted by the next serve."""
    with an_exchange(workers=2) as exchange:
        children = exchange.children("exchange.")
        assert 3 == len(children)
        server = EmbeddedPostgres(exchange.data_dir)
        postgres = server._server_pid()
        kill(exchange.pid)
        exchange.wait()
        began = time.monotonic()
        wait_for(lambda: not any(runs(pid) for pid in children), 15)
        print(f"children ended {time.monotonic() - began:.1f} s after the supervisor")
        assert time.monotonic() - began < 8
        exchange.start()
        assert postgres == server._server_pid()
        assert 0 == exchange.run("verify").returncode


async def test_sigterm_drains() -> None:
    """A post under way is finished and answered; then everything ends, Postgres too, with code 0."""
    with an_exchange(workers=2) as exchange:
        async with a_market(exchange, bids("slow", temper={"post_delay_ms": 1500})) as market:
            call = asyncio.create_task(market.post())
            await eventually(lambda: market.book("slow").posts)
            children = exchange.children("")
            exchange.terminate()
            answer = await call
            assert (200, "sold") == (answer.status, answer["outcome"])
            assert 0 == await asyncio.to_thread(exchange.wait)
            assert not [pid for pid in children if runs(pid)]
            assert not EmbeddedPostgres(exchange.data_dir).alive()
        assert '"event":"fault"' not in exchange.log()


async def test_pauses_hold_within_a_second(open_market: OpenMarket) -> None:
    """Buyer, contract, all; at the ping and, for a quote given before, at the award."""
    market = await open_market(bids("high", "10.00"), bids("low", "5.00"))
    slug = market.slug("high")

    async def prices() -> set[str]:
        answers = await asyncio.gather(*(market.ping() for _ in range(9)))
        return {one.json.get("price", one["outcome"]) for one in answers}

    for what, expected in (
        (["buyer", slug], "4.00"),
        (["contract", slug], "4.00"),
        (["all"], "no_bid"),
    ):
        quote = await market.ping()
        assert "8.00" == quote["price"]
        assert 0 == (await market.exchange.command("pause", *what)).returncode
        paused = time.monotonic()
        posted = await market.post(quote["ping_id"])
        await eventually(lambda e=expected: _same(prices, {e}), 1.5)  # type: ignore[misc]
        print(f"pause {what[0]} held everywhere after {time.monotonic() - paused:.2f} s")
        assert {"all": "unsold"}.get(what[0], "sold") == posted["outcome"]
        if what[0] == "all":
            skipped = await market.why(posted["lead_id"])
            assert 2 == skipped.count("paused")
        assert 0 == (await market.exchange.command("resume", *what)).returncode
        await eventually(lambda: _same(prices, {"8.00"}), 1.5)
    assert [] == market.book("high").posts
    for wrong in (["buyer", "nobody"], ["nonsense"], []):
        assert 0 != (await market.exchange.command("pause", *wrong)).returncode


async def _same(look, expected: set[str]) -> bool:  # type: ignore[no-untyped-def]
    return bool(await look() == expected)


async def test_a_retired_worker_leaves_no_lead_behind(open_market: OpenMarket) -> None:
    """Kill one of three under load: every key is answered, the books are clean."""
    market = await open_market(
        bids("one", endpoint={"idempotent": True}, temper={"post_delay_ms": (0, 100)})
    )
    calls = [asyncio.create_task(market.persevere(f"k{number}")) for number in range(60)]
    await eventually(lambda: len(market.book("one").posts) > 10)
    kill(min(market.exchange.children("exchange.app")))
    answers = await asyncio.gather(*calls)
    for answer in answers:
        if answer.status == 202:
            await market.ended(answer["lead_id"])
    assert 60 == len(await market.audit()) == len(market.book("one").accepted())


async def test_settings_are_shown_without_secrets(exchange: Exchange) -> None:
    """check-config masks what is secret and reports every problem at once."""
    done = await asyncio.to_thread(
        exchange.run, "check-config", EXCHANGE_ADMIN_KEY="a-secret-admin-key"
    )
    assert 0 == done.returncode
    assert re.search(r"^ping.quote_ttl_s +120$", done.stdout, re.MULTILINE)
    assert not {"5a5a5a", "a-secret"} & set(re.findall(r"5a5a5a|a-secret", done.stdout))
    wrong = await asyncio.to_thread(
        exchange.run, "check-config", EXCHANGE_WORKERS="many", EXCHANGE_PING_QUOTE_TTL_S="1",
        EXCHANGE_ALLOWED_NETWORKS="x",
    )  # fmt: skip
    assert 2 == wrong.returncode
    for name in ("workers", "quote_ttl_s", "allowed_networks"):
        assert name in wrong.stderr
    assert "Traceback" not in wrong.stderr


async def test_the_operators_verbs(exchange: Exchange) -> None:
    """migrate is idempotent, keys are listed without secrets, verify is clean, backup restores."""
    assert "up to date" in (await exchange.command("migrate")).stdout
    created = await exchange.command("keys", "create", "--role", "admin")
    assert re.fullmatch(r"lx_admin_[0-9a-f]{8}_\S{40,}\n", created.stdout)
    listed = (await exchange.command("keys", "list")).stdout
    assert created.stdout.split("_")[2] in listed
    assert created.stdout.strip() not in listed
    for wrong in (
        ["--role", "king"],
        ["--role", "seller"],
        ["--role", "seller", "--owner", "nobody"],
    ):
        assert 2 == (await exchange.command("keys", "create", *wrong)).returncode
    assert 0 == (await exchange.command("verify")).returncode

    path = exchange.folder / "backup.dump"
    assert 0 == (await exchange.command("backup", str(path))).returncode
    assert 0o600 == path.stat().st_mode & 0o777
    with path.open("rb") as file:
        shown = EmbeddedPostgres(exchange.data_dir).client("pg_restore", "-l", stdin=file)
    assert (0, True) == (shown.returncode, b"TABLE DATA public attempt" in shown.stdout)
    again = await exchange.command("backup", str(path))
    assert (2, True) == (again.returncode, "exists already" in again.stderr)


async def test_verify_tells_what_is_broken(database: str) -> None:
    """Exit 1 and a line for each thing, when the books do not add up."""
    with scratch() as folder:
        exchange = Exchange(folder, database=database)
        assert 0 == (await exchange.command("verify")).returncode
        await ask(database, _FORGED)
        done = await exchange.command("verify")
        assert (1, True) == (done.returncode, "BROKEN" in done.stdout), done


_FORGED = """
WITH made AS (INSERT INTO account (kind, currency) VALUES ('external', 'XXX'), ('margin', 'XXX') RETURNING id)
INSERT INTO transfer (ref, kind, debit, credit, amount)
SELECT gen_random_uuid(), 'sale', min(id), max(id), 5 FROM made"""


def test_the_demo_prints_a_line_for_each_lead() -> None:
    """Without a terminal: plain lines, with a price where it sold, and a summary."""
    with scratch() as folder:
        exchange = Exchange(folder, workers=1)
        done = exchange.run("run", "--leads", "8", "--seed", "3", "--per-s", "20")
        assert 0 == done.returncode, done.stderr
        lines = done.stdout.splitlines()
        leads = [line for line in lines if re.match(r"(auto_insurance|personal_loan|solar) ", line)]
        outcomes = Counter(line.split()[2] for line in leads)
        assert 8 == len(leads), done.stdout
        assert outcomes.keys() <= {"sold", "unsold", "no_bid", "pending"}
        assert [line for line in leads if re.search(r" sold  \d+\.\d\d ", line)]
        assert re.search(r"\d+ sold .*buyers paid", done.stdout)


def test_the_printed_curl_sells() -> None:
    """`exchange serve --demo` prints it too, and it works while it serves."""
    if shutil.which("curl") is None:
        pytest.skip("needs curl")
    with scratch() as folder:
        exchange = Exchange(folder, workers=1)
        try:
            exchange.start("--demo")
            curl = next(line for line in exchange.said().splitlines() if line.startswith("curl "))
            done = subprocess.run(
                ["bash", "-c", curl], capture_output=True, check=False, timeout=60
            )
            answer = orjson.loads(done.stdout)
            assert answer["outcome"] in {"sold", "pending"}, answer
        finally:
            exchange.stop()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_all_of_it_as_another_user() -> None:
    """Started by nobody in particular: the same demo, the same line for each lead."""
    nobody: dict[str, Any] = {"user": 65534, "group": 65534, "extra_groups": [], "cwd": CHECKOUT}
    try:
        subprocess.run([*EXCHANGE, "--help"], check=True, capture_output=True, **nobody)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("the checkout or its Python cannot be read by another user")
    with scratch() as folder:
        home = folder / "home"
        home.mkdir()
        os.chown(home, 65534, 65534)
        places = {"EXCHANGE_DATA_DIR": str(home / "d"), "HOME": str(home)}
        done = subprocess.run(
            [*EXCHANGE, "run", "--leads", "3", "--per-s", "20"],
            check=False,
            capture_output=True,
            text=True,
            timeout=90,
            env=Exchange(folder, workers=1).environment | places,
            **nobody,
        )
        assert 0 == done.returncode, done.stderr
        assert re.search(r"\d+ (sold|unsold|no_bid)", done.stdout)
