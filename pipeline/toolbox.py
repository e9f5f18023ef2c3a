"""The real stages behind the steps, with the lip engines and finishers that this worker has loaded."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from raydub.errors import RaydubError
from raydub.identity import changed
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.media.fetch_policy import FetchPolicy
from raydub.pipeline.engines import (
    LICENCE_VARIABLE,
    engine_key,
    finish_key,
    finishes,
    make_finishers,
    make_job_engine,
    pick_device,
)
from raydub.pipeline.events import Planned
from raydub.pipeline.failures import while_loading
from raydub.pipeline.steps import WorkSettings
from raydub.stages.engine import LipEngine, WeightsRecord
from raydub.stages.prepare import JobPlan, chunks_of, load_plan, prepare_job
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk
from raydub.store import verified
from raydub.tts.engines.find import COMMAND_VARIABLE

if TYPE_CHECKING:
    from raydub.stages.render import RenderStage
    from raydub.stages.synthesise import LipsyncStage

# Engines hold networks (up to 150 MB each): a worker keeps the last few that its jobs asked for.
_KEPT_ENGINES = 2


class StageToolbox:
    """See pipeline.steps.Toolbox. Stages are imported when first needed, so a worker pays only for its own."""

    def __init__(self, settings: WorkSettings) -> None:
        self._settings = settings
        if settings.licences:
            # Consent was given on the driver's machine; workers on other nodes look for it in their environment.
            os.environ[LICENCE_VARIABLE] = settings.licences
        if settings.tts_command:
            os.environ[COMMAND_VARIABLE] = settings.tts_command
        self._stages: dict[tuple[str, str], Any] = {}

    def speak(self, job: Job) -> Job:
        """Speak the script, mix its speech with the bed; everything is written in the work folder."""
        from raydub.stages.inputs import in_words_of, local_inputs
        from raydub.tts.track import SpeechMaker

        maker: SpeechMaker = self._stage("speak", "", lambda: SpeechMaker(self._settings.run_id))
        local, doubts = local_inputs(job, self._settings.work_dir, FetchPolicy.from_words(self._settings.fetch))
        try:
            speech = maker.make(local, self._settings.work_dir)
        except RaydubError as error:
            raise in_words_of(job, local, error).at(job=job.id, line=job.line) from error.__cause__
        speech = speech.model_copy(update={"warnings": (*speech.warnings, *doubts)})
        return job.model_copy(update={"speech": speech})

    def rehearse(self, job: Job, first: int, stop: int) -> None:
        """Speak the cues first .. stop - 1 of a script into the cache."""
        from raydub.stages.inputs import local_inputs
        from raydub.tts.track import SpeechMaker

        maker: SpeechMaker = self._stage("speak", "", lambda: SpeechMaker(self._settings.run_id))
        local, _ = local_inputs(job, self._settings.work_dir, FetchPolicy.from_words(self._settings.fetch))
        maker.rehearse(local, self._settings.work_dir, first, stop)

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        """Probe, decode the speech, decide the timeline; everything is written in the job's folder."""
        allowed = FetchPolicy.from_words(self._settings.fetch)
        finishers = make_finishers(job.options)
        plan = prepare_job(job, self._settings.work_dir, self._engine(job.options), allowed, finishers)
        chunks = chunks_of(plan)
        planned = Planned(
            job.id,
            plan.job_dir,
            len(chunks),
            plan.n_frames,
            warnings=tuple(plan.warnings),
            engine=plan.engine,
            weights=tuple(_record(weights) for weights in plan.weights),
            inputs=_identities(job, plan),
            key=plan.content_key,
        )
        return planned, chunks

    def track(self, chunk: Chunk) -> TrackedChunk:
        """Find the faces of a chunk."""
        from raydub.stages.chunk import TrackStage

        return self._stage("track", "", TrackStage).run(chunk)  # type: ignore[no-any-return]

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        """Run the lip engine's network over a chunk."""
        from raydub.stages.synthesise import LipsyncStage

        plan = self._plan(chunk.chunk)
        options, digests = plan.job.options, _digests(plan)
        stage: LipsyncStage = self._stage(
            "lipsync",
            engine_key(options) + digests,
            lambda: LipsyncStage(self._engine(options, digests), pick_device(self._settings.device)),
        )
        if chunk.items.open.any():
            with self._loading("lipsync", stage, plan, "the lip engine"):
                stage.load()
        return stage.run(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        """Draw the mouths, finish the frames, encode and publish the part."""
        from raydub.stages.render import RenderStage

        plan = self._plan(chunk.chunk)
        options, digests = plan.job.options, _digests(plan)
        stage: RenderStage = self._stage(
            "render",
            engine_key(options) + finish_key(options) + digests,
            lambda: RenderStage(self._engine(options, digests), make_finishers(options)),
        )
        if finishes(options):
            with self._loading("render", stage, plan, "restoring and upscaling"):
                stage.load(pick_device(self._settings.device))
        return stage.run(chunk, out_path)

    def stitch(self, job: Job, job_dir: str, parts: Sequence[Part]) -> tuple[str, int]:
        """Join, add the sound, publish. Jobs that differ only in their output share a folder, hence the job's own
        path."""
        from raydub.stages.stitch import stitch_job

        plan = load_plan(job_dir)
        for part in parts:
            verified(part.path)
        done = stitch_job(plan.model_copy(update={"job": job}), parts)
        return done.output, done.frames

    def _plan(self, chunk: Chunk) -> JobPlan:
        return load_plan(chunk.job_dir)

    def _engine(self, options: Options, digests: str = "") -> LipEngine:
        """digests: of the weights that are wanted; networks of others under the same name are not."""
        return self._stage("engine", engine_key(options) + digests, lambda: make_job_engine(options))  # type: ignore[no-any-return]

    @contextmanager
    def _loading(self, kind: str, stage: LipsyncStage | RenderStage, plan: JobPlan, what: str) -> Iterator[None]:
        """Around the loading of networks: the files are those that the plan was made with, before and after it. Raises
        InputError INPUT_CHANGED; the stage is then forgotten with what it has loaded."""
        with while_loading(what):
            try:
                _same_weights(plan, stage.weights())
                yield
                _same_weights(plan, stage.weights())
            except BaseException:
                for name in [name for name in self._stages if name[0] in (kind, "engine")]:
                    del self._stages[name]
                raise

    def _stage(self, kind: str, key: str, make: Any) -> Any:
        known = self._stages.get((kind, key))
        if known is None:
            same = [name for name in self._stages if name[0] == kind]
            for name in same[: max(0, len(same) - _KEPT_ENGINES + 1)]:
                del self._stages[name]
            with while_loading(f"the stage {kind}"):
                known = self._stages[(kind, key)] = make()
        return known


def _digests(plan: JobPlan) -> str:
    return " ".join(record.sha256 for record in plan.weights)


def _same_weights(plan: JobPlan, records: Sequence[WeightsRecord]) -> None:
    wanted = {record.sha256 for record in plan.weights}
    for record in records:
        if record.sha256 not in wanted:
            raise changed(f"weights {record.name}")


def _identities(job: Job, plan: JobPlan) -> dict[str, str]:
    """SHA-256 of what each input held, by the name of Job.inputs()."""
    seen = {"video": plan.video.identity, **{one.what: one.identity for one in plan.inputs}}
    return {name: seen[name] for name in job.inputs()}


def _record(weights: Any) -> Mapping[str, str]:
    return {name: getattr(weights, name) for name in ("name", "sha256", "licence", "consent")}
