"""A place that stopped being writable while the job was worked on is told as that, not as a failed stitch."""

from __future__ import annotations

import errno
from pathlib import Path
from types import SimpleNamespace

import pytest

from raydub.errors import Code, StageError
from raydub.stages import stitch
from raydub.stages.stitch import stitch_job
from tests.stages.fakes import DEMO, PaintEngine, babble, make_plan, write_wav


def test_the_place_is_tried_before_anything_is_written_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    audio = write_wav(tmp_path / "a.wav", babble(0.4))
    plan = make_plan(tmp_path, PaintEngine(), str(DEMO / "clip.mp4"), audio)

    def read_only(path: str) -> None:
        raise StageError(Code.STORAGE, f"cannot write in the folder of {path}: it is on a read-only file system")

    def never(*_: object) -> None:
        raise OSError(errno.EROFS, "the film was written")

    monkeypatch.setattr(stitch, "_ordered", lambda plan, parts: [])
    monkeypatch.setattr(stitch, "check_writable", read_only)
    monkeypatch.setattr(stitch, "assemble", never)
    with pytest.raises(StageError, match="read-only file system") as found:
        stitch_job(plan, [SimpleNamespace()])  # type: ignore[list-item]
    assert found.value.code is Code.STORAGE
    assert found.value.job == plan.job.id
