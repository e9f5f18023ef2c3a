"""The evaluation of one output: figures, curves, segments, a verdict with reasons.

`raydub evaluate` writes it; the report and the page read it. One JSON document per output: strict JSON, UTF-8.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from raydub.texts import strict_json

FORMAT = 1
"""Raised when a reader of the former format would misread a document."""

Verdict = Literal["good", "look", "bad"]
Figures = Mapping[str, float | None]
"""By name (docs/evaluate.md lists names and units); None where a figure cannot be measured."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Reason(_Frozen):
    """Why a verdict is not good. figure: name in figures; limit: the threshold that `value` is beyond; start, stop:
    seconds of the output, None for all of it; message: one sentence for people."""

    figure: str
    value: float
    limit: float
    verdict: Verdict
    message: str
    start: float | None = None
    stop: float | None = None


class Segment(_Frozen):
    """Figures of seconds [start, stop) of the output. text: the cue's, if the segment is one."""

    start: float
    stop: float
    figures: Figures
    verdict: Verdict = "good"
    text: str | None = None


class Moment(_Frozen):
    """One of the worst moments: frame of the output, and why."""

    frame: int
    seconds: float
    figure: str
    message: str


class Curves(_Frozen):
    """One value per frame of the output, None where nothing was measured. wanted: opening that the speech asks for;
    drawn: opening of the mouth in the output, both as 0 (closed) .. 1 (the person's widest); speech_db: level of the
    speech in dBFS; gate: opacity of the new mouth, 0..1; source: opening in the source. delay_ms: per segment of
    `delay_step` seconds, by which the drawn mouth is late."""

    rate: float
    wanted: tuple[float | None, ...] = ()
    drawn: tuple[float | None, ...] = ()
    source: tuple[float | None, ...] = ()
    speech_db: tuple[float | None, ...] = ()
    gate: tuple[float | None, ...] = ()
    delay_ms: tuple[float | None, ...] = ()
    delay_step: float = 1.0


class Evaluation(_Frozen):
    """output_sha256: of the file that was measured, by which readers see that another file is there now. seconds:
    processor time of the evaluation. thresholds: digest of the thresholds' file that gave the verdict."""

    format: int = FORMAT
    id: str
    output: str
    output_sha256: str
    source: str | None = None
    speech: str | None = None
    frames: int
    duration: float
    verdict: Verdict
    reasons: tuple[Reason, ...] = ()
    figures: Figures = Field(default_factory=dict)
    source_figures: Figures = Field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    worst: tuple[Moment, ...] = ()
    curves: Curves | None = None
    thresholds: str = ""
    seconds: float = 0.0

    def to_json(self) -> bytes:
        """The document. Raises ValueError for values that JSON has no form for."""
        return strict_json(self.model_dump(mode="json")).encode()

    @staticmethod
    def from_json(content: bytes | str) -> Evaluation:
        """Raises ValueError for content that is no evaluation, or one of a newer format."""
        found: Any = Evaluation.model_validate_json(content)
        if found.format > FORMAT:
            raise ValueError(f"an evaluation of format {found.format}; this version reads up to {FORMAT}")
        return found  # type: ignore[no-any-return]
