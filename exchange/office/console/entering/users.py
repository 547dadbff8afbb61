"""/console/users: who may use the console. New users and those who are lost enter by a link."""

from aiohttp import web

from exchange.errors import Problem, Refusal
from exchange.office.console.entering.links import link_address
from exchange.office.console.entering.people import People
from exchange.office.console.entering.sessions import LINK_MINUTES
from exchange.office.console.forms import read_form
from exchange.office.console.frame import Console, Viewer, action, page, redirect

_HERE = "/console/users"
_OWNERS = "SELECT kind, slug FROM document WHERE kind IN ('buyer', 'seller') AND NOT deleted ORDER BY slug"


class UserDesk:
    """The handlers of users, for admins."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._people = People(console.db, console.vault)

    async def show(self, request: web.Request, _viewer: Viewer) -> web.Response:
        return await self._page(request)

    async def _page(
        self,
        request: web.Request,
        *,
        problems: list[Problem] | None = None,
        given: dict[str, str] | None = None,
        link: str = "",
        linked: str = "",
    ) -> web.Response:
        return self._console.render(
            request,
            "frame/users.html",
            status=422 if problems else 200,
            users=await self._people.all(),
            owners=[tuple(row) for row in await self._console.db.fetch(_OWNERS)],
            problems={one.path: one.message for one in problems or ()},
            given=given or {},
            link=link,
            linked=linked,
            minutes=LINK_MINUTES,
        )

    async def create(self, request: web.Request, viewer: Viewer) -> web.Response:
        form = await read_form(request)
        login, role = form.get("login", "").strip().lower(), form.get("role", "")
        problems = await self._people.add(login, role, form.get("owner", "").strip() or None)
        if problems:
            return await self._page(request, problems=problems, given=form)
        await self._console.note(viewer.name, "user_created", login, role=role)
        return await self._linked(request, viewer, login)

    async def link(self, request: web.Request, viewer: Viewer) -> web.Response:
        """A link that lets the user in once."""
        login = request.match_info["login"]
        if await self._people.find(login) is None:
            raise Refusal(404, "not_found")
        return await self._linked(request, viewer, login)

    async def reset(self, request: web.Request, viewer: Viewer) -> web.Response:
        """For who has lost password or device: both are gone, a link lets the user in."""
        login = self._other(request, viewer)
        if not await self._people.reset(login):
            raise Refusal(404, "not_found")
        await self._console.note(viewer.name, "user_reset", login)
        return await self._linked(request, viewer, login)

    async def retire(self, request: web.Request, viewer: Viewer) -> web.Response:
        login = self._other(request, viewer)
        if not await self._people.retire(login):
            raise Refusal(404, "not_found")
        await self._console.note(viewer.name, "user_retired", login)
        return redirect(_HERE, f"{login} is retired, and every session of it is over.")

    async def _linked(self, request: web.Request, viewer: Viewer, login: str) -> web.Response:
        token = await self._console.sessions.make_once("enter", login)
        await self._console.note(viewer.name, "link_made", login)
        scheme = "https" if self._console.is_https(request) else "http"
        base = self._console.settings.office.url or f"{scheme}://{request.host}"
        return await self._page(request, link=link_address(base, token), linked=login)

    @staticmethod
    def _other(request: web.Request, viewer: Viewer) -> str:
        """Whom it is about. Refuses with 422 oneself: nobody locks himself out by a slip."""
        login = request.match_info["login"]
        if login == viewer.user:
            raise Refusal(422, "invalid_request", "you cannot do this to yourself")
        return login


def routes(console: Console) -> list[web.RouteDef]:
    desk = UserDesk(console)
    return [
        page(_HERE, desk.show, "admin"),
        action(_HERE, desk.create, "admin"),
        action(f"{_HERE}/{{login}}/link", desk.link, "admin"),
        action(f"{_HERE}/{{login}}/reset", desk.reset, "admin"),
        action(f"{_HERE}/{{login}}/retire", desk.retire, "admin"),
    ]
