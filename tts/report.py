"""The timing report of a job's speech: times of all cues, how they were fitted, and the result of the mix."""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from raydub.manifests.job import Job
from raydub.regular import read_regular
from raydub.tts.cast import Line
from raydub.tts.mix.format import MixFormat
from raydub.tts.mix.programme import CURVE_RATE, MixReport
from raydub.tts.timing.placement import Placement, summary

REPORT_VERSION = 1


def timing_report(
    job: Job,
    places: Sequence[Placement],
    lines: Mapping[int, Line],
    spoken: Collection[int],
    format: MixFormat,
    total: int,
    mixed: MixReport,
    heard: Mapping[str, str],
) -> dict[str, Any]:
    """JSON-ready. Seconds, dB and LUFS; `segments` has a row per cue (tts.timing.placement.summary) with voice,
    language, face and whether it was synthesised in the run that made the report; `voices`: files of each voice alone,
    by face; `bed_curve`: the ducking in dB, `curve_rate` times a second."""
    rows = []
    for place, row in zip(places, summary(places, format.rate), strict=True):
        line = lines[place.segment.number]
        made = {"voice": line.voice.name, "language": line.language, "face": line.face}
        rows.append({**row, **made, "spoken_now": place.segment.number in spoken})
    bed = format.bed
    return {
        "version": REPORT_VERSION,
        "script": job.script,
        "engine": job.options.tts,
        "overflow": job.options.overflow,
        "rate": format.rate,
        "channels": format.channels,
        "seconds": round(total / format.rate, 4),
        "segments": rows,
        "voices": dict(heard),
        "bed": None if bed is None else {"path": bed.path, "mode": bed.mode},
        "mix": {
            "integrated_lufs": _rounded(mixed.integrated),
            "true_peak_dbtp": _rounded(mixed.true_peak),
            "voice_gains_db": {name: _rounded(gain) for name, gain in mixed.voice_gains_db.items()},
            "bed_gain_db": _rounded(mixed.bed_gain_db),
            "gain_db": _rounded(mixed.gain_db),
            "limited_db": _rounded(mixed.limited_db),
            "passes": mixed.passes,
        },
        "curve_rate": CURVE_RATE,
        "bed_curve": [round(float(value), 2) for value in mixed.bed_curve],
    }


def is_report(path: str | os.PathLike[str]) -> bool:
    """Is the file at `path` a timing report, of any version? False for one that cannot be read."""
    try:
        said = json.loads(read_regular(path))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(said, dict) and said.keys() >= {"version", "engine", "overflow", "segments", "mix", "curve_rate"}


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)
