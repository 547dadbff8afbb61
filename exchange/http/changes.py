"""What a change of a document may do: whose it is, which version it is of, what stands in its way."""

from collections.abc import Mapping
from typing import Any, Final

from aiohttp import web

from exchange.documents import MASK
from exchange.errors import Problem, Refusal
from exchange.http.access import Caller
from exchange.plan import default_plan
from exchange.store.catalogue import Documents, StoredDocument

Body = dict[str, Any]


def shown(kind: str, body: Body, caller: Caller, secret: str | None = None) -> Body:
    """A document as its reader may see it; written back as it is, it changes nothing."""
    if kind == "seller":
        signs = body.get("callback_url") is not None
        return body | {"callback_secret": (secret or MASK) if signs else None}
    if kind != "contract":
        return body
    body = body | {"endpoint": body["endpoint"] | {"secret": secret or MASK}}
    if caller.buyer is not None:
        del body["adjustment"]
    return body


def visible(kind: str, stored: StoredDocument | None, caller: Caller) -> StoredDocument:
    """The document, if it stands and the caller may see it. Refuses with 404."""
    found = standing(stored)
    if found is None:
        raise not_found(kind)
    refuse_foreign(found, caller)
    return found


def standing(stored: StoredDocument | None) -> StoredDocument | None:
    return None if stored is None or stored.deleted else stored


def not_found(kind: str) -> Refusal:
    return Refusal(404, "not_found", f"there is no such {kind}")


def refuse_foreign(stored: StoredDocument, caller: Caller) -> None:
    """What is another buyer's does not exist for this one."""
    if caller.buyer is not None and stored.body["buyer"] != caller.buyer:
        raise not_found("contract")


def refuse_taken(kind: str, stored: StoredDocument | None, *, standing: bool) -> None:
    """409 for a slug that was retired, and, where it shall be new, for one that stands.

    A plan has no slug of its own: a vertical that lost its plan may get another.
    """
    if stored is None:
        return
    if stored.deleted and kind != "plan":
        raise Refusal(409, "slug_retired")
    if standing and not stored.deleted:
        raise Refusal(409, "exists")


def match_etag(request: web.Request, stored: StoredDocument | None) -> None:
    """If-Match by strong comparison, and `If-None-Match: *` of who makes what must not stand yet.
    Refuses with 412."""
    if request.headers.get("If-None-Match", "").strip() == "*" and stored is not None:
        raise Refusal(412, "etag_mismatch")
    header = request.headers.get("If-Match")
    if header is None:
        return
    tags = {one.strip() for one in header.split(",")}
    if stored is None or not tags & {"*", f'"{stored.version}"'}:
        raise Refusal(412, "etag_mismatch")


def refuse_needed(kind: str, slug: str, stored: Documents) -> None:
    """409 while something in force could not stand without it."""
    needing = needed_by(kind, slug, stored)
    if needing:
        more = f" and {len(needing) - 5} more" if len(needing) > 5 else ""
        raise Refusal(409, "in_use", f"needed by {', '.join(needing[:5])}{more}")


def merge_patch(target: object, patch: object) -> Any:
    """RFC 7396: null takes a member away, an object is merged, anything else replaces."""
    if not isinstance(patch, Mapping):
        return patch
    merged = dict(target) if isinstance(target, Mapping) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def misnamed(key: str, slug: str, body: Body) -> tuple[Problem, ...]:
    """A document under an address is the one that the address names."""
    if body.get(key) == slug:
        return ()
    return (Problem(key, "not_allowed", "must be the one in the address"),)


def relative(problem: Problem, prefix: str) -> Problem:
    """As the sender sees his document; what it breaks elsewhere keeps its name."""
    if problem.path == prefix:
        return Problem("", problem.code, problem.message)
    return Problem(problem.path.removeprefix(f"{prefix}."), problem.code, problem.message)


ADMINS_ONLY: Final = ("adjustment", "returns")


def taken_away(patch: Body, before: Body) -> list[Problem]:
    """A null in a buyer's patch would take away what is the admin's: told, not passed over."""
    return [
        Problem(name, "not_allowed", "only an admin may change it")
        for name in ADMINS_ONLY
        if name in patch and patch[name] is None and before.get(name) is not None
    ]


def by_buyer(body: Body, before: Body | None, buyer: str) -> tuple[Body, list[Problem]]:
    """A contract as a buyer's key may write it: its own, without what is the admin's."""
    problems = []
    if body.get("buyer", buyer) != buyer:
        problems.append(Problem("buyer", "not_allowed", "must be the buyer whose key this is"))
    if "adjustment" in body:
        problems.append(Problem("adjustment", "not_allowed", "only an admin may set it"))
    if body.get("returns") != (allowed := before.get("returns") if before else None):
        if "returns" in body:
            problems.append(Problem("returns", "not_allowed", "only an admin may change it"))
        body = body | {"returns": allowed}  # as the admin left it
    active = body.get("active", before is not None and before["active"])
    body = body | {"buyer": buyer, "active": active}
    body.pop("adjustment", None)
    if before is not None:  # as the admin left it
        body["adjustment"] = before["adjustment"]
    return body, problems


def needed_by(kind: str, slug: str, stored: Documents) -> list[str]:
    """What in force could not stand without this one, as `contract acme-ca`."""
    found = []
    for other, documents in stored.items():
        for name, one in documents.items():
            if not one.deleted and _needs(other, one.body, kind, slug):
                found.append(f"{other} {name}")
    return found


def _needs(other: str, body: Mapping[str, Any], kind: str, slug: str) -> bool:
    match kind, other:
        case "vertical", ("contract" | "plan"):
            return bool(body["vertical"] == slug)
        case "vertical", "seller":
            return slug in body["verticals"]
        case "plan", "contract":  # its tier, should the default plan have no such
            default = {tier.name for tier in default_plan(slug).tiers}
            return body["vertical"] == slug and body["tier"] not in default
        case "seller", "contract":
            return slug in body["sellers"]["allow"]
        case "buyer", "contract":
            return bool(body["buyer"] == slug)
        case _:
            return False
