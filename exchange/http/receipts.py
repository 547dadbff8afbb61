"""Receipts, attempts, transfers and history as operators read them: money in words, no person."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import orjson

from buyers.money import format_micros
from exchange.ids import write_id
from exchange.receipt import whole
from exchange.returns import BY_POLICY
from exchange.store.pings import utc
from exchange.store.rows import ErasureRow, LateBid, LeadRow, ReturnRow

_MONEY: Final = frozenset(
    {"floor", "price", "pay", "net", "min", "payout", "min_price", "margin_fixed", "price_said_micros"}
)  # fmt: skip
_PARTS: Final = frozenset({"adjustment", "margin_ppm"})  # per million: 1000000 is "1.00"
_NAMES: Final = {"price_said_micros": "price_said", "margin_ppm": "margin"}
_OTHERS: Final = frozenset(
    {"fields", "answer"}
)  # not ours to read: a seller's field may be `price`
PERSON: Final = "********"


def in_words(record: Any, currency: str) -> Any:
    """A stored receipt with its micros as decimal strings."""
    if isinstance(record, list):
        return [in_words(one, currency) for one in record]
    if not isinstance(record, Mapping):
        return record
    return {_NAMES.get(k, k): _said(k, v, currency) for k, v in record.items()}


def _said(name: str, value: Any, currency: str) -> Any:
    if name in _OTHERS:
        return value
    if isinstance(value, int) and not isinstance(value, bool):
        if name in _MONEY:
            return format_micros(value, currency)
        if name in _PARTS:
            return format_micros(value)
    return in_words(value, currency)


def ping_shown(record: Mapping[str, Any], late: Iterable[LateBid]) -> dict[str, Any]:
    """A ping's whole receipt, with the bids that came too late."""
    currency = record["currency"]
    shown: dict[str, Any] = in_words(whole(record), currency)
    return shown | {
        "late_bids": [
            {"contract": one.contract, "price": money(one.price_micros, currency), "late_ms": one.late_ms}
            for one in late
        ]
    }  # fmt: skip


def lead_head(row: LeadRow, seller: str | None) -> dict[str, Any]:
    """A lead in a list."""
    return {
        "lead_id": write_id("lead", row.id, test=row.test),
        "ping_id": write_id("ping", row.ping_id, test=row.test),
        "seller": seller,
        "vertical": row.vertical,
        "external_id": row.external_id,
        "test": row.test,
        "state": row.state.value,
        "reason": row.reason,
        "created_at": utc(row.created_at),
        "closed_at": when(row.closed_at),
    }


def attempt_shown(row: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """One delivery and what its buyer said."""
    return {
        "attempt_id": write_id("att", row["id"]),
        "contract": row["contract"],
        "buyer": row["buyer"],
        "tier": row["tier"],
        "state": row["state"],
        "price": money(row["price"], currency),
        "payout": money(row["payout"], currency),
        "bid_id": row["bid_id"],
        "said": in_words(orjson.loads(row["detail"]) if row["detail"] else {}, currency),
        "tries": row["tries"],
        "created_at": utc(row["created_at"]),
        "settled_at": when(row["settled_at"]),
        "next_try_at": when(row["next_try_at"]),
    }


def transfer_shown(row: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """One movement of money."""
    return {
        "attempt_id": write_id("att", row["ref"]),
        "kind": row["kind"],
        "from": {"account": row["from_kind"], "owner": row["from_owner"]},
        "to": {"account": row["to_kind"], "owner": row["to_owner"]},
        "amount": money(row["amount"], currency),
        "at": utc(row["at"]),
    }


def sale_shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """A sale as its buyer may see it."""
    said = orjson.loads(row["detail"]) if row["detail"] else {}
    return {
        "sale_id": f"sale_{row['id'].hex}",
        "lead_id": write_id("lead", row["lead_id"]),
        "ping_id": write_id("ping", row["ping_id"]),
        "buyer": row["buyer"],
        "contract": row["contract"],
        "vertical": row["vertical"],
        "price": money(row["price"], row["currency"]),
        "currency": row["currency"],
        "bid_id": row["bid_id"],
        "buyer_ref": said.get("buyer_ref"),
        "at": utc(row["created_at"]),
        "settled_at": when(row["settled_at"]),
        "erased_at": when(row["erased_at"]),
    }


def return_shown(row: ReturnRow, *, to_buyer: bool) -> dict[str, Any]:
    """A return. Its buyer learns whether a person decided, not which, and nothing of the seller's money."""
    decided_by = row.decided_by
    if to_buyer and decided_by not in {None, BY_POLICY}:
        decided_by = "operator"
    shown = {
        "return_id": write_id("ret", row.id),
        "lead_id": write_id("lead", row.lead_id),
        "contract": row.contract,
        "reason": row.reason,
        "note": row.note,
        "status": row.status,
        "price": money(row.price_micros, row.currency),
        "currency": row.currency,
        "requested_at": utc(row.requested_at),
        "decided_at": when(row.decided_at),
        "decided_by": decided_by,
        "decision_note": row.decision_note,
    }
    if to_buyer:
        return shown
    return shown | {
        "buyer": row.buyer,
        "attempt_id": write_id("att", row.attempt_id),
        "requested_by": row.requested_by,
        "payout": money(row.payout_micros, row.currency),
        "reverse_payout": row.reverse_payout,
        "restore_cap": row.restore_cap,
    }


def erasure_shown(row: ErasureRow) -> dict[str, Any]:
    """Whose person was erased when, by whom, and why; `erased_at` null: it waits for a post."""
    return {
        "lead_id": write_id("lead", row.lead_id, test=row.test),
        "why": row.why,
        "by": row.by,
        "asked_at": utc(row.asked_at),
        "erased_at": when(row.done_at),
    }


def change_shown(row: Mapping[str, Any]) -> dict[str, Any]:
    """One line of history: who changed what, and how it stood after."""
    body, before = (orjson.loads(row[name] or "null") for name in ("body", "before"))
    verb = "retired" if body is None else "created" if before is None else "changed"
    fields = []
    if verb == "changed":
        fields = sorted(k for k in body.keys() | before.keys() if body.get(k) != before.get(k))
    return {
        "kind": row["kind"],
        "slug": row["slug"],
        "version": row["version"],
        "changed_by": row["changed_by"],
        "changed_at": utc(row["changed_at"]),
        "change": verb,
        # A secret is not in the history; nothing else changed when nothing differs.
        "fields": fields or (["endpoint.secret"] if verb == "changed" else []),
        "document": body,
    }


def cap_shown(row: Mapping[str, Any], currency: str) -> dict[str, Any]:
    """A cap with what is left of it; one that was lowered below its use has nothing left."""
    kind, limit, used = row["kind"], row["lim"], row["used"]
    figures: dict[str, Any] = {"limit": limit, "used": used, "remaining": max(0, limit - used)}
    if kind == "spend":
        figures = {name: money(micros, currency) for name, micros in figures.items()}
    head = {"kind": kind, "period": None if kind == "concurrent" else row["period"]}
    return head | figures | {"period_start": when(row["start"])}


def money(micros: int | None, currency: str) -> str | None:
    return None if micros is None else format_micros(micros, currency)


def when(moment: datetime | None) -> str | None:
    return None if moment is None else utc(moment)
