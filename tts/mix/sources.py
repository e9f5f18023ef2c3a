"""Sources of speech for a mix: utterances placed on the timeline, or a sound file. Both stream."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from raydub.arrays import F32
from raydub.errors import Code, StageError
from raydub.media.info import ProbeLimits
from raydub.media.sound import BLOCK_FRAMES, sound_blocks

Interval = tuple[int, int]

FADE_SECONDS = 0.003
"""Length of fades where speech is cut: long enough not to click, too short to be heard."""

_AGAIN = "change its text or voice, or delete its record in the work folder, so that it is synthesised again"


class SpeechSource(Protocol):
    """One voice over the whole timeline, with silence between its utterances."""

    @property
    def intervals(self) -> Sequence[Interval]:
        """(first sample, sample after the last) of all its utterances, in order of their beginnings."""

    def blocks(self, total: int) -> Iterator[F32]:
        """From the start, (n,) float32 in blocks of BLOCK_FRAMES, the last one shorter, `total` samples in all. May be
        called several times and gives the same each time."""


@dataclass(frozen=True)
class PlacedUtterance:
    """An utterance on the timeline. start: the sample at which it begins, which may be negative; length: samples of it
    to be heard; load: returns (n,) float32 at the rate of the mix, n >= length, called once per pass over the timeline;
    name: for messages, such as "cue 7"."""

    start: int
    length: int
    load: Callable[[], F32]
    name: str = ""


class PlacedSpeech:
    """Utterances at exact samples; where they overlap they are added. Only those audible in one block are in memory.
    Cuts, at the timeline's ends or by a length below the samples', are faded over 3 ms.

    blocks() raises StageError TTS_FAILED if an utterance has too few samples, or samples that are not finite.
    """

    def __init__(self, utterances: Sequence[PlacedUtterance], rate: int) -> None:
        """rate: samples a second, of the mix and of all utterances."""
        for utterance in utterances:
            if utterance.length <= 0:
                raise ValueError(f"{utterance.name or 'an utterance'} has a length of {utterance.length} samples")
        self._utterances = sorted(utterances, key=lambda utterance: utterance.start)
        self._fade = max(round(FADE_SECONDS * rate), 1)

    @property
    def intervals(self) -> list[Interval]:
        """See SpeechSource."""
        return [(max(each.start, 0), each.start + each.length) for each in self._utterances]

    def blocks(self, total: int) -> Iterator[F32]:
        """See SpeechSource."""
        sounding: list[tuple[int, F32]] = []
        upcoming = 0
        for begin in range(0, total, BLOCK_FRAMES):
            end = min(begin + BLOCK_FRAMES, total)
            while upcoming < len(self._utterances) and self._utterances[upcoming].start < end:
                sounding.append(self._loaded(self._utterances[upcoming], total))
                upcoming += 1
            block = np.zeros(end - begin, np.float32)
            for start, samples in sounding:
                first, last = max(start, begin), min(start + len(samples), end)
                if first < last:
                    block[first - begin : last - begin] += samples[first - start : last - start]
            sounding = [(start, samples) for start, samples in sounding if start + len(samples) > end]
            yield block

    def _loaded(self, utterance: PlacedUtterance, total: int) -> tuple[int, F32]:
        samples = utterance.load()
        name = utterance.name or f"the utterance at sample {utterance.start}"
        if samples.ndim != 1 or len(samples) < utterance.length:
            message = f"{name} has samples of shape {samples.shape}, but {utterance.length} are needed"
            raise StageError(Code.TTS_FAILED, message, hint=_AGAIN)
        if not np.isfinite(samples).all():
            raise StageError(Code.TTS_FAILED, f"{name} has samples that are NaN or infinite", hint=_AGAIN)
        first = max(-utterance.start, 0)
        last = max(min(utterance.length, total - utterance.start), first)
        part = samples[first:last].astype(np.float32)
        if first:
            part = _faded_in(part, self._fade)
        if last < len(samples):
            part = _faded_in(part[::-1], self._fade)[::-1]
        return utterance.start + first, part


class FileSpeech:
    """The speech of a sound file, or of a video file's sound, from its first sample on. At the end of the
    timeline it is cut with a fade of 3 ms.

    blocks() raises InputError INPUT_* and SPEECH_NO_STREAM.
    """

    def __init__(
        self,
        path: str,
        rate: int,
        intervals: Sequence[Interval],
        limits: ProbeLimits = ProbeLimits(),  # noqa: B008 (frozen)
    ) -> None:
        """rate: samples a second, of the mix; intervals: where the file speaks, in samples at that rate."""
        self._path = path
        self._rate = rate
        self._limits = limits
        self._intervals = sorted((start, end) for start, end in intervals if end > start)

    @property
    def intervals(self) -> list[Interval]:
        """See SpeechSource."""
        return list(self._intervals)

    def blocks(self, total: int) -> Iterator[F32]:
        """See SpeechSource."""
        done = 0
        fade = max(round(FADE_SECONDS * self._rate), 1)
        with contextlib.closing(sound_blocks(self._path, self._rate, 1, None, self._limits)) as heard:
            while done < total:
                wanted = min(BLOCK_FRAMES, total - done)
                read = next(heard, None)
                block = np.zeros(wanted, np.float32) if read is None else read[:wanted, 0]
                if len(block) < wanted:
                    block = np.pad(block, (0, wanted - len(block)))
                done += wanted
                if done == total and read is not None and (len(read) > wanted or next(heard, None) is not None):
                    block = _faded_in(block[::-1], fade)[::-1]
                yield block


def _faded_in(samples: F32, fade: int) -> F32:
    count = min(fade, len(samples))
    faded = samples.copy()
    faded[:count] *= np.linspace(0, 1, count, endpoint=False, dtype=np.float32)
    return faded
