"""Which speech each clip is dubbed with. The same folder gives the same pairs.

Foreign pairs: the speech of another clip's speaker, whose own mouth is then the reference. Clips in order of their
names; each gets the speech of the next one (round to the first) that can serve: its face is seen in most frames, its
mouth moves, it speaks, and the embedding says that it is another person. With a folder of speech, each clip gets the
next file of it; a file with a face serves as reference too, one without leaves r unmeasured.
Script pairs: lines spoken by espeak-ng, whose phonemes have exact times.
"""

from __future__ import annotations

import wave
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np

from bench.judging.seen import Seen, see
from bench.judging.spoken import RATE, Said, say
from raydub.arrays import F32
from raydub.errors import RaydubError
from raydub.media.activity import voiced
from raydub.media.audio import decode_speech
from raydub.media.probe import probe_video
from raydub.stages.evaluate.identity import faces_of, same_person

PRESENT, MOVES, SPEAKS = 0.8, 0.01, 0.3
"""A speaker's clip: share of frames with the face, standard deviation of openness, share of frames with speech."""


@dataclass(frozen=True)
class Clip:
    """The first `seconds` of a film with a face, and its sound at RATE Hz (silent without one)."""

    path: Path
    seconds: float
    landmarks: str

    @property
    def name(self) -> str:
        """Its file's name without dots: different for different files of a folder."""
        return self.path.name.replace(".", "-")

    @cached_property
    def seen(self) -> Seen:
        """Its face."""
        info = probe_video(str(self.path))
        return see(self.path, max(1, int(self.seconds * info.rate)), self.landmarks)

    @cached_property
    def faces(self) -> F32:
        """Its embeddings, see identity.faces_of."""
        return faces_of(self.seen)

    def faces_first(self, n: int) -> F32:
        """The embeddings of its first n frames alone."""
        return self.faces if n == len(self.seen) else faces_of(self.seen.first(n))

    @cached_property
    def sound(self) -> F32:
        """(samples,) its first `seconds`; (0,) without sound."""
        try:
            return decode_speech(str(self.path))[: int(self.seconds * RATE)]
        except RaydubError:
            return np.zeros(0, np.float32)

    @property
    def has_face(self) -> bool:
        """Is a face seen in most frames?"""
        return bool(self.seen.present.mean() >= PRESENT)

    @property
    def why_no_speaker(self) -> str:
        """Why it cannot lend its speech; "" if it can."""
        if not self.has_face:
            return f"a face in {self.seen.present.mean():.0%} of the frames only"
        if np.nanstd(self.seen.openness) < MOVES:
            return "the mouth hardly moves"
        heard = voiced(self.sound, self.seen.rate, len(self.seen))
        return "" if heard.mean() >= SPEAKS else f"speech in {heard.mean():.0%} of the frames only"


@dataclass(frozen=True)
class Pair:
    """video: the clip to dub; speech: a sound file, or a script for `said`; donor: the clip of the one who speaks, None
    where nobody is seen to."""

    kind: Literal["foreign", "script"]
    video: Clip
    speech: Path
    donor: Clip | None = None
    said: Said | None = field(default=None, repr=False)

    @property
    def name(self) -> str:
        """Of its files and pictures."""
        return f"{self.video.name}--{self.speech.stem if self.kind == 'foreign' else 'script'}"


def clips_in(
    folder: Path, seconds: float, landmarks: str, only: Sequence[str] = ()
) -> tuple[list[Clip], dict[str, str]]:
    """The films with a face in order of their names, and why each other file was left out. only: names of the files to
    look at, () for all; SystemExit for one that is not there."""
    files = sorted(one for one in folder.iterdir() if one.is_file() and not one.name.startswith("."))
    if absent := set(only) - {one.name for one in files}:
        raise SystemExit(f"--only: {', '.join(sorted(absent))} not in {folder}")
    clips, left = [], {}
    for path in (one for one in files if not only or one.name in only):
        clip = Clip(path, seconds, landmarks)
        try:
            if clip.has_face:
                clips.append(clip)
            else:
                left[path.name] = clip.why_no_speaker
        except RaydubError as error:
            left[path.name] = f"{error.code}: {error}"
    return clips, left


def foreign_pairs(clips: Sequence[Clip], folder: Path) -> tuple[list[Pair], dict[str, str]]:
    """A pair for each clip that finds a speaker, and why others find none. Speech is written to `folder`."""
    pairs, without = [], {}
    for at, clip in enumerate(clips):
        others = [clips[(at + step) % len(clips)] for step in range(1, len(clips))]
        donor = next((o for o in others if not o.why_no_speaker and not same_person(o.faces, clip.faces)), None)
        if donor is None:
            without[clip.path.name] = "no other speaker among the clips"
            continue
        pairs.append(Pair("foreign", clip, write_sound(donor.sound, folder / f"{donor.name}.wav"), donor))
    return pairs, without


def given_pairs(clips: Sequence[Clip], speech: Path, folder: Path) -> list[Pair]:
    """Each clip with the next file of the folder `speech`, its first seconds written to `folder`. SystemExit for a
    folder without files."""
    files = sorted(one for one in speech.iterdir() if one.is_file() and not one.name.startswith("."))
    if not files:
        raise SystemExit(f"--speech {speech}: no files")
    pairs = []
    for at, clip in enumerate(clips):
        donor = Clip(files[at % len(files)], clip.seconds, clip.landmarks)
        sound = write_sound(donor.sound, folder / f"{donor.name}.wav")
        pairs.append(Pair("foreign", clip, sound, donor if _shows_face(donor) else None))
    return pairs


def script_pairs(clips: Sequence[Clip], folder: Path) -> list[Pair]:
    """A script for each clip, beginning with another line each time."""
    pairs = []
    for at, clip in enumerate(clips):
        said = say(float(len(clip.seen) / clip.seen.rate), at)
        path = folder / f"{clip.name}.srt"
        path.write_text(said.srt, encoding="utf-8")
        pairs.append(Pair("script", clip, path, said=said))
    return pairs


def write_sound(samples: F32, path: Path) -> Path:
    """(n,) float32 mono at RATE Hz as a wav file of 16 bits."""
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(np.rint(np.clip(samples, -1, 1) * 32767).astype("<i2").tobytes())
    return path


def _shows_face(clip: Clip) -> bool:
    try:
        return not clip.why_no_speaker
    except RaydubError:
        return False
