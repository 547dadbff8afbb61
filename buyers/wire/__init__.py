"""HTTP/1.1 to buyers, on asyncio protocols and httptools.

    Wire.send ── Pool (per endpoint) ── Connection ── AnswerReader
                   └── Dialler: Resolver, Guard, TCP, TLS (with the pool's last session: Resumption)

One call is one `Call` and ends in one `Reply`. With an idle connection at hand a call costs no task.
"""

from buyers.wire.call import Call
from buyers.wire.client import Wire
from buyers.wire.request import finish_request, render_head, render_request
from buyers.wire.resolver import CachingResolver, Resolver
from buyers.wire.transport import InFlight, Transport, one_call
from buyers.wire.values import Done, Failure, Reply, WireLimits, WireStats

__all__ = [
    "CachingResolver",
    "Call",
    "Done",
    "Failure",
    "InFlight",
    "Reply",
    "Resolver",
    "Transport",
    "Wire",
    "WireLimits",
    "WireStats",
    "finish_request",
    "one_call",
    "render_head",
    "render_request",
]
