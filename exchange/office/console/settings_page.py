"""/console/settings: the settings in force, with unit, range and where each comes from."""

from itertools import groupby

from aiohttp import web

from exchange.office.console.frame import STAFF, Console, Viewer, page
from exchange.settings_told import of_process


def routes(console: Console) -> list[web.RouteDef]:
    async def show(request: web.Request, _viewer: Viewer) -> web.Response:
        told = of_process(console.settings)
        words = request.query.get("q", "").strip().lower()
        found = [one for one in told if words in f"{one.name} {one.sentence}".lower()]
        if request.query.get("set"):
            found = [one for one in found if one.source != "default"]
        sections = [
            (name, list(rows))
            for name, rows in groupby(found, lambda one: one.name.rpartition(".")[0])
        ]
        changed = sum(one.source != "default" for one in told)
        return console.render(
            request, "frame/settings.html", sections=sections, changed=changed, count=len(told)
        )

    return [page("/console/settings", show, *STAFF)]
