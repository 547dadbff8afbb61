"""Spans of a ping and its lead, out of their receipts; nothing of it where it is not asked for."""

import subprocess
import sys
from typing import Any
from uuid import UUID

import pytest

pytest.importorskip("opentelemetry.sdk", reason="the extra otel is not installed")

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from exchange.ids import new_uuid, write_id
from exchange.tracing import Tracer

AT_MS = 1_800_000_000_000
PING = new_uuid(AT_MS, lambda count: bytes([7]) * count)
ATTEMPT = new_uuid(AT_MS + 2000, lambda count: bytes([9]) * count)
NOW_MS = AT_MS + 30


class Traced:
    """A tracer whose spans stay in memory."""

    def __init__(self, share: float = 1.0, now_ms: int = NOW_MS) -> None:
        self.kept = InMemorySpanExporter()
        self.tracer = Tracer(share, "w0", SimpleSpanProcessor(self.kept), lambda: now_ms * 10**6)

    @property
    def spans(self) -> dict[str, ReadableSpan]:
        return {one.name: one for one in self.kept.get_finished_spans()}


def asked(contract: str, result: str, reason: str | None, ms: float | None) -> tuple[Any, ...]:
    return contract, 1, "acme", ms, result, reason, None


def a_receipt(ping: UUID = PING) -> dict[str, Any]:
    return {
        "ping_id": write_id("ping", ping), "vertical": "auto", "seller": "form", "test": False,
        "answer": {"outcome": "bid"}, "elapsed_ms": 20.0, "window_ms": 500,
        "asked": [asked("a-1", "bid", None, 12.5), asked("b-1", "missed", "timed_out", 19.9), asked("c-1", "missed", "address_blocked", None)],
    }  # fmt: skip


def a_record() -> dict[str, Any]:
    return {
        "ping_id": write_id("ping", PING), "lead_id": "lead_1", "outcome": "sold", "reason": None,
        "elapsed_ms": 25.0, "posts": [
            {"attempt_id": write_id("att", ATTEMPT), "contract": "a-1", "state": "accepted", "reason": None,
             "award_ms": 3.0, "post_ms": 18.0},
        ],
    }  # fmt: skip


def test_a_ping_is_an_auction_of_questions() -> None:
    """Times, parents, results; the trace has the ping's own id."""
    traced = Traced()
    traced.tracer.pinged(a_receipt())
    spans = traced.spans
    ping, auction, bid, missed = (spans[name] for name in ("ping", "auction", "ask a-1", "ask b-1"))

    assert {PING.int} == {one.context.trace_id for one in spans.values()}
    assert None is ping.parent
    assert ping.context.span_id == auction.parent.span_id
    assert {auction.context.span_id} == {
        one.parent.span_id for name, one in spans.items() if name.startswith("ask")
    }
    assert (AT_MS * 10**6, NOW_MS * 10**6) == (ping.start_time, ping.end_time)
    assert 20_000_000 == auction.end_time - auction.start_time
    assert 12_500_000 == bid.end_time - bid.start_time
    assert (StatusCode.ERROR, "timed_out") == (missed.status.status_code, missed.status.description)
    assert StatusCode.UNSET is bid.status.status_code
    assert "bid" == bid.attributes["exchange.result"]
    assert spans["ask c-1"].start_time == spans["ask c-1"].end_time


def test_a_lead_joins_the_trace_of_its_ping() -> None:
    """In another worker, with no more than the ping's id: award, then post."""
    one, other = Traced(), Traced(now_ms=AT_MS + 2025)
    one.tracer.pinged(a_receipt())
    other.tracer.closed(a_record())
    lead, award, post = (other.spans[name] for name in ("lead", "award a-1", "post a-1"))

    assert PING.int == lead.context.trace_id
    assert one.spans["ping"].context.span_id == lead.parent.span_id
    assert {lead.context.span_id} == {award.parent.span_id, post.parent.span_id}
    assert AT_MS + 2000 == lead.start_time / 10**6 == award.start_time / 10**6
    assert award.end_time == post.start_time
    assert 18_000_000 == post.end_time - post.start_time


def test_a_share_of_pings_is_traced_the_same_everywhere() -> None:
    """About a tenth, and the lead of a ping that is not traced is not either."""
    pings = [
        UUID(int=(AT_MS << 80) | (0x7 << 76) | (0b10 << 62) | number * (2**62 // 1000))
        for number in range(1000)
    ]
    one, other = Traced(0.1), Traced(0.1)
    for ping in pings:
        one.tracer.pinged(a_receipt(ping))
        other.tracer.closed(a_record() | {"ping_id": write_id("ping", ping)})
    of_pings = {span.context.trace_id for span in one.kept.get_finished_spans()}

    assert 95 <= len(of_pings) <= 105
    assert of_pings == {span.context.trace_id for span in other.kept.get_finished_spans()}


def test_nothing_is_imported_unless_it_is_asked_for() -> None:
    """Off, it costs nothing: a worker does not even load it."""
    code = (
        "import sys; from exchange.app import _tracer; assert _tracer(0.0, 'w0') is None;"
        "assert not [name for name in sys.modules if name.startswith('opentelemetry')]"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
