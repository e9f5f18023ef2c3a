"""What jobs share: one line of a script changes and its chunks are redone; three languages of one film track it once; a
bed, a mark or the length of chunks changes and the pictures are found again. With the real stages and espeak."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.cluster.request import RunReport, RunRequest
from raydub.cluster.runner import run_jobs
from raydub.manifests.read import check_rows
from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.media.writer import count_frames
from raydub.pipeline.ledger import Ledger
from raydub.stages.job_plan import chunks_of, load_plan
from raydub.stages.types import Part
from raydub.store import Store
from tests.cluster.clips import make_clip
from tests.cluster.test_tts_command import srt, with_sound
from tests.conftest import REPOSITORY
from tests.examples import slow
from tests.kept import blobs_below

CLIP = REPOSITORY / "examples" / "demo" / "clip.mp4"
FIELDS = {"preset": "ultrafast", "chunk_seconds": 1.0, "resize_height": 320}
CUES = [(0.4, 1.4, "Hola a todos."), (2.6, 3.4, "¿Qué tal?"), (5.1, 6.4, "Hasta luego, amigos.")]


def run(root: Path, *rows: Mapping[str, Any], work: str = "work") -> RunReport:
    """`raydub run --no-ray` without the command line."""
    asked = check_rows(list(enumerate(rows, 1)), root, root / "out")
    assert not asked.bad, asked.errors
    request = RunRequest(asked.jobs, (), root / work, root / "results", use_ray=False, show="quiet")
    report = run_jobs(request)
    assert report.exit_code() == 0, report.results
    return report


def stamps(folder: Path) -> dict[str, int]:
    """Every file below a folder with the time of its last change."""
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def kept(work: Path, kind: str) -> dict[str, int]:
    """Every artefact of a kind with the time when it was put last."""
    return stamps(work / "refs" / kind)


def parts_of(job_dir: str | None) -> dict[int, Part]:
    assert job_dir is not None
    plan = load_plan(job_dir)
    return Ledger(plan.work_dir).finished_parts(chunks_of(plan))


def frames_of(path: str) -> list[np.ndarray[Any, Any]]:
    with open_frames(probe_video(path)) as reader:
        return [frame.y for frame in reader.frames(0, count_frames(path))]


@pytest.mark.slow
def test_one_changed_line_is_one_line_of_work(tmp_path: Path) -> None:
    row = {"video": str(CLIP), "script": "s.srt", "language": "es", "output": "o.mp4", **FIELDS}
    srt(tmp_path / "s.srt", CUES)
    [first] = run(tmp_path, row).results
    assert (first.frames, first.segments, first.spoken, first.attempts) == (200, 3, 3, 1)
    assert {"speak", "prepare", "track", "lipsync", "render", "stitch"} <= set(first.seconds)
    assert first.script == str(tmp_path / "s.srt")
    made, before = parts_of(first.job_dir), frames_of(str(first.output))
    assert len(made) == 8
    files = kept(tmp_path / "work", "parts")

    # Nothing has changed: nothing is done, and not a file is written but the results.
    everything = stamps(tmp_path / "work")
    again = run(tmp_path, row)
    assert (again.earlier, again.results[0].attempts, again.results[0].spoken) == (1, 0, 0)
    assert again.results[0].segments == 3
    untouched = {name: stamp for name, stamp in everything.items() if not name.startswith("refs/identities")}
    after = stamps(tmp_path / "work")
    assert {name: after.get(name) for name in untouched} == untouched

    # The second cue says something else.
    srt(tmp_path / "s.srt", [CUES[0], (*CUES[1][:2], "¡Vamos ya!"), CUES[2]])
    [second] = run(tmp_path, row).results
    assert (second.frames, second.segments, second.spoken) == (200, 3, 1)
    for timing in blobs_below(tmp_path / "work", "speech"):
        assert timing.suffix != ".json" or len(json.loads(timing.read_text())["segments"]) == 3
    now = kept(tmp_path / "work", "parts")
    assert {name: now[name] for name in files} == files, "no part of the former job is made again"
    store = Store(tmp_path / "work")
    new = sorted(store.record(f"parts/{name[:-5]}")["about"]["span"][0] // 25 for name in set(now) - set(files))
    # The cue lies in seconds 2.6 to 3.4; what ramps, and what the engine hears around a frame, reaches a chunk further.
    assert {2, 3} <= set(new) <= {1, 2, 3, 4}
    redone = parts_of(second.job_dir)
    assert sorted(index for index in redone if redone[index].path != made[index].path) == new
    frames = frames_of(str(second.output))
    same = [np.array_equal(a, b) for a, b in zip(before, frames, strict=True)]
    for index in range(8):
        assert all(same[index * 25 : index * 25 + 25]) == (index not in new), index
    # The sound is another one all the same.
    assert second.job_dir != first.job_dir
    assert second.seconds["track"] < first.seconds["track"]

    # Back again: all is there.
    srt(tmp_path / "s.srt", CUES)
    [third] = run(tmp_path, row).results
    assert (third.spoken, third.frames) == (0, 200)
    assert kept(tmp_path / "work", "parts") == now
    assert third.job_dir == first.job_dir
    assert "render" not in third.seconds


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clip of 3.2 s with a face and a stereo sound, and a script for it."""
    folder = tmp_path_factory.mktemp("film")
    with_sound(folder / "v.mp4")
    srt(folder / "s.srt", [(0.4, 1.4, "Uno, dos, tres."), (2.0, 3.0, "Cuatro, cinco.")])
    return folder


def row_of(film: Path, output: str, **more: Any) -> dict[str, Any]:
    said = {"video": str(film / "v.mp4"), "script": str(film / "s.srt"), "language": "es", "output": output}
    return {**said, "preset": "ultrafast", "chunk_seconds": 1.0, **more}


@pytest.mark.slow
def test_three_languages_are_tracked_once(tmp_path: Path) -> None:
    make_clip(tmp_path / "v.mp4", 4.0)
    script = srt(tmp_path / "s.srt", [(0.4, 1.9, "Radio, taxi, hotel."), (2.2, 3.8, "Animal, total, central.")])
    rows = [
        {"video": "v.mp4", "script": script.name, "language": tag, "output": f"{tag}.mp4", "preset": "ultrafast"}
        for tag in ("es", "en-us", "de")
    ]
    [first] = run(tmp_path, rows[0]).results
    tracks = kept(tmp_path / "work", "tracks")
    assert tracks
    later = run(tmp_path, *rows[1:]).results
    assert kept(tmp_path / "work", "tracks") == tracks
    assert [result.frames for result in later] == [100, 100]
    assert [result.spoken for result in (first, *later)] == [2, 2, 2]
    # Faces are found once: what is left of tracking is linking and smoothing what lies there.
    assert max(result.seconds["track"] for result in later) < first.seconds["track"] / 2
    assert len({result.job_dir for result in (first, *later)}) == 3
    looks = [len(list((tmp_path / "work" / "refs" / name).iterdir())) for name in ("tracks", "sources", "index")]
    assert looks == [1, 1, 1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("one", "other"),
    [
        slow({"bed": "duck"}, {"bed": "mix"}),
        slow({"bed": "duck"}, {"bed": "duck", "loudness": -20}),
        slow({}, {"mark_synthetic": False}),
        slow({"overflow": "squeeze"}, {"overflow": "trim"}),
        ({}, {"loudness": -20}),
    ],
    ids=["duck or mix", "loudness of a bed", "mark", "overflow that nothing needs", "loudness"],
)
def test_what_is_only_heard_redraws_nothing(
    film: Path, shared_work: Path, one: dict[str, Any], other: dict[str, Any]
) -> None:
    [first] = run(shared_work, row_of(film, "a.mp4", **one)).results
    parts = kept(shared_work / "work", "parts")
    [second] = run(shared_work, row_of(film, "b.mp4", **other)).results
    assert kept(shared_work / "work", "parts") == parts
    paths = [[part.path for part in parts_of(result.job_dir).values()] for result in (first, second)]
    assert paths[0] == paths[1]
    assert len(paths[0]) == 4
    assert (first.synthesised, first.frames) == (second.synthesised, second.frames)
    assert second.synthesised > 0
    assert "render" not in second.seconds
    assert [frame.tobytes() for frame in frames_of(str(first.output))] == [
        frame.tobytes() for frame in frames_of(str(second.output))
    ]


@pytest.fixture(scope="module")
def shared_work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One work folder for many short runs: what one of them has spoken the next one finds."""
    return tmp_path_factory.mktemp("shared")


@pytest.mark.slow
def test_what_the_mouth_follows_is_drawn_anew(film: Path, shared_work: Path) -> None:
    """Between the lines the original can be heard when there is a bed: there the mouth is left alone. Without one it is
    closed there."""
    run(shared_work, row_of(film, "a.mp4"))
    parts = kept(shared_work / "work", "parts")
    [bed] = run(shared_work, row_of(film, "c.mp4", bed="duck")).results
    plain = load_plan(str(run(shared_work, row_of(film, "a.mp4")).results[0].job_dir))
    assert not plain.scoped
    assert load_plan(str(bed.job_dir)).scoped
    now = kept(shared_work / "work", "parts")
    assert {name: now[name] for name in parts} == parts
    [deep] = run(shared_work, row_of(film, "d.mp4", masking="always")).results
    assert deep.synthesised == deep.frames
    assert set(kept(shared_work / "work", "parts")) > set(now)
