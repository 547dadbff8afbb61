"""The waterfall as it is drawn: where bars begin and end, what is said beside them, what is folded."""

import re

from exchange.office.console.leads.waterfall import SHOWN, Bar, waterfall


def bar(name: str = "acme", **more: object) -> Bar:
    usual = {"said": "bid 12.50 · won · 1st", "tone": "good", "end_ms": 100.0}
    return Bar(name=name, **(usual | more))  # type: ignore[arg-type]


def shapes(html: str, kind: str) -> list[tuple[float, float]]:
    """Left edge and width of each such rectangle, in percent."""
    found = re.findall(rf'<rect class="{kind}[^"]*" x="([\d.]+)%" width="([\d.]+)%"', html)
    return [(float(left), float(width)) for left, width in found]


def lines(html: str, kind: str) -> list[float]:
    return [float(at) for at in re.findall(rf'<line class="{kind}" x1="([\d.]+)%"', html)]


def test_a_bar_goes_from_the_sending_to_the_answer() -> None:
    html = waterfall([bar(begin_ms=104, end_ms=312)], "Posts", 500)

    # The scale ends a little behind the deadline, at 520 ms.
    assert [(20.0, 40.0)] == shapes(html, "wf-fill")


def test_the_deadline_is_at_the_same_place_in_every_row() -> None:
    html = waterfall([bar("a"), bar("b", end_ms=900.0)], "Auction", 500)

    assert 2 == len(lines(html, "wf-deadline"))
    assert 1 == len(set(lines(html, "wf-deadline")))
    assert "deadline 500 ms" in html


def test_what_is_late_is_drawn_beyond_the_deadline() -> None:
    """And the buyer's own shorter time is marked."""
    html = waterfall(
        [bar(said="timed out", tone="bad", end_ms=400.0, limit_ms=400.0, void_ms=620.0)], "A", 500
    )

    ((left, width),) = shapes(html, "wf-void")
    assert left < lines(html, "wf-deadline")[0] < left + width
    assert lines(html, "wf-own") == [left]


def test_who_was_never_sent_to_has_no_bar_and_says_so() -> None:
    html = waterfall([bar(said="address blocked", tone="bad", end_ms=None)], "A", 500)

    assert [] == shapes(html, "wf-fill")
    assert "not sent" in html


def test_what_took_no_time_can_still_be_seen() -> None:
    assert shapes(waterfall([bar(end_ms=0.0)], "A", 500), "wf-fill")[0][1] > 0


def test_of_two_hundred_the_first_are_shown_and_the_rest_is_folded() -> None:
    html = waterfall([bar(f"buyer-{n:03}") for n in range(200)], "A", 500)

    before, folded = html.split("<details", 1)
    assert SHOWN == before.count('"wf-name"')
    assert 200 - SHOWN == folded.count('"wf-name"')
    assert f"{200 - SHOWN} more" in folded


def test_names_are_text_and_nothing_of_them_is_style() -> None:
    html = waterfall([bar('<img src="x">', said="<b>", note="&", href="/x?a=1&b=2")], "<i>", 500)

    assert "<img" not in html
    assert "<b>" not in html
    assert "style=" not in html


def test_without_links_no_name_leads_anywhere() -> None:
    assert "href" not in waterfall([bar(href="/console/contracts/acme")], "A", linked=False)


def test_nobody_asked_is_no_drawing() -> None:
    assert "" == waterfall([], "A", 500)
