"""Speech tracks of a job, from a script, or from a sound file with a bed: one track per mouth, and the final sound.

Everything is stored as `speech/<key>/..`; the key covers everything that decides it, so the same request finds it
again. Single cues are stored separately (tts.engines.utterances): if one line of a script has changed, one line is
synthesised.
"""

from __future__ import annotations

from collections.abc import Sequence

from raydub.errors import Code, InputError
from raydub.manifests.job import Job
from raydub.manifests.speech import SpeechTracks
from raydub.media.probe import probe_video
from raydub.media.watch import Input, identify_source
from raydub.store import Store
from raydub.tts.engines.host import HostedEngine
from raydub.tts.mix.format import MixFormat, format_of
from raydub.tts.request import FileRequest
from raydub.tts.script_request import ScriptRequest
from raydub.tts.scripts.read import read_script


class SpeechMaker:
    """Makes the speech of jobs; keeps their engines running until close(). run_id: of the current run."""

    def __init__(self, run_id: str = "") -> None:
        self._run = run_id
        self._engines: dict[str, HostedEngine] = {}

    def make(self, job: Job, work_dir: str) -> SpeechTracks:
        """The tracks of a job with local inputs; reuses what is stored.

        Raises InputError for script, voices, speakers, video and bed (SCRIPT_*, VOICE_UNKNOWN, SPEAKER_UNKNOWN,
        INPUT_*), UsageError or DependencyError for an engine that is unknown or not installed, StageError TTS_FAILED
        and SPEECH_OVERFLOW with the cue's number, STORAGE, DISK_FULL.
        """
        store = Store(work_dir)
        inputs = _inputs(job, store)
        format = _format(job, store)
        if job.script is None:
            return FileRequest(job, format, store, self._run, inputs).tracks()
        return self._spoken(job, format, store, inputs).tracks()

    def speak(self, job: Job, format: MixFormat, work_dir: str) -> SpeechTracks:
        """The tracks of a script for a sound of this format, without reading the job's video. Raises what make()
        raises."""
        if job.script is None:
            raise ValueError("a job without a script")
        store = Store(work_dir)
        return self._spoken(job, format, store, _inputs(job, store, without=("video",))).tracks()

    def prefetch(self, job: Job, work_dir: str, first: int, stop: int) -> None:
        """Synthesise the segments first .. stop - 1 of a job's script into the cache, at their own pace and as fast as
        their times need. Raises what make() raises, except SPEECH_OVERFLOW."""
        if job.script is None:
            return
        store = Store(work_dir)
        ahead = job.model_copy(update={"options": job.options.model_copy(update={"overflow": "trim"})})
        request = self._spoken(ahead, _format(job, store), store, _inputs(job, store))
        request.placed(request.script.segments[first:stop])

    def close(self) -> None:
        """End the engines."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _spoken(self, job: Job, format: MixFormat, store: Store, inputs: Sequence[Input]) -> ScriptRequest:
        if job.script is None:
            raise ValueError("a job without a script")
        engine = self._engine(job.options.tts)
        return ScriptRequest(job, format, store, self._run, inputs, read_script(job.script), engine)

    def _engine(self, name: str) -> HostedEngine:
        if name not in self._engines:
            self._engines[name] = HostedEngine(name)
        return self._engines[name]


def _inputs(job: Job, store: Store, without: Sequence[str] = ()) -> list[Input]:
    """The current inputs of the job's speech; pictures of faces belong to prepare."""
    found = []
    for what, path in job.inputs().items():
        if what not in without and not what.startswith(("face", "speakers")):
            if what == "script":
                read_script(path)  # its errors are more specific than those of hashing
            try:
                seen = identify_source(path, store.identities, what.partition(":")[0])
            except InputError as error:
                if error.code is not Code.INPUT_MISSING or not what.startswith("voice"):
                    raise
                raise InputError(Code.VOICE_UNKNOWN, error.message, hint="check the path", field="voice") from error
            found.append(Input(what, path, seen.sha256, seen.look))
    return found


def _format(job: Job, store: Store) -> MixFormat:
    return format_of(job, probe_video(job.video, images_rate=job.options.fps, store=store))
