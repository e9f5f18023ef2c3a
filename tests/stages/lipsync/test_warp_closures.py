"""Closures that are known or heard close the drawn lips, in the right frames."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.media.sound import resample
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.infer import MouthShapes
from raydub.models.mouth.sounds import ARTICULATORS, Sound, curves_of, known_sounds, sounds_of
from raydub.models.mouth.spoken import SpokenMouth
from raydub.stages.engine import DrawItem, Speech
from raydub.stages.lipsync.warp import WarpEngine, ordinary_shapes
from raydub.stages.lipsync.warp_shape import openness_of
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import FaceItems, Span

CONFIG = MouthShapes.load().config


def mouth(**said: float) -> SpokenMouth:
    """One frame of a wide-open mouth."""
    values = {"open": 2.0, "width": 0.0, **dict.fromkeys(ARTICULATORS, 0.0), **said}
    return SpokenMouth(**{name: np.array([value], np.float32) for name, value in values.items()})


def test_closure_shuts_teeth_nearly_and_rounding_narrows() -> None:
    plain, shut, teeth, round_ = (
        ordinary_shapes(one, CONFIG)[0]
        for one in (mouth(), mouth(closure=0.5), mouth(lip_teeth=1.0), mouth(rounding=1.0))
    )
    assert shut[0] == 0
    assert 0 < teeth[0] < 0.5 * plain[0]
    assert round_[1] < 0.96 * plain[1]
    assert round_[0] == plain[0]


def items_of(count: int, landmarks: np.ndarray | None = None) -> FaceItems:
    number = np.arange(count, dtype=np.int32)
    marks = np.zeros((count, 68, 2), np.float32) if landmarks is None else landmarks
    crops = np.zeros((0, 96, 96, 3), np.uint8)
    zeros = np.zeros(count, np.int32)
    return FaceItems(number, number, zeros, np.zeros((count, 4), np.float32), marks, np.ones(count, np.float32), crops)


def test_known_closures_shut_the_engine_s_mouths_in_every_chunk() -> None:
    engine = WarpEngine()
    rng = np.random.default_rng(4)
    mel = rng.uniform(-1, 3, (80, 500)).astype(np.float32)
    known = known_sounds([(0.5, 5.5, [Sound(0, 2.0, 2.08), Sound(0, 4.0, 4.08)])], 480)
    speech = Speech(mel, Fraction(25), 150, known)
    whole = engine.infer(items_of(150), speech)["shapes"]
    shut = np.flatnonzero(whole[13:137, 0] == 0) + 13
    assert {50, 51, 52} <= set(shut.tolist()) <= {49, 50, 51, 52, 53, 99, 100, 101, 102, 103}
    assert {100, 101, 102} <= set(shut.tolist())
    for first in (7, 50, 51):
        items = items_of(150).rows((np.arange(150) >= first) & (np.arange(150) < first + 20))
        assert (engine.infer(items, speech)["shapes"] == whole[first : first + 20]).all()


@pytest.mark.slow
@pytest.mark.media
def test_the_lips_of_a_real_face_meet_when_a_voice_says_p_b_or_m(media_dir: Path) -> None:
    """The drawn frames are measured by landmarks: lips are closer in closures than elsewhere in the same speech."""
    pytest.importorskip("espeakng_loader", reason="the extra espeak is not installed")
    from raydub.tts.engines.espeak import Espeak

    espeak = Espeak()
    voice = next(voice for voice in espeak.voices() if voice.name == "en-us")
    made = espeak.synthesise("Papa, a puppy may be a problem. Maybe mama bought a map of Alabama.", voice, "en-us", 0.9)
    samples = resample(made.samples, made.rate, 16000)
    sounds = sounds_of([(mark.seconds, mark.text) for mark in made.marks if mark.kind != "word"], made.seconds)
    count = min(110, int(made.seconds * 25))
    known = known_sounds([(0.0, made.seconds, sounds)], count * 4)
    video = probe_video(str(media_dir / "video" / "address_5_512_25.mp4"))
    count = min(count, video.n_frames)
    engine = WarpEngine()
    engine.load("cpu")
    with open_frames(video) as reader:
        track = decide(_tracked(reader, count), Span(0, count))[0]
        frames = [frame.copy() for frame in reader.frames(0, count)]
    items = items_of(count, track.landmarks)
    shapes = engine.infer(items, Speech(mel_spectrogram(samples), Fraction(25), count, known))["shapes"]
    learnt = engine.prepare(_Sampler(frames, track.landmarks))
    for number, frame in enumerate(frames):
        item = DrawItem(number, number, 0, track.box[number], track.landmarks[number])
        patch = engine.draw(frame, item, {"shapes": shapes[number]}, learnt)
        assert patch is not None
        patch.blend(frame)
    drawn = decide(_tracked(_Drawn(frames), count), Span(0, count))[0]
    opening = np.array([openness_of(marks) for marks in drawn.landmarks])
    curve = curves_of(sounds, count * 4)[0]
    at = np.rint(np.arange(count) * 3.2).astype(int)
    closed = curve[at] >= 0.9
    apart = (shapes[:, 0] > 0.06) & (curve[at] == 0)
    assert closed.sum() >= 10
    assert apart.sum() >= 10
    # dlib's points see an opening of 0.02 to 0.03 in closed lips.
    assert np.median(opening[closed]) < 0.035
    assert np.median(opening[apart]) > np.median(opening[closed]) + 0.03


def _tracked(source: object, count: int) -> object:
    return Tracker(TrackConfig.plan(FaceChoice(), "hog")).raw_tracks(source, None, Span(0, count), count)


class _Drawn:
    """A FrameSource of frames in memory."""

    def __init__(self, frames: list) -> None:
        self._frames = frames

    def frames(self, start: int, stop: int):
        return iter(self._frames[start:stop])

    def check(self) -> None:
        """They do not change."""


class _Sampler:
    """A SourceSampler of frames in memory."""

    def __init__(self, frames: list, landmarks: np.ndarray) -> None:
        self._frames, self._landmarks = [frame.copy() for frame in frames], landmarks

    def sample(self, count: int) -> list:
        picked = np.linspace(0, len(self._frames) - 1, count).astype(int)
        return [(self._frames[i], np.zeros(4, np.float32), self._landmarks[i]) for i in picked]
