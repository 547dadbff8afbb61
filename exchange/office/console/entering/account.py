"""/console/account: one's own password, one-time codes and sessions."""

import secrets

import segno
from aiohttp import web

from exchange.errors import Refusal
from exchange.office.console.entering import totp
from exchange.office.console.entering.passwords import LENGTH_MIN, password_problem
from exchange.office.console.entering.people import People
from exchange.office.console.forms import read_form
from exchange.office.console.frame import EVERYONE, Console, Viewer, action, page, redirect

_HERE = "/console/account"
_QR_PURPOSE = "console-totp-offer"


class Account:
    """The handlers of one's own page. Who came by a key has sessions only."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._people = People(console.db, console.vault)

    async def show(self, request: web.Request, viewer: Viewer) -> web.Response:
        return await self._page(request, viewer)

    async def _page(
        self, request: web.Request, viewer: Viewer, *, problem: str = "", status: int = 200
    ) -> web.Response:
        return self._console.render(
            request,
            "frame/account.html",
            status=status,
            user=await self._people.find(viewer.user) if viewer.user else None,
            sessions=await self._console.sessions.of(viewer),
            problem=problem,
            length_min=LENGTH_MIN,
        )

    async def set_password(self, request: web.Request, viewer: Viewer) -> web.Response:
        """A new password: who has one already proves it. Every other session is over."""
        login, form = _login(viewer), await read_form(request)
        user, new = await self._people.find(login), form.get("password", "")
        if user is not None and user.has_password and not await self._proved(request, login, form):
            return await self._page(
                request, viewer, problem="The present password is wrong.", status=403
            )
        problem = password_problem(new, login)
        if problem is None and new != form.get("again", ""):
            problem = "must be the same twice"
        if problem is not None:
            return await self._page(
                request, viewer, problem=f"The new password {problem}.", status=422
            )
        await self._people.set_password(login, new)
        await self._console.sessions.end_others(viewer.session)
        await self._console.note(viewer.name, "password_changed", login)
        return redirect(_HERE, "The password is changed. Every other session of yours is over.")

    async def _proved(self, request: web.Request, login: str, form: dict[str, str]) -> bool:
        """Whether the present password was given; tries are counted as at the sign-in."""
        address = self._console.device(request).address
        if await self._console.sessions.count_try(login, address):
            raise Refusal(
                429, "rate_limited", "too many tries: wait a quarter of an hour", retry_after_s=60
            )
        if not await self._people.is_password(login, form.get("present", "")):
            return False
        await self._console.sessions.forget_tries(login, address)
        return True

    async def offer_totp(self, request: web.Request, viewer: Viewer) -> web.Response:
        """A fresh secret, as a QR code and as text. Nothing is stored before a code of it was shown."""
        await self._refuse_second(viewer)
        return self._offer(request, viewer, secrets.token_bytes(totp.SECRET_BYTES))

    async def _refuse_second(self, viewer: Viewer) -> None:
        """One device at a time: it goes by the password (end_totp), and is not replaced without."""
        user = await self._people.find(_login(viewer))
        if user is not None and user.has_totp:
            raise Refusal(422, "invalid_request", "turn the present one-time codes off first")

    def _offer(
        self,
        request: web.Request,
        viewer: Viewer,
        secret: bytes,
        problem: str = "",
        status: int = 200,
    ) -> web.Response:
        login = _login(viewer)
        code = segno.make(totp.address_of(secret, login), error="m")
        sealed = self._console.vault.seal_text(f"{_QR_PURPOSE}:{viewer.session}", secret.hex())
        return self._console.render(
            request, "frame/totp.html", status=status, problem=problem, text=totp.text_of(secret),
            sealed=sealed.hex(), qr=code.svg_data_uri(border=0, scale=5, dark="#000"),
        )  # fmt: skip

    async def begin_totp(self, request: web.Request, viewer: Viewer) -> web.Response:
        await self._refuse_second(viewer)
        login, form = _login(viewer), await read_form(request)
        secret = self._offered(viewer, form.get("sealed", ""))
        codes = await self._people.begin_totp(login, secret, form.get("code", ""))
        if codes is None:
            problem = "This code is wrong: the clock of the device may be off. Try the next one."
            return self._offer(request, viewer, secret, problem, 422)
        await self._console.sessions.end_others(viewer.session)
        await self._console.note(viewer.name, "totp_on", login)
        return self._console.render(request, "frame/recovery.html", codes=codes)

    def _offered(self, viewer: Viewer, sealed: str) -> bytes:
        """The secret that was offered to this session. Refuses with 400 any other."""
        try:
            purpose = f"{_QR_PURPOSE}:{viewer.session}"
            return bytes.fromhex(self._console.vault.open_text(purpose, bytes.fromhex(sealed)))
        except Exception as error:
            raise Refusal(400, "bad_request", "begin the set-up again") from error

    async def end_totp(self, request: web.Request, viewer: Viewer) -> web.Response:
        login, form = _login(viewer), await read_form(request)
        if not await self._proved(request, login, form):
            return await self._page(
                request, viewer, problem="The present password is wrong.", status=403
            )
        await self._people.end_totp(login)
        await self._console.note(viewer.name, "totp_off", login)
        return redirect(_HERE, "Signing in asks for the password only.")

    async def end_others(self, _request: web.Request, viewer: Viewer) -> web.Response:
        ended = await self._console.sessions.end_others(viewer.session)
        await self._console.note(viewer.name, "sessions_ended", viewer.login, count=ended)
        return redirect(_HERE, f"{ended} other session{'s are' if ended != 1 else ' is'} over.")


def _login(viewer: Viewer) -> str:
    """The user's login. Refuses with 404 whoever came by a key."""
    if viewer.user is None:
        raise Refusal(404, "not_found")
    return viewer.user


def routes(console: Console) -> list[web.RouteDef]:
    account = Account(console)
    return [
        page(_HERE, account.show, *EVERYONE),
        action(f"{_HERE}/password", account.set_password, *EVERYONE),
        page(f"{_HERE}/totp", account.offer_totp, *EVERYONE),
        action(f"{_HERE}/totp", account.begin_totp, *EVERYONE),
        action(f"{_HERE}/totp/end", account.end_totp, *EVERYONE),
        action(f"{_HERE}/sessions/end", account.end_others, *EVERYONE),
    ]
