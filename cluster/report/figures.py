"""Figures of an evaluation in words: label, unit, digits. Names are those of manifests.evaluation; an unknown one is
shown under its own name."""

from __future__ import annotations

from dataclasses import dataclass

from raydub.stages.evaluate.names import FIGURES


@dataclass(frozen=True)
class Words:
    """How a figure is shown. scale: factor from its value to the shown number; main: among the first columns."""

    label: str
    unit: str = ""
    digits: int = 2
    scale: float = 1.0
    group: str = "Other"
    main: bool = False

    @property
    def title(self) -> str:
        """Label and unit."""
        return f"{self.label} ({self.unit})" if self.unit else self.label


_ENDINGS = (("_ms", "ms", 0, 1.0), ("_db", "dB", 1, 1.0), ("_share", "%", 1, 100.0), ("_seconds", "s", 2, 1.0))
_SYNC, _MOUTH, _FRAMES, _PICTURE, _SOUND, _SCRIPT = "Sync", "Mouth", "Frames", "Picture", "Sound", "Script"
GROUPS = (_SYNC, _MOUTH, _PICTURE, _FRAMES, _SOUND, _SCRIPT, "Other")


def _share(label: str, group: str) -> Words:
    return Words(label, "%", 0, 100.0, group)


KNOWN: dict[str, Words] = {
    "r": Words("follows speech", "r", 2, group=_SYNC, main=True),
    "delay_ms": Words("mouth late", "ms", 0, group=_SYNC, main=True),
    "r_now": Words("follows without delay", "r", 2, group=_SYNC),
    "r_chance": Words("follows by chance", "r", 2, group=_SYNC),
    "r_above": Words("follows above chance", "r", 2, group=_SYNC),
    "closures": Words("closed lips wanted", "times", 0, group=_SYNC),
    "closures_hit": _share("closed lips hit", _SYNC),
    "closures_chance": _share("closed lips by chance", _SYNC),
    "lse_c": Words("LSE-C", "", 2, group=_SYNC),
    "lse_d": Words("LSE-D", "", 2, group=_SYNC),
    "lse_offset_ms": Words("SyncNet's offset", "ms", 0, group=_SYNC),
    "movement": Words("movement", "× source", 2, group=_MOUTH, main=True),
    "mouth_range": Words("range of the opening", "", 2, group=_MOUTH),
    "silence_motion": Words("motion in silence", "× speech", 2, group=_MOUTH),
    "unasked_motion": Words("motion where speech wants none", "0 to 1", 3, group=_MOUTH),
    "silence_open": Words("open in silence", "eye distances", 3, group=_MOUTH),
    "identity": Words("identity from the source", "distance", 3, group=_MOUTH),
    "identity_spread": Words("identity, source's own spread", "distance", 3, group=_MOUTH),
    "sharpness": Words("sharpness", "× source", 2, group=_PICTURE),
    "high_frequency": Words("fine detail", "× source", 2, group=_PICTURE),
    "jitter": Words("jitter of the mouth", "× source", 2, group=_PICTURE),
    "skin_jitter": Words("jitter of the skin", "× source", 2, group=_PICTURE),
    "flicker": Words("flicker", "of 255", 2, group=_PICTURE),
    "seam": Words("seam", "× source", 2, group=_PICTURE, main=True),
    "seam_tone": Words("seam, blurred", "× source", 2, group=_PICTURE),
    "light_step": Words("step of brightness", "of 255", 1, group=_PICTURE),
    "colour_step": Words("step of colour", "of 255", 1, group=_PICTURE),
    "psnr_outside": Words("PSNR outside faces", "dB", 1, group=_PICTURE),
    "psnr_untouched": Words("PSNR of untouched frames", "dB", 1, group=_PICTURE),
    "ssim_outside": Words("SSIM outside faces", "", 4, group=_PICTURE),
    "face_share": _share("face found", _FRAMES),
    "face_lost": _share("face lost", _FRAMES),
    "synthesised_share": _share("new mouth", _FRAMES),
    "untouched_share": _share("untouched", _FRAMES),
    "faceless_share": _share("no face", _FRAMES),
    "changed_share": _share("changed mouth seen", _FRAMES),
    "measured_share": _share("measured", _FRAMES),
    "frames_missing": Words("frames missing", "", 0, group=_FRAMES),
    "av_start_ms": Words("sound starts late", "ms", 0, group=_SOUND),
    "av_end_ms": Words("sound ends late", "ms", 0, group=_SOUND),
    "loudness_lufs": Words("loudness", "LUFS", 1, group=_SOUND),
    "true_peak_dbtp": Words("true peak", "dBTP", 1, group=_SOUND),
    "speech_share": _share("frames with speech", _SOUND),
    "speech_rate": Words("fastest cue", "letters/s", 1, group=_SCRIPT),
    "overrun_s": Words("longest overrun", "s", 2, group=_SCRIPT),
    "overruns": Words("cues that overrun", "", 0, group=_SCRIPT),
    "cut_s": Words("speech cut off", "s", 2, group=_SCRIPT),
}


def words(name: str) -> Words:
    """The words for a figure."""
    if name in KNOWN:
        return KNOWN[name]
    for ending, unit, digits, scale in _ENDINGS:
        if name.endswith(ending):
            return Words(name.removesuffix(ending).replace("_", " "), unit, digits, scale)
    return Words(name.replace("_", " "))


def meaning(name: str) -> str:
    """What a figure is, in the words of the evaluation; "" for an unknown one."""
    return FIGURES[name][1] if name in FIGURES else ""


def shown_figure(name: str, value: float | None) -> str:
    """A value as text, without its unit; a dash where it was not measured."""
    said = words(name)
    return "–" if value is None else f"{value * said.scale:.{said.digits}f}"
