"""Weights in manifests: a path, or a name in the catalogue."""

from __future__ import annotations

import os
from pathlib import PurePath

from raydub.errors import Code, UsageError
from raydub.manifests.paths import resolve_file, scheme_of

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".bin", ".model", ".dat")
_PURPOSES = {
    "model": ("lip sync", "imported"),
    "restore_model": ("face restoration", "imported"),
    "upscale_model": ("upscaling", "partner", "imported"),
}
"""First words of the catalogue's purpose for weights that a field can use."""
WEIGHT_FIELDS = tuple(_PURPOSES)
"""Fields that name weights."""


def is_path(text: str, folder: PurePath) -> bool:
    """Whether `text` is a path rather than a catalogue name: it has a separator or a scheme, or exists in `folder`, or
    has the suffix of a weights file and is not in the catalogue (a file that does not exist yet)."""
    if os.sep in text or scheme_of(text) is not None or os.path.lexists(folder / text):
        return True
    from raydub.models.catalogue import find

    return find(text) is None and text.strip().casefold().endswith(_SUFFIXES)


def resolve_weights(text: str, folder: PurePath, field: str) -> str:
    """An absolute path (relative ones start at `folder`, as for every input), or a catalogue name in its canonical
    spelling.

    Raises UsageError: FIELD_VALUE for a word that is neither, or for weights of another purpose, and what
    manifests.paths.local_path raises."""
    if is_path(text, folder):
        return resolve_file(text, folder, field)
    from raydub.models.catalogue import find, way_out

    entry = find(text)
    if entry is None:
        raise UsageError(
            Code.FIELD_VALUE,
            f"{text[:80]!r} is neither a file next to the manifest nor a name in the catalogue of weights",
            field=field,
            hint=f"{way_out(text)}; a path may be absolute or start with ./",
        )
    if not entry.purpose.startswith(_PURPOSES[field]):
        raise UsageError(
            Code.FIELD_VALUE,
            f"{entry.name} has another purpose: {entry.purpose}",
            field=field,
            hint="`raydub models list` shows the purpose of each",
        )
    return entry.name
