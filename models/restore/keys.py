"""Numbers in the names of a state dict."""

from __future__ import annotations

from collections.abc import Iterable

_MOST = 64
"""No supported network has more of anything; key names must not make us build a larger one."""


def count(keys: Iterable[str], prefix: str) -> int:
    """One more than the highest number that follows the prefix, 0 where none does; at most 64."""
    followed = (key[len(prefix) :].split(".")[0] for key in keys if key.startswith(prefix))
    return min(
        _MOST, max((int(number) + 1 for number in followed if number.isdecimal() and len(number) < 4), default=0)
    )
