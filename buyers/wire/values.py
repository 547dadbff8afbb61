"""What one call to a buyer can end in, and the bounds it is held to."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from buyers.value import value


class Failure(StrEnum):
    """Why no complete answer was read."""

    TIMED_OUT = "timed_out"  # the call's deadline passed
    UNREACHABLE = "unreachable"  # refused, reset, no route or no connection in time
    DNS = "dns"
    TLS = "tls"
    BLOCKED = "blocked"  # the address guard said no
    RESET = "reset"  # lost after the request was written, or a cut body
    GARBLED = "garbled"  # not HTTP/1, bad framing, an upgrade
    OVERSIZED = "oversized"
    POOL_FULL = "pool_full"
    CANCELLED = "cancelled"  # the wire was closed


@value(kw_only=False)
class Reply:
    """The one result of a call. Who asks many at once is told its fields, without it (`Done`)."""

    status: int | None  # None: no complete head was read
    body: bytes  # b"" unless complete and within the cap
    failure: Failure | None  # None: a complete answer was read
    written: bool  # True as soon as one byte of the request may have left for the buyer
    elapsed_ms: float  # from send to end, on the loop's clock


# The tag that was sent with the call, and the fields of its Reply, in their order.
Done = Callable[[int, int | None, bytes, Failure | None, bool, float], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class WireLimits:
    """Bounds of connections and answers; seconds and bytes."""

    connect_timeout_s: float = 3.0  # DNS, TCP and TLS together
    idle_timeout_s: float = 30.0  # an idle connection is closed after this
    max_open: int = 256  # per pool, those being dialled included
    max_idle: int = 256  # per pool; fewer means that half of each burst dials anew
    head_max: int = 16 * 1024  # status line and headers, interim answers and trailers included
    body_max: int = 64 * 1024  # decoded
    informational_max: int = 32  # 1xx answers before the real one
    addresses_max: int = 4  # how many of a name's addresses are tried
    close_timeout_s: float = 3.0  # Wire.close() cancels dials that take longer


@dataclass(frozen=True, slots=True, kw_only=True)
class WireStats:
    """A reading of a wire's counters; from `opened` on they only ever grow."""

    open: int  # connections established now, idle ones included
    idle: int
    dialling: int
    in_flight: int  # calls without a result yet
    opened: int  # connections ever established
    resumed: int  # of them, those that continued an earlier TLS session
    reused: int  # calls sent on a connection that had been idle
    waited: int  # calls that found no idle connection and had to wait for one
    waited_s: float  # how long, altogether, those of them waited that got one


@dataclass(slots=True)
class Counters:
    """The running numbers behind WireStats that no list can tell."""

    opened: int = 0
    resumed: int = 0
    reused: int = 0
    waited: int = 0
    waited_s: float = 0.0
