"""Signing in: with a login and a password, with an API key, or by a link that works once."""

import re
from typing import Final

from aiohttp import web

from exchange.errors import Refusal
from exchange.http.access import KeyRing, StoredKeys
from exchange.office.console.entering.people import People
from exchange.office.console.forms import read_form
from exchange.office.console.frame import EVERYONE, Console, Viewer, action, redirect, safe_next

_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{20,100}")
_WRONG: Final = "This login and password do not belong together."
_WRONG_KEY: Final = "This key is unknown or revoked."
_WRONG_CODE: Final = "This code is wrong, or was used already. Wait for the next one."
_OLD_LINK: Final = "This link was used already or is older than ten minutes. Ask for a new one."
_LOOPBACK: Final = ("127.", "localhost", "[::1]")


class Entrance:
    """The handlers of the sign-in page. Nobody is signed in here."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._people = People(console.db, console.vault)
        self._keys = KeyRing(StoredKeys(console.db), console.vault, remembers=False)

    async def show(self, request: web.Request) -> web.Response:
        if await self._console.viewer(request) is not None:
            return redirect(safe_next(request.query.get("next", "")))
        return self._form(request)

    def _form(
        self, request: web.Request, *, login: str = "", error: str = "", by: str = "login",
        status: int = 200, then: str | None = None, pending: str = "",
    ) -> web.Response:  # fmt: skip
        where = then if then is not None else request.query.get("next", "")
        response = self._console.render(
            request, "frame/sign_in.html", status=status, login=login, error=error, by=by,
            next=safe_next(where), pending=pending, open=self._is_open(request),
        )  # fmt: skip
        if status == 429:
            response.headers["Retry-After"] = "60"
        return response

    def _is_open(self, request: web.Request) -> bool:
        """Whether anybody on the way could read the password."""
        return not self._console.is_https(request) and not request.host.startswith(_LOOPBACK)

    async def enter(self, request: web.Request) -> web.Response:
        """A password, or a key. A wrong one is told in the same words and time, whatever is wrong."""
        self._console.refuse_foreign(request)
        form = await read_form(request)
        then, key = form.get("next", ""), form.get("key", "").strip()
        if key:
            return await self._by_key(request, key, then)
        login, password = form.get("login", "").strip().lower()[:64], form.get("password", "")
        wait_s = await self._count(request, login)
        if wait_s:
            return self._form(request, login=login, error=_wait(wait_s), status=429, then=then)
        if not await self._people.is_password(login, password):
            # Whoever is in the wrong field types his password here: only logins are written down.
            known = await self._people.find(login) is not None
            by = f"user:{login}" if known else "nobody known"
            await self._console.note(by, "sign_in_failed", "", by="password")
            return self._form(request, login=login, error=_WRONG, status=403, then=then)
        user = await self._people.find(login)
        if user is not None and user.has_totp:
            pending = await self._console.sessions.make_once("code", login)
            return self._form(request, login=login, pending=pending, then=then)
        return await self._begin(request, then, login=login, how="password")

    async def code(self, request: web.Request) -> web.Response:
        """The second half: a one-time code, or a recovery code."""
        self._console.refuse_foreign(request)
        form = await read_form(request)
        then, pending = form.get("next", ""), form.get("pending", "")
        login = await self._console.sessions.look_once("code", pending)
        if login is None:
            return self._form(
                request, error="That took too long. Begin again.", status=403, then=then
            )
        wait_s = await self._count(request, login)
        if wait_s:
            return self._form(request, login=login, error=_wait(wait_s), status=429, then=then)
        if not await self._people.is_code(login, form.get("code", "")[:40]):
            await self._console.note(f"user:{login}", "sign_in_failed", "", by="code")
            return self._form(
                request, login=login, error=_WRONG_CODE, status=403, then=then, pending=pending
            )
        if await self._console.sessions.use_once("code", pending) is None:
            return self._form(request, error="Begin again.", status=403, then=then)
        return await self._begin(request, then, login=login, how="password and code")

    async def _by_key(self, request: web.Request, key: str, then: str) -> web.Response:
        wait_s = await self._count(request, "")
        if wait_s:
            return self._form(request, error=_wait(wait_s), by="key", status=429, then=then)
        try:
            found = await self._keys.holder(f"Bearer {key}")
        except Refusal:
            return self._form(request, error=_WRONG_KEY, by="key", status=403, then=then)
        return await self._begin(request, then, key_id=found.id, how="key")

    async def link(self, request: web.Request) -> web.Response:
        """A button: whoever looks at the link to show a preview of it must not use it up."""
        token = request.match_info["token"]
        known = _TOKEN.fullmatch(token) and await self._console.sessions.look_once("enter", token)
        response = self._console.render(
            request, "frame/link.html", status=200 if known else 404, login=known or None,
            token=token if known else "", error=_OLD_LINK,
        )  # fmt: skip
        response.headers["Referrer-Policy"] = "no-referrer"
        return response

    async def use_link(self, request: web.Request) -> web.Response:
        self._console.refuse_foreign(request)
        token = request.match_info["token"]
        known = _TOKEN.fullmatch(token) and await self._console.sessions.use_once("enter", token)
        if not known:
            return self._console.render(
                request, "frame/link.html", status=404, login=None, token="", error=_OLD_LINK
            )
        user = await self._people.find(known)
        first = user is not None and not user.has_password
        return await self._begin(
            request, "/console/account" if first else "", login=known, how="link"
        )

    async def leave(self, request: web.Request, viewer: Viewer) -> web.Response:
        await self._console.sessions.end(viewer.session)
        await self._console.note(viewer.name, "signed_out")
        response = redirect("/console/sign-in", "You are signed out.")
        response.del_cookie(self._console.cookie(request), path="/")
        return response

    async def _count(self, request: web.Request, login: str) -> int:
        address = self._console.device(request).address
        return await self._console.sessions.count_try(login, address)

    async def _begin(
        self,
        request: web.Request,
        then: str,
        *,
        login: str | None = None,
        key_id: str | None = None,
        how: str,
    ) -> web.Response:
        """A new session; an older one of this browser is over: nobody is let in by a cookie that he
        was given before."""
        console, device = self._console, self._console.device(request)
        before = await console.viewer(request)
        if before is not None:
            await console.sessions.end(before.session)
        token = await console.sessions.begin(device, login=login, key_id=key_id)
        await console.sessions.forget_tries(login or "", device.address)
        await console.note(f"user:{login}" if login else f"key:{key_id}", "signed_in", "", by=how)
        response = redirect(safe_next(then))
        response.set_cookie(
            console.cookie(request), token, path="/", httponly=True, samesite="Lax",
            secure=console.is_https(request), max_age=console.settings.office.session_hours * 3600,
        )  # fmt: skip
        return response


def routes(console: Console) -> list[web.RouteDef]:
    entrance = Entrance(console)
    return [
        web.get("/console/sign-in", entrance.show),
        web.post("/console/sign-in", entrance.enter),
        web.post("/console/sign-in/code", entrance.code),
        web.get("/console/enter/{token}", entrance.link),
        web.post("/console/enter/{token}", entrance.use_link),
        action("/console/sign-out", entrance.leave, *EVERYONE),
    ]


def _wait(seconds: int) -> str:
    minutes = -(-seconds // 60)
    return f"Too many tries. Wait {minutes} minute{'s' if minutes > 1 else ''} and try again."
