"""Spans of a ping and its lead, for OpenTelemetry: a reader of what happened, like metrics and the log.

    ping ── auction ── ask CONTRACT (one for each buyer)
      └── lead ── award CONTRACT, post CONTRACT (one of each for each attempt)

They are made of the finished receipt, so the path of a ping has no line for it, and without the
setting nothing here is even imported. The trace's id is the ping's: `exchange why` and the trace are
found by one another, and a lead posted to another worker, or a day later, joins its ping's trace.
No personal data: names of contracts, outcomes, reasons, times.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    set_span_in_context,
)

from exchange.ids import read_id
from exchange.observe import Silent

_LOW: Final = (1 << 62) - 1  # the random end of an id
_MS: Final = 1_000_000  # nanoseconds
_Attributes = Mapping[str, str | int | float | bool]


class _Ids(RandomIdGenerator):
    """The first span of a ping has the ping's id; all others a random one."""

    ping: UUID | None = None

    def generate_trace_id(self) -> int:
        return self.ping.int if self.ping is not None else super().generate_trace_id()

    def generate_span_id(self) -> int:
        ping, self.ping = self.ping, None
        return _span_id(ping) if ping is not None else super().generate_span_id()


class Tracer(Silent):
    """Traces this share of all pings, chosen by their ids: every worker chooses the same."""

    def __init__(
        self,
        share: float,
        worker: str,
        processor: SpanProcessor,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._below = int(share * _LOW)
        self._wall_ns = wall_ns
        self._ids = _Ids()
        resource = Resource.create({"service.name": "exchange", "service.instance.id": worker})
        self._provider = TracerProvider(
            resource=resource, id_generator=self._ids, shutdown_on_exit=False
        )
        self._provider.add_span_processor(processor)
        self._tracer = self._provider.get_tracer("exchange")

    def pinged(self, receipt: Mapping[str, Any]) -> None:
        ping = self._chosen(receipt["ping_id"])
        if ping is None:
            return
        began_ns = _began_ns(ping)
        answer = receipt["answer"]
        told = {
            "exchange.ping_id": receipt["ping_id"],
            "exchange.vertical": receipt["vertical"],
            "exchange.seller": receipt["seller"],
            "exchange.outcome": answer["outcome"],
            "exchange.reason": answer.get("reason", ""),
            "exchange.test": receipt["test"],
        }
        closed_ns = began_ns + _ns(receipt["elapsed_ms"])
        self._ids.ping = ping
        within = self._span("ping", Context(), began_ns, max(closed_ns, self._wall_ns()), told)
        window = {
            "exchange.window_ms": receipt["window_ms"],
            "exchange.asked": len(receipt["asked"]),
        }
        within = self._span("auction", within, began_ns, closed_ns, window)
        for one in receipt["asked"]:
            self._asked(within, began_ns, one)

    def _asked(self, within: Context, began_ns: int, one: Sequence[Any]) -> None:
        contract, _, buyer, ms, result, reason, _ = one
        told = {
            "exchange.contract": contract,
            "exchange.buyer": buyer,
            "exchange.result": result,
            "exchange.reason": reason or "",
        }
        ended_ns = began_ns + _ns(ms)
        failed = result in {"missed", "invalid"}
        self._span(f"ask {contract}", within, began_ns, ended_ns, told, failed=failed)

    def closed(self, record: Mapping[str, Any]) -> None:
        ping = self._chosen(record["ping_id"])
        if ping is None:
            return
        now_ns = self._wall_ns()
        told = {
            "exchange.lead_id": record["lead_id"],
            "exchange.outcome": record["outcome"],
            "exchange.reason": record["reason"] or "",
        }
        root = SpanContext(ping.int, _span_id(ping), True, TraceFlags(TraceFlags.SAMPLED))
        parent = set_span_in_context(NonRecordingSpan(root))
        within = self._span("lead", parent, now_ns - _ns(record["elapsed_ms"]), now_ns, told)
        for one in record["posts"]:
            self._attempted(within, one)

    def _attempted(self, within: Context, one: Mapping[str, Any]) -> None:
        found = read_id("att", one["attempt_id"])
        if found is None:
            return
        told = {"exchange.contract": one["contract"], "exchange.attempt_id": one["attempt_id"]}
        began_ns = _began_ns(found[0])
        sent_ns = began_ns + _ns(one["award_ms"])
        self._span(f"award {one['contract']}", within, began_ns, sent_ns, told)
        told |= {"exchange.outcome": one["state"], "exchange.reason": one["reason"] or ""}
        ended_ns = sent_ns + _ns(one["post_ms"])
        failed = one["state"] != "accepted"
        self._span(f"post {one['contract']}", within, sent_ns, ended_ns, told, failed=failed)

    def broke(self, where: str, error: BaseException) -> None: ...

    def close(self) -> None:
        """Send what waits; a few seconds at most."""
        self._provider.shutdown()

    def _chosen(self, text: str) -> UUID | None:
        found = read_id("ping", text)
        return found[0] if found is not None and found[0].int & _LOW < self._below else None

    def _span(
        self,
        name: str,
        within: Context,
        began_ns: int,
        ended_ns: int,
        told: _Attributes,
        *,
        failed: bool = False,
    ) -> Context:
        """A finished span; what it is the parent of."""
        kind = SpanKind.CLIENT if name.startswith(("ask ", "post ")) else SpanKind.INTERNAL
        span = self._tracer.start_span(
            name, context=within, kind=kind, attributes=told, start_time=began_ns
        )
        if failed:
            span.set_status(StatusCode.ERROR, str(told.get("exchange.reason", "")))
        span.end(ended_ns)
        return set_span_in_context(span, within)


def begin(share: float, worker: str) -> Tracer:
    """Spans go where the usual OTEL_ variables say, by OTLP over HTTP, from a thread of their own."""
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    return Tracer(share, worker, BatchSpanProcessor(OTLPSpanExporter()))


def _span_id(ping: UUID) -> int:
    return ping.int & ((1 << 64) - 1)


def _began_ns(made: UUID) -> int:
    """Ids are UUIDv7: they begin with the millisecond they were made in, by the store's clock."""
    return (made.int >> 80) * _MS


def _ns(ms: float | None) -> int:
    return round((ms or 0.0) * _MS)
