"""Small pieces of pages as markup: figures, moments, badges, gauges. Pure; every one is a name in templates.

Money is integer micros, moments are aware datetimes in UTC, durations say their unit in their name.
None is drawn as a dash everywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import urlencode

from markupsafe import Markup, escape

from buyers.money import format_micros
from exchange.office.console.parts.icons import ICONS

DASH: Final = Markup('<span class="dash" aria-label="none">–</span>')
# What a word of ours means to whoever scans a column; other words are neutral.
_TONES: Final = {
    "good": "sold accepted active live bid approved certified closed ok on granted won passed delivered",
    "bad": "rejected failed revoked invalid denied broken refused timed_out garbled unreachable given_up",
    "warn": "unsold unconfirmed missed paused half_open below_floor low pending open_breaker retrying",
    "info": "open intent posting trading test new due waiting",
}
_TONE_OF: Final = {word: tone for tone, words in _TONES.items() for word in words.split()}
_STEPS: Final = ((60, 1, "s"), (3600, 60, "min"), (86_400, 3600, "h"), (30 * 86_400, 86_400, "d"))
_FULL: Final = 0.9  # of a cap: from here on it is drawn as nearly used up


def icon(name: str, size: int = 16) -> Markup:
    """`icon("key")`: a drawing beside words; it says nothing to screen readers. Raises KeyError."""
    return Markup(  # noqa: S704 - a number, and a drawing of ours
        f'<svg class="icon" width="{size}" height="{size}" viewBox="0 0 24 24" aria-hidden="true" '
        f'focusable="false">{ICONS[name]}</svg>'
    )


def money(micros: int | None, currency: str) -> Markup:
    """`money(12_500_000, "USD")`: 12.50 USD, the currency quieter; negative with a true minus."""
    if micros is None:
        return DASH
    text = _grouped(format_micros(abs(micros), currency))
    sign = "−" if micros < 0 else ""
    return Markup('<span class="money">{}{} <span class="unit">{}</span></span>').format(
        sign, text, currency
    )


def count(number: float | None) -> Markup:
    """`count(12500)`: 12,500."""
    return DASH if number is None else Markup('<span class="num">{}</span>').format(f"{number:,}")


def percent(part: float | None, whole: float | None, decimals: int = 0) -> Markup:
    """`percent(1, 4)`: 25 %. Of nothing: a dash."""
    if part is None or not whole:
        return DASH
    return Markup('<span class="num">{}</span>').format(f"{100 * part / whole:.{decimals}f} %")


def moment(at: datetime | None, now: datetime) -> Markup:
    """`moment(lead.created_at, now)`: 3 min ago; the exact moment in UTC when pointed at."""
    if at is None:
        return DASH
    exact = f"{at:%Y-%m-%d %H:%M:%S} UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(), exact, relative(at, now)
    )


def stamp(at: datetime | None, *, seconds: bool = True, zone: bool = True) -> Markup:
    """`stamp(at)`: 2026-07-01 12:30:05 UTC: where the exact moment is what matters. `zone=False`
    where the head of its column says it."""
    if at is None:
        return DASH
    shown = f"{at:%Y-%m-%d %H:%M:%S}" if seconds else f"{at:%Y-%m-%d %H:%M}"
    said = Markup('<span class="unit"> UTC</span>') if zone else ""
    return Markup('<time class="num" datetime="{}" title="{} UTC">{}{}</time>').format(
        at.isoformat(), shown, shown, said
    )


def relative(at: datetime, now: datetime) -> str:
    """`relative(at, now)`: "3 min ago", "in 2 h", "just now", after a month the day; plain text."""
    seconds = (now - at).total_seconds()
    if abs(seconds) < 5:
        return "just now"
    for below, unit, word in _STEPS:
        if abs(seconds) < below:
            number = int(abs(seconds) // unit)
            return f"{number} {word} ago" if seconds > 0 else f"in {number} {word}"
    return f"{at:%d %b %Y}"


def duration(ms: float | None) -> Markup:
    """`duration(340)`: 340 ms; from ten seconds on 12.0 s, from two minutes on 5 min, then hours."""
    if ms is None:
        return DASH
    if ms < 10_000:
        text = f"{ms:,.0f} ms"
    elif ms < 120_000:
        text = f"{ms / 1000:.1f} s"
    elif ms < 2 * 3_600_000:
        text = f"{ms / 60_000:.0f} min"
    else:
        text = f"{ms / 3_600_000:.1f} h"
    return Markup('<span class="num">{}</span>').format(text)


def badge(words: object, tone: str = "mute", title: str = "") -> Markup:
    """`badge("paused", "warn")`: a dot and a word. Tones: good bad warn info mute."""
    hint = Markup(' title="{}"').format(title) if title else Markup("")
    return Markup('<span class="badge {}"{}><span class="dot"></span>{}</span>').format(
        tone, hint, words
    )


def outcome(word: str | None, title: str = "") -> Markup:
    """`outcome("no_bid")`: one of our words as a badge in its tone, underscores as spaces."""
    return DASH if not word else badge(word.replace("_", " "), tone_of(word), title)


def tone_of(word: str) -> str:
    """`tone_of("sold")`: good. What is not known is mute."""
    return _TONE_OF.get(word, "mute")


def gauge(
    used: int, limit: int | None, words: str, shown: tuple[object, object] = ("", "")
) -> Markup:
    """`gauge(40, 100, "sales per day")`: a bar with 40 of 100 beside it; `shown` writes the two
    figures another way, as `(money(…), money(…))`. Limit None: no bar, just the use."""
    left, right = (shown[0] or f"{used:,}"), (shown[1] or f"{limit or 0:,}")
    if limit is None:
        return Markup('<span class="gauge"><span class="gauge-text">{} used</span></span>').format(
            left
        )
    share = min(1.0, used / limit) if limit else 1.0
    tone = "full" if used >= limit else "near" if share >= _FULL else "fine"
    return Markup(
        '<span class="gauge {}"><svg class="gauge-bar" viewBox="0 0 100 6" preserveAspectRatio="none" '
        'role="img" aria-label="{}: {:.0f} % used"><rect class="track" width="100" height="6"/>'
        '<rect class="fill" width="{:.2f}" height="6"/></svg>'
        '<span class="gauge-text">{} of {}</span></span>'
    ).format(tone, words, 100 * share, 100 * share, left, right)


def copyable(text: object, shown: str | None = None) -> Markup:
    """`copyable("lead_01…")`: an id in mono with a button that copies it whole; `shown` is what
    stands there instead, such as `short_id(…)`."""
    return Markup(
        '<span class="copyable"><code title="{0}">{1}</code><button type="button" class="copy" data-copy="{0}" '
        'aria-label="Copy {1}">{2}</button></span>'
    ).format(text, text if shown is None else shown, icon("copy", 14))


def short_id(text: str) -> str:
    """`short_id("lead_019f…c41b22")`: lead_…c41b22: its kind and its last eight digits."""
    kind, _, digits = text.rpartition("_")
    return text if len(digits) <= 10 else f"{kind}_…{digits[-8:]}"


def empty(
    title: str, sentence: str, href: str = "", words: str = "", drawing: str = "inbox"
) -> Markup:
    """`empty("No contracts yet", "A contract is a buyer's order.", "/console/contracts/new", "New
    contract")`: what stands where a list would, with the next thing to do."""
    act = Markup('<a class="button primary" href="{}">{}</a>').format(href, words) if href else ""
    return Markup(
        '<div class="empty"><span class="empty-icon">{}</span><p class="empty-title">{}</p><p>{}</p>{}</div>'
    ).format(icon(drawing, 22), title, sentence, act)


def key_values(pairs: Iterable[tuple[object, object]]) -> Markup:
    """`key_values([("Buyer", "acme"), ("Credit", money(…))])`: a list of names and values."""
    rows = Markup("").join(
        Markup("<div><dt>{}</dt><dd>{}</dd></div>").format(name, DASH if value is None else value)
        for name, value in pairs
    )
    return Markup('<dl class="pairs">{}</dl>').format(rows)


def tabs(items: Sequence[tuple[str, object]], here: str, label: str = "Views") -> Markup:
    """`tabs([("/console/money", "Balances"), ("/console/money/statements", "Statements")], path)`:
    links; the one whose address is `here` is marked."""
    links = Markup("").join(
        Markup('<a href="{}"{}>{}</a>').format(
            href, Markup(' aria-current="page"') if href == here else "", words
        )
        for href, words in items
    )
    return Markup('<nav class="tabs" aria-label="{}">{}</nav>').format(label, links)


def stat(words: str, figure: object, note: object = "", drawing: object = "") -> Markup:
    """`stat("Sold today", count(120), "of 200 leads", sparkline(…))`: one figure of a row of them;
    put several into `<div class="stats">`."""
    return Markup(
        '<div class="stat"><span class="stat-name">{}</span><span class="stat-figure">{}</span>'
        '<span class="stat-note">{}</span>{}</div>'
    ).format(words, figure, note, drawing)


def address(path: str, query: Mapping[str, Any] | None = None, /, **changes: object) -> str:
    """`address("/console/leads", query, state="sold", after=None)`: an address with some parameters
    of the present one changed; None takes one away."""
    wanted = {**(query or {}), **changes}
    kept = {name: value for name, value in wanted.items() if value not in {None, ""}}
    return f"{path}?{urlencode(kept)}" if kept else path


def pager(path: str, query: Mapping[str, Any], older: str | None, *, words: str = "") -> Markup:
    """`pager("/console/leads", query, next_cursor)`: Newest and Older under a list that `?after=`
    pages; `older` None: this is the last page. `words` stand between, such as "50 shown"."""
    first = address(path, query, after=None)
    newest = _turn("Newest", first if query.get("after") else None, "chevron-left", before=True)
    further = _turn("Older", address(path, query, after=older) if older else None, "chevron-right")
    if not query.get("after") and not older:
        return Markup("")
    return Markup(
        '<nav class="pager" aria-label="Older and newer">{}<span>{}</span>{}</nav>'
    ).format(newest, words, further)


def who(by: str) -> str:
    """`who("user:ann")`: "ann"; `who("key:1a2b")`: "key 1a2b"; else as it stands, such as "apply"."""
    return by.removeprefix("user:").replace("key:", "key ", 1)


def dash() -> Markup:
    """`dash()`: what stands where there is nothing."""
    return DASH


def browser(agent: str) -> str:
    """`browser(user_agent)`: "Firefox on Linux", as far as it says; plain text."""
    names = (("Edg/", "Edge"), ("OPR/", "Opera"), ("Firefox/", "Firefox"), ("Chrome/", "Chrome"),
             ("Safari/", "Safari"))  # fmt: skip
    systems = (("Windows", "Windows"), ("Android", "Android"), ("iPhone", "iPhone"), ("iPad", "iPad"),
               ("Mac OS X", "macOS"), ("Linux", "Linux"))  # fmt: skip
    name = next((word for mark, word in names if mark in agent), "")
    system = next((word for mark, word in systems if mark in agent), "")
    return " on ".join(filter(None, (name, system))) or agent[:40] or "unknown"


def _turn(words: str, href: str | None, drawing: str, *, before: bool = False) -> Markup:
    inside = escape(words)
    inside = icon(drawing) + inside if before else inside + icon(drawing)
    if href is None:
        return Markup('<span class="button quiet disabled" aria-disabled="true">{}</span>').format(
            inside
        )
    return Markup('<a class="button quiet" href="{}">{}</a>').format(href, inside)


def _grouped(decimal: str) -> str:
    whole, dot, rest = decimal.partition(".")
    return f"{int(whole):,}{dot}{rest}"
