"""Records that probing returns."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer


def _as_fraction(value: object) -> object:
    return Fraction(value) if isinstance(value, str | int) else value


ExactRate = Annotated[
    Fraction,
    BeforeValidator(_as_fraction),
    PlainSerializer(lambda value: f"{value.numerator}/{value.denominator}", return_type=str),
]
"""A Fraction that JSON carries as "30000/1001"."""

Matrix = Literal["bt601", "bt709", "bt2020"]
Rotation = Literal[0, 90, 180, 270]


class Colour(BaseModel):
    """How YUV values are to be read. primaries and transfer are the ITU-T H.273 numbers (2 = unspecified)."""

    model_config = ConfigDict(frozen=True)

    matrix: Matrix = "bt709"
    full_range: bool = False
    primaries: int = 2
    transfer: int = 2


class ProbeLimits(BaseModel):
    """Limits for inputs; a job that exceeds them fails with E_INPUT_LIMIT before any work is done.

    max_pixels: of a frame; max_seconds, max_frames, max_streams, max_bytes: of a file; max_image_bytes: of a picture's
    file; max_hold_seconds: how long one frame may stay on screen in a film of uneven rate; max_repeats: into how many
    frames of constant rate one frame may turn on average; max_header_bytes: what a film's index may inflate to;
    min_sample_rate, max_sample_rate in Hz and max_channels: of speech.
    """

    model_config = ConfigDict(frozen=True)

    max_pixels: int = 40_000_000
    max_seconds: float = 24 * 3600.0
    max_frames: int = 24 * 3600 * 120
    max_streams: int = 64
    max_bytes: int = 1 << 42
    max_image_bytes: int = 1 << 29
    max_hold_seconds: float = 1800.0
    max_repeats: int = 5000
    max_header_bytes: int = 1 << 28
    min_sample_rate: int = 1000
    max_sample_rate: int = 768_000
    max_channels: int = 64


class VideoInfo(BaseModel):
    """A video as the rest of raydub sees it: `n_frames` frames at the exact constant `rate`, upright, of even size.

    width, height: pixels after the rotation metadata is honoured, odd sizes cropped to even. rotation: degrees
    clockwise by which stored frames are turned (flip: mirrored left-right before that). sample_aspect: width of a pixel
    over its height, after rotation. duration: n_frames / rate, in seconds. start_time: seconds at which the first frame
    stands in the file. variable_rate: the file's own frames are unevenly spaced, so that some constant-rate frames
    repeat their predecessor. identity: SHA-256 of all bytes; look: see raydub.identity. index_path: where the frame
    index was stored for other processes, or None. losses: a sentence on what a recording lacks, or "". notes:
    what else the user should know of it, each as "W_WORD: sentence". colour: of the frames that reading yields;
    hdr: the file's own where that is PQ or HLG, so that frames are tone-mapped, else None. interlaced: the first frame
    is, so that frames are deinterlaced.
    """

    model_config = ConfigDict(frozen=True)

    path: str
    kind: Literal["video", "images", "image"]
    width: int
    height: int
    rate: ExactRate
    n_frames: int
    duration: float
    sample_aspect: ExactRate = Fraction(1)
    rotation: Rotation = 0
    flip: bool = False
    colour: Colour = Field(default_factory=Colour)
    start_time: float = 0.0
    variable_rate: bool = False
    has_audio: bool = False
    identity: str
    look: str = ""
    codec: str = ""
    index_path: str | None = None
    losses: str = ""
    notes: tuple[str, ...] = ()
    hdr: Colour | None = None
    interlaced: bool = False


class SpeechInfo(BaseModel):
    """A sound track. seconds: as the container states it, 0.0 if it states none; counted: the container states it
    exactly for this track, so that fewer samples mean damage."""

    model_config = ConfigDict(frozen=True)

    path: str
    seconds: float
    sample_rate: int
    channels: int
    codec: str
    counted: bool = False
