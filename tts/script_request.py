"""Speech of a script: cast, synthesise, place, mix."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raydub.arrays import F32
from raydub.errors import Code, InputError
from raydub.identity import changed
from raydub.manifests.fields import NOBODY
from raydub.manifests.job import Job
from raydub.manifests.speech import SpeechTracks, VoiceTrack
from raydub.media.watch import Input
from raydub.store import Artefact, Store
from raydub.tts.cast import Line, cast_of
from raydub.tts.engines.base import Engine
from raydub.tts.engines.deciding import UNNAMED, decided_by
from raydub.tts.engines.files import weights_used
from raydub.tts.engines.utterances import Speaker
from raydub.tts.lips import SpokenCue, lip_sounds
from raydub.tts.mix.format import MixFormat
from raydub.tts.mix.level import LEVEL_DB
from raydub.tts.mix.sources import PlacedSpeech, PlacedUtterance
from raydub.tts.report import timing_report
from raydub.tts.request import Request, merged
from raydub.tts.timing.place import plan_timing
from raydub.tts.timing.placement import Placement, TimingLimits
from raydub.tts.timing.stretch import stretch
from raydub.tts.types import Script, Segment


@dataclass(frozen=True)
class _Said:
    """A line and where it is heard."""

    line: Line
    place: Placement


class ScriptRequest(Request):
    """See the module docstring. engine: that of the job, closed by the caller."""

    def __init__(
        self,
        job: Job,
        format: MixFormat,
        store: Store,
        run_id: str,
        inputs: Sequence[Input],
        script: Script,
        engine: Engine,
    ) -> None:
        super().__init__(job, format, store, run_id, inputs)
        self.script, self.engine = script, engine
        if script.timed and job.options.no_face == "drop":
            raise InputError(
                Code.FIELD_CONFLICT,
                "the script's times are those of the video, but no_face=drop removes frames from it",
                hint="use no_face=keep, or a script without times",
                field="no_face",
            )
        self.lines = cast_of(script.segments, job.options, engine)
        self.by_number = {line.segment.number: line for line in self.lines}
        self.speaker = Speaker(engine, store, format.rate, run_id)
        self.voiced = self._voiced()

    def deciding(self) -> Mapping[str, Any]:
        identities = {voice: self.speaker.identity(voice) for voice in {line.voice: None for line in self.lines}}
        lines = [
            [str(value) for value in vars(line.segment).values()]
            + [line.voice.name, line.language, identities[line.voice], line.face]
            for line in self.lines
        ]
        return {
            "engine": self.engine.name,
            "overflow": self.job.options.overflow,
            "lines": lines,
            "told": self.script.warnings,
        }

    def placed(self, segments: Sequence[Segment]) -> tuple[Placement, ...]:
        """The placements of the segments. Synthesises what is needed to decide them."""

        def speak(segment: Segment, speed: float) -> int:
            return len(self._say(self.by_number[segment.number], speed))

        return plan_timing(
            segments,
            self.format.rate,
            self.format.total(self.job.options.length, self.script.timed, None),
            self.job.options.overflow,
            speak,
            TimingLimits(speed=self.engine.max_speed),
        )

    def make(self) -> SpeechTracks:
        options, rate, by_number = self.job.options, self.format.rate, self.by_number
        places = self.placed(self.script.segments)
        said = [_Said(by_number[place.segment.number], place) for place in places if place.length]
        if not said:
            raise InputError(Code.SCRIPT_EMPTY, "no cue of the script lies within the video", field="script")
        total = self.format.total(options.length, self.script.timed, max(one.place.stop for one in said))
        assert total is not None
        faces = tuple(dict.fromkeys(one.line.face for one in said))
        voices = {face: [one for one in said if one.line.face == face] for face in faces}
        sources = {face or "speech": PlacedSpeech(list(map(self._placed, ours)), rate) for face, ours in voices.items()}
        mixed, sound, files = self.mixed(sources, total)
        heard = {face: files[face or "speech"] for face in faces}
        tracks = [self._voice(face, heard[face], voices[face], total) for face in faces if face != NOBODY]
        if not tracks:
            nobody = heard[faces[0]]
            tracks = [VoiceTrack(speaker="", path=nobody.path, identity=nobody.sha256, spans=())]
        paths = {face: one.path for face, one in heard.items()}
        report = timing_report(self.job, places, by_number, self.speaker.spoken, self.format, total, mixed, paths)
        return SpeechTracks(
            voices=tuple(tracks),
            timed=self.script.timed,
            segments=len(places),
            spoken=len(self.speaker.spoken),
            report=self.put_report(report),
            weights=weights_used(self.engine.name, {one.line.voice.name: one.line.voice for one in said}.values()),
            warnings=(*self.format.warnings, *self.script.warnings, *_told(places), *mixed.warnings),
            **self.sounding(total, sound),
        )

    def check(self) -> None:
        super().check()
        if self._voiced() != self.voiced:
            raise changed("a file of the voices", again=True)

    def _voiced(self) -> dict[str, str]:
        """Digests of what decides the sound of the voices now."""
        names = {line.voice.name if line.named else UNNAMED: None for line in self.lines}
        names |= {line.voice.name: None for line in self.lines}
        try:
            return {name: decided_by(self.engine.name, name, self.store.identities) for name in names}
        except OSError as error:  # they were there when the voices were looked up
            raise changed("a file of the voices", again=True) from error

    def _say(self, line: Line, speed: float) -> F32:
        return self.speaker.say(line.segment, line.voice, line.language, speed)

    def _placed(self, said: _Said) -> PlacedUtterance:
        place, rate = said.place, self.format.rate
        wanted = place.length + place.cut

        def load() -> F32:
            samples = self._say(said.line, place.speed)
            return samples if len(samples) == wanted else stretch(samples, rate, wanted)

        return PlacedUtterance(place.start, place.length, load, f"cue {place.segment.number}")

    def _voice(self, face: str, made: Artefact, said: Sequence[_Said], total: int) -> VoiceTrack:
        """A mouth may change everywhere, unless there are other speakers in the job, or the original voices can be
        heard: then only inside its own cues, and as long as they last."""
        spans = None
        if self.format.own or self.job.options.speakers is not None:
            own = [(one.place.slot_start, max(one.place.slot_stop, one.place.stop)) for one in said]
            spans = merged(own, self.format.rate, hold=0.0)
        speakers = dict.fromkeys(one.line.segment.speaker for one in said)
        return VoiceTrack(
            speaker=", ".join(filter(None, speakers)),
            path=made.path,
            identity=made.sha256,
            face=face,
            spans=spans,
            level=LEVEL_DB,
            sounds=self._sounds(made, said, total),
        )

    def _sounds(self, made: Artefact, said: Sequence[_Said], total: int) -> str | None:
        """The blob of the voice's known sounds."""

        def cue(one: _Said) -> SpokenCue:
            line, speed = one.line, one.place.speed
            return SpokenCue(one.place, self.speaker.phonemes(line.segment, line.voice, line.language, speed))

        table = lip_sounds(map(cue, said), self.format.rate, total)
        if table is None:
            return None
        return self.store.put(f"speech/{self.key}/sounds-{made.sha256[:16]}", table, ".npy").path


def _told(places: Sequence[Placement]) -> list[str]:
    """One warning for each way in which cues did not fit."""
    words = {
        "squeezed": "spoken faster than sounds natural",
        "shifted": "heard later than the script says",
        "trimmed": "cut off",
    }
    found = []
    for action, what in words.items():
        numbers = [str(place.segment.number) for place in places if action in place.actions]
        if numbers:
            more = f" and {len(numbers) - 20} more" if len(numbers) > 20 else ""
            found.append(f"W_TIMING: {what}: cue {', '.join(numbers[:20])}{more}")
    return found
