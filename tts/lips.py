"""Which lips go with synthesised speech: the phonemes of a voice's cues, moved to where they are heard."""

from __future__ import annotations

import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np

from raydub.models.mouth.sounds import COLUMNS, Sound, known_sounds, sounds_of
from raydub.tts.timing.placement import Placement


@dataclass(frozen=True)
class SpokenCue:
    """A cue that is heard. place: where; phonemes: (seconds after the first sample of its speech, before it was
    compressed; IPA, "" for a pause)."""

    place: Placement
    phonemes: Sequence[tuple[float, str]]


def lip_sounds(cues: Iterable[SpokenCue], rate: int, total: int) -> bytes | None:
    """The known sounds of a voice as an .npy file, see models.mouth.sounds; None if no cue has phonemes. rate: of the
    placements, samples a second; total: samples of the whole timeline. 320 bytes a second of timeline."""
    spoken = [_placed(cue, rate) for cue in cues if cue.phonemes]
    if not spoken:
        return None
    stream = io.BytesIO()
    np.save(stream, known_sounds(spoken, ceil(total / rate * COLUMNS) + 1), allow_pickle=False)
    return stream.getvalue()


def _placed(cue: SpokenCue, rate: int) -> tuple[float, float, list[Sound]]:
    """Start and stop of what is heard, and its sounds, all on the timeline. Compression keeps everything in proportion
    (tts.timing.stretch); what was cut off has no lips."""
    place = cue.place
    start, stop = place.start / rate, place.stop / rate
    whole = place.length + place.cut
    # Sounds of the speech as it was spoken; compressed, a stop closes for a shorter time too.
    spoken = sounds_of(cue.phonemes, place.spoken / rate)
    scale = whole / place.spoken
    moved = (Sound(one.articulator, start + one.start * scale, start + one.stop * scale) for one in spoken)
    return start, stop, [one for one in moved if one.start < stop]
