"""A story in one sentence: why a lead went where it went."""

from buyers.money import format_micros
from exchange.store.rows import AttemptState
from exchange.story.values import Contender, Delivery, Fate, Story, in_words


def summary_of(story: Story) -> str:
    """Plain words for whoever may see this story; they name nobody whom it does not name."""
    if story.sold:
        return _sold(story)
    waiting = [one for one in story.deliveries if one.state.is_open]
    if waiting:
        return _waits(waiting[0])
    if story.why_not:
        return _unsold(story)
    if story.state == "gone":
        return "The seller was gone before anything left: its ping may be posted again."
    if story.state is not None:
        return f"It is {story.state.replace('_', ' ')}."
    return _quoted(story)


def _sold(story: Story) -> str:
    one = story.sold[0]
    if one.contract is None:  # a seller's view
        shared = f" to {len(story.sold)} buyers" if len(story.sold) > 1 else ""
        return f"Sold{shared} for {_money(story.payout_micros, story)}."
    who = f"{one.buyer or one.contract} bought it at {_money(one.price_micros, story)}"
    if len(story.sold) > 1:
        who = f"{len(story.sold)} buyers share it for {_money(story.price_micros, story)}"
    return f"{who}{_because(one, story)}{_before(story)}."


def _because(one: Delivery, story: Story) -> str:
    bid = next((c for c in story.contenders if c.contract == one.contract), None)
    if bid is not None and bid.fate.has_bid and bid.rank is None:
        return ""  # a buyer is not told how many were better
    if bid is None or bid.rank is None:
        away = in_words(story.ping_answer.get("reason")).rstrip(".").lower()
        after = f" after the auction gave no quote ({away})" if away else ""
        return f", in tier {one.tier} of the waterfall{after}" if one.tier else ""
    offers = sum(c.rank is not None for c in story.contenders)
    if offers == 1:
        return f": the only usable bid of {story.asked} asked"
    place = "the best" if bid.rank == 1 else f"the {ordinal(bid.rank)}"
    return f": {place} of {offers} usable bids, {story.asked} asked{_margin_over(bid, story)}"


def _margin_over(bid: Contender, story: Story) -> str:
    """By how much it was better than the next one."""
    behind = [
        c.rank_micros for c in story.contenders if c.rank == (bid.rank or 0) + 1 and c.rank_micros
    ]
    if not behind or bid.rank_micros is None or len(story.sold) > 1:
        return ""
    ahead = bid.rank_micros - behind[0]
    return f", {_money(ahead, story)} ahead of the next" if ahead else ", by the rule for ties"


def _before(story: Story) -> str:
    """Who had it first and did not take it."""
    first = [one for one in story.deliveries if one.state.has_failed]
    if not first:
        return ""
    told = ", ".join(
        f"{one.buyer or one.contract} {one.state.value.replace('_', ' ')}" for one in first
    )
    return f". Before: {told}"


def _waits(one: Delivery) -> str:
    who = one.buyer or "its buyer"
    if one.state is AttemptState.INTENT:
        return f"It is on its way to {who}."
    how = "" if one.next_try_at else " Only a person can tell."
    return f"Nobody knows yet whether {who} has it: nobody else gets it meanwhile.{how}"


def _unsold(story: Story) -> str:
    asked = f"{story.asked} asked, {story.answered} answered, {story.bids} bid"
    kept = [c for c in story.contenders if c.fate is Fate.SKIPPED]
    skipped = f", {len(kept)} skipped" if kept else ""
    return f"{in_words(story.why_not)} {asked[0].upper()}{asked[1:]}{skipped}."


def _quoted(story: Story) -> str:
    if story.seller is not None and story.ping_answer.get("price"):
        price = f"{story.ping_answer['price']} {story.currency}"
        return f"The seller was quoted {price}; {story.bids} of {story.asked} asked have bid."
    best = next(iter(story.contenders), None)
    if best is None or best.fate is Fate.WON:
        return "The best bid; the seller has not posted the lead."
    return in_words(best.reason) or best.fate.value.replace("_", " ")


def ordinal(number: int) -> str:
    """1st, 2nd, 3rd, 4th, 11th."""
    if number % 100 in {11, 12, 13}:
        return f"{number}th"
    return f"{number}{ {1: 'st', 2: 'nd', 3: 'rd'}.get(number % 10, 'th') }"


def _money(micros: int | None, story: Story) -> str:
    return f"{format_micros(micros or 0, story.currency)} {story.currency}"
