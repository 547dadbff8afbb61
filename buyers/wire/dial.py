"""Opens one connection: name to addresses, every address past the guard, TCP, TLS."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar, cast

from buyers.guard import Guard, Target, is_address
from buyers.wire.resolver import Resolver
from buyers.wire.resuming import Resumption
from buyers.wire.values import Failure, WireLimits

P = TypeVar("P", bound=asyncio.Protocol)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialler:
    """What every dial of one wire shares."""

    guard: Guard
    resolver: Resolver
    limits: WireLimits

    async def dial(
        self, target: Target, tls: Resumption | None, factory: Callable[[], P]
    ) -> P | Failure:
        """A connected protocol within `connect_timeout_s`, or why there is none.

        `tls`: None for plain http.
        """
        loop = asyncio.get_running_loop()
        until = loop.time() + self.limits.connect_timeout_s
        addresses = await self._addresses(target, until)
        if isinstance(addresses, Failure):
            return addresses
        outcome: P | Failure = Failure.UNREACHABLE
        for position, address in enumerate(addresses):
            # A share of the time each, so that one dead address does not use up all of it.
            share = (until - loop.time()) / (len(addresses) - position)
            outcome = await self._connect(target, address, tls, factory, loop.time() + share)
            if not isinstance(outcome, Failure):
                break
            if tls is not None:
                tls.forget()
        return outcome

    async def _addresses(self, target: Target, until: float) -> list[str] | Failure:
        try:
            async with asyncio.timeout_at(until):
                found = await self._resolve(target)
        except OSError:  # TimeoutError is one
            return Failure.DNS
        if not found:
            return Failure.DNS
        # One bad address among good ones is somebody's trick or mistake: refuse them all.
        for address in found:
            if self.guard.blocked(address, target.port, needs_allowed=target.needs_allowed):
                return Failure.BLOCKED
        return found[: self.limits.addresses_max]

    async def _resolve(self, target: Target) -> list[str]:
        if is_address(target.host):
            return [target.host]  # a literal; judged like everything resolved
        return await self.resolver.resolve(target.host, target.port)

    async def _connect(
        self,
        target: Target,
        address: str,
        tls: Resumption | None,
        factory: Callable[[], P],
        until: float,
    ) -> P | Failure:
        try:
            async with asyncio.timeout_at(until):
                # `address` is a literal, so nothing is looked up between the guard and the dial.
                _, protocol = await asyncio.get_running_loop().create_connection(
                    factory,
                    host=address,
                    port=target.port,
                    ssl=cast("ssl.SSLContext | None", tls),
                    server_hostname=None if tls is None else target.host,
                )
        except ssl.SSLError:
            return Failure.TLS
        except OSError:
            return Failure.UNREACHABLE
        return protocol
