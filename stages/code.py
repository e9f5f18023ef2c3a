"""A digest of the installed code that decides frames, part of the key of everything that it makes: no version number
has to be raised when a stage changes, and results of edited code are never mistaken for earlier ones. Every byte
counts, comments too: an edited comment costs the work again, a missed edit would give stale results.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import raydub

TRACKING = (
    "media",
    *(f"models/face_{what}.py" for what in ("detectors", "landmarks", "mesh")),
    "stages/types.py",
    "stages/track",
)
"""The code of raw tracks: reading, the wrappers of face models, the tracker."""
SPEAKING = (
    *TRACKING,
    *(f"models/{what}" for what in ("cepstra.py", "light_asd.py", "mel.py", "mouth", "torch_file.py")),
    *(f"stages/{what}.py" for what in ("heard", "mouths/shape")),
)
"""The code of who speaks: of scores, and of the sound that they are made of."""
GALLERIES = (*TRACKING, "stages/mouths", *(f"stages/{what}.py" for what in ("engine", "faces", "lipstate")))
"""The code of galleries of mouths."""
DECIDING = ("media", "models", "stages")
"""The code of plans and parts."""
EVALUATING = (
    *TRACKING,
    *(f"models/{what}" for what in ("mel.py", "mfcc.py", "mouth", "syncnet.py")),
    *(f"stages/{what}" for what in ("evaluate", "faces.py")),
)
"""The code of evaluations."""
_APART = (
    *("media/fetch", "models/store", "models/mouth/train"),
    *("media/loudness", "media/stream_times", "models/mfcc", "models/syncnet", "stages/evaluate"),
)
"""Excluded, as it decides no frame: downloads, the weights store, training, evaluating; it counts where it is named."""


def code_digest(places: Iterable[str]) -> str:
    """SHA-256 of all modules in these files and folders of the package, sources if they are installed, else their
    bytecode. Reads about 700 kB, which takes some milliseconds."""
    root = Path(raydub.__file__).parent
    found = {name: path for place in places for name, path in _modules(root, place)}
    digest = hashlib.sha256()
    for name in sorted(found):
        data = found[name].read_bytes()
        digest.update(f"{name} {len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()


@functools.cache
def running(places: tuple[str, ...]) -> str:
    """code_digest() at the first call of this process: imported code does not change afterwards."""
    return code_digest(places)


def _modules(root: Path, place: str) -> list[tuple[str, Path]]:
    """(name below the package, file) of each module in a file or folder."""
    start = root / place
    if start.suffix == ".py":
        paths = [start if start.is_file() else start.with_suffix(".pyc")]
    else:
        paths = list(start.rglob("*.py")) or [path for path in start.rglob("*.pyc") if "__pycache__" not in path.parts]
    named = [(path.relative_to(root).as_posix(), path) for path in paths]
    apart = tuple(one for one in _APART if not place.startswith(one))
    return [(name, path) for name, path in named if not name.startswith(apart)]
