"""Weights in manifests: a path, or the name of a file in the catalogue."""

from __future__ import annotations

import os
from pathlib import Path

from raydub.errors import Code, UsageError
from raydub.manifests.paths import resolve_input, scheme_of

_SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors", ".onnx", ".bin", ".model", ".dat")
_PURPOSES = {
    "model": ("lip sync", "imported"),
    "restore_model": ("face restoration", "imported"),
    "upscale_model": ("upscaling", "partner", "imported"),
}
"""What the catalogue says, in its first words, of the weights that a field can use."""


def is_path(text: str, folder: Path) -> bool:
    """Does `text` name a file rather than an entry of the catalogue? It does with a separator or a scheme, and when
    such a file lies in `folder`; of other bare words, those that are not in the catalogue but end like a weights file
    are files that are not there yet."""
    if os.sep in text or scheme_of(text) is not None or os.path.lexists(folder / text):
        return True
    from raydub.models.catalogue import find

    return find(text) is None and text.strip().casefold().endswith(_SUFFIXES)


def resolve_weights(text: str, folder: Path, field: str) -> str:
    """An absolute path (relative ones start at `folder`, as for every input), or a name of the catalogue in the
    catalogue's own spelling.

    Raises UsageError: FIELD_VALUE for a bare word that is neither, or that names weights for something else, and what
    manifests.paths.local_path raises."""
    if is_path(text, folder):
        return resolve_input(text, folder, field)
    from raydub.models.catalogue import find, way_out

    entry = find(text)
    if entry is None:
        raise UsageError(
            Code.FIELD_VALUE,
            f"{text[:80]!r} is neither a file beside the manifest nor a name in the catalogue of weights",
            field=field,
            hint=f"{way_out(text)}; a path may be absolute or start with ./",
        )
    if not entry.purpose.startswith(_PURPOSES[field]):
        raise UsageError(
            Code.FIELD_VALUE,
            f"{entry.name} is for something else: {entry.purpose}",
            field=field,
            hint="`raydub models list` shows what each is for",
        )
    return entry.name
