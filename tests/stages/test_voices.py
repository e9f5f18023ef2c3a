"""Several speakers in one job: each mouth moves to its own lines, inside its own times, and to nothing else."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.media.frames import open_frames
from raydub.models.mouth.sounds import Sound, known_sounds
from raydub.stages.audio_features import frames_within
from raydub.stages.chunk import TrackStage
from raydub.stages.gate import RAMP, gates
from raydub.stages.job_plan import (
    JobPlan,
    chunks_of,
    load_scope,
    load_source,
    load_speech,
    load_voiced,
    put_array,
)
from raydub.stages.prepare import prepare_job
from raydub.stages.render import RenderStage, runs_of
from raydub.stages.synthesise import LipsyncStage
from raydub.stages.types import Gate, SynthesisedChunk
from raydub.store import Store
from tests.stages.fakes import PaintEngine, all_frames, digest
from tests.stages.two_people import RATE, SIDE, spoken_job, write_two

LINES = {"left": [(0.2, 0.8)], "right": [(1.2, 1.8)]}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_two(tmp_path_factory.mktemp("two") / "two.mp4", 50)


@pytest.fixture(scope="module")
def two(clip: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[JobPlan, PaintEngine]:
    folder = tmp_path_factory.mktemp("job")
    engine = PaintEngine(needs_crops=True)
    return prepare_job(spoken_job(folder, clip, 2.0, LINES), str(folder / "work"), engine), engine


def made_by(plan: JobPlan, engine: PaintEngine) -> list[SynthesisedChunk]:
    return [LipsyncStage(engine).run(TrackStage().run(chunk)) for chunk in chunks_of(plan)]


@pytest.mark.slow
def test_each_face_has_the_times_of_its_own_lines(two: tuple[JobPlan, PaintEngine]) -> None:
    plan, engine = two
    assert plan.voices == ("left", "right")
    assert (plan.n_frames, plan.scoped) == (50, True)
    (chunk,) = made_by(plan, engine)
    items = chunk.items
    for face, (first, last) in enumerate(((5, 20), (30, 45))):
        rows = items.face == face
        full = items.frame[rows & (items.gate == 1)]
        assert full.min() >= first
        assert full.max() < last
        assert len(full) >= 12
        assert items.frame[rows].min() >= first - RAMP
        assert items.frame[rows].max() < last + RAMP
        centre = items.landmarks[rows].mean(axis=1)[:, 0]
        assert (centre < SIDE).all() if face == 0 else (centre > SIDE).all()


def test_only_the_speaking_half_of_the_picture_changes(two: tuple[JobPlan, PaintEngine]) -> None:
    plan, engine = two
    frames, _ = all_frames(plan, engine)
    with open_frames(plan.video) as reader:
        source = list(reader.frames(0, 50))
    for frame, before in zip(frames, source, strict=True):
        left = np.array_equal(frame.y[:, :SIDE], before.y[:, :SIDE])
        right = np.array_equal(frame.y[:, SIDE:], before.y[:, SIDE:])
        assert left or right, f"both halves of frame {frame.index} changed"
        assert left or 5 - RAMP <= frame.index < 20 + RAMP
        assert right or 30 - RAMP <= frame.index < 45 + RAMP
    changed = [not np.array_equal(frame.y, before.y) for frame, before in zip(frames, source, strict=True)]
    assert sum(changed[5:20]) >= 12
    assert sum(changed[30:45]) >= 12


def test_a_mouth_hears_its_own_speech(two: tuple[JobPlan, PaintEngine]) -> None:
    """The engine's rows are those that it makes of the voice alone, whatever the other says."""
    plan, engine = two
    (chunk,) = made_by(plan, engine)
    tracked = TrackStage().run(chunks_of(plan)[0]).items
    for face in (0, 1):
        rows = tracked.face == face
        alone = engine.infer(tracked.rows(rows), load_speech(plan, face))["level"]
        assert np.array_equal(chunk.mouths["level"][rows], alone)
        other = engine.infer(tracked.rows(rows), load_speech(plan, 1 - face))["level"]
        assert not np.array_equal(alone, other)


def test_what_is_learnt_is_learnt_of_each_face(two: tuple[JobPlan, PaintEngine]) -> None:
    plan, _ = two
    assert len(load_source(plan, 0)["seen"]) == len(load_source(plan, 1)["seen"]) == 4
    assert not np.array_equal(load_voiced(plan, 0), load_voiced(plan, 1))
    scope = load_scope(plan, 1)
    assert scope is not None
    assert np.flatnonzero(scope).tolist() == list(range(30, 45))


def test_parts_tell_which_face_moved_when(two: tuple[JobPlan, PaintEngine], tmp_path: Path) -> None:
    plan, engine = two
    (chunk,) = made_by(plan, engine)
    part = RenderStage(engine).run(chunk, str(tmp_path / "part.mp4"))
    assert {gate.face for gate in part.gates} == {0, 1}
    frames = {(gate.face, frame) for gate in part.gates for frame in range(gate.start, gate.stop)}
    assert frames == set(zip(chunk.items.face.tolist(), chunk.items.frame.tolist(), strict=True))
    assert part.synthesised == len({frame for _, frame in frames})


@pytest.mark.slow
def test_the_same_whatever_the_chunks(clip: str, tmp_path: Path) -> None:
    digests = []
    for seconds in (0.4, 2.0):
        engine = PaintEngine(needs_crops=True)
        job = spoken_job(tmp_path, clip, 2.0, LINES, chunk_seconds=seconds)
        plan = prepare_job(job, str(tmp_path / "work"), engine)
        assert plan.n_chunks == round(2 / seconds)
        digests.append([digest(frame) for frame in all_frames(plan, engine)[0]])
    assert digests[0] == digests[1]


@pytest.mark.slow
def test_one_face_is_never_drawn_twice(tmp_path: Path) -> None:
    """A picture of one person: left and right are the same face, and whoever speaks has it."""
    from tests.stages.fakes import DEMO

    engine = PaintEngine(needs_crops=True)
    job = spoken_job(tmp_path, str(DEMO / "clip.mp4"), 2.0, LINES | {"largest": [(0.4, 1.2)]})
    plan = prepare_job(job, str(tmp_path / "work"), engine)
    chunks = list(made_by(plan, engine))
    assert all(len(set(chunk.items.frame.tolist())) == len(chunk.items) for chunk in chunks)
    assert {face for chunk in chunks for face in chunk.items.face.tolist()} == {0, 1, 2}


@pytest.mark.parametrize("policy", ["dynamic", "lips-open", "always"])
def test_a_scope_keeps_all_but_always(policy: Any) -> None:
    on = np.ones(20, np.bool_)
    scope = np.zeros(20, np.bool_)
    scope[8:12] = True
    gate = gates(on, on, on, policy, scope=scope)
    assert (gate[8:12] == 1).all()
    if policy == "always":
        assert (gate == 1).all()
    else:
        assert np.flatnonzero(gate).tolist() == list(range(8 - RAMP, 12 + RAMP))


def test_spans_of_samples_as_frames() -> None:

    found = frames_within(
        [(0, 1), (RATE, RATE + 640), (2 * RATE - 1, 2 * RATE + 1), (5 * RATE, 6 * RATE)], RATE, Fraction(25), 60
    )
    assert np.flatnonzero(found).tolist() == [0, 25, 49, 50]
    assert not frames_within([], RATE, Fraction(30000, 1001), 10).any()


def test_runs_join_what_belongs_together() -> None:
    frames = [Gate(1, 3, 4, 1.0), Gate(0, 1, 2, 0.5), Gate(0, 2, 3, 1.0), Gate(0, 3, 4, 1.0), Gate(0, 6, 7, 1.0)]
    assert runs_of(frames) == (Gate(0, 1, 2, 0.5), Gate(0, 2, 4, 1.0), Gate(0, 6, 7, 1.0), Gate(1, 3, 4, 1.0))
    assert runs_of([]) == ()


def test_known_sounds_reach_the_engine_and_the_keys(clip: str, tmp_path: Path) -> None:
    engine, store = PaintEngine(), Store(tmp_path / "work")
    job = spoken_job(tmp_path, clip, 2.0, LINES, chunk_seconds=0.5)
    assert job.speech is not None
    before = prepare_job(job, str(tmp_path / "work"), engine)
    assert load_speech(before).sounds is None
    table = known_sounds([(0.2, 0.8, [Sound(0, 0.6, 0.7)])], 161)
    said = put_array(store, "speech/x/sounds", table).path
    voices = (job.speech.voices[0].model_copy(update={"sounds": said}), *job.speech.voices[1:])
    speech = job.speech.model_copy(update={"voices": voices})
    after = prepare_job(job.model_copy(update={"speech": speech}), str(tmp_path / "work"), engine)
    assert after.content_key != before.content_key
    assert load_speech(after, 1).sounds is None
    sounds = load_speech(after, 0).sounds
    assert sounds is not None
    assert (sounds == table).all()
    new = [a != b for a, b in zip(after.chunk_keys, before.chunk_keys, strict=True)]
    assert new[1], "the chunk with the closure"
    assert not any(new[3:]), "too far from it to hear it"
