"""Once per job: look at the inputs, compute what belongs to the whole job, decide the timeline, write it all down.

Everything lies in `<work_dir>/jobs/<job key>/`; tracks lie in `<work_dir>/tracks/<track key>/`, frame indexes in
`<work_dir>/index/`, what engines learnt of a source in `<work_dir>/sources/`. The job key is a hash of the content of
video, speech and reference pictures, of the options, of engine, finishers and their weights, and of PLAN_VERSION: the
same job finds the same folder again and only computes what is missing there; two jobs that differ in their output's
name alone share one folder. Parts lie in `<work_dir>/parts/<source key>/`, by what decides each of them (stages.keys):
a job whose speech has changed in one place shares all other parts with the former one.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from manifests.job import Job
from manifests.options import FINISH_FIELDS, SOUND_FIELDS, Options
from media.fetch_policy import FetchPolicy
from media.frames import Transform
from media.info import VideoInfo
from media.opening import content_identity
from media.probe import probe_speech, probe_video
from raydub.errors import RaydubError
from stages.engine import LipEngine
from stages.faces import FaceFinder, FacePlan, WantedFace, constant_box
from stages.finish import Finisher
from stages.finishers import finish_costs, plan_finishing
from stages.hear import hear
from stages.inputs import in_words_of, local_inputs
from stages.keys import part_keys
from stages.plan import (
    MEL_FILE,
    SCOPE_FILE,
    SOURCE_FILE,
    VOICED_FILE,
    JobPlan,
    chunk_length,
    chunks_of,
    load_plan,
    load_source,
    load_speech,
    load_voiced,
    save_arrays,
    save_plan,
    voice_file,
    voices_of,
)
from stages.sample import learn
from stages.timeline import Timeline
from stages.track.config import FaceChoice, TrackConfig
from stages.types import PLAN_VERSION, Span

__all__ = ["JobPlan", "chunks_of", "load_plan", "load_source", "load_speech", "load_voiced", "prepare_job"]

_SEARCH_FRAMES = 600
"""Source frames looked at in one go when a whole source is searched for faces."""


def prepare_job(
    job: Job,
    work_dir: str,
    engine: LipEngine,
    fetch: FetchPolicy | None = None,
    finishers: Sequence[Finisher] = (),
) -> JobPlan:
    """The plan of a job, with its folder filled. Repeating it costs a look at the inputs. Web addresses are fetched
    first, as `fetch` allows (None: as the environment does); the plan's own job names the local copies.

    Raises InputError for inputs that cannot be used (INPUT_*, VIDEO_*, SPEECH_*, FACE_NONE, REFERENCE_FACE) or that
    finishers refuse (outscale), DependencyError for absent models or weights, StageError for the work folder (STORAGE,
    DISK_FULL); all name the job.
    """
    local = job
    try:
        local, doubts = local_inputs(job, work_dir, fetch)
        plan = _prepare(local, work_dir, engine, finishers)
    except RaydubError as error:
        raise in_words_of(job, local, error).at(job=job.id, line=job.line) from error.__cause__
    return plan.model_copy(update={"warnings": (*plan.warnings, *doubts)})


def _prepare(job: Job, work_dir: str, engine: LipEngine, finishers: Sequence[Finisher]) -> JobPlan:
    options, root = job.options, Path(work_dir)
    video = probe_video(job.video, images_rate=options.fps, index_dir=str(root / "index"))
    transform = Transform(crop=options.crop, rotate=_quarter(options.rotate), resize_height=options.resize_height)
    size = transform.size(video.width, video.height)
    voices = voices_of(job)
    weights = engine.weights()
    sharper = tuple(record for finisher in finishers for record in finisher.weights())
    finishing = plan_finishing(finishers, size)
    faces = _face_plan(options, [voice.face for voice in voices], video, transform, size, root)
    source = {
        "version": PLAN_VERSION,
        "video": video.identity,
        "options": _deciding(options, FINISH_FIELDS | SOUND_FIELDS),
        "faces": faces.model_dump(mode="json", exclude={"track_dir"}),
        "engine": engine.name,
        "weights": [record.sha256 for record in weights],
    }
    finish = [asdict(finishing), [record.sha256 for record in sharper]]
    decided = {
        **source,
        "options": _deciding(options, SOUND_FIELDS),
        "speech": _speech_identity(job),
        "finish": finish,
    }
    drawn = {**source, "options": _deciding(options, SOUND_FIELDS | _NOT_DRAWN), "finish": finish}
    folder = root / "jobs" / _key(decided)
    known = _known(folder)
    timeline = known.timeline if known else None
    scoped = voices[0].spans is not None
    needed = [MEL_FILE, VOICED_FILE, *([SCOPE_FILE] if scoped else [])]
    there = all((folder / voice_file(name, k)).is_file() for name in needed for k in range(len(voices)))
    if timeline is None or not there:
        drop = options.no_face == "drop" and faces.box is None
        timeline = hear(job, video, folder, lambda: _kept(video, transform, faces) if drop else None)
    plan = JobPlan(
        job=job,
        video=video,
        transform=transform,
        size=size,
        **asdict(finishing),
        finish_seconds=sum(finish_costs(options, size).values()) if finishers else 0.0,
        rate=video.rate,
        sample_aspect=1 / video.sample_aspect if options.rotate in (90, 270) else video.sample_aspect,
        n_frames=timeline.n_out,
        timeline=timeline,
        faces=faces,
        chunk_frames=chunk_length(options.chunk_seconds, video.rate),
        work_dir=work_dir,
        job_dir=str(folder),
        track_dir=faces.track_dir,
        engine=engine.name,
        needs_crops=engine.needs_crops,
        weights=(*weights, *sharper),
        warnings=(*_warnings(video, timeline), *(job.speech.warnings if job.speech else ())),
        sound=job.speech.sound if job.speech is not None else voices[0].path,
        voices=tuple(voice.speaker for voice in voices),
        scoped=scoped,
        parts_dir=str(root / "parts" / _key(drawn)),
    )
    for number in range(len(voices)):
        path = folder / voice_file(SOURCE_FILE, number)
        if not path.is_file():
            save_arrays(path, learn(plan, engine, {**source, "voice": number}, number))
    plan = plan.model_copy(update={"chunk_keys": part_keys(plan, engine, drawn)})
    save_plan(plan)
    return plan


_NOT_DRAWN = frozenset({"length", "extend", "chunk_seconds", "mark_synthetic"})
"""Options that no pixel depends on but through the source frames that a chunk shows, which its key knows."""


def _speech_identity(job: Job) -> Any:
    """What is heard, by content."""
    if job.speech is None:
        assert job.audio is not None  # voices_of() has seen it
        return probe_speech(job.audio).identity
    said = job.speech
    return [[voice.identity, voice.spans] for voice in said.voices] + [said.sound_identity, said.timed]


def _face_plan(
    options: Options,
    asked: Sequence[str],
    video: VideoInfo,
    transform: Transform,
    size: tuple[int, int],
    root: Path,
) -> FacePlan:
    """asked: whose mouth each voice moves, "" for the job's own choice."""
    choices = [FaceChoice.parse(face or options.face) for face in asked]
    box = constant_box(options, size)
    if box is not None:
        return FacePlan(wanted=(WantedFace(choice=choices[0]),), track=None, box=box, smooth=options.smooth)
    track = TrackConfig.plan(choices, options.detector)
    key = track.key(f"{video.identity} {transform.model_dump_json()}")
    return FacePlan(
        wanted=tuple(map(_wanted, choices)),
        track=track,
        no_face=options.no_face,
        smooth=options.smooth,
        track_dir=str(root / "tracks" / key),
    )


def _wanted(choice: FaceChoice) -> WantedFace:
    if choice.kind != "reference":
        return WantedFace(choice=choice)
    from stages.track.embed import reference_embedding

    reference = tuple(float(value) for value in reference_embedding(choice.image))
    # The picture is known by what it shows, not by where it lies.
    return WantedFace(choice=choice.model_copy(update={"image": content_identity(choice.image)}), reference=reference)


def _kept(video: VideoInfo, transform: Transform, faces: FacePlan) -> list[Span]:
    """The source's frames in which the chosen face is there. One window in memory at a time; tracks go to the cache."""
    from media.frames import open_frames

    finder = FaceFinder(faces)
    edges: list[int] = []
    with open_frames(video, transform) as reader:
        for start in range(0, video.n_frames, _SEARCH_FRAMES):
            span = Span(start, min(start + _SEARCH_FRAMES, video.n_frames))
            seen = finder.see(reader, span, video.n_frames)
            present = np.logical_or.reduce([track.present for track in seen.tracks])
            edges += [start + int(at) for at in np.flatnonzero(present)]
    return spans_of(np.array(edges, np.int64))


def spans_of(frames: npt.NDArray[np.int64]) -> list[Span]:
    """Ascending frame numbers as spans."""
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) != 1)
    starts = np.concatenate([[0], breaks + 1])
    stops = np.concatenate([breaks, [len(frames) - 1]])
    return [Span(int(frames[a]), int(frames[b]) + 1) for a, b in zip(starts, stops, strict=True)]


def _known(folder: Path) -> JobPlan | None:
    """The plan of an earlier run, None where there is none that can be read."""
    try:
        return load_plan(str(folder))
    except RaydubError:
        return None


def _deciding(options: Options, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The options that the job's frames depend on by value; files among them count by their content, elsewhere."""
    return options.model_dump(mode="json", exclude={"model", "face", "restore_model", "upscale_model", *without})


def _key(said: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:32]


def _warnings(video: VideoInfo, timeline: Timeline) -> tuple[str, ...]:
    found = []
    if video.losses:
        found.append(f"W_DAMAGED: the video is a recording with losses: {video.losses}")
    if video.variable_rate:
        found.append(f"W_VARIABLE_RATE: the video's frames are unevenly spaced; made {float(video.rate):g} a second")
    if timeline.extend != "none" and video.kind != "image":
        found.append(f"W_EXTENDED: {timeline.n_shown} frames were continued to {timeline.n_out} ({timeline.extend})")
    return tuple(found)


def _quarter(degrees: int) -> Any:
    return degrees
