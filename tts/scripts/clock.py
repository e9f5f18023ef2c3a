"""Times as scripts write them, to exact fractions of seconds."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from fractions import Fraction

TIME = r"(?:(-)\s*)?(?:([0-9]{1,6})\s*:\s*)?(-?[0-9]{1,6})\s*:\s*(-?[0-9]{1,6})(?:\s*[.,]\s*([0-9]{1,9}))?"
_CLOCK = re.compile(rf"\s*{TIME}\s*")
_SETTING = r"(?:region|vertical|line|position|size|align|[XY][12]|[ADLST])\s?:\s?\S+"
_SPAN = re.compile(rf"\s*{TIME}\s*-->\s*{TIME}(?:\s+{_SETTING})*\s*", re.IGNORECASE)
_MAX_DIGITS, _MAX_DECIMALS = 60, 30


def clock(text: str) -> Fraction:
    """Seconds of "[H:]MM:SS[.fff]" (comma or point, blanks allowed, a sign too). Raises ValueError with a sentence."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise ValueError(f"{text.strip()[:40]!r} is not a time")
    return _seconds(*found.groups())


def span(line: str) -> tuple[Fraction, Fraction]:
    """Start and end of the time line of an SRT or WebVTT cue; cue settings are ignored, but nothing else after
    the times, since it might be text. Raises ValueError with a sentence."""
    found = _SPAN.fullmatch(line)
    if found is None:
        raise ValueError(f"{line.strip()[:60]!r} is not a time line")
    values = found.groups()
    return _seconds(*values[:5]), _seconds(*values[5:])


def seconds(value: object) -> Fraction:
    """Seconds of a JSON value: a number (int or Decimal), or text with a number or a clock time; rounded to
    nanoseconds. Raises ValueError."""
    if isinstance(value, str):
        if ":" in value:
            return clock(value)
        try:
            value = Decimal(text := value.strip())
        except InvalidOperation:
            raise ValueError(f"{text[:40]!r} is not a time") from None
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise ValueError(f"{str(value)[:40]!r} is not a time")
    number = Decimal(value)
    _, digits, exponent = number.as_tuple()
    # An exponent of a million takes a few bytes in the file and a million digits as a fraction.
    if not isinstance(exponent, int) or len(digits) > _MAX_DIGITS or not -_MAX_DECIMALS <= exponent <= _MAX_DIGITS:
        raise ValueError(f"{str(value)[:40]!r} is not a time")
    # Programs with float arithmetic write 0.30000000000000004; nanoseconds keep the intended value.
    return round(Fraction(number), 9)


def _seconds(sign: str | None, hours: str | None, minutes: str, rest: str, decimals: str | None) -> Fraction:
    written = [int(hours or 0), int(minutes), int(rest)]
    if any(abs(part) > 59 for part in written[1:]):
        raise ValueError("minutes and seconds go from 00 to 59")
    negative = sign == "-" or any(part.startswith("-") for part in (minutes, rest))
    total = 3600 * abs(written[0]) + 60 * abs(written[1]) + abs(written[2])
    exact = total + Fraction(int(decimals or 0), 10 ** len(decimals or ""))
    return -exact if negative else exact
