"""Fixtures that all tests share."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.examples import examples

# The same examples on every run of CI, so that a red run says something about the change; new ones everywhere else.
settings.register_profile("raydub", derandomize=bool(os.environ.get("CI")), max_examples=examples(100))
settings.load_profile("raydub")

# No test starts a download of weights that it did not set up.
os.environ.setdefault("RAYDUB_OFFLINE", "1")

# Whoever starts the tests may have signals ignored (nohup, a shell's "&"), and processes inherit that. A handler is not
# inherited: with one that does nothing the tests go on as before, and what they start hears its signals.
for _signum in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, lambda signum, frame: None)

REPOSITORY = Path(__file__).resolve().parent.parent


class _OneName:
    """The repository's root is on the path of the tests, and the root folders would import under a second name."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if path is None and (REPOSITORY / "raydub" / name).is_symlink():
            raise ModuleNotFoundError(f"{name} is imported as raydub.{name}", name=name)


sys.meta_path.insert(0, _OneName())  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Folder of real clips; they are never committed, so a test that needs them skips where they are absent."""
    folder = Path(os.environ.get("RAYDUB_TEST_MEDIA", REPOSITORY.parent / "shared" / "media"))
    if not (folder / "video").is_dir():
        pytest.skip(f"no test media at {folder}: set RAYDUB_TEST_MEDIA")
    return folder


@pytest.fixture(scope="session")
def ray_here() -> Iterator[None]:
    """One local Ray of two CPUs for all tests of this process that need one; commands under test find and use it."""
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_AUTH_MODE", "disabled")
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    import ray

    from raydub.cluster.session.connect import on_loopback

    with on_loopback():
        ray.init(
            address="local",
            num_cpus=2,
            include_dashboard=False,
            object_store_memory=300 << 20,
            log_to_driver=False,
            logging_level="ERROR",
        )
    yield
    ray.shutdown()
