"""The office's front page: is it trading, and how is today going. Server-rendered, no script."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, Final

from buyers.money import format_micros

TODAY: Final = """
SELECT l.vertical, count(*) FILTER (WHERE l.state = 'sold'), count(*) FILTER (WHERE l.state = 'unsold'),
  count(*) FILTER (WHERE l.state = 'open'), coalesce(sum(a.price), 0)::bigint, coalesce(sum(a.payout), 0)::bigint
FROM lead l LEFT JOIN attempt a ON a.lead_id = l.id AND a.state = 'accepted'
WHERE l.created_at > now() - interval '24 hours' AND NOT l.test AND l.state <> 'gone' GROUP BY 1 ORDER BY 1"""
_STYLE: Final = """
:root{color-scheme:light dark;font:16px/1.5 system-ui,sans-serif}
body{max-width:46rem;margin:3rem auto;padding:0 1rem}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.4rem .6rem;text-align:right;border-bottom:1px solid #8884}
th:first-child,td:first-child{text-align:left}
.scroll{overflow-x:auto}"""
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "Refresh": "5",
    "X-Content-Type-Options": "nosniff",
}


def page(rows: Sequence[Sequence[Any]], currencies: Mapping[str, str], workers: int) -> str:
    """The last 24 hours by vertical. `rows` are TODAY's."""
    body = "".join(_row(row, currencies.get(row[0], "USD")) for row in rows)
    if not rows:
        body = '<tr><td colspan="6">No lead in the last 24 hours.</td></tr>'
    state = (
        f"{workers} worker{'s' if workers != 1 else ''} trading"
        if workers
        else "no worker is trading"
    )
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>Exchange</title><style>{_STYLE}</style><h1>Exchange</h1><p>{escape(state)}. "
        'Series for Prometheus: <a href="/metrics">/metrics</a>.</p><h2>Last 24 hours</h2>'
        '<div class="scroll"><table><thead><tr><th scope="col">vertical<th scope="col">sold'
        '<th scope="col">unsold<th scope="col">open<th scope="col">buyers pay<th scope="col">sellers get'
        f"</thead><tbody>{body}</tbody></table></div></html>"
    )


def _row(row: Sequence[Any], currency: str) -> str:
    vertical, sold, unsold, still_open, price, payout = row
    money = "".join(
        f"<td>{format_micros(amount, currency)} {currency}" for amount in (price, payout)
    )
    return f"<tr><td>{escape(vertical)}<td>{sold}<td>{unsold}<td>{still_open}{money}"
