"""Jobs with real media for fault tests, made once per session from the public-domain sample, and what their outputs
hold, frame by frame."""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from fractions import Fraction
from functools import cache
from pathlib import Path

import av

from tests.cluster.clips import make_clip, make_speech
from tests.cluster_faults.harness import Case

_SECONDS, _RATE, _CHUNK = 2.0, 25, 0.4


@cache
def _inputs() -> tempfile.TemporaryDirectory[str]:
    folder = tempfile.TemporaryDirectory(prefix="raydub-faults-")
    make_clip(Path(folder.name) / "clip.mp4", _SECONDS, Fraction(_RATE))
    make_speech(Path(folder.name) / "en.wav", _SECONDS)
    make_speech(Path(folder.name) / "es.wav", _SECONDS, language="es")
    return folder


def real_jobs(case: Case) -> int:
    """Two jobs on one clip of 50 frames in chunks of 10; returns the number of parts of both."""
    folder = Path(_inputs().name)
    for name in ("clip.mp4", "en.wav", "es.wav"):
        shutil.copy2(folder / name, case.root / name)
    case.rows(
        [{"id": name, "video": "clip.mp4", "audio": f"{name}.wav", "output": f"{name}.mp4"} for name in ("en", "es")]
    )
    case.options = (*case.options, "--set", f"chunk_seconds={_CHUNK}")
    return 2 * round(_SECONDS / _CHUNK)


def decoded(path: str | Path | None) -> list[str]:
    """A digest of every decoded picture of a file, in order, with its time."""
    with av.open(str(path)) as container:
        return [
            f"{frame.pts * frame.time_base} {hashlib.sha256(frame.to_ndarray().tobytes()).hexdigest()}"
            for frame in container.decode(video=0)
            if frame.pts is not None and frame.time_base is not None
        ]
