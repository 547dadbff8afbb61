"""Money where the exact figure has no room. Pure."""

from typing import Final

from markupsafe import Markup

from buyers.money import MICROS, format_micros

_MILLION: Final = 1_000_000 * MICROS


def rounded(micros: float, currency: str, more: int = 0, *, unit: bool = True) -> Markup:
    """Money as it is paid; the exact figure when pointed at. From a million on without its decimals;
    `more` decimals for a rate."""
    decimals = _decimals(currency) + more if abs(micros) < _MILLION else 0
    sign = "−" if round(micros / MICROS, decimals) < 0 else ""
    shown = f"{abs(micros) / MICROS:,.{decimals}f}"
    return Markup('<span class="money" title="{}">{}{}{}</span>').format(
        f"{format_micros(round(micros), currency)} {currency}", sign, shown,
        Markup(' <span class="unit">{}</span>').format(currency) if unit else "",
    )  # fmt: skip


def to_the_cent(micros: float, currency: str) -> int:
    """For a chart, whose figures have no room for more."""
    step: int = MICROS // 10 ** _decimals(currency)
    return round(micros / step) * step


def _decimals(currency: str) -> int:
    return len(format_micros(0, currency).partition(".")[2])
