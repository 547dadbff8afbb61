"""How a desk's handlers become routes: each is told who asks, once his role has been seen."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from exchange.http.access import Caller, Callers

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Called = Callable[[web.Request, Caller], Awaitable[web.StreamResponse]]
OfKind = Callable[[web.Request, str, Caller], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Reception:
    """Lets one role in; refuses others with 401 and 403."""

    callers: Callers
    role: str

    def on(self, kind: str, handle: OfKind) -> Handler:
        """A handler of one kind of document."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, kind, await self.callers.caller(request, self.role))

        return handler

    def called(self, handle: Called) -> Handler:
        """A handler that wants to know who it is."""

        async def handler(request: web.Request) -> web.StreamResponse:
            return await handle(request, await self.callers.caller(request, self.role))

        return handler

    def let_in(self, handle: Handler) -> Handler:
        """A handler that does not care which one it is."""

        async def handler(request: web.Request) -> web.StreamResponse:
            await self.callers.caller(request, self.role)
            return await handle(request)

        return handler
