"""The table of all comparisons, printed as JSON lines when the run ends."""

from __future__ import annotations

import json
from dataclasses import asdict

import pytest

from tests.equivalence.compare import Compare

_KEY = pytest.StashKey[Compare]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[_KEY] = Compare()


@pytest.fixture(scope="session")
def compare(request: pytest.FixtureRequest) -> Compare:
    """The comparison of two networks; its rows make the table at the end of the run."""
    return request.config.stash.setdefault(_KEY, Compare())


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.setdefault(_KEY, Compare()).rows
    if rows:
        terminalreporter.section("equivalence with spandrel")
        for row in rows:
            terminalreporter.write_line(json.dumps(asdict(row)))
