"""The field `priority` decides when, and nothing about what."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from raydub.manifests.options import Options
from raydub.pipeline import finished as finished_module
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.stages.prepare import _deciding
from tests.pipeline.test_driver import make_job


def test_a_whole_number_within_bounds() -> None:
    assert Options.model_validate({"priority": "-100"}).priority == -100
    assert Options(priority=100).row() == {"priority": 100}
    for wrong in ("101", "-101", "1.5", "high", True):
        with pytest.raises(ValidationError):
            Options.model_validate({"priority": wrong})


def test_it_is_in_no_key() -> None:
    assert _deciding(Options(priority=50)) == _deciding(Options())
    assert "priority" not in _deciding(Options(priority=50))


def test_a_finished_job_stays_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_module, "_face_models", lambda *asked: str(asked))
    for name in ("v.mp4", "a.wav", "o.mp4"):
        (tmp_path / name).write_text(name)
        os.utime(tmp_path / name, (1, 1))
    job = make_job(tmp_path, str(tmp_path / "v.mp4"), "j").model_copy(
        update={"audio": str(tmp_path / "a.wav"), "output": str(tmp_path / "o.mp4")}
    )
    inputs = {name: Finished(tmp_path)._holds(path) or "" for name, path in job.inputs().items()}
    Finished(tmp_path).write(job, [], Planned("j", "/w", 1, 25, inputs=inputs, key="k"), {"id": "j", "status": "ok"})
    urgent = job.model_copy(update={"options": job.options.model_copy(update={"priority": 9})})
    assert Finished(tmp_path).finished(job, []) is not None
    assert Finished(tmp_path).finished(urgent, []) == Finished(tmp_path).finished(job, [])
    other = job.model_copy(update={"options": job.options.model_copy(update={"crf": 30})})
    assert Finished(tmp_path).finished(other, []) is None
