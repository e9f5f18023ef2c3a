"""The stages on arrays in memory, for notebooks and experiments: no job, no work folder, no files.

    clip = Clip(frames, Fraction(25))          # (n, h, w, 3) RGB uint8
    tracks = track(clip)                       # whose mouth, where
    mouths = synthesise(clip, tracks, speech)  # (samples,) float32 mono at 16 kHz
    frames = render(clip, mouths)              # (n, h, w, 3) RGB uint8

The same code as in jobs, with the same decisions (detection grid, gates, engines); each step can be replaced.
Everything is in memory, so this is for clips of seconds; use a job for longer videos.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from fractions import Fraction
from typing import get_args

import numpy as np
import numpy.typing as npt

from raydub.arrays import F32, U8, Bools
from raydub.errors import Code, UsageError
from raydub.media.activity import voiced
from raydub.media.audio import decode_speech
from raydub.media.frames import Frame, open_frames
from raydub.media.info import Colour
from raydub.media.probe import probe_video
from raydub.media.yuv import from_bgr, to_bgr
from raydub.models.face_landmarks import LandmarksName
from raydub.models.mel import BANDS, SILENCE, mel_spectrogram
from raydub.stages.audio_features import columns_for
from raydub.stages.chunk import padded
from raydub.stages.crop import CROP, face_crop
from raydub.stages.engine import Arrays, ChoosesMouths, LipEngine, Speech, even_positions
from raydub.stages.gate import Policy, gates
from raydub.stages.lipsync.select import make_engine
from raydub.stages.mouths.collect import collect
from raydub.stages.mouths.library import Learnt, blocks_of_part, library_of, n_parts
from raydub.stages.pose import drawable
from raydub.stages.render import draw_face
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.tracker import Tracker
from raydub.stages.types import FaceItems, FaceTrack, Span

__all__ = ["Clip", "Mouths", "Tracks", "read_clip", "read_speech", "render", "speech_of", "synthesise", "track"]

_COLOUR = Colour(matrix="bt709", full_range=True)


@dataclass(frozen=True)
class Clip:
    """frames: (n, h, w, 3) RGB uint8, h and w even; rate: frames a second, exact: 30000/1001 instead of 29.97. Raises
    UsageError FIELD_VALUE for other shapes and types."""

    frames: U8
    rate: Fraction = Fraction(25)

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] != 3 or not len(self.frames):
            raise _wrong(
                f"frames {shape} of {self.frames.dtype} are not (n, h, w, 3) uint8",
                "use RGB bytes, with at least one frame",
            )
        if (shape[1] | shape[2]) & 1:
            raise _wrong(f"frames of {shape[2]}x{shape[1]} have an odd side", "cut off a row or a column")
        if not isinstance(self.rate, (int, Fraction)) or isinstance(self.rate, bool) or self.rate <= 0:
            raise _wrong(f"rate is {self.rate!r}", "a positive Fraction, such as Fraction(30000, 1001)", "rate")
        object.__setattr__(self, "rate", Fraction(self.rate))

    def __len__(self) -> int:
        return len(self.frames)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frames.shape[2], self.frames.shape[1]

    def frame(self, index: int) -> Frame:
        """A frame in the form of the stages, with its own planes."""
        return from_bgr(np.ascontiguousarray(self.frames[index][..., ::-1]), _COLOUR, index)


@dataclass(frozen=True)
class Tracks:
    """faces: one track per face that is dubbed, over all frames of the clip; cut: (n,) bool, a new shot starts; by:
    what found the landmarks."""

    faces: tuple[FaceTrack, ...]
    cut: Bools
    by: LandmarksName = "dlib"


@dataclass(frozen=True)
class Mouths:
    """items: the faces that get a new mouth, in order of (frame, face), with their gates; arrays: the engine's result,
    one row each; source: what the engine prepared from the clip."""

    engine: LipEngine
    items: FaceItems
    arrays: Mapping[str, npt.NDArray[np.generic]]
    source: Arrays = field(default_factory=dict)


def read_clip(path: str | os.PathLike[str], start: int = 0, stop: int | None = None) -> Clip:
    """The frames start .. stop - 1 (None: to the end) of a video file. Raises InputError as reading does, UsageError
    FIELD_VALUE for a range without frames."""
    info = probe_video(os.fspath(path))
    with open_frames(info) as reader:
        end = info.n_frames if stop is None else min(stop, info.n_frames)
        if not 0 <= start < end:
            raise _wrong(f"frames {start} to {stop} of {info.n_frames}", "a range that contains a frame")
        frames = np.stack([to_bgr(frame, smooth=True)[..., ::-1] for frame in reader.frames(start, end)])
    return Clip(frames, info.rate)


def read_speech(path: str | os.PathLike[str]) -> F32:
    """(samples,) float32 mono at 16 kHz, of a sound or video file. Raises InputError as decoding does."""
    return decode_speech(os.fspath(path))


def track(
    clip: Clip,
    *,
    face: str = "largest",
    detector: str = "auto",
    smooth: bool = True,
    no_face: str = "keep",
    landmarks: str = "auto",
) -> Tracks:
    """Find the faces of a clip and choose by the values of the manifest's fields. no_face: "keep", or "hold" for frames
    that follow one with a face; the other values concern whole jobs. Raises UsageError FIELD_VALUE, DependencyError for
    absent models."""
    _check_word("no_face", no_face, ("keep", "hold"))
    choice = FaceChoice.parse(face)
    if choice.kind == "active":
        hint = "raydub.dub(.., face='active'), or another face"
        raise UsageError(Code.FIELD_VALUE, "face=active needs the clip's sound", hint=hint, field="face")
    config = TrackConfig.plan(choice, detector, landmarks=landmarks, people=True)
    references: Sequence[F32 | None] = ()
    if choice.kind == "reference":
        from raydub.stages.track.embed import reference_embedding

        references = (reference_embedding(choice.image, config.landmarks),)
    whole = Span(0, len(clip))
    raw = Tracker(config).raw_tracks(_Source(clip), None, whole, len(clip))
    tracks = decide(raw, whole, choice, no_face=no_face, smooth=smooth, references=references)
    return Tracks(tuple(tracks), raw.cut, raw.by)


def speech_of(samples: F32, rate: Fraction, n_frames: int) -> Speech:
    """The Speech of (samples,) float32 mono at 16 kHz, for n_frames output frames; silent after its end. Raises
    UsageError FIELD_VALUE for other types."""
    _check_samples(samples)
    mel = mel_spectrogram(samples)
    wanted = columns_for(n_frames, rate)
    silent = np.full((BANDS, max(0, wanted - mel.shape[1])), SILENCE, np.float32)
    return Speech(np.concatenate([mel, silent], axis=1), rate, n_frames)


def synthesise(
    clip: Clip,
    tracks: Tracks,
    samples: F32,
    *,
    engine: LipEngine | None = None,
    masking: Policy = "dynamic",
    pads: tuple[int, int, int, int] = (0, 10, 0, 0),
    device: str = "cpu",
) -> Mouths:
    """New mouths for a clip with the speech `samples`, (n,) float32 mono at 16 kHz from the first frame on. engine: by
    default the embedded one; stages.lipsync.select.make_engine makes others. Raises UsageError FIELD_VALUE, and what
    the engine raises."""
    _check_samples(samples)
    _check_word("masking", masking, get_args(Policy))
    if not tracks.faces or any(len(one.present) != len(clip) for one in tracks.faces):
        raise _wrong("the tracks are not of this clip", "use track(clip)", "tracks")
    chosen = engine or make_engine()
    chosen.load(device)
    sounds = voiced(samples, clip.rate, len(clip))
    gate = np.stack(
        [
            gates(
                one.present,
                one.lips_open,
                sounds,
                masking,
                tracks.cut,
                limit=drawable(one.landmarks, upright=chosen.needs_crops),
            )
            for one in tracks.faces
        ],
        axis=1,
    )
    at, face = np.nonzero(gate > 0)
    box = padded(np.stack([one.box for one in tracks.faces], axis=1)[at, face], clip.size, pads)
    items = FaceItems(
        frame=at.astype(np.int32),
        source=at.astype(np.int32),
        face=face.astype(np.int32),
        box=box,
        landmarks=np.stack([one.landmarks for one in tracks.faces], axis=1)[at, face],
        gate=gate[at, face],
        crops=_crops(clip, at.tolist(), box) if chosen.needs_crops else np.zeros((0, CROP, CROP, 3), np.uint8),
        look=np.stack([one.look for one in tracks.faces], axis=1)[at, face],
        identity=np.stack([one.identity for one in tracks.faces], axis=1)[at, face],
        fresh=tracks.cut[at],
    )
    source: Arrays = chosen.prepare(_Sampler(clip, tracks.faces[0], tracks.by))
    speech = speech_of(samples, clip.rate, len(clip))
    if not isinstance(chosen, ChoosesMouths):
        return Mouths(chosen, items, chosen.infer(items, speech) if len(items) else {}, source)
    parts = [blocks_of_part(part, len(clip)) for part in range(n_parts(len(clip)))]
    galleries = [collect(_Shown(clip, tracks), blocks, tracks.by) for blocks in parts]
    library = library_of(galleries, len(clip))
    made = chosen.infer_from(items, speech, library) if len(items) else {}
    return Mouths(chosen, items, made, Learnt(source, library))


def render(clip: Clip, mouths: Mouths) -> U8:
    """(n, h, w, 3) RGB uint8: the clip's frames with the new mouths; all other pixels are the clip's own."""
    out = clip.frames.copy()
    frame: Frame | None = None
    for row, index in enumerate(mouths.items.frame.tolist()):
        if frame is None or frame.index != index:
            frame = clip.frame(index)
        mouth = {name: rows[row] for name, rows in mouths.arrays.items()}
        patch = draw_face(mouths.engine, frame, mouths.items, row, mouth, mouths.source)
        if patch is not None:
            x0, y0, x1, y1 = patch.box
            drawn = patch.alpha > 0
            out[index, y0:y1, x0:x1][drawn] = to_bgr(frame, patch.box)[..., ::-1][drawn]
    return out


def _crops(clip: Clip, frames: list[int], boxes: F32) -> U8:
    crops = np.zeros((len(frames), CROP, CROP, 3), np.uint8)
    for row, index in enumerate(frames):
        crops[row] = face_crop(clip.frame(index), boxes[row])
    return crops


class _Source:
    """See stages.track.raw.FrameSource."""

    def __init__(self, clip: Clip) -> None:
        self._clip = clip

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        return map(self._clip.frame, range(start, stop))

    def check(self) -> None:
        """Arrays in memory do not change."""


class _Shown:
    """See stages.mouths.collect.MouthSource."""

    def __init__(self, clip: Clip, tracks: Tracks) -> None:
        self._clip, self._tracks = clip, tracks

    def faces(self, block: Span) -> tuple[list[FaceTrack], Bools]:
        rows = slice(block.start, block.stop)
        names = [item.name for item in fields(FaceTrack) if item.name != "span"]
        tracks = [FaceTrack(block, *(getattr(one, name)[rows] for name in names)) for one in self._tracks.faces]
        return tracks, self._tracks.cut[rows]

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        return map(self._clip.frame, range(start, stop))


class _Sampler:
    """See stages.engine.SourceSampler."""

    def __init__(self, clip: Clip, face: FaceTrack, by: LandmarksName) -> None:
        self._clip = clip
        self._face = face
        self.landmarks: LandmarksName = by

    def sample(self, count: int) -> list[tuple[Frame, F32, F32]]:
        n, face = len(self._clip), self._face
        positions = even_positions(count, n)
        return [(self._clip.frame(at), face.box[at], face.landmarks[at]) for at in positions if face.present[at]]


def _check_samples(samples: F32) -> None:
    kind, shape = getattr(samples, "dtype", type(samples)), getattr(samples, "shape", ())
    if not isinstance(samples, np.ndarray) or samples.dtype not in (np.float32, np.float64) or samples.ndim != 1:
        hint = "float32 in [-1, 1], mono at 16 kHz, as read_speech() returns; divide int16 by 32768"
        raise _wrong(f"samples {shape} of {kind} are not (n,) float32", hint, "samples")


def _check_word(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise _wrong(f"{name} is {value!r}", f"one of {', '.join(allowed)}", name)


def _wrong(message: str, hint: str, name: str = "frames") -> UsageError:
    return UsageError(Code.FIELD_VALUE, message, field=name, hint=hint)
