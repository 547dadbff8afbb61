"""What became of a ping and its lead, as one value: the page of a lead and `exchange why` both read it.

The receipt says who was asked, what each said and who won; the books say what was posted, settled,
moved and given back. values: the parts · telling: puts them together · scopes: what a seller or a
buyer may see of it · lines: for the
terminal · summary: in one sentence.
"""

from exchange.story.lines import lines_of
from exchange.story.scopes import for_buyer, for_seller
from exchange.story.summary import ordinal, summary_of
from exchange.story.telling import moment_of, tell
from exchange.story.values import (
    Booked,
    Contender,
    Delivery,
    Event,
    Fate,
    Movement,
    Story,
    heard_of,
    in_words,
)

__all__ = [
    "Booked", "Contender", "Delivery", "Event", "Fate", "Movement", "Story", "for_buyer", "for_seller",
    "heard_of", "in_words", "lines_of", "moment_of", "ordinal", "summary_of", "tell",
]  # fmt: skip
