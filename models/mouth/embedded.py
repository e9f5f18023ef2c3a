"""The path of the embedded weights and their licence, without importing torch."""

from __future__ import annotations

import functools
from pathlib import Path

from raydub.models.licences import Terms

EMBEDDED = Path(__file__).with_name("mouth.safetensors")
LICENCE = "Apache-2.0 (learned from research clips, see MODEL_CARD.md)"
LANDMARKS_KEY = "landmarks"
"""Key of a weights file's metadata: the landmarks that measured the mouths it learned from; absent in files from before
there was a choice, which learned from dlib's."""


@functools.cache
def embedded_terms(path: Path = EMBEDDED) -> Terms:
    """The terms of the embedded weights, by their own metadata: raydub's, unless they learned from landmarks that
    exclude commercial use."""
    from safetensors import safe_open

    with safe_open(str(path), framework="numpy") as file:
        learned_from = (file.metadata() or {}).get(LANDMARKS_KEY, "dlib")
    if learned_from == "mesh":
        return Terms(LICENCE)
    return Terms(
        f"{LICENCE}; learned from dlib's landmarks, which exclude commercial use",
        "false",
        "mouth weights of your own: engine=warp with 'model', and `raydub models import FILE --commercial WHY`",
    )
