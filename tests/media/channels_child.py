"""Reads sounds in both ways, each in a process of its own, because what is tested are ends of processes.

python -m tests.media.channels_child PATH .. prints one line of JSON per path: {"status", "speech", "mono", "stereo"}:
the wait status, and the means of the middle half.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from raydub.media.audio import decode_speech
from raydub.media.sound import sound_blocks, sound_shape


def _means(path: str) -> dict[str, object]:
    found: dict[str, object] = {"channels": getattr(sound_shape(path), "channels", None)}
    speech = decode_speech(path)
    found["speech"] = float(speech[len(speech) // 4 : len(speech) // 2].mean())
    for name, count in (("mono", 1), ("stereo", 2)):
        heard = np.concatenate(list(sound_blocks(path, 48000, count)))
        found[name] = [float(mean) for mean in heard[len(heard) // 4 : len(heard) // 2].mean(axis=0)]
    return found


def main() -> None:
    """See the module."""
    for path in sys.argv[1:]:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            os.write(writing, json.dumps(_means(path)).encode())
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            said = stream.read()
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(json.dumps({"status": status, **(json.loads(said) if said else {})}) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
