"""Once per job: check the inputs, compute what belongs to the whole job, decide the timeline, store it all.

Everything is kept in the store of the work folder (raydub.store): the plan as `jobs/<job key>/plan`, tracks, frame
indexes and results of engines' prepare() under their own keys. The job key is a hash of the content of video, speech
and reference pictures, of the options, of engine, post-processors and their weights, and of the code (stages.code): the
same job finds its plan again and computes only what is missing; two jobs that differ only in the name of their output
share one. Parts are known by what decides each of them (stages.keys): a job whose speech has changed in one place
shares all other parts with the earlier one.

The inputs are watched from the first read to the last, so results are made of the content that their key names.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from raydub.arrays import I64
from raydub.errors import RaydubError
from raydub.manifests.job import Job
from raydub.manifests.options import MARK_FIELDS, POST_FIELDS, RUN_FIELDS, SOUND_FIELDS, Options
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.frames import Transform, open_frames
from raydub.media.hdr import HLG
from raydub.media.info import VideoInfo
from raydub.media.probe import probe_video
from raydub.media.watch import Input, Watch
from raydub.models.face_landmarks import resolve_landmarks
from raydub.present import to_text
from raydub.sealed import key_of
from raydub.stages.audio_features import extract_features
from raydub.stages.code import DECIDING, TRACKING, running
from raydub.stages.engine import ChoosesMouths, LipEngine
from raydub.stages.faces import FaceFinder, FacePlan, WantedFace, constant_box
from raydub.stages.heard import doubts, voices_in
from raydub.stages.inputs import deciding_inputs, in_words_of, local_inputs, speech_identity
from raydub.stages.job_plan import (
    LABEL_FILE,
    JobPlan,
    chunk_length,
    chunks_of,
    job_dir_of,
    load_plan,
    load_source,
    load_speech,
    load_voiced,
    put_arrays,
    save_plan,
    voices_of,
    whole,
)
from raydub.stages.keys import part_keys
from raydub.stages.learnt import learn
from raydub.stages.lipsync.installed import InstalledEngine
from raydub.stages.marks.label import digest_of, draw_label
from raydub.stages.post_processor import PostProcessor
from raydub.stages.post_processors import plan_post_processing, post_process_costs
from raydub.stages.source_timeline import Timeline
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.types import Span
from raydub.store import Store

__all__ = ["JobPlan", "chunks_of", "load_plan", "load_source", "load_speech", "load_voiced", "prepare_job"]

_SEARCH_FRAMES = 600
"""Source frames per window when a whole source is searched for faces."""


def prepare_job(
    job: Job,
    work_dir: str,
    engine: LipEngine,
    fetch: FetchPolicy | None = None,
    post_processors: Sequence[PostProcessor] = (),
) -> JobPlan:
    """The plan of a job, with everything that it refers to. Repeating it costs a check of the inputs. Web addresses are
    fetched first, as `fetch` allows (None: as the environment does); the plan's own job has the local paths.

    Raises InputError for inputs that cannot be used or that change (INPUT_*, VIDEO_*, SPEECH_*, FACE_NONE,
    REFERENCE_FACE) or that post-processors refuse (outscale), DependencyError for absent models or weights, StageError
    for the work folder (STORAGE, DISK_FULL); all name the job.
    """
    local = job
    try:
        local, doubts = local_inputs(job, work_dir, fetch)
        plan = _prepare(local, work_dir, engine, post_processors)
    except RaydubError as error:
        raise in_words_of(job, local, error).at(job=job.id, line=job.line) from error.__cause__
    return plan.model_copy(update={"warnings": (*plan.warnings, *doubts)})


def _prepare(job: Job, work_dir: str, engine: LipEngine, post_processors: Sequence[PostProcessor]) -> JobPlan:
    options, store = job.options, Store(work_dir)
    inputs = deciding_inputs(job, store.identities)
    watch = Watch(inputs, store.identities)
    video = probe_video(job.video, images_rate=options.fps, store=store)
    watch_video = Watch([Input("video", video.path, video.identity, video.look)])
    transform = Transform(crop=options.crop, rotate=options.rotate, resize_height=options.resize_height)
    size = transform.size(video.width, video.height)
    voices = voices_of(job)
    weights = engine.weights()
    sharper = tuple(record for post_processor in post_processors for record in post_processor.weights())
    finishing = plan_post_processing(post_processors, size)
    chooses = isinstance(engine, ChoosesMouths)
    faces = _face_plan(options, [voice.face for voice in voices], video, transform, size, store, people=chooses)
    source = {
        "code": running(DECIDING),
        "video": video.identity,
        "options": _deciding(options, POST_FIELDS | SOUND_FIELDS | MARK_FIELDS),
        "faces": faces.deciding(),
        "engine": [engine.name, engine.release if isinstance(engine, InstalledEngine) else ""],
        "weights": [record.sha256 for record in weights],
    }
    finish = [asdict(finishing), [record.sha256 for record in sharper]]
    label = draw_label(options, finishing.out_size)
    label_digest = "" if label is None else digest_of(label)
    decided = {
        **source,
        "options": _deciding(options, SOUND_FIELDS),
        "speech": speech_identity(job, inputs),
        "finish": finish,
        "label": label_digest,
    }
    drawn = {**source, "options": _deciding(options, SOUND_FIELDS | MARK_FIELDS | _NOT_DRAWN), "finish": finish}
    drawn["label"] = label_digest
    content = key_of(decided)
    # Jobs with the same inputs at other paths share parts, but no plan: one of them may lose or change its files.
    key = key_of([content, json.loads(to_text(job.inputs()))])  # of copies: what they are copies of
    job_dir = job_dir_of(work_dir, key)
    known = _known(job_dir)
    scoped = voices[0].spans is not None
    if known is not None and whole(known):
        timeline, arrays = known.timeline, known.arrays
    else:
        drop = options.no_face == "drop" and faces.box is None
        timeline, arrays = extract_features(
            job, video, store, key, lambda: _kept(video, transform, faces) if drop else None
        )
    if label is not None:
        arrays = {**arrays, LABEL_FILE: put_arrays(store, f"jobs/{key}/{LABEL_FILE}", label).path}
    plan = JobPlan(
        job=job,
        video=video,
        transform=transform,
        size=size,
        **asdict(finishing),
        post_seconds=sum(post_process_costs(options, size).values()) if post_processors else 0.0,
        rate=video.rate,
        sample_aspect=1 / video.sample_aspect if options.rotate in (90, 270) else video.sample_aspect,
        n_frames=timeline.n_out,
        timeline=timeline,
        faces=faces,
        chunk_frames=chunk_length(options.chunk_seconds, video.rate, timeline.n_out),
        work_dir=work_dir,
        job_dir=job_dir,
        key=key,
        content_key=content,
        arrays=arrays,
        inputs=inputs,
        engine=engine.name,
        needs_crops=engine.needs_crops,
        weights=(*weights, *sharper),
        warnings=(*_warnings(video, timeline), *doubts(faces.voices), *(job.speech.warnings if job.speech else ())),
        sound=job.speech.sound if job.speech is not None else voices[0].path,
        voices=tuple(voice.speaker for voice in voices),
        scoped=scoped,
        lip_halo=engine.halo if isinstance(engine, ChoosesMouths) else 0,
    )
    plan = learn(plan, engine, source)
    plan = plan.model_copy(update={"chunk_keys": part_keys(plan, engine, drawn)})
    watch.check()
    watch_video.check()
    save_plan(plan)
    return plan


_NOT_DRAWN = frozenset({"length", "extend", "chunk_seconds"})
"""Options that affect pixels only through the source frames of a chunk, which are in its key."""


def _face_plan(
    options: Options,
    asked: Sequence[str],
    video: VideoInfo,
    transform: Transform,
    size: tuple[int, int],
    store: Store,
    people: bool,
) -> FacePlan:
    """asked: the face of each voice, "" for the job's own choice."""
    choices = [FaceChoice.parse(face or options.face) for face in asked]
    box = constant_box(options, size)
    if box is not None:
        landmarks = resolve_landmarks(options.landmarks)
        wanted = (WantedFace(choice=choices[0]),)
        smooth = options.smooth
        return FacePlan(wanted=wanted, track=None, box=box, landmarks=landmarks, people=people, smooth=smooth)
    track = TrackConfig.plan(choices, options.detector, landmarks=options.landmarks, people=people)
    key = track.key(f"{video.identity} {running(TRACKING)} {transform.model_dump_json()}")
    voices = voices_in(video, store, key) if any(choice.kind == "active" for choice in choices) else None
    return FacePlan(
        wanted=tuple(WantedFace.of(choice, track.landmarks, store.identities) for choice in choices),
        voices=voices,
        track=track,
        landmarks=track.landmarks,
        no_face=options.no_face,
        smooth=options.smooth,
        work_dir=store.place,
        track_key=key,
    )


def _kept(video: VideoInfo, transform: Transform, faces: FacePlan) -> list[Span]:
    """The source's frames in which the chosen face is there. One window in memory at a time; tracks go to the cache."""
    finder = FaceFinder(faces)
    edges: list[int] = []
    with open_frames(video, transform) as reader:
        for start in range(0, video.n_frames, _SEARCH_FRAMES):
            span = Span(start, min(start + _SEARCH_FRAMES, video.n_frames))
            seen = finder.see(reader, span, video.n_frames)
            present = np.logical_or.reduce([track.present for track in seen.tracks])
            edges += [start + int(at) for at in np.flatnonzero(present)]
    return spans_of(np.array(edges, np.int64))


def spans_of(frames: I64) -> list[Span]:
    """Ascending frame numbers as spans."""
    if not len(frames):
        return []
    breaks = np.flatnonzero(np.diff(frames) != 1)
    starts = np.concatenate([[0], breaks + 1])
    stops = np.concatenate([breaks, [len(frames) - 1]])
    return [Span(int(frames[a]), int(frames[b]) + 1) for a, b in zip(starts, stops, strict=True)]


def _known(job_dir: str) -> JobPlan | None:
    """The plan of an earlier run, None where there is none that can be read."""
    try:
        return load_plan(job_dir)
    except RaydubError:
        return None


def _deciding(options: Options, without: frozenset[str] = frozenset()) -> dict[str, Any]:
    """The options that the job's frames depend on by value; files are identified by content elsewhere."""
    elsewhere = {"model", "face", "restore_model", "upscale_model", "label_font"}
    return options.model_dump(mode="json", exclude={*elsewhere, *RUN_FIELDS, *without})


def _warnings(video: VideoInfo, timeline: Timeline) -> tuple[str, ...]:
    found = list(video.notes)
    if video.losses:
        found.append(f"W_DAMAGED: the video is a recording with losses: {video.losses}")
    if video.variable_rate:
        found.append(
            f"W_VARIABLE_RATE: the video's frames are unevenly spaced; converted to {float(video.rate):g} a second"
        )
    if video.hdr is not None:
        found.append(f"W_HDR: the video is {'HLG' if video.hdr.transfer == HLG else 'PQ'}; converted to SDR in BT.709")
    if video.interlaced:
        found.append(
            f"W_INTERLACED: the video is interlaced; converted to progressive at {float(video.rate):g} frames a second"
        )
    if timeline.extend != "none" and video.kind != "image":
        found.append(f"W_EXTENDED: {timeline.n_shown} frames were extended to {timeline.n_out} ({timeline.extend})")
    return tuple(found)
