"""Transfers in the words of whoever reads them. Pure.

A buyer is not shown how its price was shared between seller and house: what was booked as two transfers
is one line to it. A seller is not shown who paid.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from exchange.store.views.money import Transfer

STAFF_WORDS: Final[Mapping[str, str]] = {
    "hold": "Hold", "release": "Release", "sale": "Sale, payout", "margin": "Sale, margin", "deposit": "Deposit",
    "return": "Return", "return_margin": "Return, margin",
}  # fmt: skip
BUYER_WORDS: Final[Mapping[str, str]] = {
    "hold": "Held for a lead", "release": "Released", "sale": "Purchase", "deposit": "Deposit", "return": "Return",
}  # fmt: skip
SELLER_WORDS: Final[Mapping[str, str]] = {"sale": "Sale", "return": "Returned sale"}
ACCOUNT_WORDS: Final[Mapping[str, str]] = {
    "available": "Available", "held": "Held", "payable": "Payable", "margin": "Margin", "external": "Outside",
}  # fmt: skip
ACCOUNT_ABOUT: Final[Mapping[str, str]] = {
    "available": "What a buyer may still spend; below zero: what a postpaid buyer owes.",
    "held": "Set aside for leads that are on their way or of which nobody knows the outcome.",
    "payable": "What sellers have earned and are owed.",
    "margin": "What the house keeps.",
    "external": "Where deposits come from: below zero by all that was ever brought in.",
}
# Buyers see these as one; the second of a pair has the time and the ref of the first.
_MERGED: Final = {"margin": "sale", "return_margin": "return"}
# What buyers' words stand for in the books.
_BEHIND: Final = {"sale": ("sale", "margin"), "return": ("return", "return_margin")}


@dataclass(frozen=True, slots=True)
class Booked:
    """A transfer as it touched one account."""

    transfer: Transfer
    amount: int  # negative: debited
    balance: int | None  # right after it; None: not told


def words_of(side: str) -> Mapping[str, str]:
    return {"buyer": BUYER_WORDS, "seller": SELLER_WORDS}.get(side, STAFF_WORDS)


def kinds_of(wanted: str, side: str) -> tuple[str, ...]:
    """The kinds in the books behind a kind in the words of this side; empty: all of them."""
    words = words_of(side)
    chosen = (wanted,) if wanted in words else tuple(words)
    if side != "buyer":
        return chosen
    return tuple(kind for one in chosen for kind in _BEHIND.get(one, (one,)))


def merged(transfers: Iterable[Transfer]) -> list[Transfer]:
    """As a buyer sees them; the order stays."""
    found: list[Transfer] = []
    for one in transfers:
        plain = replace(one, kind=_MERGED.get(one.kind, one.kind))
        last = found[-1] if found else None
        if last is not None and (last.ref, last.kind, last.at) == (plain.ref, plain.kind, plain.at):
            found[-1] = replace(last, amount=last.amount + plain.amount)
        else:
            found.append(plain)
    return found


def booked(transfers: Sequence[Transfer], account: int, balance: int | None) -> list[Booked]:
    """Newest first, each with the balance after it; `balance`: after the first."""
    found = []
    for one in transfers:
        amount = one.amount if one.credit == account else -one.amount
        found.append(Booked(one, amount, balance))
        balance = None if balance is None else balance - amount
    return found


def place_after(raw: Sequence[Transfer], shown: Transfer, side: str) -> Transfer:
    """The last transfer in the books that is part of a line: there the next page begins."""
    if side != "buyer":
        return shown
    return next(
        one
        for one in reversed(raw)
        if (one.ref, one.at, _MERGED.get(one.kind, one.kind)) == (shown.ref, shown.at, shown.kind)
    )
