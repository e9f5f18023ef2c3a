"""The inputs of a job as local files: inputs at web addresses and in buckets are fetched first. And what they are, by
content."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from raydub.errors import Code, RaydubError, StageError
from raydub.identity import Cache
from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote
from raydub.media.fetch import fetch
from raydub.media.fetch_policy import FetchPolicy
from raydub.media.fetch_uri import redact
from raydub.media.watch import Input, identify_source
from raydub.objects.names import is_object

_OWN_FOLDERS = frozenset({"blobs", "fetching", "refs", "runs", "tmp"})


def local_inputs(job: Job, work_dir: str, policy: FetchPolicy | None = None) -> tuple[Job, tuple[str, ...]]:
    """The job with local paths for all its inputs, and warnings (W_REMOTE_UNCHECKED). No cost without addresses.
    Objects are fetched when they are opened. policy: for web addresses, by default the environment's.

    Raises what media.fetch.fetch and raydub.objects.near.pin raise, and StageError OUTPUT_ESCAPES for an output among
    raydub's own files.
    """
    _refuse_own(job.output, work_dir)
    asked = job.inputs()
    remote = [text for text in dict.fromkeys(asked.values()) if is_remote(text)]
    if not remote:
        return job, ()
    allowed = policy or FetchPolicy.from_environment()
    found = {text: fetch(text, work_dir, allowed) for text in remote if not is_object(text)}
    doubts = tuple(f"W_REMOTE_UNCHECKED: {one.unchecked}" for one in found.values() if one.unchecked)
    places = {text: one.path for text, one in found.items()}
    fetched = job.with_inputs({name: places[text] for name, text in asked.items() if text in places})
    return near_inputs(fetched), doubts


def near_inputs(job: Job) -> Job:
    """The job with the paths of their copies for its inputs in buckets, pinned to their content now. Raises what
    raydub.objects.near.pin raises."""
    asked = {name: text for name, text in job.inputs().items() if is_object(text)}
    if not asked:
        return job
    from raydub.objects.near import copy_of, pin

    return job.with_inputs({name: copy_of(pin(text, name.partition(":")[0])) for name, text in asked.items()})


def in_words_of(job: Job, local: Job, error: RaydubError) -> RaydubError:
    """The error of a job that ran on local copies, with the addresses of the manifest in their place."""
    places = local.inputs()
    for name, text in job.inputs().items():
        if text != places[name]:
            error.message = error.message.replace(places[name], redact(text))
    return error


def deciding_inputs(job: Job, cache: Cache) -> tuple[Input, ...]:
    """The job's inputs besides its video: the speech file, or the tracks of the speak step, pictures of faces, and the
    label's font; with their current content."""
    shown = ("face", "speakers", "label_font")
    named = {name: path for name, path in job.inputs().items() if name.startswith(shown)}
    if job.speech is None:
        assert job.audio is not None  # voices_of() has seen it
        named["audio"] = job.audio
    found = []
    for what, path in named.items():
        seen = identify_source(path, cache, what)
        found.append(Input(what, path, seen.sha256, seen.look))
    if job.speech is not None:
        # The inputs of the speak step, with the content that it used, so that video and speech match.
        read = job.inputs()
        found += [Input(what, read[what], identity) for what, identity in job.speech.inputs.items() if what in read]
        found += [Input("speech", voice.path, voice.identity) for voice in job.speech.voices]
        found.append(Input("speech", job.speech.sound, job.speech.sound_identity))
    return tuple(found)


def speech_identity(job: Job, inputs: Sequence[Input]) -> Any:
    """The speech, by content."""
    if job.speech is None:
        return next(one.identity for one in inputs if one.what == "audio")
    said = job.speech
    sounds = [Path(voice.sounds).stem if voice.sounds else "" for voice in said.voices]  # a blob's name is its content
    return [[voice.identity, voice.spans] for voice in said.voices] + [said.sound_identity, said.timed, sounds]


def _refuse_own(output: str, work_dir: str) -> None:
    if is_object(output) != is_object(work_dir):
        return
    try:
        inside = PurePosixPath(output).relative_to(work_dir).parts
    except ValueError:
        return
    if len(inside) > 1 and inside[0] in _OWN_FOLDERS:
        raise StageError(
            Code.OUTPUT_ESCAPES,
            f"the output {output} would be among raydub's own files in the work folder",
            hint="choose another folder",
        )
