"""From a script, or a sound file that wants a bed, to the tracks of a job: what each mouth says, and what is heard.

Everything lies in `<work_dir>/speech/<key>/`; the key covers all that decides it, so the same request finds it again.
Single cues are kept beside it (tts.utterances): of a script in which one line has changed, one line is spoken.
"""

from __future__ import annotations

from pathlib import Path

from manifests.job import Job
from manifests.speech import SpeechTracks
from media.probe import probe_video
from media.publish import sweep
from tts.engines.host import HostedEngine
from tts.heard import HeardRequest
from tts.scripts.read import read_script
from tts.shape import Shape, shape_of
from tts.spoken import SpokenRequest
from tts.utterances import utterances_folder


class SpeechMaker:
    """Makes the speech of jobs; keeps the engines of its jobs running. Close it at the end. run_id: of the run that it
    works for."""

    def __init__(self, run_id: str = "") -> None:
        self._run = run_id
        self._engines: dict[str, HostedEngine] = {}
        self._swept = False

    def make(self, job: Job, work_dir: str) -> SpeechTracks:
        """The tracks of a job with local inputs; nothing is done that is there already.

        Raises InputError for script, voices, speakers, video and bed (SCRIPT_*, VOICE_UNKNOWN, SPEAKER_UNKNOWN,
        INPUT_*), UsageError or DependencyError for an engine that is unknown or not installed, StageError TTS_FAILED
        and SPEECH_OVERFLOW with the cue's number, STORAGE, DISK_FULL.
        """
        shape = _shape(job, work_dir)
        if job.script is None:
            return HeardRequest(job, shape, work_dir, self._run).tracks()
        return self.speak(job, shape, work_dir)

    def speak(self, job: Job, shape: Shape, work_dir: str) -> SpeechTracks:
        """The tracks of a script for a sound of this shape; the job's video is not looked at. Raises what make()
        raises."""
        if job.script is None:
            raise ValueError("a job without a script")
        script = read_script(job.script)
        if not self._swept:
            # What dead workers were writing; a folder of many files, so once is enough.
            sweep(utterances_folder(work_dir))
            self._swept = True
        return SpokenRequest(job, shape, work_dir, self._run, script, self._engine(job.options.tts)).tracks()

    def rehearse(self, job: Job, work_dir: str, first: int, stop: int) -> None:
        """Speak the segments first .. stop - 1 of a job's script into the cache, at their own pace and as fast as their
        times ask for. Raises what make() raises, but for SPEECH_OVERFLOW."""
        if job.script is None:
            return
        script = read_script(job.script)
        ahead = job.model_copy(update={"options": job.options.model_copy(update={"overflow": "trim"})})
        engine = self._engine(job.options.tts)
        request = SpokenRequest(ahead, _shape(job, work_dir), work_dir, self._run, script, engine)
        request.placed(script.segments[first:stop])

    def close(self) -> None:
        """End the engines."""
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()

    def _engine(self, name: str) -> HostedEngine:
        if name not in self._engines:
            self._engines[name] = HostedEngine(name)
        return self._engines[name]


def _shape(job: Job, work_dir: str) -> Shape:
    video = probe_video(job.video, images_rate=job.options.fps, index_dir=str(Path(work_dir) / "index"))
    return shape_of(job, video)
