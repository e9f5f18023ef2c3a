"""Uses one input as raydub does, in a process of its own, and tells what it cost: run by `cost_of`.

python -m tests.media.hostile_child ROLE PATH prints {"code", "message", "seconds", "peak_mb", "base_mb"}.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


def cost_of(role: str, path: str, timeout: float = 60.0) -> dict[str, Any]:
    """What using `path` in that role (video, audio, face) ends in: code (None when it is accepted), message, seconds,
    peak_mb (of the whole process, base_mb of it before the work). Raises subprocess.TimeoutExpired, or
    AssertionError when the process dies."""
    call = [sys.executable, "-m", "tests.media.hostile_child", role, path]
    done = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False)
    assert done.returncode == 0, (path, done.returncode, done.stderr[-2000:])
    return dict(json.loads(done.stdout.splitlines()[-1]))


def use(role: str, path: str) -> int:
    """Read all of an input, in the way of its role; how many frames or samples it had. Raises RaydubError."""
    if role == "video":
        from raydub.media.frames import open_frames
        from raydub.media.probe import probe_video

        info = probe_video(path)
        with open_frames(info) as reader:
            return sum(1 for _ in reader.frames(0, info.n_frames))
    if role == "audio":
        from raydub.media.audio import decode_speech

        return len(decode_speech(path))
    from raydub.media.images import read_upright

    return int(read_upright(path).size)


def _peak_mb() -> float:
    """Peak of resident memory of this program. Not getrusage on Linux: that counts the parent from before exec too."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """See the module."""
    import raydub.media.audio
    import raydub.media.frames  # noqa: F401
    from raydub.errors import RaydubError

    role, path = sys.argv[1:]
    base, start = _peak_mb(), time.perf_counter()
    found: dict[str, Any] = {"code": None, "message": ""}
    try:
        found["message"] = f"accepted: {use(role, path)}"
    except RaydubError as error:
        found = {"code": str(error.code), "message": str(error)}
    found |= {"seconds": time.perf_counter() - start, "peak_mb": _peak_mb(), "base_mb": base}
    sys.stdout.write("\n" + json.dumps(found) + "\n")
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
