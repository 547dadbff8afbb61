"""What `make run` shows: a table that is pleasant to watch, or one plain line per lead."""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console, Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from buyers.money import format_micros
from exchange.demo import Outcome
from exchange.ids import read_id
from exchange.receipt import read
from exchange.store.postgres import PostgresStore

_ROWS = 18
_STYLES = {"sold": "bold green", "unsold": "yellow", "no_bid": "yellow", "pending": "magenta"}


@dataclass(frozen=True, slots=True)
class Line:
    """One lead as the operator sees it: the seller's answer and the story behind it."""

    vertical: str
    state: str
    seller: str
    outcome: str
    price: str
    payout: str
    buyer: str
    story: str
    elapsed_ms: int | None

    def plain(self) -> str:
        money = f"{self.price} ({self.payout} to {self.seller})" if self.price else ""
        parts = [
            f"{self.vertical:<14} {self.state:<2}",
            self.outcome,
            money,
            self.buyer,
            self.story,
        ]
        return "  ".join(part for part in parts if part)


async def line_of(store: PostgresStore, outcome: Outcome) -> Line:
    """Read the receipts of one outcome and say what happened in a few words."""
    answer = outcome.answer
    ping, lead = await _receipts(store, answer)
    sold = next((one for one in lead.get("attempts", ()) if one["state"] == "accepted"), None)
    currency = ping.get("currency", "USD")
    said = str(answer.get("outcome") or answer.get("code"))
    return Line(
        vertical=outcome.sample.vertical,
        state=str(outcome.sample.fields.get("state", "")),
        seller=outcome.seller,
        outcome=said,
        price=format_micros(sold["price"], currency) if sold else "",
        payout=str(answer.get("price", "")) if sold else "",
        buyer=f"to {sold['contract']}" if sold else str(answer.get("reason") or ""),
        story=_story(ping, lead, sold),
        elapsed_ms=answer.get("elapsed_ms"),
    )


async def _receipts(
    store: PostgresStore, answer: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    ping_ids, lead_ids = (
        read_id("ping", answer.get("ping_id")),
        read_id("lead", answer.get("lead_id")),
    )
    ping = await store.ping(ping_ids[0]) if ping_ids else None
    lead = await store.lead(lead_ids[0]) if lead_ids else None
    return (
        read(ping.row.receipt) if ping else {},
        read(lead.receipt) if lead and lead.receipt else {},
    )


def _story(ping: Mapping[str, Any], lead: Mapping[str, Any], sold: Mapping[str, Any] | None) -> str:
    asked = ping.get("asked", ())
    results = Counter(one["result"] for one in asked)
    parts = [f"{results['bid']} of {len(asked)} bid"] if asked else ["nobody asked"]
    late = [one["buyer"] for one in asked if one["reason"] == "timed_out"]
    if late:
        parts.append(f"{', '.join(late)} too late")
    odd = [f"{one['buyer']} {one['reason']}" for one in asked if one["result"] == "invalid"]
    odd += [f"{one['buyer']} garbled" for one in asked if one["reason"] == "garbled"]
    parts += odd
    parts += [
        f"{one['contract']} {one['state']}"
        for one in lead.get("attempts", ())
        if one["state"] != "accepted"
    ]
    if sold and sold["tier"] != "auction":
        parts.append(f"waterfall: {sold['tier']}")
    full = {
        one["contract"]
        for one in (*ping.get("skipped", ()), *lead.get("skipped", ()))
        if one["reason"].startswith("cap_")
    }
    if full:
        parts.append(f"{', '.join(sorted(full))} full")
    return " · ".join(parts)


class Board:
    """Totals and the latest leads."""

    def __init__(self, head: list[str]) -> None:
        self._head = head
        self._lines: deque[Line] = deque(maxlen=_ROWS)
        self._outcomes: Counter[str] = Counter()
        self._reasons: Counter[str] = Counter()
        self._sold_to: Counter[str] = Counter()
        self._revenue = 0.0
        self._payout = 0.0

    def add(self, line: Line) -> None:
        self._lines.append(line)
        self._outcomes[line.outcome] += 1
        if line.price:
            self._sold_to[line.buyer.removeprefix("to ")] += 1
            self._revenue += float(line.price)
            self._payout += float(line.payout)
        else:
            self._reasons[line.buyer] += 1

    def __rich__(self) -> Group:
        table = Table(expand=True, box=None, padding=(0, 1), header_style="dim")
        for name, width in (
            ("lead", 18),
            ("seller", 10),
            ("outcome", 8),
            ("price", 8),
            ("where", 26),
            ("story", None),
            ("ms", 6),
        ):
            table.add_column(
                name,
                width=width,
                no_wrap=name != "story",
                justify="right" if name in {"price", "ms"} else "left",
            )
        for line in self._lines:
            table.add_row(
                f"{line.vertical[:14]} {line.state}",
                line.seller,
                Text(line.outcome, style=_STYLES.get(line.outcome, "red")),
                line.price,
                line.buyer,
                Text(line.story, style="dim"),
                "" if line.elapsed_ms is None else str(line.elapsed_ms),
            )
        return Group(
            Panel("\n".join(self._head), title="ping-post exchange", border_style="dim"),
            table,
            Text(self._totals(), style="bold"),
        )

    def _totals(self) -> str:
        outcomes = " · ".join(f"{count} {name}" for name, count in self._outcomes.most_common())
        return f"{outcomes}   buyers paid {self._revenue:,.2f}, sellers got {self._payout:,.2f}"

    def summary(self, console: Console) -> None:
        """What is printed when the show ends."""
        console.print()
        console.print(self._totals(), style="bold")
        table = Table(box=None, header_style="dim")
        table.add_column("sold to")
        table.add_column("leads", justify="right")
        for contract, count in self._sold_to.most_common():
            table.add_row(contract, str(count))
        console.print(table)
        if self._reasons:
            console.print(
                "not sold: "
                + ", ".join(f"{name} {count}" for name, count in self._reasons.most_common())
            )
