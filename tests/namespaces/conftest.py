"""Networks for tests; skipped where namespaces cannot be made."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.namespaces.machines import Network, missing


@pytest.fixture
def network(tmp_path: Path) -> Iterator[Network]:
    why = missing()
    if why is not None:
        pytest.skip(why)
    with Network(tmp_path / "machines") as made:
        yield made
