"""A story in plain lines, for `exchange why`."""

from datetime import datetime

from buyers.money import format_micros
from exchange.ids import write_id
from exchange.store.rows import CallbackRow, ErasureRow, ReturnRow
from exchange.story.values import Contender, Delivery, Fate, Movement, Story, heard_of


def lines_of(story: Story) -> list[str]:
    """Who was asked, what each said, who won, why the rest did not; then what became of the lead."""
    lines = [
        f"ping {story.ping_id} · {story.vertical} · seller {story.seller} · "
        f"catalogue {story.catalogue} · {story.elapsed_ms} ms"
    ]
    lines += [_asked(one, story) for one in story.contenders if one.is_asked]
    lines += [_fixed(one, story) for one in story.contenders if one.is_fixed]
    lines += [_placed(one, story) for one in story.contenders if one.rank is not None]
    lines += [_skipped(one) for one in story.contenders if one.fate is Fate.SKIPPED]
    lines += [_late(one, story) for one in story.contenders if one.late_ms is not None]
    if lost := story.ping_answer.get("reason"):
        lines.append(f"  no bid  {lost}")
    return lines + _lead(story) if story.lead_id else lines


def _lead(story: Story) -> list[str]:
    lines = [_head(story)]
    lines += [_posted(one, story) for one in story.deliveries]
    lines += [_skipped(one) for one in story.skipped]
    lines += [_moved(one, story) for one in story.movements]
    lines += [_returned(one, story) for one in story.returns]
    if story.reason:
        lines.append(f"  unsold  {story.reason}")
    if story.erasure is not None:
        lines.append(_erased(story.erasure))
    if story.callback is not None:
        lines.append(_called(story.callback))
    return lines


def _called(callback: CallbackRow) -> str:
    if callback.stands in {"waiting", "due"}:
        return f"  call    its seller is called back: {callback.stands}"
    then = f", again {_when(callback.due_at)}" if callback.state == "open" else ""
    return f"  call    its seller is called back: {callback.stands} ({heard_of(callback)}){then}"


def _erased(erasure: ErasureRow) -> str:
    asked = f"asked for {_when(erasure.asked_at)} by {erasure.by} ({erasure.why})"
    if erasure.done_at is None:
        return f"  erase   its person, {asked}: waits until every post has an outcome"
    return f"  erased  its person {_when(erasure.done_at)}, {asked}"


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _head(story: Story) -> str:
    """Sold, with what it brought; or how it stands."""
    told = f"lead {story.lead_id} · {story.state}"
    if story.state == "gone" and story.reason:
        told += f" ({story.reason})"
    if story.price_micros is None or story.payout_micros is None:
        return told
    pays, gets = (_money(one, story) for one in (story.price_micros, story.payout_micros))
    return f"{told} · pays {pays}, seller gets {gets}, margin {_money(story.margin_micros, story)}"


def _money(micros: int | None, story: Story) -> str:
    return "no price" if micros is None else format_micros(micros, story.currency)


def _asked(one: Contender, story: Story) -> str:
    said = "bid" if one.fate.has_bid else one.fate.value
    bid = "" if one.bid_micros is None else f" {_money(one.bid_micros, story)}"
    took = "" if one.ms is None else f" after {one.ms} ms"
    note = f": {one.detail}" if one.detail else ""
    return f"  asked   {one.contract:<28} {said}{bid}{_reason(one.reason)}{took}{note}"


def _fixed(one: Contender, story: Story) -> str:
    return f"  fixed   {one.contract:<28} {_money(one.bid_micros, story)}{_reason(one.reason)}"


def _placed(one: Contender, story: Story) -> str:
    pays, gets = _money(one.pay_micros, story), _money(one.net_micros, story)
    adjusted = ""
    if one.rank_micros != one.bid_micros:
        adjusted = f", ranked at {_money(one.rank_micros, story)}"
    return f"  rank {one.rank:<2} {one.contract:<28} pays {pays}, seller gets {gets}{adjusted}"


def _late(one: Contender, story: Story) -> str:
    bid = _money(one.late_micros, story)
    return f"  late    {one.contract:<28} {bid}, {one.late_ms} ms after the close: void"


def _skipped(one: Contender) -> str:
    detail = f" ({one.detail})" if one.detail else ""
    return f"  skipped {one.contract:<28} {one.reason}{detail}"


def _posted(one: Delivery, story: Story) -> str:
    told = {key: one.said[key] for key in ("reason", "note", "status") if one.said.get(key)}
    words = [f"{key} {value}" for key, value in told.items()]
    if one.said.get("elapsed_ms") is not None:
        words.append(f"after {one.said['elapsed_ms']} ms")
    if one.tries or one.state.is_open:
        words.append(f"{one.tries} tries since")
    price, state = _money(one.price_micros, story), one.state.value
    return (
        f"  post    {one.contract or '':<28} {one.tier} at {price}: {state} {', '.join(words)}"
    ).rstrip()


def _moved(one: Movement, story: Story) -> str:
    amount = _money(one.amount_micros, story)
    return f"  moved   {one.kind:<28} {amount}: {one.debit} to {one.credit}"


def _returned(one: ReturnRow, story: Story) -> str:
    back = " · payout reversed" if one.reverse_payout and one.status == "approved" else ""
    return (
        f"  return  {one.contract:<28} {one.status} ({one.reason}): "
        f"{format_micros(one.price_micros, story.currency)}{back} · {write_id('ret', one.id)}"
    )


def _reason(reason: str | None) -> str:
    return f" ({reason})" if reason else ""
