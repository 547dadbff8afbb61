"""`exchange erase` and `exchange erasures`: nobody's address in an argument, and all of it again after a restore."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from typer.testing import CliRunner, Result

from exchange.cli import app
from tests.erasing import PERSON, open_market, traces

Run = Callable[..., Result]
# What a backup would bring back.
KEPT = ("lead", "attempt", "sale_return", "kept_ping")


@pytest.fixture
def run(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("EXCHANGE_DATABASE_URL", database)
    monkeypatch.setenv("EXCHANGE_MASTER_KEY", (b"k" * 32).hex())
    monkeypatch.setenv("EXCHANGE_DATA_DIR", str(tmp_path))

    def call(*words: str, said: str = "") -> Result:
        return CliRunner().invoke(app, list(words), input=said)

    return call


def sold(dsn: str, number: int = 1, back_up: bool = False) -> list[str]:
    """Leads of the person; `back_up`: with a copy of every row that an erasure changes."""

    async def body() -> list[str]:
        async with open_market(dsn) as market:
            leads = [(await market.lead())["lead_id"] for _ in range(number)]
        if back_up:
            await execute(
                dsn, *(f"CREATE TABLE old_{one} AS TABLE {one}" for one in (*KEPT, "ping"))
            )
        return leads

    return asyncio.run(body())


async def execute(dsn: str, *statements: str) -> None:
    connection = await asyncpg.connect(dsn)
    for one in statements:
        await connection.execute(one)
    await connection.close()


def restore(dsn: str) -> None:
    """The rows as they were, and nothing known of any erasure."""
    back = [
        statement
        for one in (*KEPT, "ping")
        for statement in (f"DELETE FROM {one}", f"INSERT INTO {one} SELECT * FROM old_{one}", f"DROP TABLE old_{one}")
    ]  # fmt: skip
    asyncio.run(execute(dsn, "DELETE FROM erasure", "DELETE FROM erasure_count", *back))


def found(dsn: str) -> dict[str, Any]:
    return asyncio.run(traces(dsn))


def test_by_address_out_of_standard_input(run: Run, database: str) -> None:
    (lead,) = sold(database)

    looked = run("erase", "--email", "--dry-run", said="zeb.QUIRK@example.com\n")
    assert (0, True) == (looked.exit_code, f"would be   {lead}" in looked.stdout), looked.output
    assert "nothing was changed" in looked.stdout
    assert found(database)
    done = run("erase", "--email", said="zeb.QUIRK@example.com\n")
    assert f"erased     {lead}" in done.stdout
    assert "  tell     acme" in done.stdout
    assert "  tell     zenith" in done.stdout
    assert {} == found(database)
    again = run("erase", "--phone", said=f"{PERSON['phone']}\n")
    assert (1, True) == (again.exit_code, "was erased before" in again.stderr)
    for one in (looked, done, again):
        assert "quirk" not in one.output.lower()


def test_by_lead(run: Run, database: str) -> None:
    first, second = sold(database, 2)

    assert f"erased     {first}" in run("erase", first).stdout
    assert f"erased     {first}" in run("erase", first).stdout, "the same again"
    (line,) = run("erasures").stdout.splitlines()
    assert line.startswith(f"{first} request cli ")
    assert "" == run("erasures", "--waiting").stdout
    assert "" == run("erasures", "--since", "2999-01-01").stdout
    assert second not in line


@pytest.mark.parametrize(
    ("words", "said", "code"),
    [
        ((), "", 2),
        (("lead_1", "--email"), "", 2),
        (("lead_1",), "", 1),
        ((f"lead_{'0' * 32}",), "", 1),
        (("--email",), "zeb\n", 2),
        (("--phone",), "", 2),
        (("--from", "/nowhere/at/all"), "", 2),
        (("--from", "-"), "zeb@example.com\n", 2),
    ],
)
def test_what_is_no_request(run: Run, words: tuple[str, ...], said: str, code: int) -> None:
    told = run("erase", *words, said=said)

    assert code == told.exit_code, told.output
    assert "zeb" not in told.output


def test_what_a_restore_brought_back_is_erased_again(run: Run, database: str) -> None:
    """By the list that was kept beside the backups; who asked and when stays as it was."""
    first, second = sold(database, 2, back_up=True)
    run("erase", "--phone", said=PERSON["phone"])
    kept = run("erasures", "--since", "2020-01-01").stdout
    assert {} == {name: said for name, said in found(database).items() if not name.startswith("old_")}  # fmt: skip
    restore(database)
    assert found(database)

    lists = kept + f"\nlead_{'0' * 32} retention chores 2026-01-01T00:00:00+00:00 waits\n"
    assert "2 would be erased" in run("erase", "--from", "-", "--dry-run", said=lists).stdout
    assert found(database)
    done = run("erase", "--from", "-", said=lists)
    assert "2 erased, or wait for a post, 0 were already, 1 are not in these books\n" == done.stdout
    assert {} == found(database)
    assert [one.split()[:4] for one in kept.splitlines()] == [
        one.split()[:4] for one in run("erasures").stdout.splitlines()
    ]
    assert "0 erased, or wait for a post, 2 were already" in run("erase", "--from", "-", said=f"{first}\n{second} x y z\n").stdout  # fmt: skip
