"""The README says what the code says."""

import re
import tomllib

import pytest

from buyers.reference.reading import read_tempers
from exchange.apply import read_files
from exchange.cli import app, keys_app, unconfirmed_app
from tests.readme_tables import README, ROOT, TABLES, written

TEXT = README.read_text("utf-8")
_PRESET = ROOT / "config" / "presets" / "first_market"


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_as_the_code_has_it(name: str):
    """When this fails: python -m tests.readme_tables --write."""
    assert TABLES[name]() == written(name, TEXT)


def test_every_command_is_explained():
    """Each verb of `exchange` stands in the README as somebody would type it."""
    typed = {command.name or command.callback.__name__ for command in app.registered_commands}
    typed |= {f"keys {one.name}" for one in keys_app.registered_commands}
    typed |= {f"unconfirmed {one.name}" for one in unconfirmed_app.registered_commands}

    assert [] == sorted(verb for verb in typed if f"exchange {verb}" not in TEXT)


def test_every_make_target_it_names_exists():
    """`make run` and the rest are in the Makefile."""
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))

    assert set() == set(re.findall(r"`make ([a-z]+)", TEXT)) - targets


def test_every_file_it_names_exists():
    """Paths in backticks, and those the walk-through types."""
    named = re.findall(r"(?<![\w/.])((?:buyers|exchange|config|benchmarks|tests)/[\w./-]*\w)", TEXT)

    made = {"benchmarks/results"}
    assert [] == sorted({path for path in named if not (ROOT / path).exists()} - made)


def test_the_walk_through_trades_with_its_own_buyers():
    """The preset's contracts call the preset's reference buyers, under the same secrets."""
    documents = read_files([_PRESET / "market.toml"])
    tempers = read_tempers(tomllib.loads((_PRESET / "buyers.toml").read_text("utf-8")))

    secrets = {temper.name: temper.secret for temper in tempers}
    contracts = [document for kind, document in documents if kind == "contract"]
    assert f'"secret":"{secrets.pop("owl")}"' in TEXT  # who registers himself
    assert {one["buyer"]: one["endpoint"]["secret"] for one in contracts} == secrets
    for one in contracts:
        assert one["endpoint"]["post_url"] == f"http://127.0.0.1:8090/{one['buyer']}/post"
