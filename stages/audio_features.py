"""Analyse the new speech of a job in one pass, in constant memory: the timeline, the mel spectrogram for the lip
network, and the frames with speech (voiced); for each voice, if there are several."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import numpy as np

from raydub.arrays import F32, Bools
from raydub.files import discard, storage_error
from raydub.manifests.job import Job
from raydub.manifests.options import settled_length
from raydub.media.activity import Loudness, voiced_frames
from raydub.media.audio import speech_blocks
from raydub.media.info import VideoInfo
from raydub.models.mel import BANDS, COLUMNS_PER_SECOND, SAMPLE_RATE, SILENCE, WINDOW, MelStream
from raydub.stages.job_plan import (
    MEL_FILE,
    SCOPE_FILE,
    SOUNDS_FILE,
    VOICED_FILE,
    put_array,
    read_array,
    voice_file,
    voices_of,
)
from raydub.stages.source_timeline import Timeline, plan_timeline
from raydub.stages.types import Span
from raydub.store import Artefact, Store

_MARGIN_SECONDS = Fraction(2)
"""Silent mel columns kept after the last frame, for engines that look ahead."""
_SILENT_COLUMNS = 4096


def extract_features(
    job: Job, video: VideoInfo, store: Store, key: str, kept: Callable[[], Sequence[Span] | None]
) -> tuple[Timeline, dict[str, str]]:
    """Analyse the job's speech and decide the timeline; stores mel and voice activity of each voice, its known sounds,
    and, if its mouth may change in some frames only, these frames, under jobs/<key>/. Returns the blob of each by
    voice_file().

    kept: the source's spans that may be shown, None for all of it; called once, after the speech has been checked.
    Raises InputError: INPUT_*, SPEECH_*, and those of stages.source_timeline.plan_timeline; StageError STORAGE or
    DISK_FULL.
    """
    voices = voices_of(job)
    timeline: Timeline | None = None
    made: dict[str, str] = {}

    def name(file: str, number: int) -> str:
        return f"jobs/{key}/{voice_file(file, number)}"

    for number, voice in enumerate(voices):
        with MelFile(store) as file:
            samples, loudness = _analyse(voice.path, file)
            if timeline is None:
                length = Fraction(samples, SAMPLE_RATE) if job.speech is None else job.speech.duration
                timeline = _timeline(job, video, length, kept())
            file.pad(columns_for(timeline.n_out, video.rate))
            voiced = voiced_frames(loudness.activity(voice.level), video.rate, timeline.n_out)
            made[voice_file(VOICED_FILE, number)] = put_array(store, name(VOICED_FILE, number), voiced).path
            if voice.spans is not None and job.speech is not None:
                scope = frames_within(voice.spans, job.speech.rate, video.rate, timeline.n_out)
                made[voice_file(SCOPE_FILE, number)] = put_array(store, name(SCOPE_FILE, number), scope).path
            if voice.sounds is not None:
                # The same blob under the job's own name, so that it is kept as long as the job is.
                sounds = read_array(voice.sounds)
                made[voice_file(SOUNDS_FILE, number)] = put_array(store, name(SOUNDS_FILE, number), sounds).path
            made[voice_file(MEL_FILE, number)] = file.put(name(MEL_FILE, number)).path
    assert timeline is not None  # there is at least one voice
    return timeline, made


def columns_for(n_frames: int, rate: Fraction) -> int:
    """Mel columns that n_frames frames need: a window for each, and some room to look ahead."""
    return int((n_frames / rate + _MARGIN_SECONDS) * COLUMNS_PER_SECOND) + WINDOW


def frames_within(spans: Sequence[tuple[int, int]], sample_rate: int, rate: Fraction, n_frames: int) -> Bools:
    """(n_frames,) bool: is the frame at least partly in one of the spans of samples?"""
    inside = np.zeros(n_frames, np.bool_)
    for start, stop in spans:
        first, last = (Fraction(at, sample_rate) * rate for at in (start, stop))
        inside[math.floor(first) : math.ceil(last)] = True
    return inside


def _analyse(path: str, file: MelFile) -> tuple[int, Loudness]:
    """(number of samples at SAMPLE_RATE, their loudness); the mel is written to `file`."""
    samples, loudness, mel = 0, Loudness(), MelStream()
    for block in speech_blocks(path, SAMPLE_RATE):
        samples += len(block)
        loudness.push(block)
        for columns in mel.push(block):
            file.write(columns)
    for columns in mel.finish():
        file.write(columns)
    return samples, loudness


def _timeline(job: Job, video: VideoInfo, length: Fraction, kept: Sequence[Span] | None) -> Timeline:
    timed = job.speech is not None and job.speech.timed
    return plan_timeline(
        length,
        video.rate,
        video.n_frames,
        length=settled_length(job.options.length, timed),
        extend=job.options.extend,
        still=video.kind == "image",
        kept=kept,
    )


class MelFile:
    """Writes an (80, T) float32 .npy file column by column, T unknown until the end; put() stores it, complete or not
    at all. Use as a context manager. Columns are contiguous (Fortran order), so that a chunk reads one small part of
    the file.

    Raises StageError STORAGE or DISK_FULL.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._temp = store.temp(".npy")
        self._columns = 0
        try:
            self._file = open(self._temp, "wb")  # noqa: SIM115 (closed by __exit__)
        except OSError as error:
            raise storage_error(error, str(self._temp)) from error
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
        """Append silence until there are at least `columns` columns."""
        while self._columns < columns:
            missing = min(columns - self._columns, _SILENT_COLUMNS)
            self.write(np.full((BANDS, missing), SILENCE, np.float32))

    def put(self, name: str) -> Artefact:
        """Finish the file and store it."""
        try:
            self._file.seek(0)
            self._header()
            self._file.close()
        except OSError as error:
            raise storage_error(error, str(self._temp)) from error
        return self._store.put_file(name, self._temp, durable=False)

    def _header(self) -> None:
        # numpy leaves room for a growing last axis: the header has the same length at the end as at the start.
        kind = {"descr": "<f4", "fortran_order": True, "shape": (BANDS, self._columns)}
        np.lib.format.write_array_header_1_0(self._file, kind)

    def _write(self, data: memoryview) -> None:
        try:
            self._file.write(data)
        except OSError as error:
            raise storage_error(error, str(self._temp)) from error
