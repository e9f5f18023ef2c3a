"""Keys of parts: what does not change a chunk's frames does not change its key, and one key has one picture."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from raydub.stages.engine import LipEngine, Speech
from raydub.stages.job_plan import JobPlan
from raydub.stages.lipsync.warp import WarpEngine
from raydub.stages.lipsync.wav2lip import Wav2LipEngine, Wav2LipOptions
from raydub.stages.types import FaceItems
from tests.stages.fakes import DEMO, PaintEngine, all_frames, babble, digest, make_plan, write_wav

CLIP = str(DEMO / "clip.mp4")
SECONDS = 4.0


def speech(folder: Path, name: str, changed: tuple[float, float] | None = None, seconds: float = SECONDS) -> str:
    samples = babble(SECONDS)[: round(seconds * 16000)]
    if changed is not None:
        first, last = (round(at * 16000) for at in changed)
        samples[first:last] = babble(SECONDS, seed=3)[first:last][::-1]
    return write_wav(folder / name, samples)


def planned(folder: Path, audio: str, **options: object) -> tuple[JobPlan, list[tuple[int, int]]]:
    engine = PaintEngine()
    plan = make_plan(folder, engine, CLIP, audio, chunk_seconds=0.4, **options)
    return plan, [digest(frame) for frame in all_frames(plan, engine)[0]]


def test_one_changed_line_changes_its_own_chunks(tmp_path: Path) -> None:
    plan, frames = planned(tmp_path, speech(tmp_path, "a.wav"))
    other, changed = planned(tmp_path, speech(tmp_path, "b.wav", (2.1, 2.35)))
    assert plan.job_dir != other.job_dir
    assert len(plan.chunk_keys) == len(set(plan.chunk_keys)) == 10
    new = [index for index, (a, b) in enumerate(zip(plan.chunk_keys, other.chunk_keys, strict=True)) if a != b]
    assert 5 in new
    assert set(new) <= {4, 5, 6}
    for index in range(10):
        span = slice(index * plan.chunk_frames, (index + 1) * plan.chunk_frames)
        assert index in new or frames[span] == changed[span], "one key, two pictures"
    assert frames != changed


@pytest.mark.slow
def test_the_length_of_the_speech_touches_its_end_only(tmp_path: Path) -> None:
    plan, _ = planned(tmp_path, speech(tmp_path, "a.wav"), length="video")
    short, _ = planned(tmp_path, speech(tmp_path, "b.wav", seconds=3.0), length="video")
    assert short.n_chunks == plan.n_chunks == 20
    new = {index for index, (a, b) in enumerate(zip(plan.chunk_keys, short.chunk_keys, strict=True)) if a != b}
    assert {7, 8, 9} <= new <= {6, 7, 8, 9, 10}


@pytest.mark.slow
def test_what_is_drawn_otherwise_has_other_keys(tmp_path: Path) -> None:
    audio = speech(tmp_path, "a.wav")
    plan, _ = planned(tmp_path, audio)
    for options in ({"masking": "always"}, {"crf": 30}, {"smooth": False}, {"face": "left"}):
        other, _ = planned(tmp_path, audio, **options)
        assert not set(other.chunk_keys) & set(plan.chunk_keys), options
    same, _ = planned(tmp_path, audio, mark_synthetic=False, extend="loop")
    assert same.chunk_keys == plan.chunk_keys
    assert same.job_dir != plan.job_dir


def items_at(frames: list[int]) -> FaceItems:
    n = len(frames)
    return FaceItems(
        np.array(frames, np.int32),
        np.array(frames, np.int32),
        np.zeros(n, np.int32),
        np.zeros((n, 4), np.float32),
        np.zeros((n, 68, 2), np.float32),
        np.ones(n, np.float32),
        np.random.default_rng(1).integers(0, 255, (n, 96, 96, 3), np.uint8),
    )


@pytest.fixture(params=["warp", "warp+3", "warp-7", "wav2lip", "wav2lip-2"])
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> LipEngine:
    name, _, offset = request.param.partition("-" if "-" in request.param else "+")
    frames = int(offset or 0) * (-1 if "-" in request.param else 1)
    if name == "warp":
        return WarpEngine(mel_offset_frames=frames)
    import torch

    from raydub.models.wav2lip import Wav2Lip

    torch.manual_seed(5)
    network = Wav2Lip(0.0625)
    for name, weights in network.named_parameters():
        if name.startswith(("audio_encoder.12.", "output_block.1.")):
            weights.data *= 30  # an untrained network makes little of what it hears
    torch.save({"state_dict": network.state_dict()}, tmp_path / "tiny.pth")
    return Wav2LipEngine(Wav2LipOptions(str(tmp_path / "tiny.pth"), mel_offset_frames=frames, backend="torch"))


@pytest.mark.parametrize("rate", [Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_an_engine_hears_what_it_says_it_hears(engine: LipEngine, rate: Fraction) -> None:
    """Everything outside may change without a bit of the result; something inside matters."""
    rng = np.random.default_rng(7)
    mel = rng.uniform(-4, 4, (80, 1200)).astype(np.float32)
    before, after = engine.hears(rate)
    engine.load("cpu")
    frames = [int(7 * rate), int(7 * rate) + 3]
    first, last = (int(80 * frame / rate) for frame in (frames[0], frames[-1]))
    known = engine.infer(items_at(frames), Speech(mel, rate, 400))
    outside = rng.uniform(-4, 4, mel.shape).astype(np.float32)
    outside[:, first - before : last + 1 + after + 1] = mel[:, first - before : last + 1 + after + 1]
    for name, rows in engine.infer(items_at(frames), Speech(outside, rate, 400)).items():
        assert np.array_equal(rows, known[name]), f"{name} hears more than {before} and {after} columns"
    inside = mel.copy()
    inside[:, first - before : last + 1 + after] *= -1
    heard = engine.infer(items_at(frames), Speech(inside, rate, 400))
    assert any(not np.array_equal(rows, known[name]) for name, rows in heard.items())
