"""Figures of a script's cues, from the timing report of its speech."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raydub.stages.evaluate.figures import Figures

LATE = 0.1
"""Seconds after its cue from which speech counts as an overrun."""


@dataclass(frozen=True)
class Cue:
    """start, stop: seconds in which it is heard; end: of the cue as the script has it, None without times; cut: seconds
    of speech that were cut off."""

    start: float
    stop: float
    end: float | None
    text: str
    cut: float = 0.0

    @staticmethod
    def of(row: Mapping[str, Any]) -> Cue:
        """From a row of the report's `segments`. Raises KeyError, TypeError, ValueError for another form."""
        end = row["cue_end"]
        return Cue(
            float(row["start"]),
            float(row["end"]),
            None if end is None else float(end),
            str(row["text"]),
            float(row["cut"]),
        )


def cue_figures(cue: Cue) -> Figures:
    """speech_rate, overrun_s, cut_s."""
    letters, seconds = sum(sign.isalnum() for sign in cue.text), cue.stop - cue.start
    return {
        "speech_rate": letters / seconds if seconds > 0.2 and letters else None,
        "overrun_s": None if cue.end is None else max(0.0, cue.stop - cue.end),
        "cut_s": cue.cut,
    }


def film_figures(cues: Sequence[Cue]) -> Figures:
    """Of all cues: the fastest, the largest overrun, how many, and all that was cut."""
    each = [cue_figures(cue) for cue in cues]
    rates = [one for row in each if (one := row["speech_rate"]) is not None]
    late = [one for row in each if (one := row["overrun_s"]) is not None]
    return {
        "speech_rate": max(rates, default=None),
        "overrun_s": max(late, default=None),
        "overruns": float(sum(one > LATE for one in late)) if late else None,
        "cut_s": sum(cue.cut for cue in cues) if cues else None,
    }
