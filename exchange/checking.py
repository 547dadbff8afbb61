"""Judges documents: each by itself, and all together with what is stored. Every problem at once."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import orjson

from buyers.guard import Guard, UrlRefused
from buyers.money import parse_micros
from exchange.conditions import filter_problems
from exchange.documents import (
    BuyerDocument,
    ContractDocument,
    PlanDocument,
    canonical,
    check_seller,
    plan_value,
)
from exchange.errors import DocumentsInvalid, Problem
from exchange.geo import within
from exchange.plan import Plan, TierMode, default_plan
from exchange.store.catalogue import KINDS, Documents
from exchange.store.documents import Wanted
from exchange.verticals import Vertical, read_vertical

_URLS: Final = ("ping_url", "post_url", "status_url")


def check_all(wanted: Wanted, stored: Documents, guard: Guard) -> Wanted:
    """Canonical documents, each valid by itself and together with what is stored."""
    problems: list[Problem] = []
    faulty: list[tuple[Mapping[str, Any], str, tuple[Problem, ...]]] = []
    checked: Wanted = []
    bodies: dict[str, dict[str, dict[str, Any]]] = {
        kind: {slug: one.body for slug, one in stored[kind].items() if not one.deleted}
        for kind in KINDS
    }
    for kind, document in wanted:
        path = path_of(kind, document)
        try:
            body = _canonical(kind, document, path)
        except DocumentsInvalid as error:
            faulty.append((document, path, error.problems))
            problems += error.problems
            continue
        name = body["vertical"] if kind == "plan" else body["slug"]
        problems += _fixed(kind, body, bodies[kind].get(name), path)
        if kind != "plan" and name not in bodies[kind] and name in stored[kind]:
            problems.append(Problem(f"{path}.slug", "slug_retired", "was retired; take another"))
        bodies[kind][name] = body
        checked.append((kind, body))
    written = {
        (kind, body["vertical"] if kind == "plan" else body["slug"]) for kind, body in checked
    }
    verticals = {slug: read_vertical(body) for slug, body in bodies["vertical"].items()}
    problems += _together(bodies, written, verticals, guard)
    for contract, path, told in faulty:
        if path.startswith("contract "):
            found = _contract_problems(_loose(contract), bodies["buyer"], verticals, guard, path)
            problems += _untold(found, told)
    if problems:
        raise DocumentsInvalid(tuple(problems))
    return checked


def path_of(kind: str, document: Mapping[str, Any]) -> str:
    """How a document is named in front of its problems' paths."""
    return f"{kind} {document.get('vertical' if kind == 'plan' else 'slug', '?')}"


def _canonical(kind: str, document: dict[str, Any], path: str) -> dict[str, Any]:
    unreadable = [
        Problem(".".join((path, *where)), "bad_format", "must not hold NUL characters")
        for where in (_with_nul(document, ()) if _may_hold_nul(document) else ())
    ]
    if unreadable:  # which Postgres cannot keep
        raise DocumentsInvalid(tuple(unreadable))
    match kind:
        case "vertical":
            return _vertical(document)
        case "plan":
            return canonical(PlanDocument, document, path)
        case "seller":
            return check_seller(document, path)
        case "buyer":
            return canonical(BuyerDocument, document, path)
        case _:
            return canonical(ContractDocument, document, path)


def _vertical(document: dict[str, Any]) -> dict[str, Any]:
    """As it was written, with every default of its head."""
    found = read_vertical(document)
    body: dict[str, Any] = orjson.loads(orjson.dumps(document))
    return {
        **body,
        "currency": found.currency,
        "on_personal_data_in_ping": found.on_personal_data_in_ping,
        "auction": found.auction,
        "dedupe_days": found.dedupe_days,
        "margin": {"percent": "0", "fixed": "0"} | (body.get("margin") or {}),
    }


def _may_hold_nul(document: dict[str, Any]) -> bool:
    """Of its text: a walk through 40,000 values would hold the loop up."""
    try:
        return b"\\u0000" in orjson.dumps(document)
    except TypeError:  # a number too large for it, half a character: it is refused further on
        return True


def _with_nul(value: object, where: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    match value:
        case str():
            if "\0" in value:
                yield where
        case Mapping():
            for name, inner in value.items():
                if "\0" in str(name):
                    yield where
                yield from _with_nul(inner, (*where, str(name)))
        case list():
            for place, inner in enumerate(value):
                yield from _with_nul(inner, (*where, str(place)))


def _fixed(
    kind: str, body: dict[str, Any], before: dict[str, Any] | None, path: str
) -> list[Problem]:
    """Credit moves by deposits and sales only; money cannot change its currency or its owner."""
    if before is None:
        return []
    if kind == "contract" and body["buyer"] != before["buyer"]:
        return [Problem(f"{path}.buyer", "not_allowed", "a contract's buyer cannot be changed")]
    if kind == "buyer":
        body["credit"] = before["credit"]
        if body["currency"] != before["currency"]:
            text = "a buyer's currency cannot be changed"
            return [Problem(f"{path}.currency", "not_allowed", text)]
    return []


def _loose(contract: Mapping[str, Any]) -> dict[str, Any]:
    """What can be judged with everything at hand of a contract that is faulty by itself."""
    endpoint, filters = contract.get("endpoint"), contract.get("filters")
    urls = endpoint if isinstance(endpoint, Mapping) else {}
    return {
        **{name: _text(contract.get(name)) for name in ("buyer", "vertical")},
        "filters": filters if isinstance(filters, list) else [],
        "endpoint": {name: _text(urls.get(name)) for name in _URLS},
    }


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _untold(found: list[Problem], told: tuple[Problem, ...]) -> list[Problem]:
    """Problems of places where nothing was found wrong before."""
    paths = {one.path for one in told}
    return [one for one in found if one.path not in paths]


def _together(
    bodies: dict[str, dict[str, dict[str, Any]]],
    written: set[tuple[str, str]],
    verticals: Mapping[str, Vertical],
    guard: Guard,
) -> list[Problem]:
    """What can only be judged with everything at hand."""
    plans = {slug: plan_value(body) for slug, body in bodies["plan"].items()}
    problems = []
    for kind, slug in sorted(written):
        body, path = bodies[kind][slug], f"{kind} {slug}"
        if kind == "plan" and slug not in verticals:
            problems.append(Problem(f"{path}.vertical", "not_found", "there is no such vertical"))
        if kind == "buyer" and body["credit"] is None and parse_micros(body["low_balance_stop"]):
            text = "a postpaid buyer has no balance to stop at"
            problems.append(Problem(f"{path}.low_balance_stop", "not_allowed", text))
        if kind == "seller":
            problems += _url_problems({"callback_url": body.get("callback_url")}, guard, path)
            problems += [
                Problem(f"{path}.verticals", "not_found", f"there is no vertical {one}")
                for one in body["verticals"]
                if one not in verticals
            ]
    for slug, body in bodies["contract"].items():
        # A changed vertical may have lost a field that a stored contract's filter reads.
        touched = ("contract", slug) in written or ("vertical", body["vertical"]) in written
        if touched or ("plan", body["vertical"]) in written:
            path = f"contract {slug}"
            plan = plans.get(body["vertical"]) or default_plan(body["vertical"])
            problems += _tier_problems(body, plan, path)
        if touched:
            is_stored = ("contract", slug) not in written
            problems += _contract_problems(
                body, bodies["buyer"], verticals, guard, f"contract {slug}", is_stored=is_stored
            )
    return problems


def _tier_problems(body: dict[str, Any], plan: Plan, path: str) -> list[Problem]:
    tier = next((one for one in plan.tiers if one.name == body["tier"]), None)
    if tier is None:
        return []  # such a contract is skipped (no_tier), not refused
    if body["pricing"]["mode"] == "bid" and tier.mode is not TierMode.AUCTION:
        return [Problem(f"{path}.tier", "not_allowed", "a waterfall tier takes fixed prices only")]
    if tier.mode is TierMode.PERCENTAGE and body["percent"] is None:
        return [
            Problem(f"{path}.percent", "required", "a percentage tier needs the contract's percent")
        ]
    return []


def _contract_problems(
    body: dict[str, Any],
    buyers: dict[str, dict[str, Any]],
    verticals: Mapping[str, Vertical],
    guard: Guard,
    path: str,
    *,
    is_stored: bool = False,
) -> list[Problem]:
    problems = []
    buyer, vertical = buyers.get(body["buyer"]), verticals.get(body["vertical"])
    if buyer is None:
        problems.append(Problem(f"{path}.buyer", "not_found", "there is no such buyer"))
    if vertical is None:
        problems.append(Problem(f"{path}.vertical", "not_found", "there is no such vertical"))
    else:
        problems += filter_problems(
            body["filters"], vertical, f"{path}.filters", within, is_stored=is_stored
        )
    if buyer and vertical and buyer["currency"] != vertical.currency:
        problems.append(
            Problem(f"{path}.buyer", "currency", "the buyer's currency is not the vertical's")
        )
    urls = {name: body["endpoint"][name] for name in _URLS}
    return problems + _url_problems(urls, guard, f"{path}.endpoint")


def _url_problems(urls: Mapping[str, str | None], guard: Guard, path: str) -> list[Problem]:
    """Of addresses that we would call, by the name of their property."""
    found = {name: guard.check_url(url) for name, url in urls.items() if url}
    return [
        Problem(f"{path}.{name}", one.code, one.message)
        for name, one in found.items()
        if isinstance(one, UrlRefused)
    ]
