"""The picture of a job's timeline: cues, speech, the bed's gain and the gates, over seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from raydub.errors import Code, UsageError
from raydub.files import write_atomic
from raydub.media.sound import sound_blocks
from raydub.pipeline.timeline import JobTimeline

Image = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_LEFT, _RIGHT, _TOP, _GAP = 150, 20, 40, 14
_WIDTH = 1500
_CUES, _SPEECH, _BED, _GATE = 54, 80, 80, 44
_LOWEST_DB = -24.0
_BLACK, _GREY, _PALE = (30, 30, 30), (150, 150, 150), (232, 232, 232)
_COLOURS: tuple[Colour, ...] = ((176, 114, 31), (60, 130, 235), (90, 160, 60), (170, 90, 170), (60, 60, 200))
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_timeline(timeline: JobTimeline, path: Path, begin: float = 0.0, end: float | None = None) -> Path:
    """Write a PNG of the seconds begin .. end (None: all). Returns path. Raises UsageError FIELD_VALUE for an empty
    window, InputError for unreadable speech files, StageError STORAGE or DISK_FULL."""
    seconds = float(timeline.plan.n_frames / timeline.plan.rate)
    begin, end = max(0.0, begin), min(seconds, seconds if end is None else end)
    if begin >= end:
        raise UsageError(
            Code.FIELD_VALUE,
            f"the window from second {begin:g} to {end:g} is empty",
            hint=f"the output lasts {seconds:.3f} s",
        )
    page = _Page(begin, end, timeline)
    for face, file in timeline.report["voices"].items():
        page.cues(face)
        page.speech(face, file)
    if timeline.report["bed"] is not None:
        page.bed(timeline.report["bed_curve"], timeline.report["curve_rate"])
    for number, gate in enumerate(timeline.gate):
        page.gate(number, gate)
    write_atomic(path, cv2.imencode(".png", page.finished())[1].tobytes())
    return path


class _Page:
    """Bands from top to bottom, all with the same time axis."""

    def __init__(self, begin: float, end: float, timeline: JobTimeline) -> None:
        self._begin, self._end, self._timeline = begin, max(end, begin + 0.1), timeline
        faces = dict.fromkeys(row["face"] for row in timeline.report["segments"])
        self._colour = {face: _COLOURS[number % len(_COLOURS)] for number, face in enumerate(faces)}
        self._bands: list[Image] = []

    def cues(self, face: str) -> None:
        """One box per cue from its start to its end, with its number, and a bar below it for its speech."""
        band = self._band(f"cues, heard {face}".strip(), _CUES)
        colour = self._colour[face]
        for row in self._timeline.report["segments"]:
            if row["face"] != face:
                continue
            start = row["start"] if row["cue_start"] is None else row["cue_start"]
            stop = row["end"] if row["cue_end"] is None else row["cue_end"]
            if self._shows(start, stop):
                left, right = self._x(start), max(self._x(stop), self._x(start) + 2)
                cv2.rectangle(band, (left, 4), (right - 1, 30), _pale(colour), -1)
                cv2.rectangle(band, (left, 4), (right - 1, 30), colour, 1)
                cv2.putText(band, str(row["number"]), (left + 4, 23), _FONT, 0.45, _BLACK, 1, cv2.LINE_AA)
            if row["start"] < row["end"] and self._shows(row["start"], row["end"]):
                left, right = self._x(row["start"]), self._x(row["end"])
                cv2.rectangle(band, (left, 36), (max(right - 1, left + 1), 46), colour, -1)
        self._add(band)

    def speech(self, face: str, path: str) -> None:
        """Peaks of one voice."""
        band = self._band(f"speech {face}".strip(), _SPEECH)
        middle = _SPEECH // 2
        for x, peak in enumerate(self._peaks(path)):
            half = int(peak * (middle - 3))
            cv2.line(band, (_LEFT + x, middle - half), (_LEFT + x, middle + half), self._colour[face], 1)
        self._add(band)

    def bed(self, curve: Sequence[float], rate: int) -> None:
        """The bed's gain in dB."""
        band = self._band("bed gain dB", _BED)

        def y(decibels: float) -> int:
            return round(6 + (_BED - 12) * min(1.0, decibels / _LOWEST_DB))

        for level in (0, -10, -20):
            cv2.line(band, (_LEFT, y(level)), (_LEFT + _WIDTH, y(level)), _PALE, 1)
            cv2.putText(band, str(level), (_LEFT - 32, y(level) + 4), _FONT, 0.35, _GREY, 1, cv2.LINE_AA)
        values = [curve[min(len(curve) - 1, int(self._seconds(x) * rate))] for x in range(_WIDTH)] if curve else []
        points = np.array([(_LEFT + x, y(value)) for x, value in enumerate(values)], np.int32)
        cv2.polylines(band, [points], False, _BLACK, 2, cv2.LINE_AA)
        self._add(band)

    def gate(self, number: int, gate: npt.NDArray[np.float32]) -> None:
        """The opacity of the new mouth on a face."""
        plan = self._timeline.plan
        speech = plan.job.speech
        face = speech.voices[plan.voice_of(number)].face if speech is not None else ""
        band = self._band(f"gate {face or number}", _GATE)
        for x in range(_WIDTH):
            level = float(gate[min(len(gate) - 1, int(self._seconds(x) * float(plan.rate)))])
            if level > 0:
                top = round((_GATE - 4) * (1 - level)) + 2
                cv2.line(band, (_LEFT + x, top), (_LEFT + x, _GATE - 2), self._colour.get(face, _BLACK), 1)
        self._add(band)

    def finished(self) -> Image:
        """All bands under a ruler of seconds."""
        ruler = np.full((_TOP, _LEFT + _WIDTH + _RIGHT, 3), 255, np.uint8)
        step = next(
            (one for one in (0.5, 1, 2, 5, 10, 30, 60, 300, 600) if (self._end - self._begin) / one <= 24), 1800
        )
        ticks = np.arange(np.ceil(self._begin / step), np.floor(self._end / step) + 1) * step
        for tick in ticks:
            x = self._x(float(tick))
            cv2.line(ruler, (x, _TOP - 8), (x, _TOP), _BLACK, 1)
            cv2.putText(ruler, f"{tick:g} s", (x + 3, _TOP - 10), _FONT, 0.4, _BLACK, 1, cv2.LINE_AA)
        name = self._timeline.plan.job.id.encode("ascii", "replace").decode()[:18]
        cv2.putText(ruler, name, (6, _TOP - 10), _FONT, 0.45, _BLACK, 1, cv2.LINE_AA)
        page = np.concatenate([ruler, *self._bands])
        for tick in ticks:
            x = self._x(float(tick))
            column = page[_TOP:, x]
            column[(column == 255).all(axis=1)] = _PALE
        return page

    def _band(self, label: str, height: int) -> Image:
        band = np.full((height, _LEFT + _WIDTH + _RIGHT, 3), 255, np.uint8)
        text = label.encode("ascii", "replace").decode()[:20]
        cv2.putText(band, text, (6, height // 2 + 4), _FONT, 0.42, _BLACK, 1, cv2.LINE_AA)
        return band

    def _add(self, band: Image) -> None:
        band[:, :_LEFT][:, -1] = _GREY
        band[:, _LEFT + _WIDTH :] = 255
        self._bands += [band, np.full((_GAP, band.shape[1], 3), 255, np.uint8)]

    def _shows(self, start: float, stop: float) -> bool:
        return start < self._end and stop > self._begin

    def _x(self, seconds: float) -> int:
        share = (seconds - self._begin) / (self._end - self._begin)
        return _LEFT + round(min(1.0, max(0.0, share)) * _WIDTH)

    def _seconds(self, x: int) -> float:
        return self._begin + (x + 0.5) / _WIDTH * (self._end - self._begin)

    def _peaks(self, path: str) -> npt.NDArray[np.float64]:
        """(_WIDTH,) peaks in 0..1, one per column."""
        rate, peaks, done = 8000, np.zeros(_WIDTH), 0
        scale = _WIDTH / (self._end - self._begin)
        for block in sound_blocks(path, rate, 1, None):
            columns = np.floor(((done + np.arange(len(block))) / rate - self._begin) * scale).astype(np.int64)
            inside = (columns >= 0) & (columns < _WIDTH)
            np.maximum.at(peaks, columns[inside], np.abs(block[inside, 0]))
            done += len(block)
        return np.minimum(peaks / max(float(peaks.max()), 1e-6), 1.0)


def _pale(colour: Colour) -> Colour:
    blue, green, red = ((255 * 3 + part) // 4 for part in colour)
    return blue, green, red
