"""A store in a process of its own for all tests of this folder, and a bucket of its own for each."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.objects import client
from tests.objects import servers
from tests.objects.gcs import TOKEN, Gcs


@pytest.fixture(scope="session")
def moto_url() -> Iterator[str]:
    with servers.moto() as url:
        yield url


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Credentials for tests, no endpoint yet, a cache folder of this test, and short pauses."""
    for name in ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3", "AWS_SESSION_TOKEN", "AWS_PROFILE", "GOOGLE_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in servers.ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr(client, "PAUSE", 0.01)


@pytest.fixture
def s3(environment: None, moto_url: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a new bucket, s3://NAME, which the environment's endpoint serves."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)
    name = f"test-{uuid.uuid4().hex[:12]}"
    servers.make_bucket(moto_url, name)
    return f"s3://{name}"


@pytest.fixture
def gcs(environment: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Gcs]:
    """A server of Google's protocol with the bucket gs://films, which the environment's endpoint serves."""
    monkeypatch.setenv("GOOGLE_BEARER_TOKEN", TOKEN)
    with Gcs("films") as server:
        monkeypatch.setenv("GOOGLE_BASE_URL", server.url)
        yield server
