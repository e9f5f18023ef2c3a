"""What is asked of the speak step, and where it is kept: the part that scripts and sound files have in common."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from manifests.job import Job
from manifests.speech import SPEECH_VERSION, SpeechTracks
from media.opening import content_identity
from media.publish import sweep, write_atomic
from tts.duck import Duck, Ducking
from tts.mix import TARGET_LUFS, MixReport, mix
from tts.shape import Shape
from tts.sources import SpeechSource

TRACKS_FILE, REPORT_FILE, SOUND_FILE = "tracks.json", "timing.json", "sound.flac"


class Request(ABC):
    """What both ways have in common. Subclasses say what decides the result, and make it."""

    def __init__(self, job: Job, shape: Shape, work_dir: str, run_id: str) -> None:
        self.job, self.shape, self.work_dir, self.run_id = job, shape, work_dir, run_id
        bed = shape.bed
        self.asked: dict[str, Any] = {
            "version": SPEECH_VERSION,
            "shape": [shape.rate, shape.channels, shape.end],
            "length": job.options.length,
            "loudness": job.options.loudness,
            "warnings": shape.warnings,
            "bed": None if bed is None else [content_identity(bed.path), str(bed.origin), bed.mode],
        }

    def tracks(self) -> SpeechTracks:
        """The tracks, made unless they are there."""
        said = json.dumps({**self.asked, **self.deciding()}, sort_keys=True)
        self.folder = Path(self.work_dir) / "speech" / hashlib.sha256(said.encode()).hexdigest()[:32]
        known = _known(self.folder)
        if known is not None:
            return known if self.run_id and known.run == self.run_id else known.model_copy(update={"spoken": 0})
        made = self.make()
        write_atomic(self.folder / TRACKS_FILE, made.model_dump_json(indent=1).encode())
        sweep(self.folder)
        return made

    @abstractmethod
    def deciding(self) -> Mapping[str, Any]:
        """What else decides the tracks, as JSON values."""

    @abstractmethod
    def make(self) -> SpeechTracks:
        """Make them, in self.folder."""

    def mixed(self, voices: Mapping[str, SpeechSource], total: int) -> tuple[MixReport, dict[str, str]]:
        """The mix in SOUND_FILE, and the file of each voice alone."""
        heard = {name: str(self.folder / f"voice-{number}.flac") for number, name in enumerate(voices)}
        target = self.job.options.loudness
        made = mix(
            voices,
            heard,
            str(self.folder / SOUND_FILE),
            total=total,
            rate=self.shape.rate,
            channels=self.shape.channels,
            bed=self.shape.bed,
            target=TARGET_LUFS if target is None else target,
        )
        return made, heard

    def sounding(self, total: int) -> dict[str, Any]:
        """Fields of SpeechTracks that follow from the files that mixed() wrote."""
        sound = self.folder / SOUND_FILE
        return {
            "sound": str(sound),
            "sound_identity": content_identity(str(sound)),
            "rate": self.shape.rate,
            "samples": total,
            "run": self.run_id,
        }


def merged(spans: Sequence[tuple[int, int]], rate: int, hold: float = 0.5) -> tuple[tuple[int, int], ...]:
    """Spans in order, joined where less than `hold` seconds lie between: there the bed stays down, too."""
    return Duck(spans, rate, Ducking(hold=hold)).merged


def _known(folder: Path) -> SpeechTracks | None:
    """What an earlier run made, None where it is not whole."""
    try:
        known = SpeechTracks.model_validate_json((folder / TRACKS_FILE).read_bytes())
    except (OSError, ValueError):
        return None
    named = {known.sound: known.sound_identity, **{voice.path: voice.identity for voice in known.voices}}
    ours = {path: identity for path, identity in named.items() if Path(path).parent == folder}
    try:
        whole = all(content_identity(path) == identity for path, identity in ours.items())
    except OSError:
        return None
    others = [path for path in (*named, known.report) if path is not None and path not in ours]
    return known if whole and all(Path(path).is_file() for path in others) else None
