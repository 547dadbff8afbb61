"""`exchange apply`: documents from TOML and JSON files, checked together, written all or nothing."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from buyers import strict_json
from buyers.guard import Guard, UrlRefused
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
from exchange.plan import Plan, TierMode, default_plan
from exchange.sealing import Vault
from exchange.store.catalogue import KINDS, Documents
from exchange.store.database import Database
from exchange.store.documents import Change, Wanted, write_documents
from exchange.verticals import Vertical, read_vertical

_PLURALS: Final = {f"{kind}s": kind for kind in KINDS}


async def apply(
    db: Database, vault: Vault, guard: Guard, wanted: Wanted, *, by: str, dry_run: bool = False
) -> list[Change]:
    """Check everything against everything, then write. Raises DocumentsInvalid with all problems."""
    return await write_documents(
        db, vault, lambda stored: check_all(wanted, stored, guard), by=by, dry_run=dry_run
    )


def read_files(paths: Sequence[Path], names: Mapping[str, str] | None = None) -> Wanted:
    """Every document of the files, folders walked. `${name}` in text is replaced out of `names`.

    A file holds lists (`[[contracts]]`, or singular), or is one vertical, plan, seller, buyer or
    contract by itself.
    """
    wanted: Wanted = []
    problems: list[Problem] = []
    for path in _files(paths):
        try:
            wanted += _split(_load(path, names or {}), path)
        except (OSError, ValueError, DocumentsInvalid) as error:
            why = (
                str(error)
                if isinstance(error, DocumentsInvalid)
                else "cannot be read as TOML or JSON"
            )
            problems.append(Problem(str(path), "unreadable", why))
    if problems:
        raise DocumentsInvalid(tuple(problems))
    return wanted


def check_all(wanted: Wanted, stored: Documents, guard: Guard) -> Wanted:
    """Canonical documents, each valid by itself and together with what is stored."""
    problems: list[Problem] = []
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
    problems += _together(bodies, written, guard)
    if problems:
        raise DocumentsInvalid(tuple(problems))
    return checked


def path_of(kind: str, document: Mapping[str, Any]) -> str:
    """How a document is named in front of its problems' paths."""
    return f"{kind} {document.get('vertical' if kind == 'plan' else 'slug', '?')}"


def _canonical(kind: str, document: dict[str, Any], path: str) -> dict[str, Any]:
    unreadable = [
        Problem(".".join((path, *where)), "bad_format", "must not hold NUL characters")
        for where in _with_nul(document, ())
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
        "margin": {"percent": "0", "fixed": "0"} | (body.get("margin") or {}),
    }


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


def _together(
    bodies: dict[str, dict[str, dict[str, Any]]], written: set[tuple[str, str]], guard: Guard
) -> list[Problem]:
    """What can only be judged with everything at hand."""
    verticals = {slug: read_vertical(body) for slug, body in bodies["vertical"].items()}
    plans = {slug: plan_value(body) for slug, body in bodies["plan"].items()}
    problems = []
    for kind, slug in sorted(written):
        body, path = bodies[kind][slug], f"{kind} {slug}"
        if kind == "plan" and slug not in verticals:
            problems.append(Problem(f"{path}.vertical", "not_found", "there is no such vertical"))
        if kind == "seller":
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
            problems += _contract_problems(
                body, bodies["buyer"], verticals, guard, f"contract {slug}"
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
    verticals: dict[str, Vertical],
    guard: Guard,
    path: str,
) -> list[Problem]:
    problems = []
    buyer, vertical = buyers.get(body["buyer"]), verticals.get(body["vertical"])
    if buyer is None:
        problems.append(Problem(f"{path}.buyer", "not_found", "there is no such buyer"))
    if vertical is None:
        problems.append(Problem(f"{path}.vertical", "not_found", "there is no such vertical"))
    else:
        problems += filter_problems(body["filters"], vertical, f"{path}.filters")
    if buyer and vertical and buyer["currency"] != vertical.currency:
        problems.append(
            Problem(f"{path}.buyer", "currency", "the buyer's currency is not the vertical's")
        )
    for name in ("ping_url", "post_url", "status_url"):
        url = body["endpoint"][name]
        found = guard.check_url(url) if url else None
        if isinstance(found, UrlRefused):
            problems.append(Problem(f"{path}.endpoint.{name}", found.code, found.message))
    return problems


def _files(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            found += sorted(p for p in path.rglob("*") if p.suffix in {".toml", ".json"})
        else:
            found.append(path)
    return found


def _load(path: Path, names: Mapping[str, str]) -> dict[str, Any]:
    text = path.read_text(encoding="utf-8")
    for name, value in names.items():
        text = text.replace("${" + name + "}", value)
    if path.suffix == ".json":
        return strict_json.loads_object(text.encode())
    return tomllib.loads(text)


def _split(content: dict[str, Any], path: Path) -> Wanted:
    kind = _kind_of(content)
    if kind is not None:
        return [(kind, content)]
    wanted: Wanted = []
    for name, documents in content.items():
        kind = _PLURALS.get(name) or (name if name in KINDS else None)
        rows = documents if isinstance(documents, list) else [documents]
        if kind is None or not all(isinstance(row, dict) for row in rows):
            known = ", ".join(_PLURALS)
            raise DocumentsInvalid(
                (Problem(str(path), "unknown_field", f"{name}: expected lists of {known}"),)
            )
        wanted += [(kind, row) for row in rows]
    return wanted


def _kind_of(content: dict[str, Any]) -> str | None:
    """The kind of a file that is one document by itself, told by its own properties."""
    keys = content.keys()
    if "tiers" in keys:
        return "plan"
    if "slug" not in keys:
        return None
    if "endpoint" in keys or "pricing" in keys:
        return "contract"
    if "fields" in keys:
        return "vertical"
    return "seller" if keys & {"verticals", "rate_per_s", "callback_url", "margin"} else "buyer"
