"""Settings: three sources in order, every problem at once, no secret shown."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from exchange.errors import SettingsInvalid
from exchange.settings import (
    Settings,
    default_places,
    describe,
    environment_name,
    from_process,
    load_settings,
    read_master_key,
    setting_names,
    split_address,
)

SHIPPED = Path(__file__).parent.parent / "config" / "exchange.toml"
MASTER = "ab" * 32


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "exchange.toml"


def refused(environment: dict[str, str], config: Path | None = None) -> dict[str, str]:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(environment, config=config)
    assert "hunter2" not in str(caught.value), "a message never repeats a value"
    return {problem.path: problem.code for problem in caught.value.problems}


def test_without_anything_the_defaults_hold() -> None:
    """No file and no variable is fine: embedded Postgres, two local listeners, one worker."""
    found = load_settings({})

    assert Settings() == found
    assert (None, "127.0.0.1:8080", "127.0.0.1:8081", 1) == (
        found.database_url,
        found.listen,
        found.office_listen,
        found.workers,
    )
    assert (1000, 5000, 15_000, 30_000, 120, 250, 500, 24) == (
        found.ping.max_wait_ms,
        found.ping.max_wait_limit_ms,
        found.post.max_wait_ms,
        found.post.max_wait_limit_ms,
        found.ping.quote_ttl_s,
        found.post.start_min_ms,
        found.ping.late_grace_ms,
        found.post.unconfirmed_hours,
    )


def test_the_environment_goes_before_the_file_and_the_file_before_the_default(
    config: Path,
) -> None:
    """Each source overrides single settings, not whole sections."""
    config.write_text("workers = 3\n[post]\nstart_min_ms = 300\ntail_ms = 5\n")

    found = load_settings({"EXCHANGE_POST_START_MIN_MS": "400"}, config=config)

    assert (3, 400, 5, 15_000) == (
        found.workers,
        found.post.start_min_ms,
        found.post.tail_ms,
        found.post.max_wait_ms,
    )


NAMES = [
    # (setting, variable)
    ("database_url", "EXCHANGE_DATABASE_URL"),
    ("data_dir", "EXCHANGE_DATA_DIR"),
    ("listen", "EXCHANGE_LISTEN"),
    ("office_listen", "EXCHANGE_OFFICE_LISTEN"),
    ("workers", "EXCHANGE_WORKERS"),
    ("admin_key", "EXCHANGE_ADMIN_KEY"),
    ("master_key", "EXCHANGE_MASTER_KEY"),
    ("allowed_networks", "EXCHANGE_ALLOWED_NETWORKS"),
    ("post.start_min_ms", "EXCHANGE_POST_START_MIN_MS"),
]


@pytest.mark.parametrize(("setting", "variable"), NAMES)
def test_the_fixed_names_are_those_of_the_contract(setting: str, variable: str) -> None:
    """contract.md §1 names them; other programs set them."""
    assert variable == environment_name(setting)
    assert setting in setting_names()


def test_every_setting_has_one_variable_of_its_own() -> None:
    """No two settings share a name in the environment."""
    names = setting_names()

    assert len(names) == len({environment_name(name) for name in names})


def test_every_variable_is_read() -> None:
    """Also the lists, the addresses and the numbers, which the environment has as text."""
    found = load_settings(
        {
            "EXCHANGE_DATABASE_URL": "postgresql://db/exchange",
            "EXCHANGE_MASTER_KEY": MASTER,
            "EXCHANGE_DATA_DIR": "data",
            "EXCHANGE_LISTEN": "0.0.0.0:80",
            "EXCHANGE_OFFICE_LISTEN": "[::1]:81",
            "EXCHANGE_ALLOWED_NETWORKS": "10.0.0.0/8, fd00::/8,127.0.0.1",
            "EXCHANGE_HTTP_DRAIN_S": "2.5",
            "EXCHANGE_WORKERS": "",  # empty is absent
        }
    )

    assert ["10.0.0.0/8", "fd00::/8", "127.0.0.1/32"] == [str(n) for n in found.allowed_networks]
    assert (("0.0.0.0", 80), ("::1", 81)) == (
        split_address(found.listen),
        split_address(found.office_listen),
    )
    assert (2.5, 1, Path("data")) == (found.http.drain_s, found.workers, found.data_dir)


PROBLEMS: list[tuple[dict[str, str], dict[str, str]]] = [
    # (environment, path and code of every problem)
    ({"WORKERS": "many"}, {"workers": "invalid_type"}),
    ({"WORKERS": "0"}, {"workers": "out_of_range"}),
    ({"WORKERS": "65"}, {"workers": "out_of_range"}),
    ({"LISTEN": "8080"}, {"listen": "bad_format"}),
    ({"LISTEN": "127.0.0.1:99999"}, {"listen": "bad_format"}),
    ({"LISTEN": "127.0.0.1:http"}, {"listen": "bad_format"}),
    ({"LISTEN": "127.0.0.1:8081"}, {"office_listen": "duplicate"}),  # the office's default
    ({"LISTEN": "127.0.0.1:0", "OFFICE_LISTEN": "127.0.0.1:0"}, {}),  # any two free ports
    ({"ADMIN_KEY": "hunter2"}, {"admin_key": "too_short"}),
    ({"MASTER_KEY": "hunter2"}, {"master_key": "bad_format"}),
    ({"MASTER_KEY": "ab" * 31}, {"master_key": "bad_format"}),
    ({"DATABASE_URL": "postgresql://ann:hunter2@db/x"}, {"master_key": "required"}),
    ({"DATABASE_URL": "postgresql://db/x", "MASTER_KEY": MASTER}, {}),
    ({"ALLOWED_NETWORKS": "10.0.0.0/8,intranet"}, {"allowed_networks": "bad_format"}),
    ({"ALLOWED_NETWORKS": "10.0.0.1/8"}, {"allowed_networks": "bad_format"}),  # host bits
    ({"PING_MAX_WAIT_MS": "49"}, {"ping.max_wait_ms": "out_of_range"}),
    ({"HTTP_DRAIN_S": "nan"}, {"http.drain_s": "out_of_range"}),
    ({"HTTP_DRAIN_S": "inf"}, {"http.drain_s": "out_of_range"}),
    (
        {"WORKERS": "many", "LISTEN": "x", "POST_START_MIN_MS": "1", "ADMIN_KEY": "short",
         "MASTER_KEY": "hunter2", "DATABASE_URL": "postgresql://db/x"},
        {"workers": "invalid_type", "listen": "bad_format", "post.start_min_ms": "out_of_range",
         "admin_key": "too_short", "master_key": "bad_format"},
    ),
    (
        {"WORKERS": "many", "DATABASE_URL": "postgresql://db/x"},
        {"workers": "invalid_type", "master_key": "required"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("environment", "expected"), PROBLEMS, ids=range(len(PROBLEMS)))
def test_every_problem_is_told_at_once(
    environment: dict[str, str], expected: dict[str, str]
) -> None:
    """By the setting's name in TOML, those between settings too; no value is repeated."""
    variables = {f"EXCHANGE_{name}": value for name, value in environment.items()}

    assert expected == (refused(variables) if expected else {})
    if not expected:
        load_settings(variables)


FILES: list[tuple[str | bytes, dict[str, str]]] = [
    # (text of the file, problems)
    ("workers = ", {"exchange.toml": "bad_format"}),
    (b"\xff\xfe", {"exchange.toml": "bad_format"}),
    ("colour = 1\n[ping]\ncolour = 2", {"colour": "unknown_field", "ping.colour": "unknown_field"}),
    ("ping = 5", {"ping": "invalid_type"}),
    ("allowed_networks = 5", {"allowed_networks": "invalid_type"}),
    ("workers = 1.5", {"workers": "invalid_type"}),
    ('listen = ["a"]', {"listen": "bad_format"}),
]


@pytest.mark.parametrize(("text", "expected"), FILES, ids=range(len(FILES)))
def test_the_file_is_checked_too(config: Path, text: str | bytes, expected: dict[str, str]) -> None:
    """Unknown settings are refused: a typing error would otherwise keep the default silently."""
    config.write_bytes(text.encode() if isinstance(text, str) else text)

    assert expected == refused({}, config)


def test_a_named_file_must_exist_and_a_usual_place_need_not(tmp_path: Path, config: Path) -> None:
    """--config names a file; the usual places are looked at in order."""
    assert {"exchange.toml": "not_found"} == refused({}, config)
    assert {tmp_path.name: "not_found"} == refused({}, tmp_path)  # a folder is no file
    assert Settings() == load_settings({}, places=(config,))

    config.write_text("workers = 2")
    other = tmp_path / "other.toml"
    other.write_text("workers = 3")
    assert 2 == load_settings({}, places=(tmp_path / "absent.toml", config, other)).workers
    assert 3 == load_settings({}, config=other, places=(config,)).workers


def test_a_section_of_the_environment_cannot_hide_a_broken_file(config: Path) -> None:
    """`ping = 5` stays a problem when a variable names a setting inside it."""
    config.write_text("ping = 5")

    assert "invalid_type" == refused({"EXCHANGE_PING_TAIL_MS": "1"}, config)["ping"]


def test_a_process_reads_its_environment(config: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EXCHANGE_CONFIG names the file, as --config does for the processes it starts."""
    config.write_text("workers = 7")
    monkeypatch.setenv("EXCHANGE_CONFIG", str(config))
    monkeypatch.setenv("EXCHANGE_PING_TAIL_MS", "7")

    found = from_process()

    assert (7, 7) == (found.workers, found.ping.tail_ms)


def test_secrets_are_masked() -> None:
    """Admin key, master key, and the database URL, which may hold a password."""
    found = load_settings(
        {
            "EXCHANGE_ADMIN_KEY": "hunter2-hunter2-hunter2",
            "EXCHANGE_MASTER_KEY": MASTER,
            "EXCHANGE_DATABASE_URL": "postgresql://ann:hunter2@db/x",
        }
    )

    shown = dict(describe(found))

    assert {"********"} == {shown[name] for name in ("admin_key", "master_key", "database_url")}
    assert "hunter2" not in str(shown)
    assert setting_names() == list(shown)
    assert "None" == dict(describe(Settings()))["admin_key"]


def test_a_master_key_is_64_hexadecimal_digits() -> None:
    """Anything else is None, not an exception."""
    assert b"\xab" * 32 == read_master_key(MASTER)
    assert [None] * 4 == [read_master_key(t) for t in ("", "ab", "zz" * 32, "ab" * 33)]


# --- the shipped file ------------------------------------------------------------------------------


def commented_out(text: str) -> str:
    """The shipped file with every `# name = value` line put in force."""
    return re.sub(r"^# ([a-z_]+ = )", r"\1", text, flags=re.MULTILINE)


def test_the_shipped_file_changes_nothing() -> None:
    """Every line is commented out: absent or present, the defaults hold."""
    assert Settings() == load_settings({}, config=SHIPPED)
    assert SHIPPED == default_places()[0]


def test_the_shipped_file_lists_every_setting_with_its_default() -> None:
    """What is commented out is the truth, and nothing is missing or left over."""
    listed = tomllib.loads(commented_out(SHIPPED.read_text("utf-8")))
    defaults = Settings().model_dump(mode="json")

    def flat(values: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, value in values.items():
            inner = flat(value) if isinstance(value, dict) else None
            found |= (
                {name: value} if inner is None else {f"{name}.{n}": v for n, v in inner.items()}
            )
        return found

    shown = {name: None if value == "" else value for name, value in flat(listed).items()}
    assert flat(defaults) == shown


def test_the_shipped_file_says_unit_range_and_purpose() -> None:
    """Each setting has a sentence, and each number the range that is enforced."""
    lines = {
        found[1]: found[2]
        for found in re.finditer(
            r"^# ([a-z_]+) = [^#]*#(.*)$", SHIPPED.read_text("utf-8"), re.MULTILINE
        )
    }
    sections = {n: type(v) for n, v in Settings() if isinstance(v, BaseModel)}
    for section in (Settings, *sections.values()):
        for name, field in section.model_fields.items():
            if name in sections:
                continue
            assert lines[name].strip().endswith("."), f"{name} has no sentence"
            bounds = [getattr(one, "le", None) for one in field.metadata]
            for bound in (b for b in bounds if b is not None):
                assert f" to {bound:g}" in lines[name] or f" to {bound}" in lines[name], name
