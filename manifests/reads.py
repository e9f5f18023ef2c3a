"""The files that jobs read, for the check of what may be written (raydub.places)."""

from __future__ import annotations

import os

from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote
from raydub.manifests.weights import WEIGHT_FIELDS
from raydub.objects.names import is_object
from raydub.places import Inputs


def add_inputs(inputs: Inputs, job: Job) -> None:
    """Add every local file of a job: videos, folders of pictures, speech, scripts, references, beds, voices, weights.
    In errors they are named "the video of line 3"."""
    named = dict(job.inputs())
    for field in WEIGHT_FIELDS:
        path = getattr(job.options, field)
        if path is not None and os.sep in path:
            named[field] = path
    for field, path in list(named.items()):
        if field.startswith("voice:"):
            named[f"{field}.json"] = f"{path}.json"
    place = "" if job.line is None else f" of line {job.line}"
    for field, path in named.items():
        if is_object(path):
            inputs.add(f"the {field.partition(':')[0]}{place}", path)
        if is_remote(path):
            continue
        words = f"the {field.partition(':')[0]}{place}"
        if os.path.isdir(path):
            from raydub.media.images import IMAGE_SUFFIXES

            inputs.add_folder(words, path, IMAGE_SUFFIXES)
        else:
            inputs.add(words, path)
