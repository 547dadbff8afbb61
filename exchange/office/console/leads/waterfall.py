"""The waterfall of an auction and of its posts: a bar for each, from the sending to the answer. Pure.

Drawn here as SVG in percent of its width: bars stretch with the page, words stay words. The words of
each row say all that its bar shows.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from markupsafe import Markup

from buyers.money import format_micros
from exchange.office.console.parts.charts import nice_top
from exchange.store.rows import AttemptState
from exchange.story import Contender, Delivery, Fate, Story, ordinal

SHOWN: Final = 24  # rows; the rest is folded below them
_TICKS: Final = 5
_ROOM: Final = 1.04  # the longest bar does not end at the very edge
_BAR: Final = 26  # px, a row
_TONES: Final = {
    Fate.WON: "good",
    Fate.OUTBID: "info",
    Fate.BELOW_FLOOR: "warn",
    Fate.INVALID: "bad",
    Fate.NO_BID: "mute",
    Fate.MISSED: "bad",
    AttemptState.ACCEPTED: "good",
    AttemptState.REJECTED: "bad",
    AttemptState.NOT_SENT: "mute",
    AttemptState.UNCONFIRMED: "warn",
    AttemptState.INTENT: "info",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One row. Times are milliseconds from the left edge; None: it was never sent."""

    name: str
    said: str  # how it ended, in words: result, bid, rank
    tone: str  # good, info, warn, bad, mute
    note: str = ""  # below the name: the buyer
    href: str = ""
    begin_ms: float = 0.0
    end_ms: float | None = None
    limit_ms: float | None = None  # its own time, where that is shorter than everybody's
    void_ms: float | None = None  # a bid that came so late is drawn on to there
    is_open: bool = False  # not answered yet


def auction_bars(story: Story) -> list[Bar]:
    """Everyone asked, the best first; a fixed price was not asked, and has no bar."""
    return [_asked(one, story) for one in story.contenders if one.is_asked]


def _asked(one: Contender, story: Story) -> Bar:
    limit = one.limit_ms if one.limit_ms and one.limit_ms < story.window_ms else None
    void = None
    if one.late_ms is not None:
        void = (limit or story.window_ms) + one.late_ms
    return Bar(
        name=one.contract,
        note=one.buyer or "",
        href=contract_page(one.contract, one.version),
        said=_said(one, story.currency),
        tone=_TONES[one.fate],
        end_ms=one.ms,
        limit_ms=limit,
        void_ms=void,
    )


def _said(one: Contender, currency: str) -> str:
    """`bid 12.50 · 1st`, `declined`, `timed out · 9.00 came 40 ms late`."""
    words = [one.fate.value.replace("_", " ")]
    if one.fate is Fate.MISSED and one.reason:
        words = [one.reason.replace("_", " ")]
    if one.fate is Fate.INVALID and one.reason:
        words = [one.reason.replace("_", " ").replace("bid ", "bid: ")]
    if one.bid_micros is not None:
        words.insert(0, f"bid {format_micros(one.bid_micros, currency)}")
    if one.rank is not None:
        words.append(ordinal(one.rank))
    if one.late_ms is not None:
        bid = format_micros(one.late_micros, currency) if one.late_micros else "a bid"
        words.append(f"{bid} came {one.late_ms} ms late")
    return " · ".join(words)


def post_bars(story: Story, now: datetime) -> list[Bar]:
    """Every post, in the order of the awards, from the moment the lead came."""
    began = story.created_at
    return [] if began is None else [_posted(one, story, began, now) for one in story.deliveries]


def _posted(one: Delivery, story: Story, began: datetime, now: datetime) -> Bar:
    begin = 0.0 if one.began_at is None else _ms(one.began_at - began)
    # What was settled hours later by somebody's word is not drawn to scale: its answer is.
    took = one.said.get("elapsed_ms")
    if took is None and one.took_ms is not None:
        took = one.took_ms
    end = None if took is None else begin + took
    if one.state.is_open and end is None:
        end = _ms(now - began)
    words = [one.state.value.replace("_", " ")]
    if one.price_micros is not None:
        words.append(format_micros(one.price_micros, story.currency))
    elif one.payout_micros is not None and one.state is AttemptState.ACCEPTED:
        words.append(format_micros(one.payout_micros, story.currency))
    if one.tier and one.tier != "auction":
        words.append(f"tier {one.tier}")
    return Bar(
        name=one.contract or f"Post {one.number}",
        note=one.buyer or "",
        href=contract_page(one.contract, one.version) if one.contract else "",
        said=" · ".join(words),
        tone=_TONES[one.state],
        begin_ms=max(0.0, begin),
        end_ms=end,
        is_open=one.state.is_open,
    )


def _ms(span: timedelta) -> float:
    return span / timedelta(milliseconds=1)


def contract_page(slug: str, version: int | None = None) -> str:
    """The page of a contract, at the version that was asked."""
    return f"/console/contracts/{slug}" + (f"?version={version}" if version else "")


def waterfall(
    bars: Sequence[Bar], label: str, deadline_ms: float | None = None, *, linked: bool = True
) -> Markup:
    """`waterfall(auction_bars(story), "The auction", 500)`: the rows, a line at the deadline, the
    scale below; beyond SHOWN rows the rest is folded. `linked`: names lead to the contracts."""
    if not bars:
        return Markup("")
    if not linked:
        bars = [replace(one, href="") for one in bars]
    most = max([deadline_ms or 0, *(_end(one) for one in bars)]) * _ROOM or 1
    first, rest = bars[:SHOWN], bars[SHOWN:]
    folded = Markup("")
    if rest:
        folded = Markup(
            '<details class="wf-more"><summary>{} more</summary><ol class="wf-rows">{}</ol></details>'
        ).format(len(rest), _rows(rest, most, deadline_ms))
    return Markup(
        '<figure class="wf" aria-label="{}"><ol class="wf-rows">{}</ol>{}{}</figure>'
    ).format(label, _rows(first, most, deadline_ms), _axis(most, deadline_ms), folded)


def _end(one: Bar) -> float:
    return max(one.end_ms or 0.0, one.void_ms or 0.0, one.limit_ms or 0.0)


def _rows(bars: Iterable[Bar], most: float, deadline_ms: float | None) -> Markup:
    return Markup("").join(_row(one, most, deadline_ms) for one in bars)


def _row(one: Bar, most: float, deadline_ms: float | None) -> Markup:
    name = Markup("<span>{}</span>").format(one.name)
    if one.href:
        name = Markup('<a href="{}">{}</a>').format(one.href, one.name)
    took = "not sent" if one.end_ms is None else f"{one.end_ms - one.begin_ms:,.0f} ms"
    return Markup(
        '<li class="wf-row"><span class="wf-name">{}<small>{}</small></span>'
        '<svg class="wf-bar" width="100%" height="{}" aria-hidden="true">{}</svg>'
        '<span class="wf-said {}"><span class="wf-words">{}</span><span class="wf-ms">{}</span></span></li>'
    ).format(name, one.note, _BAR, _shapes(one, most, deadline_ms), one.tone, one.said, took)


def _shapes(one: Bar, most: float, deadline_ms: float | None) -> Markup:
    """Its time, what came too late, its own limit and everybody's deadline."""
    shapes = [Markup('<line class="wf-base" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(_BAR / 2)]
    if one.void_ms is not None:
        shapes.append(_rect("wf-void", one.end_ms or 0.0, one.void_ms, most, 10))
    if one.end_ms is not None:
        kind = f"wf-fill {one.tone}{' open' if one.is_open else ''}"
        shapes.append(_rect(kind, one.begin_ms, one.end_ms, most, 6))
    shapes += [
        Markup('<line class="{0}" x1="{1:.2f}%" x2="{1:.2f}%" y1="0" y2="{2}"/>').format(
            kind, 100 * at / most, _BAR
        )
        for kind, at in (("wf-own", one.limit_ms), ("wf-deadline", deadline_ms))
        if at is not None
    ]
    return Markup("").join(shapes)


def _rect(kind: str, begin: float, end: float, most: float, inset: int) -> Markup:
    width = max(0.4, 100 * (end - begin) / most)  # what took no time can still be seen
    return Markup(
        '<rect class="{}" x="{:.2f}%" width="{:.2f}%" y="{}" height="{}" rx="3"/>'
    ).format(kind, 100 * begin / most, width, inset, _BAR - 2 * inset)


def _axis(most: float, deadline_ms: float | None) -> Markup:
    """Where the milliseconds are, and the deadline by name."""
    step = nice_top(most / _TICKS)
    count = int(most // step)
    at_edge = deadline_ms is not None and deadline_ms > most * 0.8  # its words stand left of it
    low = 0.0 if deadline_ms is None else deadline_ms - most * (0.34 if at_edge else 0.16)
    high = 0.0 if deadline_ms is None else deadline_ms + most * 0.16
    marks = [
        Markup('<text class="wf-tick" x="{:.2f}%" y="14" text-anchor="{}">{}</text>').format(
            100 * at * step / most, "start" if at == 0 else "middle", _scale(at * step, step)
        )
        for at in range(count + 1)
        if deadline_ms is None or not low < at * step < high
    ]
    if deadline_ms is not None:
        marks.append(
            Markup(
                '<text class="wf-tick wf-named" x="{:.2f}%" y="14" text-anchor="{}">deadline {}</text>'
            ).format(
                100 * deadline_ms / most,
                "end" if at_edge else "middle",
                _scale(deadline_ms),
            )
        )
    return Markup(
        '<div class="wf-row wf-axis" aria-hidden="true"><span></span>'
        '<svg class="wf-bar" width="100%" height="18">{}</svg><span></span></div>'
    ).format(Markup("").join(marks))


def _scale(ms: float, step: float = 1.0) -> str:
    """Ticks that are no whole milliseconds apart have the decimals that tell them apart."""
    if step % 1 and ms:
        return f"{ms:.1f} ms" if step >= 0.1 else f"{ms:.2f} ms"
    return f"{ms:,.0f} ms" if ms < 10_000 else f"{ms / 1000:,.0f} s"
