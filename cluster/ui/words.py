"""The fields of a job in words for people: labels, choices, help. Values stay those of the manifest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from raydub.manifests.options import EXPECTED, Options, choices


@dataclass(frozen=True)
class Asked:
    """One question. label: in words; words: of each value that is a choice, in the order shown, {} for other kinds;
    help: more about it; group: where it stands."""

    name: str
    label: str
    group: str
    words: Mapping[str, str] = field(default_factory=dict)
    help: str = ""

    @property
    def default(self) -> object:
        """The value that the field has if nothing is chosen."""
        return Options.model_fields[self.name].default

    @property
    def more(self) -> str:
        """The help, with the field's name for those who write manifests."""
        expected = EXPECTED[self.name]
        return f"{self.help or expected[:1].upper() + expected[1:]}. Manifest field: `{self.name}`"


_MOUTHS, _SOUND, _PICTURE, _FILE = "Mouths", "Sound and length", "Sharper and larger", "The file"
GROUPS = (_MOUTHS, _SOUND, _PICTURE, _FILE)

_ALL = (
    Asked(
        "engine",
        "How mouths are drawn",
        _MOUTHS,
        {
            "auto": "Best that needs no download",
            "own": "From the speaker's own mouths in this video",
            "warp": "By reshaping the lips (still pictures, drawings)",
        },
        "The second one shows real mouths of the same person; the third moves lips and jaw of each frame",
    ),
    Asked(
        "masking",
        "Which frames get a new mouth",
        _MOUTHS,
        {
            "dynamic": "Where the new speech speaks, or lips must close",
            "lips-open": "Only where lips are open in the video",
            "always": "Every frame with a face",
        },
    ),
    Asked(
        "no_face",
        "Frames without a face",
        _MOUTHS,
        {
            "keep": "Stay as they are",
            "drop": "Are removed",
            "hold": "Use the last place of the face",
            "fail": "Are an error",
        },
    ),
    Asked("mel_offset_frames", "Shift the speech by frames", _MOUTHS, help="Later (+) or earlier (-), -25 to 25"),
    Asked(
        "length",
        "The result is as long as",
        _SOUND,
        {
            "auto": "The speech (subtitles with times: the video)",
            "audio": "The speech",
            "video": "The video",
            "shortest": "The shorter of the two",
        },
    ),
    Asked(
        "extend",
        "If the video is too short",
        _SOUND,
        {
            "pingpong": "Play it backward, then forward again",
            "loop": "Begin again",
            "hold": "Hold the last frame",
            "fail": "Stop with an error",
        },
    ),
    Asked(
        "bed",
        "Original sound under the speech",
        _SOUND,
        {"none": "None", "duck": "Lower while the new voice speaks", "mix": "As loud as before"},
    ),
    Asked(
        "overflow",
        "Speech longer than its subtitle",
        _SOUND,
        {
            "squeeze": "Speak faster",
            "shift": "Begin the next one later",
            "trim": "Cut it",
            "fail": "Stop with an error",
        },
    ),
    Asked(
        "restore",
        "Restore the face",
        _PICTURE,
        {"none": "No", "gfpgan": "GFPGAN", "codeformer": "CodeFormer"},
        "Needs weights and consent to their licence on the machine that works",
    ),
    Asked(
        "upscale",
        "Enlarge the picture",
        _PICTURE,
        {
            "none": "No",
            "general": "Small and fast, 4 times",
            "x2": "2 times",
            "x4": "4 times",
            "anime": "Drawings, 4 times",
        },
        "Needs weights on the machine that works",
    ),
    Asked("crf", "Quality of the file", _FILE, help="0 is without loss, 18 looks the same, 28 is small"),
    Asked("codec", "Format", _FILE, {"libx264": "H.264, plays everywhere", "libx265": "H.265, smaller"}),
    Asked(
        "commercial",
        "For commercial use",
        _FILE,
        help="Refuses components whose licence excludes commercial use, or is not known",
    ),
    Asked(
        "evaluate",
        "Check the result",
        _FILE,
        help="Measures the finished video and gives a verdict: good, look or bad, with reasons. Takes some time",
    ),
    Asked("consent", "Who agreed to this", _FILE, help="Who agreed to be dubbed, and where that is written down"),
    Asked("label", "A label in the picture", _FILE, help="Such as AI dubbed"),
)


def asked() -> tuple[Asked, ...]:
    """The questions whose fields this version has, with those of their words that are choices here."""
    found = []
    for one in _ALL:
        if one.name in Options.model_fields:
            known = choices(one.name)
            words = {value: text for value, text in one.words.items() if not known or value in known}
            found.append(Asked(one.name, one.label, one.group, words, one.help))
    return tuple(found)


STAGES: Mapping[str, str] = {
    "speak": "Making the speech",
    "prepare": "Looking at the video",
    "track": "Finding faces",
    "lipsync": "Choosing mouths",
    "render": "Drawing and encoding",
    "stitch": "Joining",
    "evaluate": "Checking the result",
}
"""Stages in words; another one is shown by its name."""
STATES: Mapping[str, str] = {
    "waiting": "Waiting",
    "working": "Working",
    "stopped": "Stopped",
    "ok": "Ready",
    "failed": "Failed",
}


def lasting(seconds: float) -> str:
    """75 to "about 1 min 15 s", 5 to "a few seconds"."""
    if seconds < 8:
        return "a few seconds"
    if seconds < 60:
        return f"about {round(seconds / 5) * 5} s"
    minutes, rest = divmod(round(seconds / 15) * 15, 60)
    if minutes < 10:
        return f"about {minutes} min" + (f" {rest} s" if rest else "")
    hours, minutes = divmod(round(seconds / 60), 60)
    return f"about {hours} h {minutes} min" if hours else f"about {minutes} min"


def share_words(share: float | None) -> str:
    """0.347 to "35 %"; 100 % only where nothing is left."""
    return f"{min(99, round(100 * (share or 0.0))) if (share or 0.0) < 1 else 100} %"
