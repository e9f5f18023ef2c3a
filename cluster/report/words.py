"""Numbers as people read them."""

from __future__ import annotations

_LONGEST = 1e9
"""Seconds. More are not the length of a film."""


def clock(seconds: float | None) -> str:
    """0:07.24, 12:03.50, 1:02:03.00; a dash where it is not known, or no time of a film."""
    if seconds is None or not abs(seconds) < _LONGEST:
        return "–"
    minutes, rest = divmod(round(abs(seconds) * 100), 6000)
    hours, minutes = divmod(minutes, 60)
    front = "-" if seconds < 0 else ""
    front += f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{front}:{rest // 100:02}.{rest % 100:02}"


def long_time(seconds: float | None) -> str:
    """48 s, 3.4 min, 2.1 h."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def percent(share: float) -> str:
    """0.123 as 12 %."""
    return f"{share * 100:.0f} %" if share == 0 or share >= 0.01 else "< 1 %"


def amount(value: float | None) -> str:
    """A price: two digits, more where it is small; a dash where it is not known."""
    if value is None:
        return "–"
    return f"{value:,.2f}" if value >= 1 or value == 0 else f"{value:.2g}"
