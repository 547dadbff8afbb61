"""What is left of a lead whose person was erased: money, outcome, reasons, and nobody's data. Pure.

A buyer's reference, its words and the page it sends a consumer to may all name him; what the ping said
(a ZIP code, an age) may single him out. What is replayed (bids, rules, ranking) stays as it was.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import unquote_plus

import orjson

from exchange.veiling import veiled

ERASED: Final = "erased"  # stands in the receipt of a ping whose fields were erased
_SAID: Final = frozenset({"note", "buyer_ref", "redirect_url"})  # by buyers, of one person
_SELLERS: Final = ("external_id", "sub_id")  # chosen by sellers
_JOINTS: Final = re.compile(r"[\d_]+")  # between the words of an id


def bare_detail(raw: bytes) -> bytes:
    """What a buyer said of a post, without its own words."""
    return _written(raw, _unsaid)


def bare_receipt(raw: bytes) -> bytes:
    """A lead's receipt, which tells the same of every post."""
    return _written(raw, lambda record: record | _listed(record, "attempts"))


def bare_answer(raw: bytes) -> bytes:
    """The seller's answer, without the page that the consumer was sent to."""
    return _written(raw, lambda record: record | ({"redirect_url": None} if record.get("redirect_url") else {}))  # fmt: skip


def bare_ping(raw: bytes, person: Mapping[str, Any] | None) -> bytes:
    """A ping's receipt without its fields and without what buyers remarked on them."""

    def bare(record: dict[str, Any]) -> dict[str, Any]:
        named = personal_names(record, person)
        kept = {name: unnamed(record[name], person, named) for name in _SELLERS if record.get(name)}
        return record | {"fields": {}, ERASED: True} | _listed(record, "asked") | kept

    return _written(raw, bare)


def personal_names(
    ping: Mapping[str, Any] | None, person: Mapping[str, Any] | None
) -> frozenset[str]:
    """The fields that only the post had. `ping`: its receipt; None: it was dropped."""
    said = ping["fields"] if ping else {}
    return frozenset(person or ()) - frozenset(said)


def unnamed(
    text: str | None, person: Mapping[str, Any] | None, personal: Collection[str]
) -> str | None:
    """A seller's own id, or None where it names the person, or where nobody can tell: `person` None."""
    if text is None or person is None:
        return None
    plain = unquote_plus(text)
    # `ann_77` is one word in a sentence, and two in an id.
    spellings = (text, plain, plain.replace("_", " "), _JOINTS.sub(" ", plain))
    named = any(veiled(one, person, personal) != one for one in spellings)
    return None if named else text


def _listed(record: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {name: [_unsaid(one) for one in record[name]]} if name in record else {}


def _unsaid(said: Any) -> Any:
    """Of an object, or of a row that has one in it."""
    if isinstance(said, list):
        return [_unsaid(one) if isinstance(one, dict) else one for one in said]
    return {name: value for name, value in said.items() if name not in _SAID}


def _written(raw: bytes, bare: Any) -> bytes:
    """The same bytes where nothing had to go."""
    record = orjson.loads(raw)
    changed = bare(record)
    return raw if changed == record else orjson.dumps(changed)
