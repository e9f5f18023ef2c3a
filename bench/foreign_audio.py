"""Do lips follow a stranger's speech? Dub clip A with the sound of clip B, measure the drawn mouth, as JSON.

    python bench/foreign_audio.py --clips FOLDER [--pair A B ..] [--frames N] [--sheet OUT.png]

Own-audio scores prove nothing, a network can copy the mouth that it covers. So the mouth drawn on A is found again by
the landmark tracker and its inner-lip opening compared with the opening of B's real mouth at the same moment:
r_own_speaker  correlation with B's real mouth (the goal: 0.20 in the mean; about 0.4 is what sound alone allows)
r_shifted      the same with the speech moved by 15 frames, mean of both directions: should be near 0
r_covered      correlation with the mouth of A that was covered: should be near 0
drawn_asked    correlation of the drawn mouth with the one that the network asked for: what drawing loses
movement       standard deviation of the opening over that of B's real mouth
sharpness      gradient energy of the mouth area over that of the source frames
above_nose     largest change of a pixel above the base of the nose: must be 0
ms_draw        milliseconds of processor time to draw and blend one frame
Every frame is drawn (masking=always), the gates play no part.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from raydub.arrays import F32
from raydub.media.audio import decode_speech
from raydub.media.frames import Frame, FrameReader, open_frames
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr
from raydub.models.mel import mel_spectrogram
from raydub.stages.engine import DrawItem, LipEngine, Speech
from raydub.stages.lipsync.warp import WarpEngine
from raydub.stages.lipsync.warp_shape import Axes, axes_of, curves_of, openness_of
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import FaceItems, FaceTrack, Span

# Kept out of training (models/mouth/MODEL_CARD.md). expressive_d9 and source_s18 lend only faces: nobody speaks there.
PAIRS = (
    ("webcam_en_720p30.mp4", "address_5_512_25.mp4"),
    ("webcam_en_720p30.mp4", "studio_portrait_1080x1920_25.mp4"),
    ("address_2_512_25.mp4", "webcam_en_720p30.mp4"),
    ("address_5_512_25.mp4", "address_2_512_25.mp4"),
    ("studio_portrait_1080x1920_25.mp4", "talk_retalking_5.mp4"),
    ("studio_portrait_1080x1920_25.mp4", "address_2_512_25.mp4"),
    ("expressive_d9.mp4", "studio_portrait_1080x1920_25.mp4"),
    ("source_s18.mp4", "address_2_512_25.mp4"),
    ("grid_2.mpg", "address_5_512_25.mp4"),
    ("talk_retalking_5.mp4", "grid_2.mpg"),
)
SHIFT = 15  # frames


@dataclass
class Sampler:
    """SourceSampler over a track: stages.engine says what that is."""

    reader: FrameReader
    track: FaceTrack

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        seen = np.flatnonzero(self.track.present)
        picked = seen[np.unique(np.linspace(0, len(seen) - 1, count).astype(int))] if len(seen) else seen
        frames = self.reader.frames_at(int(i) for i in picked)
        return [(frame, self.track.box[frame.index], self.track.landmarks[frame.index]) for frame in frames]


@dataclass
class Dubbed:
    """A FrameSource that yields the drawn frames and measures them on the way past."""

    reader: FrameReader
    track: FaceTrack
    engine: LipEngine
    mouths: Mapping[str, np.ndarray]
    source: Mapping[str, np.ndarray]
    seconds: float = 0.0
    above_nose: int = 0
    before: list[float] = field(default_factory=list)
    after: list[float] = field(default_factory=list)
    views: dict[int, np.ndarray] = field(default_factory=dict)

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        for frame in self.reader.frames(start, stop):
            yield self._drawn(frame) if self.track.present[frame.index] else frame

    def _drawn(self, frame: Frame) -> Frame:
        i, out = frame.index, frame.copy()
        marks = self.track.landmarks[i]
        began = time.process_time()
        item = DrawItem(i, i, 0, self.track.box[i], marks)
        patch = self.engine.draw(frame, item, {name: rows[i] for name, rows in self.mouths.items()}, self.source)
        if patch is not None:
            patch.blend(out)
        self.seconds += time.process_time() - began
        axes = axes_of(marks)
        if axes is None or patch is None:
            return out
        self.above_nose = max(self.above_nose, _change_above(frame, out, axes, marks))
        x0, y0, x1, y1 = _mouth_box(marks, frame.size)
        self.before.append(_gradient(frame.y[y0:y1, x0:x1]))
        self.after.append(_gradient(out.y[y0:y1, x0:x1]))
        if i in self.views:
            self.views[i] = np.hstack((_view(frame, axes), _view(out, axes)))
        return out


def measure(clips: Path, a: str, b: str, frames: int, sheet: list[np.ndarray] | None) -> dict[str, object]:
    """One pair's figures, and its rows of the contact sheet."""
    video, voice = probe_video(str(clips / a)), probe_video(str(clips / b))
    speech = _speech(str(clips / b), video.rate, frames)
    real_track = _track_of(voice, frames=int(frames * voice.rate / video.rate) + 1)
    n = min(frames, video.n_frames, int(real_track.span.stop * video.rate / voice.rate))
    track = _track_of(video, n)
    engine = WarpEngine()
    engine.load("cpu")
    mouths = dict(engine.infer(_items(track), speech))
    with open_frames(video) as reader:
        source = engine.prepare(Sampler(reader, track))
        dubbed = Dubbed(reader, track, engine, mouths, source)
        dubbed.views = {int(i): np.zeros(0) for i in np.linspace(5, n - 6, 6)} if sheet is not None else {}
        tracker = Tracker(TrackConfig.plan(FaceChoice()))
        drawn_track = decide(tracker.raw_tracks(_Once(dubbed, n), None, Span(0, n), n), Span(0, n))[0]
    if sheet is not None:
        sheet.append(np.hstack([view for view in dubbed.views.values() if view.size]))
    drawn, covered = _openings(drawn_track), _openings(track)
    real = _at_rate(_openings(real_track), voice.rate, video.rate, n)
    movement, own = float(np.nanstd(drawn)), float(np.nanstd(real))
    return {
        "video": a,
        "speech": b,
        "frames": n,
        "r_own_speaker": _r(drawn, real, 0),
        "r_shifted": (_r(drawn, real, SHIFT) + _r(drawn, real, -SHIFT)) / 2,
        "r_by_lag": {lag: _r(drawn, real, lag) for lag in range(-5, 6)},
        "r_covered": _r(drawn, covered, 0),
        "drawn_asked": _r(drawn, mouths["shapes"][:, 0], 0),
        "movement": movement / max(own, 1e-6),
        "movement_against_covered": movement / max(float(np.nanstd(covered)), 1e-6),
        "sharpness": float(np.mean(dubbed.after) / np.mean(dubbed.before)),
        "above_nose": dubbed.above_nose,
        "ms_draw": 1000 * dubbed.seconds / max(len(dubbed.after), 1),
        "inside": "own" if source.get("inside_seen", np.zeros(1))[0] else "drawn",
    }


@dataclass
class _Once:
    """Keeps a tracker from reading past the drawn frames."""

    source: Dubbed
    n_frames: int

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        return self.source.frames(start, min(stop, self.n_frames))


def _speech(path: str, rate: Fraction, n_frames: int) -> Speech:
    return Speech(mel_spectrogram(decode_speech(path)), rate, n_frames)


def _track_of(video: VideoInfo, frames: int) -> FaceTrack:
    n = min(frames, video.n_frames)
    with open_frames(video) as reader:
        raw = Tracker(TrackConfig.plan(FaceChoice())).raw_tracks(reader, None, Span(0, n), n)
    return decide(raw, Span(0, n))[0]


def _items(track: FaceTrack) -> FaceItems:
    """An item for every frame, present or not, so that rows and frames have the same numbers."""
    n = len(track.present)
    number = np.arange(n, dtype=np.int32)
    crops = np.zeros((0, 96, 96, 3), np.uint8)
    zeros, ones = np.zeros(n, np.int32), np.ones(n, np.float32)
    return FaceItems(number, number, zeros, track.box, track.landmarks, ones, crops)


def _openings(track: FaceTrack) -> np.ndarray:
    """(n,) opening of every frame in face units, NaN where there is no face."""
    return np.array(
        [openness_of(m) if seen else np.nan for seen, m in zip(track.present, track.landmarks, strict=True)]
    )


def _at_rate(series: np.ndarray, rate: Fraction, wanted: Fraction, n: int) -> np.ndarray:
    """The series at another frame rate, linearly; NaN stays NaN."""
    at = np.arange(n) * float(rate / wanted)
    return np.interp(at, np.arange(len(series)), series)


def _r(drawn: np.ndarray, real: np.ndarray, lag: int) -> float:
    """Correlation of drawn(t + lag) with real(t)."""
    n = min(len(drawn), len(real))
    a = drawn[max(lag, 0) : n + min(lag, 0)]
    b = real[max(-lag, 0) : n + min(-lag, 0)]
    both = np.isfinite(a) & np.isfinite(b)
    if both.sum() < 10 or a[both].std() == 0 or b[both].std() == 0:
        return 0.0
    return float(np.corrcoef(a[both], b[both])[0, 1])


def _mouth_box(marks: F32, size: tuple[int, int]) -> tuple[int, int, int, int]:
    low, high = marks[48:68].min(axis=0), marks[48:68].max(axis=0)
    grow = 0.15 * (high - low)
    x0, y0 = np.maximum(low - grow, 0).astype(int)
    x1, y1 = np.minimum(high + grow, np.array(size)).astype(int)
    return int(x0), int(y0), max(int(x1), int(x0) + 3), max(int(y1), int(y0) + 3)


def _gradient(luma: np.ndarray) -> float:
    grey = luma.astype(np.float32)
    return float((np.diff(grey, axis=0) ** 2).mean() + (np.diff(grey, axis=1) ** 2).mean()) if grey.size else 0.0


def _change_above(frame: Frame, out: Frame, axes: Axes, marks: F32) -> int:
    """Largest luma change above the base of the nose, as the face leans."""
    curves = curves_of(marks, axes)
    if curves is None:
        return 0
    h, w = frame.y.shape
    y = (np.arange(w)[None, :] - axes.origin[0]) * axes.down[0] + (np.arange(h)[:, None] - axes.origin[1]) * axes.down[
        1
    ]
    change = cv2.absdiff(frame.y, out.y)
    return int(change[y < curves.nose].max(initial=0))


def _view(frame: Frame, axes: Axes, size: int = 200) -> np.ndarray:
    """The lower face, upright, for the sheet."""
    centre, reach = axes.origin, 0.85 * axes.u
    scale = size / (2 * reach)
    turn = scale * np.stack((axes.right, axes.down))
    shift = size / 2 - turn @ centre
    bgr = to_bgr(frame)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.warpAffine(bgr, np.column_stack((turn, shift)), (size, size), flags=how)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of the clips")
    parser.add_argument("--pair", nargs=2, action="append", metavar=("VIDEO", "SPEECH"), help="default: kept-out clips")
    parser.add_argument("--frames", type=int, default=250)
    parser.add_argument("--sheet", type=Path, help="write before/after pictures here (never into the repository)")
    options = parser.parse_args()
    cv2.setNumThreads(1)
    sheet: list[np.ndarray] | None = [] if options.sheet else None
    pairs = [measure(options.clips, a, b, options.frames, sheet) for a, b in options.pair or PAIRS]
    figures = [name for name, value in pairs[0].items() if isinstance(value, float)]
    mean = {name: float(np.mean([float(str(pair[name])) for pair in pairs])) for name in figures}
    mean["above_nose"] = max(int(str(pair["above_nose"])) for pair in pairs)
    lags = {lag: float(np.mean([pair["r_by_lag"][lag] for pair in pairs])) for lag in range(-5, 6)}  # type: ignore[index]
    print(json.dumps({"pairs": pairs, "mean": mean, "mean_r_by_lag": lags}, indent=1))
    if sheet:
        width = max(row.shape[1] for row in sheet)
        rows = [cv2.copyMakeBorder(row, 0, 4, 0, width - row.shape[1], cv2.BORDER_CONSTANT) for row in sheet]
        cv2.imwrite(str(options.sheet), np.vstack(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
