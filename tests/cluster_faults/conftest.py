"""A case per test, and nothing of it left running afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_faults.harness import Case


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """An empty case."""
    made = Case(tmp_path)
    yield made
    made.end()
