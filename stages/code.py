"""What the code is that decides frames: a digest of its files as they are installed, part of the key of whatever they
make. So nobody has to raise a number when a stage changes, and what an edited stage makes is never mistaken for what it
made before. Every byte counts, comments too: an edit costs the work again, a missed one would cost its truth.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from pathlib import Path

import raydub

TRACKING = ("media", "models/face_detectors.py", "stages/types.py", "stages/track")
"""What raw tracks depend on: reading, the face models' wrappers, the tracker."""
DECIDING = ("media", "models", "stages")
"""What plans and parts depend on."""
_APART = ("media/fetch", "models/store", "models/mouth/train")
"""Below these, but for nothing that decides a frame: how files come here, and how weights were made."""


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
    """code_digest() as this process found it when it first asked: what it has imported does not change any more."""
    return code_digest(places)


def _modules(root: Path, place: str) -> list[tuple[str, Path]]:
    """(name below the package, file) of each module in a file or folder."""
    start = root / place
    if start.suffix == ".py":
        paths = [start if start.is_file() else start.with_suffix(".pyc")]
    else:
        paths = list(start.rglob("*.py")) or [path for path in start.rglob("*.pyc") if "__pycache__" not in path.parts]
    named = [(path.relative_to(root).as_posix(), path) for path in paths]
    return [(name, path) for name, path in named if not name.startswith(_APART)]
