"""Fixtures of the tests of commands."""

from __future__ import annotations

import pytest

from raydub.cluster.session import dashboard
from tests.cluster.fake_jobs import URL, FakeJobs


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeJobs:
    """A cluster without jobs, which all commands find."""
    client = FakeJobs()
    monkeypatch.setattr(dashboard, "connect", lambda address: (client, address or URL))
    monkeypatch.setattr("raydub.cluster.session.jobs._PAUSE", 0.0)
    return client
