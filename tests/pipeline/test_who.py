"""Whose mouth a job moved, as its plan and its tracks say."""

from __future__ import annotations

from pathlib import Path

import pytest

from raydub.cluster.commands.run import who_lines
from raydub.manifests.results import JobResult
from raydub.pipeline import who
from raydub.pipeline.who import dubbed
from raydub.stages.job_plan import load_plan, save_plan
from raydub.stages.types import Gate
from tests.pipeline.test_timeline import cue, finished


def choosing(folder: Path, name: str, face: str) -> str:
    job_dir = finished(folder, [cue(1, 0.4, 1.2)], [Gate(0, 10, 30, 1.0)], name=name)
    plan = load_plan(job_dir)
    job = plan.job.model_copy(update={"options": plan.job.options.model_copy(update={"face": face})})
    save_plan(plan.model_copy(update={"job": job}))
    return job_dir


@pytest.mark.parametrize(
    ("face", "words"),
    [
        ("largest", "the largest face"),
        ("left", "the leftmost face"),
        ("all", "all faces"),
        ("index:2", "face 2 from the left, counted from 0"),
        ("reference:/a/anna.png", "the face of /a/anna.png"),
    ],
)
def test_one_voice(tmp_path: Path, face: str, words: str) -> None:
    assert dubbed(choosing(tmp_path, "j", face)) == (words, 0)


def test_several_voices(tmp_path: Path) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2, "left")], [Gate(0, 10, 30, 1.0)], ("left", "right"))
    assert dubbed(folder)[0] == "left: the leftmost face; right: the rightmost face"


def test_a_cleaned_job_has_no_words(tmp_path: Path) -> None:
    assert dubbed(str(tmp_path / "gone")) == ("", 0)


def test_lines_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rules = {"a": "largest", "b": "largest", "c": "left"}
    folders = {name: choosing(tmp_path, name, face) for name, face in rules.items()}
    monkeypatch.setattr(who, "_in_view", lambda plan: {"a": 1, "b": 3, "c": 2}[plan.job.id])
    results = [
        JobResult(id=name, status="ok", frames=9, synthesised=9, attempts=1, job_dir=folders[name]) for name in rules
    ]
    assert who_lines(results) == [
        "dubbed: the largest face in 2 jobs",
        "dubbed: the leftmost face in 1 job",
        "several faces in view: b (3), c (2); `raydub faces VIDEO` shows the choices of --face",
    ]
    assert who_lines(results[:1]) == ["dubbed: the largest face"]
    assert who_lines(results[1:2])[1].startswith("several faces in view: up to 3 at once")
    # What was finished before, or got no new mouth, is not told again.
    assert (
        who_lines([results[0].model_copy(update={"attempts": 0}), results[1].model_copy(update={"synthesised": 0})])
        == []
    )
