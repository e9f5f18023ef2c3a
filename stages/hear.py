"""Everything that a job needs to know of its new speech, in one pass over it at flat memory: the timeline, the sound
features of the lip network (mel.npy) and the frames in which somebody speaks (voiced.npy)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np

from manifests.job import Job
from media.audio import speech_blocks
from media.info import VideoInfo
from media.publish import discard, publish, storage_error, temp_beside
from models.mel import BANDS, COLUMNS_PER_SECOND, SAMPLE_RATE, SILENCE, WINDOW, MelStream
from stages.plan import MEL_FILE, VOICED_FILE, save_array
from stages.speech import Loudness, voiced_frames
from stages.timeline import Timeline, plan_timeline
from stages.types import F32, Span

_MARGIN_SECONDS = Fraction(2)
"""Silent sound features kept after the last frame, for engines that look ahead."""
_SILENT_COLUMNS = 4096


def hear(job: Job, video: VideoInfo, folder: Path, kept: Callable[[], Sequence[Span] | None]) -> Timeline:
    """Decode the job's speech and decide the timeline; writes mel.npy and voiced.npy in `folder`.

    kept: the source's spans that may be shown, None for all of it; asked for once, when the speech is known to be good.
    Raises InputError: INPUT_*, SPEECH_*, and those of stages.timeline.plan_timeline; StageError STORAGE or DISK_FULL.
    """
    samples, loudness = 0, Loudness()
    with MelFile(folder / MEL_FILE) as file:
        mel = MelStream()
        for block in speech_blocks(job.audio, SAMPLE_RATE):
            samples += len(block)
            loudness.push(block)
            for columns in mel.push(block):
                file.write(columns)
        for columns in mel.finish():
            file.write(columns)
        timeline = plan_timeline(
            Fraction(samples, SAMPLE_RATE),
            video.rate,
            video.n_frames,
            length=job.options.length,
            extend=job.options.extend,
            still=video.kind == "image",
            kept=kept(),
        )
        # Every frame has its window and some room to look ahead.
        file.pad(int((timeline.n_out / video.rate + _MARGIN_SECONDS) * COLUMNS_PER_SECOND) + WINDOW)
        save_array(folder / VOICED_FILE, voiced_frames(loudness.activity(), video.rate, timeline.n_out))
        file.publish()
    return timeline


class MelFile:
    """Writes an (80, T) float32 .npy file column by column, T unknown until the end; it appears whole, by publish(), or
    not at all. Use as a context manager. Columns lie one after the other (Fortran order), so that a chunk of the video
    reads one small piece of the file.

    Raises StageError STORAGE or DISK_FULL.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._temp = temp_beside(path)
        self._columns = 0
        try:
            self._file = open(self._temp, "wb")  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise storage_error(error, str(path)) from error
        self._header()

    def __enter__(self) -> MelFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        discard(self._temp)

    def write(self, columns: F32) -> None:
        """Append (80, n) columns."""
        if columns.shape[0] != BANDS:
            raise ValueError(f"columns have shape {columns.shape}, expected ({BANDS}, n)")
        self._write(np.ascontiguousarray(columns.T, "<f4").data)
        self._columns += columns.shape[1]

    def pad(self, columns: int) -> None:
        """Go on with silence until there are at least `columns` columns."""
        while self._columns < columns:
            missing = min(columns - self._columns, _SILENT_COLUMNS)
            self.write(np.full((BANDS, missing), SILENCE, np.float32))

    def publish(self) -> None:
        """The file is complete."""
        try:
            self._file.seek(0)
            self._header()
            self._file.close()
        except OSError as error:
            raise storage_error(error, str(self._path)) from error
        publish(self._temp, self._path)

    def _header(self) -> None:
        # numpy leaves room for a growing last axis: the header has the same length at the end as at the start.
        kind = {"descr": "<f4", "fortran_order": True, "shape": (BANDS, self._columns)}
        np.lib.format.write_array_header_1_0(self._file, kind)

    def _write(self, data: memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise storage_error(error, str(self._path)) from error
