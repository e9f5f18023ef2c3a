"""The options of a job, as one frozen model with the same field names everywhere.

A field's name is its name in a manifest row and, with dashes, the CLI flag. A field's `description` is shown in errors
as "expected ..". Values may come as text (CSV, command line) or typed (JSONL, Parquet).

Two defaults: `length=auto` means `audio` if the speech is a sound file or a text without times, as in Wav2Lip: the
speech is not cut and no picture without speech follows it. Cues with times belong to the video, so they mean
`length=video`. A video that is shorter than its speech continues by `extend=pingpong` (forward, backward, forward),
because Wav2Lip's jump back to the first frame (`extend=loop`) is a visible cut.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Any, Literal, cast, get_args

from pydantic import BaseModel, ConfigDict, Field

from raydub.manifests.fields import (
    FaceText,
    FourSides,
    JsonObject,
    PathText,
    PerSpeaker,
    Rate,
    Real,
    Share,
    SpeakerFaces,
    Tile,
    Truth,
    Turn,
    Whole,
    Word,
    WordOrNone,
    by_speaker,
)
from raydub.manifests.marking import ConsentText, LabelText


class Options(BaseModel):
    """All options of one job. Frozen, hashable, equal by value; `model_dump(mode="json")` is stable, because keys are
    made from it."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    # which frames get a new mouth
    masking: Annotated[Literal["dynamic", "lips-open", "always"], Word] = Field(
        "dynamic", description="dynamic (speech, or lips to be closed), lips-open, or always"
    )
    no_face: Annotated[Literal["keep", "drop", "hold", "fail"], Word] = Field(
        "keep", description="keep, drop, hold or fail: what happens to frames without a face"
    )
    face: FaceText = Field(
        "largest",
        description="largest, left, right, all, active (who speaks), index:N (0 is the leftmost) or reference:IMAGE",
    )
    # how long
    length: Annotated[Literal["auto", "audio", "video", "shortest"], Word] = Field(
        "auto", description="auto (video with a script that has times, else audio), audio, video or shortest"
    )
    extend: Annotated[Literal["loop", "pingpong", "hold", "fail"], Word] = Field(
        "pingpong", description="loop, pingpong, hold or fail: how a video shorter than the output continues"
    )
    # speech from a script
    tts: Annotated[str, Word] = Field(
        "espeak", pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$", description="name of a speech engine, such as espeak or piper"
    )
    voice: PerSpeaker | None = Field(None, description="name of a voice, or speaker=voice; speaker=voice")
    language: PerSpeaker | None = Field(None, description="a language tag such as es or pt-br, or speaker=tag; ..")
    overflow: Annotated[Literal["squeeze", "shift", "trim", "fail"], Word] = Field(
        "squeeze", description="squeeze, shift, trim or fail: what happens to speech that is longer than its time"
    )
    speakers: SpeakerFaces | None = Field(
        None, description="whose mouth each speaker moves: speaker=left; speaker=index:1; speaker=reference:IMAGE"
    )
    # what is heard with it
    bed: Annotated[Literal["none", "duck", "mix"], WordOrNone] = Field(
        "none", description="none, duck (the original sound, lower under the speech) or mix"
    )
    bed_audio: PathText | None = Field(None, description="path of sound to use instead of the original")
    loudness: Real | None = Field(
        None,
        ge=-40.0,
        le=-5.0,
        allow_inf_nan=False,
        description="LUFS of the output's sound, -40 to -5; absent for -16 with a script or a bed, else unchanged",
    )
    # the lip engine
    engine: Annotated[str, Word] = Field(
        "auto",
        pattern=r"^[a-z0-9][a-z0-9.-]{0,63}$",
        description="auto (wav2lip when a model is given, else own), own, warp, wav2lip, or another installed engine",
    )
    engine_options: JsonObject | None = Field(
        None, description="a JSON object: options of a lip engine from another package"
    )
    model: PathText | None = Field(None, description="path of a checkpoint file, or its name in the catalogue")
    mel_offset_frames: Whole = Field(
        0, ge=-25, le=25, description="whole video frames, -25 to 25: later (+) or earlier (-) sound for each frame"
    )
    precision: Annotated[Literal["auto", "fp32", "bf16", "fp16"], Word] = Field(
        "auto", description="auto (fp32 on a CPU, half precision on CUDA), fp32, bf16 or fp16"
    )
    # the face and its box
    detector: Annotated[Literal["auto", "hog", "mmod", "yunet"], Word] = Field(
        "auto", description="auto (the best one available), hog, mmod or yunet"
    )
    landmarks: Annotated[Literal["auto", "mesh", "dlib"], Word] = Field(
        "auto", description="auto (mesh where it is installed, else dlib), mesh or dlib"
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
    rotate: Turn = Field(0, description="0, 90, 180 or 270 degrees clockwise")
    resize_height: Whole | None = Field(
        None, ge=64, le=8192, description="height in pixels before crop and rotation, 64 to 8192"
    )
    fps: Rate = Field(
        Fraction(25),
        description="frames a second of a folder of images or an image, 1 to 240, such as 25 or 30000/1001",
    )
    paste: Annotated[Literal["mask", "box"], Word] = Field("mask", description="mask (feathered lower face) or box")
    # sharper: faces restored
    restore: Annotated[Literal["none", "gfpgan", "codeformer"], WordOrNone] = Field(
        "none", description="none, gfpgan or codeformer"
    )
    restore_model: PathText | None = Field(
        None, description="path or catalogue name of the restorer's weights; absent for GFPGANv1.4 or codeformer"
    )
    restore_area: Annotated[Literal["mouth", "face"], Word] = Field(
        "mouth", description="mouth (what the lip engine drew) or face (all of it)"
    )
    restore_strength: Share = Field(
        1.0, description="a number from 0 (nothing) to 1: how much of the restored face shows"
    )
    restore_frames: Annotated[Literal["synthesised", "all"], Word] = Field(
        "synthesised", description="synthesised (frames with a new mouth) or all (every frame with a face)"
    )
    restore_steady: Share = Field(
        0.0, description="a number from 0 to 1: how much of what was restored is blended over neighbouring frames"
    )
    restore_fidelity: Share = Field(0.5, description="a number from 0 (clean) to 1 (true to the input): CodeFormer's w")
    # larger: frames upscaled
    upscale: Annotated[Literal["none", "x2", "x4", "general", "anime"], WordOrNone] = Field(
        "none", description="none, x2, x4, general (small and quick, 4x) or anime"
    )
    upscale_model: PathText | None = Field(
        None, description="path or catalogue name of the upscaler's weights; absent for those that 'upscale' names"
    )
    upscale_area: Annotated[Literal["frame", "face"], Word] = Field(
        "frame", description="frame, or face (the rest of the frame is resized plainly)"
    )
    outscale: Real | None = Field(
        None,
        ge=0.25,
        le=8.0,
        allow_inf_nan=False,
        description="a number from 0.25 to 8: the output's sides over the source's; absent for the network's own "
        "scale (area frame) or 1 (area face)",
    )
    upscale_denoise: Share = Field(
        1.0, description="a number from 0 to 1: 1 removes most noise, less keeps grain; with upscale=general only"
    )
    upscale_strength: Share = Field(
        1.0, description="a number from 0 (plain interpolation) to 1 (the network's picture): a mixture of the two"
    )
    upscale_tile: Tile = Field(
        0, description="0 (chosen for the device), or the side of a tile in source pixels, 32 to 2048"
    )
    # the output
    codec: Annotated[Literal["libx264", "libx265"], Word] = Field("libx264", description="libx264 or libx265")
    crf: Whole = Field(18, ge=0, le=51, description="whole number 0 (lossless) to 51")
    preset: Annotated[
        Literal["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"], Word
    ] = Field("veryfast", description="an encoder preset from ultrafast to veryslow")
    chunk_seconds: Real = Field(
        10.0, ge=0.2, le=120.0, allow_inf_nan=False, description="longest unit of work in seconds, 0.2 to 120"
    )
    overwrite: Truth = Field(
        False, description="true or false: replace an existing output file, even if raydub did not make it"
    )
    # what it says about itself
    mark_synthetic: Truth = Field(True, description="true or false: mark the file as synthetic in its metadata")
    label: LabelText | None = Field(
        None, description="text that is drawn into every frame, at most 80 characters in one line, such as AI dubbed"
    )
    label_corner: Annotated[Literal["top-left", "top-right", "bottom-left", "bottom-right"], Word] = Field(
        "top-right", description="top-left, top-right, bottom-left or bottom-right"
    )
    label_size: Real = Field(
        0.04,
        ge=0.02,
        le=0.2,
        allow_inf_nan=False,
        description="size of the label's letters over the output's shorter side, 0.02 to 0.2",
    )
    label_font: PathText | None = Field(
        None, description="path of a font file (.ttf, .otf); absent for a built-in one with the letters of English only"
    )
    consent: ConsentText | None = Field(
        None,
        description="who agreed to the dubbing, where that is kept: a text or a JSON object, at most 2000 characters",
    )

    # the run
    evaluate: Truth = Field(False, description="true or false: measure the finished output and give a verdict on it")
    commercial: Truth = Field(
        False, description="true or false: refuse components whose licence excludes commercial use, or is not known"
    )
    priority: Whole = Field(
        0,
        ge=-100,
        le=100,
        description="whole number -100 to 100: jobs of a higher one come first, ten more double the turns",
    )

    def row(self) -> dict[str, Any]:
        """The fields that differ from their defaults, JSON-ready, as in a manifest row."""
        return self.model_dump(mode="json", exclude_defaults=True)

    def faces_of(self) -> dict[str, str]:
        """The face of each speaker who has one, in the words of `face`."""
        return {} if self.speakers is None else by_speaker(self.speakers)

    def voices_of(self) -> dict[str, str]:
        """The voice of each speaker who has one; "" for everybody's."""
        return {} if self.voice is None else by_speaker(self.voice)

    def languages_of(self) -> dict[str, str]:
        """The language of each speaker who has one; "" for everybody's."""
        return {} if self.language is None else by_speaker(self.language)


def asks_who_speaks(options: Options) -> bool:
    """Whether a face of this job is the one that speaks in the original."""
    return "active" in (options.face, *options.faces_of().values())


LIP_ENGINES_BUILT_IN = ("own", "warp", "wav2lip")
"""Built-in lip engines; others are entry points (raydub.plugins.LIP_ENGINES)."""
EMBEDDED_ENGINES = ("own", "warp")
"""Of these the weights ship with raydub; they run on a CPU and draw lips only."""


def lip_engine(engine: str, model: object | None) -> str:
    """The engine selected by a job's `engine` and `model`: auto is wav2lip if a model is given, else own, the embedded
    one."""
    return engine if engine != "auto" else ("own" if model is None else "wav2lip")


def settled_length(asked: str, timed: bool) -> Literal["audio", "video", "shortest"]:
    """Resolve a job's `length`: auto is video if the speech is timed, else audio. timed: it comes from a script with
    times."""
    if asked == "auto":
        return "video" if timed else "audio"
    return cast(Literal["audio", "video", "shortest"], asked)


FIELDS: tuple[str, ...] = tuple(Options.model_fields)
POST_FIELDS = frozenset(
    {
        "restore",
        "restore_model",
        "restore_area",
        "restore_strength",
        "restore_frames",
        "restore_steady",
        "restore_fidelity",
        "upscale",
        "upscale_model",
        "upscale_area",
        "outscale",
        "upscale_denoise",
        "upscale_strength",
        "upscale_tile",
    }
)
"""Fields that only restoring and upscaling read."""
RUN_FIELDS = frozenset({"overwrite", "priority", "commercial", "evaluate"})
"""Fields that decide nothing about the output's content."""
SCRIPT_FIELDS = frozenset({"tts", "voice", "language", "overflow", "speakers"})
"""Fields that have an effect only with a script."""
MARK_FIELDS = frozenset({"mark_synthetic", "label", "label_corner", "label_size", "label_font", "consent"})
"""Fields that decide nothing about the frames before the label is drawn."""
SOUND_FIELDS = SCRIPT_FIELDS | {"bed", "bed_audio", "loudness"}
"""Fields that only the speak step reads: its outputs are identified by content."""
EXPECTED: dict[str, str] = {name: info.description or name for name, info in Options.model_fields.items()}


def choices(name: str) -> tuple[str, ...]:
    """The words that a choice field accepts, in order; () for fields that take something else."""
    if name == "engine":
        return ("auto", *LIP_ENGINES_BUILT_IN)
    if name == "face":
        return ("largest", "left", "right", "all", "active", "index:0", "reference:IMAGE")
    found = get_args(Options.model_fields[name].annotation)
    return tuple(found) if found and all(isinstance(word, str) for word in found) else ()
