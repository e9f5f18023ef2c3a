"""A finished job is known at a glance, and only a finished job."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

import raydub.identity as identity_module
import raydub.pipeline.finished as finished_module
from raydub.errors import Code, DependencyError, StageError
from raydub.identity import COARSE_TICK_NS, identify, look_of
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished, recorded_digest
from raydub.stages.output import note_made
from raydub.store import Store
from raydub.tts.engines.deciding import decided_by
from tests.kept import files_in, record_of

WEIGHTS = ["aa"]
RESULT: dict[str, Any] = {
    "id": "old",
    "status": "ok",
    "line": 9,
    "frames": 25,
    "attempts": 2,
    "seconds": {"render": 3.0},
}
LONG_AGO = time.time_ns() - 10 * COARSE_TICK_NS


def make(path: Path, content: bytes, mtime_ns: int = LONG_AGO) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


@pytest.fixture(autouse=True)
def _no_face_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finished_module, "_face_models", lambda *asked: str(asked))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    video, audio = make(tmp_path / "in" / "a.mp4", b"video"), make(tmp_path / "in" / "a.wav", b"audio")
    return Job(id="a", video=str(video), audio=str(audio), output=str(tmp_path / "out" / "a.mp4"), line=3)


def run(work: Path, job: Job, voiced: Mapping[str, str] = MappingProxyType({})) -> None:
    """What a run does to one job that is not finished: its inputs are read, its output is published."""
    seen = {name: Finished(work)._holds(path) or "" for name, path in job.inputs().items()}
    make(Path(job.output), b"film")
    Finished(work).write(job, WEIGHTS, Planned("a", "/w/jobs/k", 1, 25, inputs=seen, voiced=voiced, key="k"), RESULT)


def test_a_file_that_took_the_place_of_the_output_is_not_recorded(tmp_path: Path, job: Job) -> None:
    """After the video was published and before the job is recorded, such as during its evaluation."""
    mine = make(tmp_path / "mine", b"film")
    published = note_made(job, Store(tmp_path), identify(mine).sha256)[0]
    make(Path(job.output), b"of somebody else")
    Finished(tmp_path).write(job, WEIGHTS, Planned("a", "/w/jobs/k", 1, 25, key="k"), RESULT)
    assert recorded_digest(job.output, tmp_path) == published
    assert Finished(tmp_path).of(job, "k") is None
    make(Path(job.output), b"film")
    assert Finished(tmp_path).of(job, "k") is not None


def known(work: Path, job: Job, weights: list[str] = WEIGHTS) -> dict[str, Any] | None:
    return Finished(work).finished(job, weights)


def test_a_finished_job_is_told_at_a_glance(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in (job.video, job.audio):
        assert path is not None
        # As after a tick of the clock: what the files hold is noted by how they look.
        Store(tmp_path).identities.put(path, look_of(path), identify(path).sha256)
    run(tmp_path, job)
    Store(tmp_path).identities.put(job.output, look_of(job.output), identify(job.output).sha256)
    identity_module._memo.clear()

    def never(*_: object) -> str:
        raise AssertionError("the content was read")

    monkeypatch.setattr(identity_module, "open_regular", never)
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
        "content": lambda: make(video, b"VIDEO", LONG_AGO + 1),
        "times restored": lambda: (time.sleep(0.05), make(video, b"VIDEO")),  # the clock of ctime has ticks of some ms
        "speech": lambda: make(Path(job.audio or ""), b"other"),
        "input gone": video.unlink,
        "input a folder": lambda: (video.unlink(), video.mkdir()),
        "input a pipe": lambda: (video.unlink(), os.mkfifo(video)),
        "output gone": output.unlink,
        "output cut": lambda: make(output, b"fil"),
        "output replaced": lambda: make(output, b"FILM", LONG_AGO + 1),
        "output a folder": lambda: (output.unlink(), output.mkdir()),
        "output a pipe": lambda: (output.unlink(), os.mkfifo(output)),
    }


@pytest.mark.parametrize("name", sorted(changes(Job(id="x", video="x", audio="x", output="x"))))
def test_whatever_changed_takes_the_long_way(tmp_path: Path, job: Job, name: str) -> None:
    run(tmp_path, job)
    assert known(tmp_path, job) is not None
    assert Finished(tmp_path).of(job, "k") is not None
    changes(job)[name]()
    assert known(tmp_path, job) is None
    assert (Finished(tmp_path).of(job, "k") is None) == name.startswith("output")
    assert Finished(tmp_path).of(job, "other") is None


def test_every_byte_of_a_large_input_counts(tmp_path: Path, job: Job) -> None:
    """The everyday case of localisation: a second of a long recording is spoken again, at the same length."""
    sound = Path(job.audio or "")
    make(sound, bytes(23 << 20))
    run(tmp_path, job)
    assert known(tmp_path, job) is not None
    with sound.open("r+b") as stream:
        stream.seek(1_000_003)
        stream.write(b"x")
    assert known(tmp_path, job) is None


def test_a_touched_input_is_the_same_input(tmp_path: Path, job: Job) -> None:
    run(tmp_path, job)
    make(Path(job.video), b"video", LONG_AGO + 5)
    make(Path(job.output), b"film", LONG_AGO + 5)
    assert known(tmp_path, job) is not None


def test_a_large_input_that_nobody_has_read_takes_the_long_way(
    tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of films are not read on the driver before anything starts."""
    run(tmp_path, job)
    make(Path(job.video), b"video", LONG_AGO + 5)
    monkeypatch.setattr(finished_module, "_QUICK", 4)
    identity_module._memo.clear()
    assert known(tmp_path, job) is None


def test_another_question_has_another_answer(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, job)
    copy = make(tmp_path / "in" / "b.mp4", b"video")
    for change in ({"options": Options(smooth=False)}, {"video": str(copy)}, {"output": str(tmp_path / "b.mp4")}):
        assert known(tmp_path, job.model_copy(update=change)) is None
    assert known(tmp_path, job.model_copy(update={"options": Options(overwrite=True)})) is not None
    assert known(tmp_path, job, ["bb"]) is None
    assert known(tmp_path, job, []) is None
    for version in ("PART_FORMAT", "SPEECH_VERSION", "__version__"):
        with monkeypatch.context() as patch:
            patch.setattr(finished_module, version, "next")
            assert known(tmp_path, job) is None
    with monkeypatch.context() as patch:
        patch.setattr(finished_module, "code_digest", lambda places: "an edited stage")
        assert known(tmp_path, job) is None
    with monkeypatch.context() as patch:
        patch.setattr(finished_module, "_face_models", lambda *_: "a better detector")
        assert known(tmp_path, job) is None
    assert known(tmp_path, job) is not None


def test_pictures_count_one_by_one_and_other_files_do_not(tmp_path: Path, job: Job) -> None:
    folder = tmp_path / "pictures"
    for number in range(3):
        make(folder / f"{number}.png", b"png")
    job = job.model_copy(update={"video": str(folder)})
    run(tmp_path, job)
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
        run(tmp_path, job)


def test_the_reference_picture_is_an_input(tmp_path: Path, job: Job) -> None:
    picture = make(tmp_path / "face.png", b"png")
    job = job.model_copy(update={"options": Options(face=f"reference:{picture}")})
    run(tmp_path, job)
    assert known(tmp_path, job) is not None
    make(picture, b"jpg", LONG_AGO + 1)
    assert known(tmp_path, job) is None


@pytest.fixture
def spoken(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> Job:
    """A job with a script, with a voice that is a file, with faces and a bed."""
    monkeypatch.setattr("raydub.tts.engines.find.release", lambda name: f"{name} 1.0")
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
    run(tmp_path, spoken)
    found = known(tmp_path, spoken)
    assert found is not None
    # In this run nothing was spoken for it.
    assert (found["spoken"], found["seconds"], found["attempts"]) == (0, {}, 0)


@pytest.mark.parametrize("name", ["s.srt", "v.onnx", "f.png", "m.wav"])
def test_script_voices_faces_and_bed_are_inputs(tmp_path: Path, spoken: Job, name: str) -> None:
    path = tmp_path / "in" / name
    for change in (
        lambda: make(path, b"CONTENT"),
        lambda: make(path, b"more content"),
        path.unlink,
    ):
        make(path, b"content")
        run(tmp_path, spoken)
        assert known(tmp_path, spoken) is not None
        time.sleep(0.02)  # the clock of ctime has ticks of some ms
        change()
        assert known(tmp_path, spoken) is None


@pytest.mark.parametrize("change", ["x.onnx", "x.onnx.json", "nothing", "gone", "release"])
def test_voices_that_only_the_speaker_knew_count(
    tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    """Those that the script's segments name, those that a language chose, a file beside the voice's own."""
    monkeypatch.setattr("raydub.tts.engines.deciding.release", lambda name: f"{name} 1.0")
    files = {name: make(tmp_path / "in" / name, b"content") for name in ("x.onnx", "x.onnx.json")}
    voice = str(files["x.onnx"])
    said = {name: decided_by("piper", name) for name in (f"{voice}#3", voice, "")}
    run(tmp_path, spoken, said)
    assert known(tmp_path, spoken) is not None
    time.sleep(0.02)  # the clock of ctime has ticks of some ms
    if change in files:
        make(files[change], b"CONTENT")
    elif change == "nothing":
        make(files["x.onnx"], b"content", LONG_AGO + 5)
    elif change == "gone":
        files["x.onnx.json"].unlink()
    else:
        monkeypatch.setattr("raydub.tts.engines.deciding.release", lambda name: f"{name} 1.1")
    assert (known(tmp_path, spoken) is not None) == (change == "nothing")


def test_a_voice_of_many_jobs_is_looked_at_once(tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr("raydub.tts.engines.deciding.decided_by", lambda *said: asked.append(said[:2]) or "same")
    run(tmp_path, spoken, {"ana": "same", "ben": "same"})
    finished = Finished(tmp_path)
    assert all(finished.finished(spoken, WEIGHTS) is not None for _ in range(20))
    assert asked == [("piper", "ana"), ("piper", "ben")]


def test_another_way_to_speak_has_another_answer(tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path, spoken)
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
        patch.setattr(finished_module, "SPEECH_VERSION", 99)
        assert known(tmp_path, spoken) is None

    def absent(name: str) -> str:
        raise DependencyError(Code.DEPENDENCY_MISSING, f"{name} is not installed")

    for release in (lambda name: f"{name} 1.1", absent):
        with monkeypatch.context() as patch:
            patch.setattr("raydub.tts.engines.find.release", release)
            assert known(tmp_path, spoken) is None
    assert known(tmp_path, spoken) is not None


def test_without_a_script_no_engine_is_asked_for(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(name: str) -> str:
        raise AssertionError(name)

    monkeypatch.setattr("raydub.tts.engines.find.release", never)
    run(tmp_path, job)
    assert known(tmp_path, job) is not None


def test_the_real_engine_says_its_release(tmp_path: Path, spoken: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(finished_module, "_face_models", lambda *_: "")
    command = spoken.model_copy(update={"options": Options(tts="command", language="es")})
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "say {text_file} {out_wav}")
    run(tmp_path, command)
    assert known(tmp_path, command) is not None
    monkeypatch.setenv("RAYDUB_TTS_COMMAND", "say --loud {text_file} {out_wav}")
    assert known(tmp_path, command) is None
    monkeypatch.delenv("RAYDUB_TTS_COMMAND")
    assert known(tmp_path, command) is None


def test_uris_that_were_never_fetched_and_absent_files_are_not_known(tmp_path: Path, job: Job) -> None:
    run(tmp_path, job)
    for video in ("https://example.org/a.mp4", str(tmp_path / "absent.mp4"), "nul\0byte"):
        assert known(tmp_path, job.model_copy(update={"video": video})) is None


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b'{"seal": "x"}'])
def test_a_damaged_record_is_none(tmp_path: Path, job: Job, content: bytes) -> None:
    run(tmp_path, job)
    [name] = Store(tmp_path).names("done")
    record_of(tmp_path, name).write_bytes(content)
    assert known(tmp_path, job) is None
    assert Finished(tmp_path).of(job, "k") is None


def test_a_full_disk_leaves_no_record(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StageError) as caught:
        run(tmp_path / "work", job)
    assert caught.value.code is Code.DISK_FULL
    assert files_in(tmp_path / "work") == []


def test_an_output_that_is_gone_gets_no_record(tmp_path: Path, job: Job) -> None:
    with pytest.raises(OSError):
        Finished(tmp_path).write(job, WEIGHTS, Planned("a", "/w/jobs/k", 1, 25, key="k"), RESULT)
    assert Store(tmp_path).names("done") == []
