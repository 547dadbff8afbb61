"""Settings: defaults, then config/exchange.toml, then EXCHANGE_ variables; all problems at once."""

import os
import re
import tomllib
from collections.abc import Mapping
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_core import PydanticCustomError

from exchange.errors import Problem, SettingsInvalid, problems_of

PREFIX: Final = "EXCHANGE_"
_SECRETS: Final = frozenset({"admin_key", "master_key", "database_url"})


def _networks(value: object) -> object:
    if isinstance(value, str):
        value = [part.strip() for part in value.split(",") if part.strip()]
    if not isinstance(value, list):
        return value
    try:
        return [ip_network(part) if isinstance(part, str) else part for part in value]
    except ValueError:
        raise PydanticCustomError(
            "bad_format", "must be networks such as 10.0.0.0/8, comma-separated"
        ) from None


def _address(value: object) -> object:
    host, _, port = str(value).rpartition(":")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise PydanticCustomError("bad_format", "must be host:port, such as 127.0.0.1:8080")
    return value


def _site(value: object) -> object:
    text = str(value or "").rstrip("/")
    if text and not re.fullmatch(r"https?://[A-Za-z0-9.\[\]:-]+", text):
        raise PydanticCustomError(
            "bad_format", "must be such as https://leads.example.com, without a path"
        )
    return text or None


Address = Annotated[str, BeforeValidator(_address)]
Networks = Annotated[list[IPv4Network | IPv6Network], BeforeValidator(_networks)]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class PingSettings(_Section):
    """[ping]: the auction and its quote."""

    max_wait_ms: int = Field(1000, ge=50, le=120_000)
    max_wait_limit_ms: int = Field(5000, ge=50, le=120_000)
    tail_ms: int = Field(20, ge=0, le=1000)
    late_grace_ms: int = Field(500, ge=0, le=5000)
    quote_ttl_s: int = Field(120, ge=5, le=3600)
    concurrent_max: int = Field(1000, ge=1, le=100_000)


class PostSettings(_Section):
    """[post]: selling a lead."""

    max_wait_ms: int = Field(15_000, ge=50, le=120_000)
    max_wait_limit_ms: int = Field(30_000, ge=50, le=120_000)
    tail_ms: int = Field(20, ge=0, le=1000)
    start_min_ms: int = Field(250, ge=10, le=10_000)
    unconfirmed_hours: int = Field(24, ge=1, le=720)
    concurrent_max: int = Field(1000, ge=1, le=100_000)


class HttpSettings(_Section):
    """[http]: what sellers may send."""

    url: Annotated[str | None, BeforeValidator(_site)] = None
    body_bytes_max: int = Field(262_144, ge=1024, le=16_777_216)
    document_bytes_max: int = Field(1_000_000, ge=1024, le=16_777_216)
    body_timeout_s: float = Field(5.0, gt=0, le=60)
    keepalive_s: float = Field(30.0, gt=0, le=600)
    drain_s: float = Field(10.0, gt=0, le=120)
    shed_delay_ms: int = Field(20, ge=0, le=10_000)


class HealthSettings(_Section):
    """[health]: when a buyer's endpoint is left alone."""

    breaker: Literal["on", "off"] = "on"
    window_s: float = Field(30.0, ge=1, le=600)
    results_min: int = Field(20, ge=1, le=100_000)
    post_window_s: float = Field(300.0, ge=1, le=3600)
    post_results_min: int = Field(20, ge=1, le=100_000)
    spread_min: int = Field(3, ge=1, le=10)
    open_percent: int = Field(70, ge=1, le=100)
    cool_s: float = Field(5.0, ge=0.1, le=300)
    cool_max_s: float = Field(300.0, ge=0.1, le=300)
    probes: int = Field(3, ge=1, le=1000)
    throttle: Literal["off", "dry_run", "on"] = "dry_run"
    throttle_memory: int = Field(200, ge=10, le=100_000)
    throttle_results_min: int = Field(50, ge=1, le=100_000)


class CallbackSettings(_Section):
    """[callback]: telling sellers the end of a lead that was pending."""

    timeout_s: float = Field(10.0, ge=0.1, le=60)
    hours: int = Field(24, ge=1, le=720)


class StoreSettings(_Section):
    """[store]: writing the books."""

    batch_max: int = Field(128, ge=1, le=1000)


class TraceSettings(_Section):
    """[trace]: spans for OpenTelemetry."""

    share: float = Field(0.0, ge=0, le=1)


class RetentionSettings(_Section):
    """[retention]: how long what happened can be explained."""

    pings_days: int = Field(90, ge=1, le=3650)
    callbacks_days: int = Field(30, ge=1, le=3650)
    persons_days: int = Field(0, ge=0, le=3650)


class OfficeSettings(_Section):
    """[office]: the console."""

    url: Annotated[str | None, BeforeValidator(_site)] = None
    idle_hours: int = Field(12, ge=1, le=720)
    session_hours: int = Field(168, ge=1, le=8760)
    tries_max: int = Field(10, ge=3, le=1000)


class Settings(_Section):
    """Every setting. config/exchange.toml has each with its default, unit, range and a sentence."""

    database_url: str | None = None
    data_dir: Path | None = None
    listen: Address = "127.0.0.1:8080"
    office_listen: Address = "127.0.0.1:8081"
    workers: int = Field(1, ge=1, le=64)
    admin_key: str | None = Field(None, min_length=16, max_length=200)
    master_key: str | None = None
    allowed_networks: Networks = Field(default_factory=list)
    demo_listen: Address = "127.0.0.1:8090"
    ping: PingSettings = PingSettings()
    post: PostSettings = PostSettings()
    http: HttpSettings = HttpSettings()
    health: HealthSettings = HealthSettings()
    callback: CallbackSettings = CallbackSettings()
    store: StoreSettings = StoreSettings()
    retention: RetentionSettings = RetentionSettings()
    trace: TraceSettings = TraceSettings()
    office: OfficeSettings = OfficeSettings()


def load_settings(
    environment: Mapping[str, str], *, config: Path | None = None, places: tuple[Path, ...] = ()
) -> Settings:
    """Merge and check. `config` must exist; without it the first of `places` that exists is read."""
    path = config or next((place for place in places if place.is_file()), None)
    problems: list[Problem] = []
    values = _read(path, problems) if path else {}
    _overlay(values, environment, problems)
    try:
        found = Settings.model_validate(values)
    except ValidationError as error:
        raise SettingsInvalid((*problems, *problems_of(error), *_relations(values))) from None
    problems += _relations(values)
    if problems:
        raise SettingsInvalid(tuple(problems))
    return found


def default_places() -> tuple[Path, ...]:
    """Beside the packages, then the current folder."""
    beside = Path(__file__).resolve().parent.parent / "config" / "exchange.toml"
    return (beside, Path.cwd() / "config" / "exchange.toml")


def describe(settings: Settings) -> list[tuple[str, str]]:
    """Effective settings by their TOML name, secrets masked."""
    rows = []
    for name, value in _flat(settings.model_dump(mode="json")):
        shown = "********" if name in _SECRETS and value else value
        rows.append((name, str(shown)))
    return rows


def environment_name(setting: str) -> str:
    """`post.start_min_ms` is EXCHANGE_POST_START_MIN_MS."""
    return PREFIX + setting.replace(".", "_").upper()


def setting_names() -> list[str]:
    return [name for name, _ in _flat(Settings().model_dump())]


def _flat(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for name, value in values.items():
        rows += _flat(value, f"{name}.") if isinstance(value, dict) else [(prefix + name, value)]
    return rows


def _read(path: Path, problems: list[Problem]) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        problems.append(Problem(path.name, "not_found", "the file does not exist"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError):
        problems.append(Problem(path.name, "bad_format", "is not TOML"))
    return {}


def _overlay(
    values: dict[str, Any], environment: Mapping[str, str], problems: list[Problem]
) -> None:
    for name in setting_names():
        text = environment.get(environment_name(name))
        if text is None or text == "":
            continue
        section, _, leaf = name.rpartition(".")
        target = values.setdefault(section, {}) if section else values
        if isinstance(target, dict):
            target[leaf] = text
        else:
            problems.append(Problem(section, "invalid_type", "must be a table"))


def _relations(values: Mapping[str, Any]) -> list[Problem]:
    """Faults between settings, judged on what was written: they are told with all the others."""
    problems = []
    master_key = values.get("master_key")
    if values.get("database_url") and not master_key:
        problems.append(
            Problem(
                "master_key",
                "required",
                "must be set with a database URL: every machine needs the same",
            )
        )
    if isinstance(master_key, str) and read_master_key(master_key) is None:
        problems.append(Problem("master_key", "bad_format", "must be 64 hexadecimal digits"))
    fields = Settings.model_fields
    listen = values.get("listen", fields["listen"].default)
    office_listen = values.get("office_listen", fields["office_listen"].default)
    if listen == office_listen and not str(listen).endswith(":0"):
        problems.append(Problem("office_listen", "duplicate", "must differ from listen"))
    return problems


def read_master_key(text: str) -> bytes | None:
    """32 bytes of 64 hexadecimal digits, or None."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        return None
    return key if len(key) == 32 else None


def split_address(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def from_process() -> Settings:
    """The settings of this process: EXCHANGE_CONFIG names a file that replaces the usual places."""
    config = os.environ.get("EXCHANGE_CONFIG")
    return load_settings(
        os.environ, config=Path(config) if config else None, places=default_places()
    )
