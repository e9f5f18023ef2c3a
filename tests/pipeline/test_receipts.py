"""Receipts: a finished job is known at a glance, and only a finished job."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pipeline.receipts as receipts_module
import pytest
from pipeline.receipts import TICK_NS, Receipts

import media.opening
from manifests.job import Job
from manifests.options import Options
from raydub.errors import Code, DependencyError

WEIGHTS = ["aa"]
RESULT: dict[str, Any] = {
    "id": "old",
    "status": "ok",
    "line": 9,
    "frames": 25,
    "attempts": 2,
    "seconds": {"render": 3.0},
}
LONG_AGO = time.time_ns() - 10 * TICK_NS


def make(path: Path, content: bytes, mtime_ns: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


@pytest.fixture(autouse=True)
def _no_face_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(receipts_module, "_face_models", lambda name, with_reference: f"{name} {with_reference}")


@pytest.fixture
def job(tmp_path: Path) -> Job:
    video, audio = make(tmp_path / "in" / "a.mp4", b"video"), make(tmp_path / "in" / "a.wav", b"audio")
    return Job(id="a", video=str(video), audio=str(audio), output=str(tmp_path / "out" / "a.mp4"), line=3)


def run(work: Path, job: Job, mtime_ns: int = LONG_AGO) -> bool:
    """What a run does to one job that is not finished."""
    receipts = Receipts(work)
    assert receipts.finished(job, WEIGHTS) is None
    make(Path(job.output), b"film", mtime_ns)
    return receipts.write(job, WEIGHTS, RESULT)


def known(work: Path, job: Job, weights: list[str] = WEIGHTS) -> dict[str, Any] | None:
    return Receipts(work).finished(job, weights)


def test_a_finished_job_is_told_at_a_glance(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, job)

    def never(*_: object) -> str:
        raise AssertionError("the content was read")

    monkeypatch.setattr(media.opening, "content_identity", never)
    monkeypatch.setattr(receipts_module, "output_digest", never)
    found = known(tmp_path, job.model_copy(update={"id": "new name", "line": 1}))
    assert found == {
        **RESULT,
        "id": "new name",
        "line": 1,
        "attempts": 0,
        "wall_seconds": 0.0,
        "seconds": {},
        "spoken": 0,
    }


def changes(job: Job) -> dict[str, Callable[[], object]]:
    video, output = Path(job.video), Path(job.output)
    return {
        "size": lambda: make(video, b"another video"),
        "time": lambda: make(video, b"video", LONG_AGO + 1),
        "times restored": lambda: (time.sleep(0.05), make(video, b"VIDEO")),  # the clock of ctime has ticks of some ms
        "speech": lambda: make(Path(job.audio), b"other"),
        "input gone": video.unlink,
        "input a folder": lambda: (video.unlink(), video.mkdir()),
        "output gone": output.unlink,
        "output cut": lambda: make(output, b"fil"),
        "output replaced": lambda: make(output, b"FILM", LONG_AGO + 1),
        "output a folder": lambda: (output.unlink(), output.mkdir()),
    }


@pytest.mark.parametrize("name", sorted(changes(Job(id="x", video="x", audio="x", output="x"))))
def test_whatever_changed_takes_the_long_way(tmp_path: Path, job: Job, name: str) -> None:
    assert run(tmp_path, job)
    changes(job)[name]()
    assert known(tmp_path, job) is None


def test_another_question_has_another_answer(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, job)
    copy = make(tmp_path / "in" / "b.mp4", b"video")
    for change in ({"options": Options(smooth=False)}, {"video": str(copy)}, {"output": str(tmp_path / "b.mp4")}):
        assert known(tmp_path, job.model_copy(update=change)) is None
    assert known(tmp_path, job, ["bb"]) is None
    assert known(tmp_path, job, []) is None
    for version in ("RECEIPT_FORMAT", "PART_FORMAT", "STAGE_VERSION", "__version__"):
        with monkeypatch.context() as patch:
            patch.setattr(receipts_module, version, "next")
            assert known(tmp_path, job) is None
    with monkeypatch.context() as patch:
        patch.setattr("stages.types.PLAN_VERSION", 99)
        assert known(tmp_path, job) is None
    with monkeypatch.context() as patch:
        patch.setattr(receipts_module, "_face_models", lambda *_: "a better detector")
        assert known(tmp_path, job) is None
    assert known(tmp_path, job) is not None


def test_an_output_with_another_time_is_known_by_its_bytes(tmp_path: Path, job: Job) -> None:
    assert run(tmp_path, job)
    make(Path(job.output), b"film", LONG_AGO + 5)
    assert known(tmp_path, job) is not None


def test_what_changed_within_a_tick_is_compared_by_content(tmp_path: Path, job: Job) -> None:
    now = time.time_ns()
    for path in (job.video, job.audio):
        os.utime(path, ns=(now, now))
    assert run(tmp_path, job, now)
    assert known(tmp_path, job) is not None
    before = os.stat(job.video)
    # The same size and, on a coarse clock, the same times.
    make(Path(job.video), b"VIDEO", now)
    if os.stat(job.video).st_ctime_ns != before.st_ctime_ns:
        record = receipts_module.read_record(Receipts(tmp_path)._path(job))
        assert record is not None
        record["inputs"]["video"]["stat"][2] = os.stat(job.video).st_ctime_ns
        receipts_module.write_record(Receipts(tmp_path)._path(job), record)
    assert known(tmp_path, job) is None


def test_a_fresh_output_is_compared_by_its_bytes_until_it_is_old(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = time.time_ns()
    assert run(tmp_path, job, now)
    make(Path(job.output), b"FILM", now)
    assert known(tmp_path, job) is None
    make(Path(job.output), b"film", now)
    monkeypatch.setattr(receipts_module.time, "time_ns", lambda: now + 2 * TICK_NS)
    assert known(tmp_path, job) is not None
    monkeypatch.setattr(receipts_module, "output_digest", lambda path: "not asked")
    assert known(tmp_path, job) is not None


def test_an_input_that_changed_while_the_run_went_on_gives_no_receipt(tmp_path: Path, job: Job) -> None:
    receipts = Receipts(tmp_path)
    assert receipts.finished(job, WEIGHTS) is None
    make(Path(job.output), b"film")
    for mtime_ns in (LONG_AGO + 1, time.time_ns()):
        make(Path(job.video), b"VIDEO", mtime_ns)
        assert not receipts.write(job, WEIGHTS, RESULT)
    assert known(tmp_path, job) is None


def test_no_receipt_without_the_look_at_the_start_nor_for_what_did_not_end_well(tmp_path: Path, job: Job) -> None:
    make(Path(job.output), b"film")
    assert not Receipts(tmp_path).write(job, WEIGHTS, RESULT)
    receipts = Receipts(tmp_path)
    receipts.finished(job, WEIGHTS)
    assert not receipts.write(job, WEIGHTS, {**RESULT, "status": "failed"})
    Path(job.output).unlink()
    assert not receipts.write(job, WEIGHTS, RESULT)
    assert known(tmp_path, job) is None


def test_pictures_count_one_by_one_and_other_files_do_not(tmp_path: Path, job: Job) -> None:
    folder = tmp_path / "pictures"
    for number in range(3):
        make(folder / f"{number}.png", b"png")
    job = job.model_copy(update={"video": str(folder)})
    assert run(tmp_path, job)
    make(folder / ".DS_Store", b"x")
    make(folder / "notes.txt", b"x")
    assert known(tmp_path, job) is not None
    for change in (
        lambda: make(folder / "1.png", b"new", LONG_AGO + 1),
        lambda: make(folder / "3.png", b"png"),
        folder.joinpath("0.png").unlink,
    ):
        assert known(tmp_path, job) is not None
        change()
        assert known(tmp_path, job) is None
        assert run(tmp_path, job)


def test_the_reference_picture_is_an_input(tmp_path: Path, job: Job) -> None:
    picture = make(tmp_path / "face.png", b"png")
    job = job.model_copy(update={"options": Options(face=f"reference:{picture}")})
    assert run(tmp_path, job)
    assert known(tmp_path, job) is not None
    make(picture, b"jpg", LONG_AGO + 1)
    assert known(tmp_path, job) is None


@pytest.fixture
def spoken(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job with a script, with a voice that is a file, with faces and a bed."""
    monkeypatch.setattr("tts.engines.find.release", lambda name: f"{name} 1.0")
    files = {name: str(make(tmp_path / "in" / name, b"content")) for name in ("s.srt", "v.onnx", "f.png", "m.wav")}
    options = Options(
        tts="piper",
        voice=f"ana={files['v.onnx']}; ben=es",
        speakers=f"ana=reference:{files['f.png']}; ben=left",
        bed="duck",
        bed_audio=files["m.wav"],
    )
    return job.model_copy(update={"audio": None, "script": files["s.srt"], "options": options})


def test_a_spoken_job_is_told_at_a_glance(tmp_path: Path, spoken: Job) -> None:
    receipts = Receipts(tmp_path)
    assert receipts.finished(spoken, WEIGHTS) is None
    make(Path(spoken.output), b"film")
    result = {**RESULT, "segments": 12, "spoken": 5, "script": spoken.script, "job_dir": "/w/jobs/k"}
    assert receipts.write(spoken, WEIGHTS, result)
    found = known(tmp_path, spoken)
    assert found is not None
    assert (found["segments"], found["script"], found["job_dir"]) == (12, spoken.script, "/w/jobs/k")
    # In this run nothing was spoken for it.
    assert (found["spoken"], found["seconds"], found["attempts"]) == (0, {}, 0)


@pytest.mark.parametrize("name", ["s.srt", "v.onnx", "f.png", "m.wav"])
def test_script_voices_faces_and_bed_are_inputs(tmp_path: Path, spoken: Job, name: str) -> None:
    path = tmp_path / "in" / name
    for change in (
        lambda: make(path, b"CONTENT"),
        lambda: make(path, b"content", LONG_AGO + 1),
        lambda: make(path, b"more content"),
        path.unlink,
    ):
        assert run(tmp_path, spoken) or not path.exists()
        assert known(tmp_path, spoken) is not None
        time.sleep(0.02)  # the clock of ctime has ticks of some ms
        change()
        assert known(tmp_path, spoken) is None
    assert not run(tmp_path, spoken), "an input is absent"


def test_another_way_to_speak_has_another_answer(tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(tmp_path, spoken)
    for change in (
        {"tts": "espeak"},
        {"voice": "es"},
        {"language": "es"},
        {"overflow": "trim"},
        {"speakers": None},
        {"bed": "mix"},
        {"bed_audio": None},
        {"loudness": -20.0},
    ):
        options = spoken.options.model_copy(update=change)
        assert known(tmp_path, spoken.model_copy(update={"options": options})) is None, change
    audio = spoken.model_copy(update={"audio": spoken.script, "script": None})
    assert known(tmp_path, audio) is None
    with monkeypatch.context() as patch:
        patch.setattr(receipts_module, "SPEECH_VERSION", 99)
        assert known(tmp_path, spoken) is None

    def absent(name: str) -> str:
        raise DependencyError(Code.DEPENDENCY_MISSING, f"{name} is not installed")

    for release in (lambda name: f"{name} 1.1", absent):
        with monkeypatch.context() as patch:
            patch.setattr("tts.engines.find.release", release)
            assert known(tmp_path, spoken) is None
    assert known(tmp_path, spoken) is not None


def test_without_a_script_no_engine_is_asked_for(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(name: str) -> str:
        raise AssertionError(name)

    monkeypatch.setattr("tts.engines.find.release", never)
    assert run(tmp_path, job)
    assert known(tmp_path, job) is not None


def test_the_real_engine_says_its_release(tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(receipts_module, "_face_models", lambda name, with_reference: "")
    command = spoken.model_copy(update={"options": Options(tts="command", language="es")})
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "say {text_file} {out_wav}")
    assert run(tmp_path, command)
    assert known(tmp_path, command) is not None
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "say --loud {text_file} {out_wav}")
    assert known(tmp_path, command) is None
    monkeypatch.delenv("RAYDUB_TTS_COMMAND")
    assert known(tmp_path, command) is None


def test_uris_and_absent_files_have_none(tmp_path: Path, job: Job) -> None:
    for video in ("https://example.org/a.mp4", str(tmp_path / "absent.mp4"), "nul\0byte"):
        assert not run(tmp_path, job.model_copy(update={"video": video}))


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"seal": "x"}'])
def test_a_damaged_receipt_is_none(tmp_path: Path, job: Job, content: bytes) -> None:
    assert run(tmp_path, job)
    next((tmp_path / "receipts").iterdir()).write_bytes(content)
    assert known(tmp_path, job) is None


def test_a_full_disk_costs_only_the_receipt(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    assert not run(tmp_path, job)
    assert list((tmp_path / "receipts").iterdir()) == []
