"""What a job may ask for beside its video, its speech and its output: one frozen model, the same names everywhere.

A field's name is its name in a manifest row and, with dashes, the CLI's flag. `description` of a field is the text that
an error shows as "expected ..". Values may come as text (CSV, command line) or typed (JSONL, Parquet).

Two defaults deserve a word. `length=audio`: the new speech is what the user came for, so by default none of it is cut
off and no tail of wordless picture follows it, as in Wav2Lip; `length=video` keeps the picture's own length. A video
that is shorter than its speech is continued by `extend=pingpong` (forward, backward, forward): Wav2Lip's jump back to
the first frame is a visible cut, `extend=loop`.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer

Sides = tuple[int, int, int, int]

_SPLIT = re.compile(r"[\s,;]+")
_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_FACE = re.compile(r"largest|left|right|all|index:\d{1,3}|reference:.+", re.DOTALL)
MAX_SIDE = 1 << 20


def _sides(value: Any) -> Any:
    """Four whole numbers, from text ("0 10 0 0", "0,10,0,0", "[0, 10, 0, 0]") or from a sequence."""
    if isinstance(value, str):
        parts: list[Any] = _SPLIT.split(value.strip().strip("[]()").strip())
    elif isinstance(value, (list, tuple)):
        parts = list(value)
    else:
        raise ValueError("not four numbers")
    if len(parts) != 4:
        raise ValueError(f"{len(parts)} numbers instead of four")
    return tuple(_whole(part) for part in parts)


def _whole(value: Any) -> int:
    """A whole number from an int, a float without fraction (Parquet, pandas) or text; bool is no number here."""
    if isinstance(value, bool):
        raise ValueError("a truth value is not a number")
    if isinstance(value, int):
        number = value
    elif isinstance(value, float) and value.is_integer():
        number = int(value)
    elif isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}(\.0{1,9})?", value.strip()):
        number = int(float(value))
    else:
        raise ValueError("not a whole number")
    if abs(number) > MAX_SIDE:
        raise ValueError("number out of range")
    return number


def _real(value: Any) -> float:
    """A finite number from an int, a float or text."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("not a number")
    if isinstance(value, str) and len(value) > 40:
        raise ValueError("not a number")
    if isinstance(value, int) and abs(value) > MAX_SIDE:
        raise ValueError("number out of range")
    return float(value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value).strip().casefold() if isinstance(value, (str, int)) else ""
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    raise ValueError("not a truth value")


def _word(value: Any) -> Any:
    """Choices are matched without regard to case and to _ against -."""
    if not isinstance(value, str):
        raise ValueError("not a word")
    return value.strip().casefold().replace("_", "-")


def _rotation(value: Any) -> int:
    number = _whole(value)
    if number not in (0, 90, 180, 270):
        raise ValueError("not a quarter turn")
    return number


def _rate(value: Any) -> Fraction:
    """25, 29.97 or 30000/1001 as an exact fraction; the broadcast rates 23.976, 29.97, 59.94 mean n·1000/1001."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Fraction)):
        raise ValueError("not a rate")
    text = str(value).strip()
    if len(text) > 24 or not re.fullmatch(r"\d{1,6}(\.\d{1,8})?|\d{1,9}/\d{1,9}", text):
        raise ValueError("not a rate")
    rate = Fraction(text) if not re.search(r"/0+$", text) else Fraction(0)
    for whole in (24, 30, 48, 60, 120):
        if rate != whole and abs(rate - Fraction(whole * 1000, 1001)) < Fraction(1, 200):
            rate = Fraction(whole * 1000, 1001)
    if not 1 <= rate <= 240:
        raise ValueError("rate out of range")
    return rate


def _face(value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    head, colon, rest = text.partition(":")
    text = head.strip().casefold() + colon + rest.strip()
    if not _FACE.fullmatch(text):
        raise ValueError("not a choice of face")
    return text


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value.strip() or any(ord(c) < 32 for c in value):
        raise ValueError("not a path")
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Real = Annotated[float, BeforeValidator(_real)]
Truth = Annotated[bool, BeforeValidator(_truth)]
FourSides = Annotated[Sides, BeforeValidator(_sides)]
Rate = Annotated[Fraction, BeforeValidator(_rate), PlainSerializer(str, return_type=str)]
Word = BeforeValidator(_word)


class Options(BaseModel):
    """Every choice of one job. Frozen, hashable, equal by value; `model_dump(mode="json")` is stable: it feeds keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # which frames get a new mouth
    masking: Annotated[Literal["dynamic", "lips-open", "always"], Word] = Field(
        "dynamic", description="dynamic (speech, or lips to be closed), lips-open, or always"
    )
    no_face: Annotated[Literal["keep", "drop", "hold", "fail"], Word] = Field(
        "keep", description="keep, drop, hold or fail: what becomes of frames without a face"
    )
    face: Annotated[str, BeforeValidator(_face)] = Field(
        "largest", description="largest, left, right, all, index:N (0 is the leftmost) or reference:IMAGE"
    )
    # how long
    length: Annotated[Literal["audio", "video", "shortest"], Word] = Field(
        "audio", description="audio, video or shortest: what decides the output's length"
    )
    extend: Annotated[Literal["loop", "pingpong", "hold", "fail"], Word] = Field(
        "pingpong", description="loop, pingpong, hold or fail: how a video shorter than the output goes on"
    )
    # the lip engine
    engine: Annotated[Literal["auto", "warp", "wav2lip"], Word] = Field(
        "auto", description="auto (wav2lip when a model is given, else warp), warp or wav2lip"
    )
    model: Annotated[str, BeforeValidator(_path)] | None = Field(None, description="path of a checkpoint file")
    mel_offset_frames: Whole = Field(
        0, ge=-25, le=25, description="whole video frames, -25 to 25: later (+) or earlier (-) sound for each frame"
    )
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Word] = Field(
        "auto", description="auto (fp32 on a CPU, half precision on CUDA), fp32, bf16 or fp16"
    )
    # the face and its box
    detector: Annotated[Literal["auto", "hog", "mmod", "yunet"], Word] = Field(
        "auto", description="auto (the best one present), hog, mmod or yunet"
    )
    smooth: Truth = Field(True, description="true or false: smooth boxes and landmarks over time")
    pads: FourSides = Field(
        (0, 10, 0, 0), description="four whole numbers, pixels added to the face box: top bottom left right"
    )
    box: FourSides | None = Field(
        None, description="four whole numbers, a constant face box: top bottom left right; absent to detect"
    )
    # the picture
    crop: FourSides | None = Field(
        None, description="four whole numbers: top bottom left right, -1 for the far edge; absent for the whole frame"
    )
    rotate: Annotated[int, BeforeValidator(_rotation)] = Field(0, description="0, 90, 180 or 270 degrees clockwise")
    resize_height: Whole | None = Field(
        None, ge=64, le=8192, description="height in pixels before crop and rotation, 64 to 8192"
    )
    fps: Rate = Field(
        Fraction(25),
        description="frames a second of a folder of images or an image, 1 to 240, such as 25 or 30000/1001",
    )
    paste: Annotated[Literal["mask", "box"], Word] = Field("mask", description="mask (feathered lower face) or box")
    # the output
    codec: Annotated[Literal["libx264", "libx265"], Word] = Field("libx264", description="libx264 or libx265")
    crf: Whole = Field(18, ge=0, le=51, description="whole number 0 (lossless) to 51")
    preset: Annotated[
        Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"], Word
    ] = Field("veryfast", description="an encoder preset from ultrafast to veryslow")
    chunk_seconds: Real = Field(
        10.0, ge=0.2, le=120.0, allow_inf_nan=False, description="seconds per unit of work, 0.2 to 120"
    )
    mark_synthetic: Truth = Field(True, description="true or false: the file's metadata say that it is synthetic")

    def row(self) -> dict[str, Any]:
        """The fields that differ from their defaults, JSON-ready, as they would stand in a manifest row."""
        return self.model_dump(mode="json", exclude_defaults=True)


def lip_engine(engine: str, model: object | None) -> str:
    """The engine that is meant by a job's `engine` and `model`: auto is wav2lip when a model is given, else warp, the
    embedded one. The one place of this rule."""
    return engine if engine != "auto" else ("warp" if model is None else "wav2lip")


FIELDS: tuple[str, ...] = tuple(Options.model_fields)
EXPECTED: dict[str, str] = {name: info.description or name for name, info in Options.model_fields.items()}

# Fields of later versions: known by name, accepted where they ask for nothing, refused by name where they ask for more.
LATER: dict[str, str] = {
    "script": "speech from a script",
    "voice": "speech from a script",
    "language": "speech from a script",
    "tts": "speech from a script",
    "bed": "keeping the original sound under the new speech",
    "restore": "face restoration",
    "restore_area": "face restoration",
    "restore_strength": "face restoration",
    "upscale": "upscaling",
}
LATER_NEUTRAL = frozenset({"", "none", "off", "no", "false"})


def choices(name: str) -> tuple[str, ...]:
    """The words that a choice field accepts, in order; () for fields that take something else."""
    if name == "face":
        return ("largest", "left", "right", "all", "index:0", "reference:IMAGE")
    found = get_args(Options.model_fields[name].annotation)
    return tuple(found) if found and all(isinstance(word, str) for word in found) else ()
