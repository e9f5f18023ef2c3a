"""A case per test, and nothing of it left running afterwards."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster_faults.harness import Case


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Room for a busy machine; every wait in these tests has an end of its own."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """An empty case."""
    made = Case(tmp_path)
    yield made
    made.end()
