"""From a job's options to its lip engine and device."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import TYPE_CHECKING

from manifests.options import Options, lip_engine

if TYPE_CHECKING:
    from stages.engine import LipEngine

LICENCE_VARIABLE = "RAYDUB_ACCEPT_LICENSE"
_FIELDS = {"engine", "model", "precision", "paste", "mel_offset_frames"}


def engine_key(options: Options) -> str:
    """Equal for options that mean the same engine."""
    return json.dumps(options.model_dump(mode="json", include=_FIELDS), sort_keys=True)


def make_job_engine(options: Options) -> LipEngine:
    """The engine that a job asks for, not loaded yet. Raises DependencyError WEIGHTS_* or LICENCE."""
    from stages.lipsync.select import make_engine

    engine: LipEngine = make_engine(
        options.engine,
        options.model,
        paste=options.paste,
        mel_offset_frames=options.mel_offset_frames,
        precision=options.precision,
    )
    return engine


def pick_device(wanted: str) -> str:
    """ "auto" → "cuda" where torch sees a GPU that works, else "cpu"."""
    if wanted != "auto":
        return wanted
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def resolved_engine(options: Options) -> str:
    """ "warp" or "wav2lip": what engine=auto stands for in this job."""
    return lip_engine(options.engine, options.model)


def weights_digests(options: Options) -> tuple[str, ...]:
    """sha256 of each weights file that the job's engine would use, as its records will say, without loading the engine
    or any heavy package. Raises DependencyError WEIGHTS_MISSING, WEIGHTS_REFUSED."""
    from models.load import check_file, sha256_of

    if options.model is None:
        return (_embedded_digest(),)
    return (sha256_of(check_file(options.model)),)


@lru_cache(maxsize=1)
def _embedded_digest() -> str:
    from models.load import sha256_of
    from models.mouth.embedded import EMBEDDED

    return sha256_of(EMBEDDED)
