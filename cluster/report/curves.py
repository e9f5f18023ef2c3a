"""The data of a video's plots: one value per frame, or per bin of frames where there are very many."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from raydub.blobs import verified
from raydub.cluster.report.gather import Video
from raydub.cluster.report.media import Made
from raydub.cluster.report.texts import shown
from raydub.errors import RaydubError
from raydub.pipeline.ledger import part_name
from raydub.regular import read_regular
from raydub.stages.job_plan import JobPlan, chunks_of
from raydub.store import Store

MOST = 20_000
"""Points of a curve: 13 minutes at 25 frames a second. More would make the page slow without being seen."""
MOST_DELAYS = 2_000
"""Delays, which are drawn as points: half an hour of one a second."""
_DIGITS = {"speech_db": 1, "gate": 2, "wanted": 3, "drawn": 3, "source": 3}


def curves_of(video: Video, levels: Made | None) -> dict[str, Any]:
    """JSON-ready: rate (values a second), curves by name (None where nothing was measured), delay_ms and delay_step,
    cues as [start, stop, text]. Without an evaluation the level of the sound and the gate remain."""
    found: dict[str, Sequence[float | None]] = {}
    delays: Sequence[float | None] = ()
    rate, step = 25.0, 1.0
    curves = video.curves()
    if curves is not None:
        rate, delays, step = curves.rate, curves.delay_ms, curves.delay_step
        found = {name: getattr(curves, name) for name in _DIGITS}
    elif video.plan is not None:
        rate = float(video.plan.rate)
    if video.plan is not None and not found.get("gate"):
        found["gate"] = gates(video.plan)
    if not found.get("speech_db") and levels is not None and levels.path:
        found["speech_db"] = json.loads(read_regular(levels.path))["speech_db"]
    longest = max((len(values) for values in found.values()), default=0)
    width, several = max(1, math.ceil(longest / MOST)), max(1, math.ceil(len(delays) / MOST_DELAYS))
    return {
        "rate": rate / width,
        "curves": {name: _binned(values, width, _DIGITS[name]) for name, values in found.items() if values},
        "delay_ms": _binned(delays, several, 1),
        "delay_step": step * several,
        "cues": cues(video),
    }


def _binned(values: Sequence[float | None], width: int, digits: int) -> list[float | None]:
    found: list[float | None] = []
    for start in range(0, len(values), width):
        known = [value for value in values[start : start + width] if value is not None]
        found.append(round(sum(known) / len(known), digits) if known else None)
    return found


def gates(plan: JobPlan) -> list[float]:
    """The opacity of the new mouths per output frame, the largest of all faces, from the records of the parts; [] if
    one is missing."""
    store, found = Store(plan.work_dir), [0.0] * plan.n_frames
    for chunk in chunks_of(plan):
        try:
            said = store.record(part_name(chunk))
            if said is None:
                return []
            for _, start, stop, level in said["about"]["gates"]:
                found[start:stop] = [max(value, level) for value in found[start:stop]]
        except (KeyError, TypeError, ValueError, RaydubError, OSError):
            return []
    return found[: plan.n_frames]


def cues(video: Video) -> list[list[Any]]:
    """Cues of the script as [start, stop, text], in seconds; those of the evaluation's segments without a report."""
    speech = None if video.plan is None else video.plan.job.speech
    if speech is not None and speech.report is not None:
        try:
            report: Mapping[str, Any] = json.loads(verified(speech.report).read_text(encoding="utf-8"))
            return [[row["start"], row["end"], _line(row)] for row in report["segments"]]
        except (OSError, ValueError, KeyError, TypeError, RaydubError):
            pass  # cleaned, or of another version
    segments = () if video.evaluation is None else video.evaluation.segments
    return [[one.start, one.stop, shown(one.text)] for one in segments if one.text]


def _line(row: Mapping[str, Any]) -> str:
    speaker = f"{row['speaker']}: " if row.get("speaker") else ""
    return shown(f"{speaker}{row['text']}")
