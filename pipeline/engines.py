"""Create a job's lip engine and post-processors from its options, and choose their device."""

from __future__ import annotations

import json
import logging
from functools import lru_cache
from typing import TYPE_CHECKING

from raydub.manifests.options import (
    EMBEDDED_ENGINES,
    LIP_ENGINES_BUILT_IN,
    POST_FIELDS,
    Options,
    lip_engine,
)
from raydub.manifests.sharper import job_weights, restore_weights, upscale_weights

if TYPE_CHECKING:
    from raydub.stages.engine import LipEngine
    from raydub.stages.post_processor import PostProcessor

_log = logging.getLogger(__name__)
LICENCE_VARIABLE = "RAYDUB_ACCEPT_LICENSE"
_FIELDS = {"engine", "engine_options", "model", "precision", "paste", "mel_offset_frames"}


def engine_key(options: Options) -> str:
    """A key that is equal for options with the same engine."""
    return json.dumps(options.model_dump(mode="json", include=_FIELDS), sort_keys=True)


def finishes(options: Options) -> bool:
    """Whether the job restores or upscales."""
    return restore_weights(options) is not None or upscale_weights(options) is not None


def finish_key(options: Options) -> str:
    """A key that is equal for options with the same post-processors; "" for none."""
    if not finishes(options):
        return ""
    return json.dumps(options.model_dump(mode="json", include={*POST_FIELDS, "precision"}), sort_keys=True)


def make_job_engine(options: Options) -> LipEngine:
    """The job's lip engine, not loaded. Raises DependencyError WEIGHTS_* or LICENCE."""
    from raydub.stages.lipsync.select import make_engine

    engine: LipEngine = make_engine(
        options.engine,
        options.model,
        paste=options.paste,
        mel_offset_frames=options.mel_offset_frames,
        precision=options.precision,
        options=json.loads(options.engine_options or "{}"),
    )
    return engine


def make_post_processors(options: Options) -> tuple[PostProcessor, ...]:
    """The job's post-processors, in order, not loaded; () for none. Raises UsageError for contradicting options."""
    if not finishes(options):
        return ()
    from raydub.stages import post_processors

    return post_processors.make_post_processors(options)


def engine_device(options: Options, wanted: str) -> str:
    """pick_device() for the job's lip engine. The embedded engines have no network for a GPU: "cpu" whatever is wanted,
    without importing torch."""
    return "cpu" if resolved_engine(options) in EMBEDDED_ENGINES else pick_device(wanted)


def pick_device(wanted: str) -> str:
    """ "auto" → "cuda" if torch can use a GPU, else "cpu", with a warning if there is one; without importing torch if
    there is no driver. "cuda" is checked: DependencyError NO_GPU."""
    if wanted == "cpu":
        return wanted
    from raydub.models.device import check_cuda, cuda_problem, may_have_gpu

    if wanted != "auto":
        check_cuda(wanted)
        return wanted
    if not may_have_gpu():
        return "cpu"
    problem = cuda_problem()
    if problem is not None and problem.present:
        _warn(f"the GPU is not used: {problem.found} ({problem.hint})")
    return "cuda" if problem is None else "cpu"


@lru_cache(maxsize=8)
def _warn(text: str) -> None:
    """Once per process: a worker picks a device for every chunk."""
    _log.warning(text)


def resolved_engine(options: Options) -> str:
    """The engine's name: "own" or "wav2lip" for engine=auto."""
    return lip_engine(options.engine, options.model)


def weights_digests(options: Options) -> tuple[str, ...]:
    """sha256 of each weights file that the job's engine and post-processors would use, without downloading or loading
    weights or importing heavy packages. For an engine of another package it is the package's release. Raises
    DependencyError WEIGHTS_MISSING, WEIGHTS_REFUSED, and what stages.lipsync.installed.release_of raises."""
    from raydub.models.store.locate import known_digest

    own: tuple[str, ...] = ()
    if resolved_engine(options) not in LIP_ENGINES_BUILT_IN:
        from raydub.stages.lipsync.installed import release_of

        own = (release_of(resolved_engine(options)),)
    elif options.model is None:
        own = (_embedded_digest(),)
    return (*own, *map(known_digest, job_weights(options)))


@lru_cache(maxsize=1)
def _embedded_digest() -> str:
    from raydub.models.load import sha256_of
    from raydub.models.mouth.embedded import EMBEDDED

    return sha256_of(EMBEDDED)
