"""What the speak step made for a job: the tracks that its lips follow and the sound that its output gets."""

from __future__ import annotations

from fractions import Fraction

from pydantic import BaseModel, ConfigDict

SPEECH_VERSION = 1
"""Raised whenever the same script would give another sound than before, so that what was made then is not used."""


class VoiceTrack(BaseModel):
    """One speaker's speech alone. path: a sound file of the whole output's length; identity: SHA-256 of the file;
    face: whose mouth it moves, in the words of the field `face`, "" for the job's own; spans: (start, stop) in samples
    at SpeechTracks.rate, where this mouth may be changed, ascending; None for everywhere. level: of the speech, in dB
    re full scale, where it is known and nothing but speech is in the file."""

    model_config = ConfigDict(frozen=True)

    speaker: str
    path: str
    identity: str
    face: str = ""
    spans: tuple[tuple[int, int], ...] | None = None
    level: float | None = None


class VoiceWeights(BaseModel):
    """A weights file that spoke; see manifests.results.WeightsUse."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    licence: str
    consent: str = ""


class SpeechTracks(BaseModel):
    """voices: one, or one per speaker who has a face of their own; sound: the file that is heard in the output, with
    its identity; rate, samples: of all these files (exact length: samples / rate); timed: the script said when its cues
    are heard, so the output lasts as long as the video unless the job says otherwise; segments: cues of the script, of
    which `spoken` had to be synthesised in this run; report: the timing report, a JSON file, None where no script was
    spoken; weights: of neural voices; warnings: "W_WORD: sentence"; seconds: spent on it; inputs: SHA-256 of each file
    that was read for them, by the name of Job.inputs(); voiced: what decides how each voice sounds that speaks in them
    (tts.engines.deciding), by its name."""

    model_config = ConfigDict(frozen=True)

    voices: tuple[VoiceTrack, ...]
    sound: str
    sound_identity: str
    rate: int
    samples: int
    timed: bool = False
    segments: int = 0
    spoken: int = 0
    run: str = ""
    report: str | None = None
    weights: tuple[VoiceWeights, ...] = ()
    warnings: tuple[str, ...] = ()
    seconds: float = 0.0
    inputs: dict[str, str] = {}
    voiced: dict[str, str] = {}

    @property
    def duration(self) -> Fraction:
        """Exact length in seconds."""
        return Fraction(self.samples, self.rate)
