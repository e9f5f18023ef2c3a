"""Fixtures that all tests share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Folder of real clips for tests; they are never committed, so a test that needs them skips where they are absent."""
    folder = Path(os.environ.get("RAYDUB_TEST_MEDIA", REPOSITORY.parent / "shared" / "media"))
    if not (folder / "video").is_dir():
        pytest.skip(f"no test media at {folder}: set RAYDUB_TEST_MEDIA")
    return folder
