"""`exchange users`: the same users from the command line."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from exchange.cli import app

Run = Callable[..., Result]
LINK = re.compile(r"http://127\.0\.0\.1:8081/console/enter/[\w-]{43}\n")


@pytest.fixture
def run(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("EXCHANGE_DATABASE_URL", database)
    monkeypatch.setenv("EXCHANGE_MASTER_KEY", (b"k" * 32).hex())
    monkeypatch.setenv("EXCHANGE_DATA_DIR", str(tmp_path))

    def call(*words: str) -> Result:
        return CliRunner().invoke(app, ["users", *words])

    return call


def test_a_users_life(run: Run) -> None:
    made = run("create", "ann", "--role", "operator")
    assert (0, True) == (made.exit_code, bool(LINK.fullmatch(made.stdout))), made.output
    again = run("create", "ann", "--role", "operator")
    assert (2, True) == (again.exit_code, "login exists, or existed" in again.stderr)
    assert re.match(r"ann +operator +- +link only +not signed in", run("list").stdout)

    link = run("link", "ann")
    assert LINK.fullmatch(link.stdout)
    assert link.stdout != made.stdout
    assert LINK.fullmatch(run("reset", "ann").stdout)
    assert "retired ann\n" == run("retire", "ann").stdout
    assert re.match(r"ann +operator +- +retired", run("list").stdout)
    for verb in ("link", "reset", "retire"):
        assert 1 == run(verb, "ann").exit_code, verb


def test_every_fault_is_told(run: Run) -> None:
    found = run("create", "Not A Login", "--role", "buyer")

    assert 2 == found.exit_code
    assert "login must be 1 to 64" in found.stderr
    assert "owner is the slug of the buyer" in found.stderr


def test_a_link_names_the_console_as_browsers_see_it(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EXCHANGE_OFFICE_URL", "https://leads.example.com/")

    found = run("create", "ann", "--role", "viewer")
    assert found.stdout.startswith("https://leads.example.com/console/enter/")
