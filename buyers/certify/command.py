"""`python -m buyers check`: certify an endpoint from a developer's own machine."""

import argparse
import asyncio
import os
import sys
import time
from ipaddress import ip_network
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from buyers import strict_json
from buyers.certify.trial import certify
from buyers.certify.values import Exchange, Report, TestLead
from buyers.contract import Buyer, Contract, Endpoint, Pricing, PricingMode
from buyers.guard import Guard
from buyers.money import MoneyInvalid, parse_micros
from buyers.signing import new_secret, read_secret
from buyers.wire import Wire, WireLimits

_LOOPBACK: Final = ("127.0.0.0/8", "::1/128")
_PERSON: Final = {
    "first_name": "Ann",
    "last_name": "Example",
    "address1": "1 Oak St",
    "city": "Los Angeles",
}
_PINGS: Final[dict[str, dict[str, Any]]] = {
    "auto_insurance": {
        "zip": "90012", "state": "CA", "currently_insured": True, "home_owner": "rent",
        "vehicles": [{"year": 2019, "make": "Honda", "model": "Civic"}],
        "drivers": [{"age": 34, "gender": "female", "marital_status": "single"}],
    },
    "personal_loan": {"zip": "90012", "state": "CA", "requested_amount": 5000, "monthly_income": 4200},
    "solar": {"zip": "90012", "state": "CA", "home_owner": "own", "monthly_bill": 180},
}  # fmt: skip
_EPILOG: Final = (
    "Nothing is sold: every message says test:true and names a person who cannot exist. "
    "Loopback addresses are allowed here; the exchange itself needs its operator to allow them. "
    "Exit status: 0 passed, 1 failed, 2 wrong usage."
)


class UsageError(ValueError):
    """An argument that cannot be used."""


def add_parser(commands: Any) -> None:
    """The words of `check`."""
    check = commands.add_parser("check", help="certify a buyer's endpoint", epilog=_EPILOG)
    check.add_argument("url", metavar="URL", help="where pings go; https, or http on loopback")
    check.add_argument("--post-url", metavar="URL", help="where posts go (default: URL)")
    check.add_argument("--status-url", metavar="URL", help="where outcomes are asked for")
    check.add_argument("--secret", metavar="whsec_…", help="signs (default: a random one)")
    check.add_argument("--vertical", default="auto_insurance", metavar="SLUG")
    check.add_argument(
        "--fields",
        type=Path,
        metavar="FILE.json",
        help='{"ping":{…},"post":{…}}: the fields of each stage (default: a made-up lead)',
    )
    check.add_argument("--fixed-price", metavar="PRICE", help="no pings: URL takes posts")
    check.add_argument("--currency", default="USD")
    check.add_argument("--min", default="0", metavar="PRICE", help="the contract's pricing.min")
    check.add_argument("--max", metavar="PRICE", help="the contract's pricing.max")
    check.add_argument("--idempotent", action="store_true", help="repeats must be recognised")
    check.add_argument("--timeout-ms", type=int, default=400, metavar="N", help="of a ping")
    check.add_argument("--post-timeout-ms", type=int, default=5000, metavar="N")
    check.add_argument(
        "--allow",
        nargs="+",
        action="extend",
        default=[],
        metavar="CIDR",
        help="private networks to allow besides loopback, which always is",
    )
    check.add_argument("--json", action="store_true", help="print the report as JSON")


def check(chosen: argparse.Namespace) -> int:
    """Certify and print. Returns the process's exit code."""
    try:
        secret = chosen.secret or new_secret(os.urandom(32))
        contract, test_lead = read_contract(chosen, secret), read_test_lead(chosen)
        guard = Guard(allowed_networks=tuple(map(ip_network, (*_LOOPBACK, *chosen.allow))))
    except ValueError as error:  # a network's, too
        print(f"buyers check: {error}", file=sys.stderr)
        return 2
    if chosen.secret is None:
        print(f"signing with {secret} (name yours with --secret)", file=sys.stderr)
    report = asyncio.run(_certify(contract, test_lead, guard))
    print(orjson.dumps(report.show()).decode() if chosen.json else written(report))
    return 0 if report.passed else 1


async def _certify(contract: Contract, test_lead: TestLead, guard: Guard) -> Report:
    wire = Wire(guard=guard, limits=WireLimits())
    try:
        return await certify(
            contract, test_lead, transport=wire, guard=guard, wall_s=time.time, new_id=_new_id
        )
    finally:
        await wire.close()


def _new_id(kind: str) -> str:
    return f"{kind}_test_{os.urandom(16).hex()}"


def read_contract(chosen: argparse.Namespace, secret: str) -> Contract:
    """The contract that the arguments describe. Raises UsageError."""
    for name, ms in (("--timeout-ms", chosen.timeout_ms), ("--post-timeout-ms", chosen.post_timeout_ms)):  # fmt: skip
        if not 10 <= ms <= 120_000:
            raise UsageError(f"{name} must be 10 to 120000")
    try:
        key = read_secret(secret)
    except ValueError as error:
        raise UsageError(f"--secret {error}") from None
    fixed = chosen.fixed_price is not None
    return Contract(
        id=0,
        slug="check",
        buyer=Buyer(
            id=0, slug="check", name="check", currency=chosen.currency, timezone="UTC", active=True
        ),
        vertical=chosen.vertical,
        active=True,
        tier="auction",
        priority=10,
        weight=100,
        percent_ppm=None,
        adjustment_ppm=1_000_000,
        endpoint=Endpoint(
            dialect="standard_v1",
            ping_url=None if fixed else chosen.url,
            post_url=chosen.post_url or chosen.url,
            status_url=chosen.status_url,
            ping_timeout_ms=chosen.timeout_ms,
            post_timeout_ms=chosen.post_timeout_ms,
            idempotent=chosen.idempotent,
            accepts_test=True,
        ),
        secret=key,
        pricing=Pricing(
            mode=PricingMode.FIXED if fixed else PricingMode.BID,
            min_micros=_price("--min", chosen.min),
            max_micros=None if chosen.max is None else _price("--max", chosen.max),
            price_micros=_price("--fixed-price", chosen.fixed_price or "0"),
        ),
    )


def _price(name: str, text: str) -> int:
    try:
        return parse_micros(text)
    except MoneyInvalid as error:
        raise UsageError(f"{name} {error}") from None


def read_test_lead(chosen: argparse.Namespace) -> TestLead:
    """The fields of the file, or somebody made up. Raises UsageError."""
    if chosen.fields is None:
        usual = {"zip": "90012", "state": "CA"}
        ping = _PINGS.get(chosen.vertical, usual)
        line = Random(os.urandom(8)).randrange(100)  # so that a repeated check is somebody else
        person = {"phone": f"+121355501{line:02}", "email": f"ann.{line}@example.com"}
        return TestLead(ping=ping, lead={**ping, **_PERSON, **person})
    try:
        found = strict_json.loads_object(chosen.fields.read_bytes())
    except (OSError, strict_json.JsonInvalid) as error:
        raise UsageError(f"--fields {error}") from None
    stages = [found.get("ping"), found.get("post", {})]
    if found.keys() - {"ping", "post"} or not all(isinstance(one, dict) for one in stages):
        raise UsageError('--fields must hold {"ping":{…},"post":{…}}')
    return TestLead(ping=found["ping"], lead=found["ping"] | found.get("post", {}))


def written(report: Report) -> str:
    """The report for people: a line a check, then what went to and fro."""
    lines = [
        f"{one.verdict.upper() if one.verdict == 'failed' else one.verdict.value:8} {one.name:16} {one.text}"
        for one in report.checks
    ]
    for exchange in report.exchanges:
        lines += ["", f"--- {exchange.name} ".ljust(72, "-"), *_dialogue(exchange)]
    failed = len(report.failed)
    verdict = "passed" if report.passed else f"failed: {failed} check{'s' if failed > 1 else ''}"
    return "\n".join([*lines, "", f"{verdict}; repeats: {report.repeats}"])


def _printable(line: str) -> str:
    """What an endpoint sends must not steer the terminal."""
    return "".join(one if one.isprintable() else "\ufffd" for one in line)


def _dialogue(exchange: Exchange) -> list[str]:
    sent = [f"> {line}" for line in exchange.request.splitlines()]
    said = exchange.failure.value if exchange.failure else str(exchange.status)
    received = [f"< {_printable(line)}" for line in exchange.response.splitlines()]
    more = ["< …"] if exchange.truncated else []
    return [*sent, f"< {said} ({exchange.elapsed_ms:.0f} ms)", *received, *more]
