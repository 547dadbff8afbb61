"""Money as integer micros of a currency, and the few roundings the exchange makes."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

MICROS: Final = 1_000_000
MICROS_MAX: Final = 1_000_000 * MICROS  # 0 to 1,000,000 units may be written (contract §2)
_PLAIN_MAX: Final = len("999999.999999")  # no longer text is kept
_DIGITS_MAX: Final = 40  # a price is never longer; Decimal would happily parse a megabyte
# Decimal also reads "１２", "1_000", " 5 " and "nan"; a price is plain ASCII or it is garbage.
_PLAIN: Final = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII)

# ISO 4217 minor units; every currency not named has two decimals.
_DECIMALS: Final = {"JPY": 0, "KRW": 0, "CLP": 0, "BHD": 3, "KWD": 3, "JOD": 3, "OMR": 3, "TND": 3}


class MoneyInvalid(ValueError):
    """An amount that is not money. `code` says how: the reasons of invalid bids are the same."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


def parse_micros(value: object) -> int:
    """Micros of a decimal string or a JSON number.

    Raises MoneyInvalid: `not_a_number` (another type, NaN, infinity, text), `negative`,
    `too_precise` (over 6 decimals), `too_large` (above 1,000,000).
    """
    if isinstance(value, str) and len(value) <= _PLAIN_MAX:
        micros = _plain_micros(value)
        if micros is not None:
            return micros
    amount = _decimal(value)
    if amount < 0:
        raise MoneyInvalid("negative", "must not be negative")
    if amount > MICROS_MAX // MICROS:
        raise MoneyInvalid("too_large", "must be at most 1000000")
    units, parts = amount.as_integer_ratio()  # exact: Decimal's own product would round
    micros, rest = divmod(units * MICROS, parts)
    if rest:
        raise MoneyInvalid("too_precise", "must have at most 6 decimals")
    return micros


@lru_cache(maxsize=4096)  # buyers have their prices
def _plain_micros(text: str) -> int | None:
    """Of what prices usually look like, as "12.50"; None: have a closer look."""
    units, _, parts = text.partition(".")
    if not (len(units) <= 6 and len(parts) <= 6 and text.isascii()):
        return None  # with up to six digits it is in range
    if not (units.isdigit() and parts.isdigit()):
        return None
    return int(units) * MICROS + int(parts.ljust(6, "0"))


def _decimal(value: object) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise MoneyInvalid("not_a_number", "must be a decimal string or a number")
    if isinstance(value, int) and abs(value) > MICROS_MAX:  # str() of a huge int raises
        return Decimal(MICROS_MAX if value > 0 else -1)
    text = str(value)
    if len(text) > _DIGITS_MAX or not _PLAIN.fullmatch(text):
        raise MoneyInvalid("not_a_number", "must be a decimal amount such as 12.50")
    return Decimal(text)


def format_micros(micros: int, currency: str = "USD") -> str:
    """The amount as a string with the currency's decimals, more only where needed.

    >>> format_micros(10_000_000), format_micros(10_024_000), format_micros(-500_000)
    ('10.00', '10.024', '-0.50')
    """
    sign, micros = ("-", -micros) if micros < 0 else ("", micros)
    units, rest = divmod(micros, MICROS)
    decimals = f"{rest:06d}".rstrip("0").ljust(_DECIMALS.get(currency, 2), "0")
    return f"{sign}{units}.{decimals}" if decimals else f"{sign}{units}"
