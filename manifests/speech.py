"""Outputs of the speak step for a job: the tracks for its lips and the sound of its output."""

from __future__ import annotations

from fractions import Fraction

from pydantic import BaseModel, ConfigDict

SPEECH_VERSION = 2
"""Increased when the same script gives another sound or other marks than before, so that older speech is not reused."""


class VoiceTrack(BaseModel):
    """One speaker's speech alone. path: a sound file of the whole output's length; identity: SHA-256 of the file; face:
    whose mouth it moves, in the words of the field `face`, "" for the job's own; spans: (start, stop) in samples at
    SpeechTracks.rate, where this mouth may be changed, ascending; None for everywhere. level: of the speech, in dBFS,
    if it is known and the file contains speech only. sounds: a blob, the exact times of its closures, rounding and
    lip-teeth contact (an .npy file, see models.mouth.sounds), None if they are not known."""

    model_config = ConfigDict(frozen=True)

    speaker: str
    path: str
    identity: str
    face: str = ""
    spans: tuple[tuple[int, int], ...] | None = None
    level: float | None = None
    sounds: str | None = None


class VoiceWeights(BaseModel):
    """Weights of a speech engine; see manifests.results.WeightsUse."""

    model_config = ConfigDict(frozen=True)

    name: str
    sha256: str
    licence: str
    consent: str = ""


class SpeechTracks(BaseModel):
    """voices: one, or one per speaker with a face of their own; sound: the sound file of the output, with its identity;
    rate, samples: of all these files (exact length: samples / rate); timed: the script has times, so the output has the
    video's length by default; segments: cues of the script, of which `spoken` were synthesised in this run; report: the
    timing report, a JSON file, None without a script; weights: of neural voices; warnings: "W_WORD: sentence"; seconds:
    spent on it; inputs: SHA-256 of each file that was read for them, by its name in Job.inputs(); voiced: digest of
    what determines each voice's sound (tts.engines.deciding), by the voice's name."""

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
