"""What the quick suite leaves to `make test-all`: most examples of properties, and cases that resemble others."""

from __future__ import annotations

import os
from typing import Any

import pytest

FULL = bool(os.environ.get("RAYDUB_TESTS_FULL"))

_SHARE = 4
_FEWEST = 5


def examples(full: int) -> int:
    """For `max_examples`: `full` in `make test-all`, else a quarter of it, and at least five."""
    return full if FULL else min(full, max(_FEWEST, full // _SHARE))


def slow(*values: Any) -> Any:
    """Values of a parametrized test that only `make test-all` tries."""
    return pytest.param(*values, marks=pytest.mark.slow)
