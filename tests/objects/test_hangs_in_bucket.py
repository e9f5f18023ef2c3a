"""A hang that let no Python run, in a run whose work folder is in a bucket: who learns of it, and when."""

from __future__ import annotations

from pathlib import Path

import pytest

from raydub.pipeline.attempts import this_worker
from raydub.pipeline.run_files import run_files
from raydub.pipeline.watchdog import Watchdog, overran

RUN = "a" * 12


def test_the_next_worker_of_the_machine_tells_the_others(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, dead = f"{s3}/out/.raydub", {"host": "gpu-1", "pid": 77}
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "its machine"))
    file = Watchdog(work, RUN, dead)._trace_path
    file.parent.mkdir(parents=True)
    file.write_text("Thread 0x1 (most recent call first):\n")
    file.with_name("gpu-1-78.txt").touch()  # its timer was set, and never rang
    assert overran(work, RUN, dead)
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "another machine"))
    assert not overran(work, RUN, dead), "nothing could be uploaded by the one that hung"
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "its machine"))
    for _ in range(2):
        Watchdog(work, RUN, this_worker())
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "another machine"))
    assert overran(work, RUN, dead)
    assert b"most recent call" in (run_files(work, RUN).read("hangs/gpu-1-77.txt") or b"")
    assert not overran(work, RUN, {"host": "gpu-1", "pid": 78})
    assert not overran(work, RUN, {"host": "gpu-1", "pid": 79})


def test_a_bucket_that_does_not_answer_ends_no_worker(s3: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    work = f"{s3}/out/.raydub"
    file = Watchdog(work, RUN, {"host": "h", "pid": 1})._trace_path
    file.parent.mkdir(parents=True)
    file.write_text("x")
    monkeypatch.setattr("raydub.pipeline.run_files.FarFiles.create", _fails)
    Watchdog(work, RUN, this_worker())


def _fails(*_: object) -> bool:
    from raydub.errors import Code, StageError

    raise StageError(Code.STORAGE, "no answer")
