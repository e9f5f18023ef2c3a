"""Speech to mouth shape: the embedded weights behave, and the recipe that makes them runs and learns."""

from __future__ import annotations

import functools
import os
import subprocess
import sys
from dataclasses import fields
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from raydub.errors import Code, DependencyError, InputError
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth import forward
from raydub.models.mouth.infer import EMBEDDED, MouthShapes
from raydub.models.mouth.layout import NetworkConfig
from raydub.models.mouth.network import MouthNetwork, build
from raydub.models.mouth.spoken import SpokenMouth
from raydub.models.mouth.train.clips import RATE, Clip, prepare_clips, read_sound
from raydub.models.mouth.train.evaluate import correlation, evaluate, log_energy
from raydub.models.mouth.train.fit import FitConfig, fit
from raydub.models.mouth.train.material import Batches, distort, hush, lesson_of, z_scored
from raydub.models.mouth.train.recipe import TrainConfig, train
from raydub.models.mouth.train.screen import screen
from raydub.models.mouth.train.shapes import mouth_shape, turned
from tests.examples import examples

SMALL = NetworkConfig(channels=16, dilations=(1, 2), dropout=0.1)


@pytest.fixture(scope="module")
def shapes() -> MouthShapes:
    return MouthShapes.load()


@functools.cache
def _mel() -> np.ndarray:
    """(80, T) mel of 24 s of `voice`; not to be written to."""
    return mel_spectrogram(voice(24.0, 2)[0])


def voice(seconds: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Syllable-like bursts of a buzz, (n,) float32 at 16 kHz, and their loudness curve, the same length, in [0, 1]."""
    rng = np.random.default_rng(seed)
    n = int(seconds * RATE)
    t = np.arange(n) / RATE
    loud = np.zeros(n)
    at = 0.2
    while at < seconds - 0.4:
        length = rng.uniform(0.12, 0.3)
        inside = (t >= at) & (t < at + length)
        loud[inside] = np.sin(np.pi * (t[inside] - at) / length)
        at += length + rng.uniform(0.05, 0.35)
    pitch = 120 + 20 * np.sin(2 * np.pi * 0.7 * t)
    phase = 2 * np.pi * np.cumsum(pitch) / RATE
    buzz = sum(np.sin(k * phase) / k**0.7 for k in range(1, 25))
    return (0.08 * buzz * loud + 1e-4 * rng.normal(size=n)).astype(np.float32), loud.astype(np.float32)


def made_clip(name: str, seed: int, seconds: float = 6.0, rate: float = 25.0) -> Clip:
    """A clip whose mouth opens with the loudness of its sound, with some noise."""
    samples, loud = voice(seconds, seed)
    times = np.arange(int(seconds * rate)) / rate
    rng = np.random.default_rng(seed + 1000)
    at = np.minimum((times * RATE).astype(int), len(loud) - 1)
    openness = 0.02 + 0.1 * loud[at] + 0.006 * rng.normal(size=len(times))
    width = 0.6 - 0.05 * loud[at] + 0.006 * rng.normal(size=len(times))
    shape = np.stack([openness, width], axis=1).astype(np.float32)
    return Clip(name, samples, times, shape, np.ones(len(times), bool))


# --- the embedded weights ---------------------------------------------------------------------------------------------


def test_the_embedded_weights_are_small_and_load(shapes: MouthShapes) -> None:
    assert EMBEDDED.stat().st_size < 4_000_000
    assert len(shapes.sha256) == 64
    assert 0.02 < shapes.config.openness.mean < 0.15
    assert 0.5 < shapes.config.width.mean < 0.7
    assert shapes.config.openness.std < shapes.config.openness.mean


@pytest.mark.parametrize("rate", [Fraction(24000, 1001), Fraction(25), Fraction(30000, 1001), Fraction(60)])
def test_one_row_a_frame(shapes: MouthShapes, rate: Fraction) -> None:
    mel = mel_spectrogram(voice(3.0)[0])
    got = shapes.predict(mel, rate, np.arange(40))
    assert len(got) == 40
    for one in fields(got):
        values = getattr(got, one.name)
        assert values.shape == (40,)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert len(shapes.predict(mel, rate, np.arange(0))) == 0


@settings(max_examples=examples(15), deadline=None)
@given(st.lists(st.integers(0, 700), min_size=1, max_size=30))
def test_a_row_does_not_depend_on_the_rows_beside_it(shapes: MouthShapes, frames: list[int]) -> None:
    mel = _mel()
    together = shapes.predict(mel, Fraction(30000, 1001), np.array(frames))
    for row in {0, len(frames) // 2, len(frames) - 1}:
        alone = shapes.predict(mel, Fraction(30000, 1001), np.array(frames[row : row + 1]))
        for one in fields(alone):
            assert getattr(alone, one.name)[0] == getattr(together, one.name)[row]


def table(spoken: SpokenMouth) -> np.ndarray:
    """(n, 5): its fields in their order."""
    return np.stack([getattr(spoken, one.name) for one in fields(spoken)], axis=1)


def test_a_row_depends_on_a_fixed_window_only(shapes: MouthShapes) -> None:
    mel = _mel()
    frame, rate = 200, Fraction(25)
    centre, reach = 640, shapes.config.reach(rate)
    before = table(shapes.predict(mel, rate, np.array([frame])))
    changed = np.random.default_rng(1).uniform(-4, 4, mel.shape).astype(np.float32)
    changed[:, centre - reach : centre + reach + 1] = mel[:, centre - reach : centre + reach + 1]
    assert table(shapes.predict(changed, rate, np.array([frame]))) == pytest.approx(before, abs=1e-5)
    changed[:, centre] = 4
    assert np.abs(table(shapes.predict(changed, rate, np.array([frame]))) - before).max() > 1e-3


def test_times_and_frames_agree(shapes: MouthShapes) -> None:
    mel = _mel()
    frames = np.arange(0, 100, 7)
    by_time = table(shapes.at(mel, frames / 29.97, 1 / 29.97))
    assert table(shapes.predict(mel, Fraction(2997, 100), frames)) == pytest.approx(by_time, abs=1e-3)


def test_silence_closes_the_mouth(shapes: MouthShapes) -> None:
    samples, loud = voice(8.0, 3)
    spoken = shapes.predict(mel_spectrogram(samples), Fraction(25), np.arange(200)).open
    silent = shapes.predict(np.full((80, 640), -4, np.float32), Fraction(25), np.arange(10, 190)).open
    at = loud[(np.arange(200) / 25 * RATE).astype(int)]
    assert silent.max() < -0.7
    assert spoken[at > 0.7].mean() > silent.mean() + 1.0


def test_beyond_the_speech_is_silence(shapes: MouthShapes) -> None:
    far = shapes.predict(_mel(), Fraction(25), np.array([100_000]))
    silent = shapes.predict(np.full((80, 800), -4, np.float32), Fraction(25), np.array([125]))
    assert table(far) == pytest.approx(table(silent), abs=1e-5)


def test_the_mouth_opens_when_the_sound_does(shapes: MouthShapes) -> None:
    samples, loud = voice(20.0, 5)
    rate = 25
    opened = shapes.predict(mel_spectrogram(samples), Fraction(rate), np.arange(480)).open
    at = loud[(np.arange(480) / rate * RATE).astype(int)]
    by_lag = {lag: correlation(np.roll(opened, -lag)[20:-20], at[20:-20]) for lag in range(-8, 9)}
    best = max(by_lag, key=lambda lag: by_lag[lag])
    assert abs(best) <= 2
    assert by_lag[best] > 0.4


def test_movement_is_smooth(shapes: MouthShapes) -> None:
    opened = shapes.predict(_mel(), Fraction(50), np.arange(1000)).open
    assert np.abs(np.diff(opened)).max() < 0.8
    assert opened.std() > 0.3


def test_a_bad_weights_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DependencyError) as missing:
        MouthShapes.load(tmp_path / "none.safetensors")
    assert missing.value.code == Code.WEIGHTS_MISSING
    (tmp_path / "page.safetensors").write_text("<!DOCTYPE html>")
    save_file({"x": torch.zeros(2)}, str(tmp_path / "other.safetensors"))
    truncated = tmp_path / "short.safetensors"
    truncated.write_bytes(EMBEDDED.read_bytes()[:5000])
    for name in ("page", "other", "short"):
        with pytest.raises(DependencyError) as bad:
            MouthShapes.load(tmp_path / f"{name}.safetensors")
        assert bad.value.code == Code.WEIGHTS_LAYOUT


def test_mel_of_another_shape_is_an_error(shapes: MouthShapes) -> None:
    with pytest.raises(ValueError, match="80, T"):
        shapes.predict(np.zeros((40, 100), np.float32), Fraction(25), np.arange(3))


# --- the network ------------------------------------------------------------------------------------------------------


@given(
    st.lists(st.integers(1, 8), min_size=1, max_size=4).map(tuple),
    st.floats(0.5, 4.0),
    st.integers(0, 30),
    st.sampled_from([2, 5]),
)
@settings(max_examples=examples(10), deadline=None)
def test_reach_is_what_the_layers_take(dilations: tuple[int, ...], smooth: float, more: int, outputs: int) -> None:
    config = NetworkConfig(channels=4, dilations=dilations, smooth_columns=smooth, outputs=outputs)
    network = build(config, 2)
    with torch.inference_mode():
        out = network(torch.zeros(1, 80, 2 * config.reach + 1 + more))
    assert out.shape == (1, outputs, 1 + more)


def normalised(config: NetworkConfig, members: int) -> torch.nn.Module:
    """A network whose batch normalisation has seen something: fresh ones change nothing."""
    torch.manual_seed(7)
    network = build(config, members)
    for name, value in network.state_dict().items():
        if name.endswith("running_var"):
            value.uniform_(0.3, 3)
        elif name.endswith("running_mean"):
            value.normal_(0, 0.3)
        elif value.is_floating_point() and value.ndim == 1:
            value.normal_(0.5, 0.5)
    return network


def floats(network: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: one.numpy() for name, one in network.state_dict().items() if one.is_floating_point()}


@pytest.mark.parametrize("dilations", [(1, 2, 4, 6), (3,), ()])
@pytest.mark.parametrize("length", [1, 40])
@pytest.mark.parametrize("outputs", [2, 5])
def test_use_and_training_compute_the_same(dilations: tuple[int, ...], length: int, outputs: int) -> None:
    config = NetworkConfig(channels=24, dilations=dilations, smooth_columns=1.7, outputs=outputs)
    network = normalised(config, 3)
    mel = np.random.default_rng(1).uniform(-4, 4, (80, 2 * config.reach + length)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(mel)[None])[0].numpy()
    found = forward.Ensemble(config, 3, floats(network))(mel)
    assert found.shape == (outputs, length)
    assert found.dtype == np.float32
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())


def test_the_embedded_weights_give_what_training_saw(shapes: MouthShapes) -> None:
    config = shapes.config
    state = {name: one.float() if one.is_floating_point() else one for name, one in load_file(str(EMBEDDED)).items()}
    network = build(config.network, config.members, state)
    mel = _mel()[:, : 2 * config.network.reach + 400]
    with torch.inference_mode():
        expected = network(torch.from_numpy(mel)[None])[0].numpy()
    frames = np.arange(config.network.reach, config.network.reach + 300)
    found = shapes.at(mel, frames / 80)
    wanted = [expected[0] * config.gain[0], expected[1] * config.gain[1]]
    wanted += [1 / (1 + np.exp(-(row + bias))) for row, bias in zip(expected[2:], config.bias, strict=False)]
    np.testing.assert_allclose(table(found)[:, : len(wanted)], np.stack(wanted, axis=1)[:300], atol=1e-4)


@pytest.mark.parametrize("change", ["absent", "left over", "shape"])
def test_tensors_that_do_not_fit_are_named(change: str) -> None:
    config = NetworkConfig(channels=4)
    state = floats(build(config, 1))
    name = "members.0.blocks.3.body.4.weight"
    if change == "absent":
        del state[name]
    elif change == "shape":
        state[name] = state[name][:3]
    else:
        name = "members.1.leave.bias"
        state[name] = np.zeros(2, np.float32)
    with pytest.raises(ValueError, match=name):
        forward.Ensemble(config, 1, state)


def test_the_number_of_threads_changes_no_bit(tmp_path: Path) -> None:
    """Workers of several stages run it, with threads of their own number."""
    np.save(tmp_path / "mel.npy", _mel())
    code = (
        "import sys, numpy as np, hashlib\n"
        "from fractions import Fraction\n"
        "from raydub.models.mouth.infer import MouthShapes\n"
        "made = MouthShapes.load().predict(np.load(sys.argv[1]), Fraction(25), np.arange(100))\n"
        "assert 'torch' not in sys.modules\n"
        "print(hashlib.sha256(made.open.tobytes() + made.closure.tobytes()).hexdigest())\n"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", code, str(tmp_path / "mel.npy")],
            env={**os.environ, "OPENBLAS_NUM_THREADS": count},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for count in ("1", "2", "4")
    }
    assert len(found) == 1


# --- measuring mouths -------------------------------------------------------------------------------------------------


def drawn_face(openness: float, scale: float = 100.0) -> np.ndarray:
    """(68, 2) landmarks, only those that matter, eyes `scale` apart."""
    points = np.zeros((68, 2), np.float32)
    points[36], points[45], points[30] = (0, 0), (1, 0), (0.5, 0.4)
    points[48], points[54] = (0.2, 0.8), (0.8, 0.8)
    for upper, lower, x in ((61, 67, 0.4), (62, 66, 0.5), (63, 65, 0.6)):
        points[upper], points[lower] = (x, 0.8 - openness / 2), (x, 0.8 + openness / 2)
    return points * scale


@given(st.floats(0, 0.5), st.floats(5, 500), st.floats(-1, 1))
def test_mouth_shape_does_not_depend_on_size_or_tilt(openness: float, scale: float, angle: float) -> None:
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]], np.float32)
    measured = mouth_shape((drawn_face(openness, scale) @ turn.T)[None])
    assert measured[0] == pytest.approx([openness, 0.6], abs=2e-3)


def test_a_turned_head_is_known() -> None:
    straight, aside = drawn_face(0.1), drawn_face(0.1)
    aside[30, 0] = 95
    assert turned(np.stack([straight, aside])) == pytest.approx([0.0, 0.9], abs=1e-3)


# --- training material ------------------------------------------------------------------------------------------------


def test_targets_stay_with_the_sound_at_every_speed() -> None:
    clip = made_clip("a.mp4", 1)
    for ratio in ((1, 1), (9, 10), (23, 20)):
        lesson = lesson_of(clip, ratio)
        energy = log_energy(lesson.mel, np.arange(lesson.mel.shape[1]) / 80)
        known = lesson.known[0]
        real = lesson.target[0][known]
        both = [correlation(np.roll(energy, lag)[known], real) for lag in range(-6, 7)]
        assert abs(int(np.argmax(both)) - 6) <= 2
        assert max(both) > 0.6


def test_distorting_keeps_range_and_source() -> None:
    mel = _mel()
    before = mel.copy()
    other = distort(mel, np.random.default_rng(0))
    assert other.dtype == np.float32
    assert other.min() >= -4
    assert other.max() <= 4
    assert (mel == before).all()
    assert np.abs(other - mel).mean() > 0.02


def test_hush_closes_the_mouth_and_leaves_the_joins_open() -> None:
    mel, target, known = np.zeros((80, 200), np.float32), np.ones((5, 200), np.float32), np.ones((5, 200), bool)
    hush(mel, target, known, np.random.default_rng(0))
    silent = target[0] < 0
    assert 24 <= silent.sum() <= 110
    assert mel[:, silent].mean() < -2
    first = np.flatnonzero(silent)[0]
    assert not known[:, first].any()
    assert known[0, first + 10]
    assert not known[2, first + 10], "whether lips touch in silence is not said"


def test_batches_have_one_shape_and_repeat_with_the_seed() -> None:
    lessons = [lesson_of(made_clip(f"{k}.mp4", k)) for k in range(2)]
    first, again = (Batches(lessons, 120, 10, seed=4).draw(5) for _ in range(2))
    assert first[0].shape == (5, 80, 120)
    assert first[1].shape == (5, 5, 100)
    assert first[2].shape == (5, 5, 100)
    assert first[2][:, :2].any()
    assert not first[2][:, 3:].any(), "rounding and teeth are not measured in pictures"
    assert all((a == b).all() for a, b in zip(first, again, strict=True))


def test_screening_refuses_foreign_sound_and_mends_a_delay() -> None:
    clips = [made_clip(f"{k}.mp4", k, 8.0) for k in range(8)]
    wander = np.cumsum(np.random.default_rng(5).normal(size=(500, 2)), axis=0).astype(np.float32) * 0.01
    foreign = Clip("foreign.mp4", voice(20.0, 99)[0], np.arange(500) / 25, wander, np.ones(500, bool))
    late = Clip("late.mp4", *(getattr(made_clip("x", 50, 8.0), f) for f in ("samples", "times", "shape", "usable")))
    late = Clip("late.mp4", late.samples, late.times + 0.1, late.shape, late.usable)
    still = Clip("still.mp4", clips[0].samples, clips[0].times, np.full((200, 2), 0.01, np.float32), clips[0].usable)
    result = screen([*clips, foreign, late, still])
    assert set(result.refused) == {"foreign.mp4", "still.mp4"}
    assert result.moved == {"late.mp4": pytest.approx(0.1, abs=0.03)}
    assert len(result.clips) == 9


# --- training ---------------------------------------------------------------------------------------------------------


def test_a_short_fit_learns_and_hears_the_right_moment() -> None:
    clips = [made_clip(f"{k}.mp4", k) for k in range(6)]
    losses: list[float] = []
    torch.set_num_threads(1)
    network = fit(
        [lesson_of(clip) for clip in clips],
        SMALL,
        FitConfig(steps=50, batch=6, columns=80, learning_rate=5e-3),
        seed=0,
        on_step=lambda step, loss: losses.append(loss),
    )
    assert np.mean(losses[-10:]) < 0.6 * np.mean(losses[:10])

    def predict(mel: np.ndarray, times: np.ndarray) -> np.ndarray:
        reach = network.config.reach
        padded = np.pad(mel, ((0, 0), (reach, reach)), constant_values=-4)
        with torch.inference_mode():
            curve = network(torch.from_numpy(padded)[None])[0].numpy()
        return np.stack([np.interp(times * 80, np.arange(curve.shape[1]), row) for row in curve], 1).astype(np.float32)

    score = evaluate([made_clip("new.mp4", 77)], predict)
    assert score.openness > 0.7
    assert abs(max(score.by_lag, key=lambda lag: score.by_lag[lag])) <= 1
    assert abs(score.shifted) < 0.5


def test_training_again_gives_the_same_network() -> None:
    lessons = [lesson_of(made_clip("a.mp4", 1, 4.0))]
    config = FitConfig(steps=4, batch=2, columns=60)
    first, again, other = (fit(lessons, SMALL, config, seed).state_dict() for seed in (3, 3, 4))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["leave.weight"], other["leave.weight"])


def test_evaluating_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clips"):
        evaluate([], lambda mel, times: np.zeros((len(times), 2), np.float32))


def test_a_folder_without_faces_teaches_nothing(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    write_clip(tmp_path / "clips" / "grey.mp4", voice(1.0)[0])
    write_clip(tmp_path / "clips" / "mute.mp4", None)
    places = {"clips": tmp_path / "clips", "output": tmp_path / "o.safetensors", "cache": tmp_path / "cache"}
    with pytest.raises(InputError, match="can be used for training"):
        train(TrainConfig(**places, landmarks="dlib"))
    assert not (tmp_path / "o.safetensors").exists()


def test_sound_starts_with_the_files_clock(tmp_path: Path) -> None:
    samples, _ = voice(1.0)
    write_clip(tmp_path / "a.mp4", samples)
    read = read_sound(tmp_path / "a.mp4")
    assert abs(len(read) - RATE) < 3000
    energy = [float((part**2).mean()) for part in (read[:2000], read[4000:8000])]
    assert energy[1] > 10 * energy[0]


def write_clip(path: Path, samples: np.ndarray | None, frames: int = 25) -> None:
    """A grey moving picture without a face, with the given sound (16 kHz mono) or none."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = container.add_stream("aac", rate=RATE, layout="mono") if samples is not None else None
        for k in range(frames):
            picture = np.full((64, 64, 3), 40 + 4 * k, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(video.encode(None))
        if sound is not None and samples is not None:
            for start in range(0, len(samples), 1024):
                frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], format="fltp", layout="mono")
                frame.rate = RATE
                frame.pts = start
                container.mux(sound.encode(frame))
            container.mux(sound.encode(None))


@pytest.mark.slow
@pytest.mark.media
def test_the_whole_recipe_on_three_clips(media_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "clips"
    folder.mkdir()
    for name in ("grid_1.mpg", "grid_3.mpg", "grid_8.mpg"):
        (folder / name).symlink_to(media_dir / "video" / name)
    seen: list[str] = []
    config = TrainConfig(
        clips=folder,
        output=tmp_path / "mouth.safetensors",
        cache=tmp_path / "cache",
        keep_out=("grid_8.mpg",),
        network=SMALL,
        fit=FitConfig(steps=25, batch=6, columns=80, learning_rate=5e-3),
        members=2,
        speeds=((1, 1), (9, 10)),
        landmarks="dlib",
    )
    report = train(config, lambda step, done, total, note: seen.append(step))
    assert set(seen) == {"clips", "screen", "train", "evaluate"}
    assert report.trained_on == ("grid_1.mpg", "grid_3.mpg")
    assert report.loss < report.first_loss
    assert report.kept_out is not None
    assert report.kept_out.openness > 0.3
    assert report.unseen is not None
    assert report.uttered == 0
    assert report.config.network.outputs == 2
    assert MouthShapes.load(config.output).sha256 == report.sha256
    assert type(report).model_validate_json(report.model_dump_json()) == report
    cached = list((tmp_path / "cache").glob("*.npz"))
    assert len(cached) == 3
    assert len(list((tmp_path / "cache").glob("*.pt"))) == 2
    clips, refused = prepare_clips([folder / "grid_1.mpg"], tmp_path / "cache", None, "dlib")
    assert not refused
    assert z_scored(clips[0])[0].std() == pytest.approx(1.0, abs=0.15)


def test_a_network_in_training_differs_from_one_in_use() -> None:
    network = MouthNetwork(SMALL.model_copy(update={"dropout": 0.5})).train()
    x = torch.zeros(2, 80, 2 * SMALL.reach + 4)
    assert not torch.equal(network(x), network(x))
    network.eval()
    assert torch.equal(network(x), network(x))
