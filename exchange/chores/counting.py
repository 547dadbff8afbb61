"""What the metrics need done: money added up, and the books looked at for what must never be."""

import asyncio
import time
from collections.abc import Mapping
from typing import Any, Final

from exchange import log
from exchange.chores.leader import Chore
from exchange.metrics.office import AuditSeen
from exchange.store.audit_lately import broken_lately
from exchange.store.money_read import add_up_money

_AUDIT_EVERY_S: Final = 300.0
_REST: Final = 4.0  # times as long as a slice took: a fifth of one connection is all that is used


class Counting:
    """One office's. `audit` is the last one; None until this office has led once."""

    def __init__(self) -> None:
        self.audit: AuditSeen | None = None
        self._audited_s = -_AUDIT_EVERY_S

    def chores(self) -> Mapping[str, Chore]:
        return {"add up money": self.add_up, "audit": self.look}

    async def add_up(self, connection: Any) -> None:
        """Until the sums are of a minute ago."""
        began_s = time.monotonic()
        while await add_up_money(connection):
            await asyncio.sleep((time.monotonic() - began_s) * _REST)
            began_s = time.monotonic()

    async def look(self, connection: Any) -> None:
        """Every five minutes."""
        began_s = time.monotonic()
        if began_s - self._audited_s < _AUDIT_EVERY_S:
            return
        self._audited_s = began_s
        broken = await broken_lately(connection)
        took_s = time.monotonic() - began_s
        self.audit = AuditSeen(broken=broken, at_s=time.time(), took_s=took_s)
        if any(broken.values()):
            log.event("invariant broken", 40, **broken)
