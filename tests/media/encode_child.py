"""Run as a program: encode one synthetic film per line of stdin and write the digest of each file, one a line.

A line is JSON: codec, size, frames, and settings to add to the encoder's own (after a colon). A process of its own,
because the environment that it tries (MALLOC_PERTURB_, the cores it may use) counts from a process's start on.
"""

from __future__ import annotations

import hashlib
import json
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

from raydub.media import writer
from raydub.media.frames import Frame
from raydub.media.info import Colour


def frame(number: int, width: int, height: int) -> Frame:
    """A moving ramp with stripes and a block that jumps: motion, edges, and a scene that changes."""
    across = np.arange(width)[None, :] + np.arange(height)[:, None]
    y = (60 + (across + 3 * number) % 60 + np.arange(height)[:, None] * 7 % 13).astype(np.uint8)
    left = 5 * number % max(1, width - 8)
    y[height // 4 : height // 2, left : left + width // 6] = 200 - 9 * number % 90
    half = (height // 2, width // 2)
    return Frame(number, y, np.full(half, 100 + number, np.uint8), np.full(half, 150 - number, np.uint8), Colour())


def encode(path: Path, codec: str, size: tuple[int, int], frames: int, added: str = "") -> bytes:
    """The bytes of a film of so many frames."""
    kept = writer._SETTINGS[codec]
    ((name, value),) = kept.items()
    writer._SETTINGS[codec] = {name: value + added}
    try:
        with writer.PartWriter(str(path), size, Fraction(25), Colour(), codec=codec) as out:
            for number in range(frames):
                out.write(frame(number, *size))
    finally:
        writer._SETTINGS[codec] = kept
    return path.read_bytes()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for line in sys.stdin:
            asked = json.loads(line)
            data = encode(
                Path(folder) / "film.mp4", asked["codec"], tuple(asked["size"]), asked["frames"], asked.get("added", "")
            )
            sys.stdout.write(hashlib.sha256(data).hexdigest() + "\n")


if __name__ == "__main__":
    main()
