"""From the records of a finished job to a table of frames: which face got a new mouth for which line."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, StageError
from raydub.manifests.job import Job
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.media.frames import Transform
from raydub.media.info import VideoInfo
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.timeline import cue_frames, load_timeline
from raydub.stages.faces import FacePlan, WantedFace
from raydub.stages.gate import RAMP
from raydub.stages.job_plan import JobPlan, chunks_of, job_dir_of, save_plan
from raydub.stages.source_timeline import Timeline
from raydub.stages.track.config import FaceChoice
from raydub.stages.types import Gate, Part
from raydub.store import Store
from tests.kept import blob_of, blobs_below
from tests.stages.fakes import write_wav

SAMPLES = 16000


def cue(
    number: int,
    start: float,
    end: float,
    face: str = "",
    heard: tuple[float, float] | None = None,
    **more: Any,
) -> dict[str, Any]:
    """A row of a timing report, as tts.report writes it. heard: when, if not from start to end."""
    row = {"number": number, "speaker": "", "text": f"line {number}", "face": face, "voice": "es", "actions": []}
    first, last = heard or (start, end)
    return {**row, "cue_start": start, "cue_end": end, "start": first, "end": last, **more}


def finished(
    folder: Path,
    rows: Sequence[dict[str, Any]],
    gates: Sequence[Gate],
    faces: Sequence[str] = ("",),
    seconds: float = 4.0,
    rate: Fraction = Fraction(25),
    name: str = "j",
    bed: Sequence[float] | None = None,
) -> str:
    """The folder of a job that is done: plan, report, sounds of its voices, parts with their gates. Chunks of a second.
    Voices of several faces sound in their own lines."""
    n_frames = math.floor(seconds * rate)
    speech_dir, job_dir = folder / "work" / "speech" / name, Path(job_dir_of(str(folder / "work"), name))
    speech_dir.mkdir(parents=True)
    files = {}
    for number, face in enumerate(faces):
        samples = np.zeros(round(seconds * SAMPLES))
        for row in rows:
            if row["face"] == face:
                span = slice(round(row["start"] * SAMPLES), round(row["end"] * SAMPLES))
                samples[span] = 0.5 * np.sin(np.arange(len(samples[span])) * 0.2)
        files[face] = write_wav(speech_dir / f"voice-{number}.wav", samples, SAMPLES)
    said: dict[str, Any] = {"segments": list(rows), "voices": files, "bed": None, "bed_curve": [], "curve_rate": 25}
    if bed is not None:
        said |= {"bed": {"path": "v.mp4", "mode": "duck"}, "bed_curve": list(bed)}
    store = Store(folder / "work")
    report = store.put(f"speech/{name}/timing", json.dumps(said).encode(), ".json").path
    voices = tuple(VoiceTrack(speaker=face, path=files[face], identity="i", face=face) for face in faces)
    speech = SpeechTracks(
        voices=voices,
        sound=files[faces[0]],
        sound_identity="i",
        rate=SAMPLES,
        samples=round(seconds * SAMPLES),
        timed=True,
        segments=len(rows),
        report=str(report),
    )
    video = VideoInfo(
        path="v.mp4",
        kind="video",
        width=64,
        height=64,
        rate=rate,
        n_frames=n_frames,
        duration=float(n_frames / rate),
        identity="v",
    )
    plan = JobPlan(
        job=Job(id=name, video="v.mp4", script="s.srt", output=str(folder / f"{name}.mp4"), speech=speech),
        video=video,
        transform=Transform(),
        size=(64, 64),
        out_size=(64, 64),
        rate=rate,
        sample_aspect=Fraction(1),
        n_frames=n_frames,
        timeline=Timeline(n_out=n_frames, n_src=n_frames),
        faces=FacePlan(wanted=(WantedFace(choice=FaceChoice(kind="largest")),), track=None),
        chunk_frames=round(rate),
        work_dir=str(folder / "work"),
        job_dir=str(job_dir),
        key=job_dir.name,
        content_key="c",
        engine="warp",
        needs_crops=False,
        sound=speech.sound,
        voices=tuple(faces),
    )
    save_plan(plan)
    ledger = Ledger(plan.work_dir)
    for chunk in chunks_of(plan):
        path = ledger.store.temp(".mp4")
        path.write_bytes(f"part {chunk.index} of {name}".encode())
        start, stop = chunk.span
        inside = tuple(
            gate._replace(start=max(start, gate.start), stop=min(stop, gate.stop))
            for gate in gates
            if gate.start < stop and start < gate.stop
        )
        ledger.publish_part(Part(chunk, str(path), len(chunk.span), 0, 0, gates=inside))
    return str(job_dir)


def test_one_face_and_its_lines(tmp_path: Path) -> None:
    rows = [cue(1, 0.4, 1.2), cue(2, 2.0, 2.8)]
    # Frames 10 to 29 and 50 to 69 are the cues'; 35 and 36 are nobody's, 7 to 9 and 30 to 32 the ramps of cue 1.
    gates = [Gate(0, 7, 10, 0.5), Gate(0, 10, 30, 1.0), Gate(0, 30, 33, 0.5), Gate(0, 35, 37, 1.0), Gate(0, 55, 60, 1)]
    found = load_timeline(finished(tmp_path, rows, gates))
    assert [(line.row["number"], line.voice, line.frames, line.made) for line in found.lines] == [
        (1, 0, 20, (20,)),
        (2, 0, 20, (5,)),
    ]
    assert found.outside == (2,)
    assert len(found.gate) == 1
    assert found.gate[0].shape == (100,)
    assert found.gate[0].dtype == np.float32
    assert found.gate[0][[6, 7, 10, 29, 30, 33, 36]].tolist() == [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 1.0]


def test_each_face_has_its_own_lines(tmp_path: Path) -> None:
    rows = [cue(1, 0.4, 1.2, "left"), cue(2, 1.0, 2.0, "right"), cue(3, 3.0, 3.4, "none")]
    gates = [Gate(0, 10, 30, 1.0), Gate(1, 25, 50, 1.0), Gate(1, 12, 14, 1.0), Gate(0, 80, 81, 1.0)]
    found = load_timeline(finished(tmp_path, rows, gates, ("left", "right")))
    assert [(line.voice, line.frames, line.made) for line in found.lines] == [
        (0, 20, (20, 7)),  # they overlap from 25 to 29, and the right one moves at 12 and 13
        (1, 25, (5, 25)),
        (None, 10, (1, 0)),  # a voice that is only heard moves nobody: what moves then is out of its turn
    ]
    assert found.outside == (1, 2)


def test_all_faces_of_one_voice(tmp_path: Path) -> None:
    """face=all: the one voice moves every mouth, so a cue is everybody's own."""
    gates = [Gate(face, 10, 30, 1.0) for face in range(3)] + [Gate(2, 60, 61, 1.0)]
    found = load_timeline(finished(tmp_path, [cue(1, 0.4, 1.2)], gates))
    assert found.lines[0].made == (20, 20, 20)
    assert found.outside == (0, 0, 1)


def test_lines_without_times_begin_when_they_are_heard(tmp_path: Path) -> None:
    rows = [
        cue(1, 0.4, 1.2, cue_start=None, cue_end=None),
        cue(2, 2.0, 2.8, cue_start=None, cue_end=None),
    ]
    found = load_timeline(finished(tmp_path, rows, [Gate(0, 0, 100, 1.0)]))
    assert [(line.frames, line.made) for line in found.lines] == [(20, (20,)), (20, (20,))]
    assert found.outside == (100 - 2 * (20 + 2 * RAMP),)


def test_lines_that_are_late_or_left_out(tmp_path: Path) -> None:
    rows = [
        cue(1, 0.4, 0.8, heard=(0.4, 1.2)),  # heard beyond its time
        cue(2, 1.2, 1.6, heard=(2.0, 2.4)),  # shifted: from its own time to its last word
        cue(3, 3.2, 3.6, heard=(3.2, 3.2)),  # left out
        cue(4, 3.8, 9.0),  # beyond the end of the film
        cue(5, 20.0, 21.0, heard=(20.0, 20.0)),
    ]
    found = load_timeline(finished(tmp_path, rows, [Gate(0, 0, 100, 1.0)]))
    assert [line.frames for line in found.lines] == [20, 30, 10, 5, 0]
    assert found.lines[-1].made == (0,)


SECONDS = st.floats(0, 20).map(lambda seconds: round(seconds, 4))


@given(
    st.tuples(SECONDS, SECONDS).map(sorted),
    st.none() | st.tuples(SECONDS, SECONDS).map(sorted),
    st.sampled_from([Fraction(25), Fraction(30000, 1001), Fraction(24000, 1001)]),
    st.integers(0, 300),
)
def test_frames_of_a_cue_hold_all_of_it(
    heard: list[float], asked: list[float] | None, rate: Fraction, n_frames: int
) -> None:
    row = {"start": heard[0], "end": heard[1], "cue_start": None, "cue_end": None}
    if asked is not None:
        row |= {"cue_start": asked[0], "cue_end": asked[1]}
    first, stop = cue_frames(row, rate, n_frames)
    begins, ends = ([Fraction(str(one)) for one in sorted([*heard, *(asked or heard)])][at] for at in (0, -1))
    wanted = [frame for frame in range(n_frames) if Fraction(frame + 1) / rate > begins and frame / rate < ends]
    assert 0 <= first <= stop <= n_frames
    assert list(range(first, stop)) == wanted or (begins == ends and stop - first <= 1)


def test_a_folder_without_a_script_says_so(tmp_path: Path) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2)], [])
    from raydub.stages.job_plan import load_plan

    plan = load_plan(folder)
    job = plan.job.model_copy(update={"speech": None, "script": None, "audio": "a.wav"})
    mixed = plan.job.speech.model_copy(update={"report": None})  # type: ignore[union-attr]
    for other in (job, job.model_copy(update={"speech": mixed})):
        save_plan(plan.model_copy(update={"job": other}))
        with pytest.raises(StageError, match="no timing report") as caught:
            load_timeline(folder)
        assert caught.value.code == Code.STORAGE
        assert "script" in caught.value.hint


@pytest.mark.parametrize("content", [None, b"", b"{", b"\xff\xfe"])
def test_a_report_that_is_gone(tmp_path: Path, content: bytes | None) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2)], [])
    report = blob_of(tmp_path / "work", "speech/j/timing")
    if content is None:
        report.unlink()
    else:
        report.write_bytes(content)
    with pytest.raises(StageError) as caught:
        load_timeline(folder)
    assert caught.value.code is Code.STORAGE
    assert "again" in caught.value.hint
    assert str(report) in caught.value.message


def test_parts_that_are_gone_or_damaged_are_counted(tmp_path: Path) -> None:
    folder = finished(tmp_path, [cue(1, 0.4, 1.2)], [])
    first, second, *_ = blobs_below(tmp_path / "work", "parts")
    first.unlink()
    second.write_bytes(b"tarp")
    with pytest.raises(StageError, match="2 of 4 parts are missing") as caught:
        load_timeline(folder)
    assert caught.value.code == Code.STORAGE


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(StageError) as caught:
        load_timeline(str(tmp_path))
    assert caught.value.code == Code.STORAGE


def test_frozen(tmp_path: Path) -> None:
    found = load_timeline(finished(tmp_path, [cue(1, 0.4, 1.2)], []))
    assert dataclasses.is_dataclass(found)
    assert found.outside == (0,)
    assert found.lines[0].made == (0,)
