"""/console/keys: API keys, made and revoked. A key is shown once, when it is made."""

from typing import Final

from aiohttp import web

from exchange.office.console.frame import Console, Viewer, page
from exchange.store.keys import ListedKey, list_keys

_LIMIT: Final = 100
_OWNERS: Final = "SELECT kind, slug FROM document WHERE kind IN ('buyer', 'seller') AND NOT deleted ORDER BY slug"


def routes(console: Console) -> list[web.RouteDef]:
    async def show(request: web.Request, _viewer: Viewer) -> web.Response:
        query = request.query
        found = sorted(await list_keys(console.db), key=_place, reverse=True)
        shown = [
            one
            for one in found
            if query.get("role") in {None, "", one.key.role}
            and query.get("owner", "").strip() in {"", one.key.owner}
            and (query.get("state") == "all" or one.revoked_at is None)
            and _place(one) < query.get("after", "~")
        ]
        more = _place(shown[_LIMIT - 1]) if len(shown) > _LIMIT else None
        owners = [tuple(row) for row in await console.db.fetch(_OWNERS)]
        live = sum(one.revoked_at is None for one in found)
        return console.render(
            request, "frame/keys.html", keys=shown[:_LIMIT], older=more, owners=owners, live=live
        )

    return [page("/console/keys", show, "admin")]


def _place(one: ListedKey) -> str:
    """Sorts by the moment it was made."""
    return f"{one.created_at:%Y%m%d%H%M%S%f}-{one.key.id}"
