"""Running the ffmpeg program: which one, under a time limit, and with errors that say what it said.

No ffmpeg outlives its caller. Each runs in a process group of its own, which is killed when its time is over or when
end_running() is called; and on Linux the kernel kills ffmpeg when the thread that waits for it dies, however that came.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import suppress
from typing import Any

import ffmpeg

from raydub.bound import bound, kill_group
from raydub.errors import Code, DependencyError, RaydubError, StageError

_TAIL = 1500
_REAP_SECONDS = 5.0  # somebody outside the group may hold the pipe of a program that is dead
_lock = threading.Lock()
_running: set[int] = set()  # process groups of ffmpegs
_ended: set[int] = set()  # those that end_running() has killed and nobody has said so yet


def ffmpeg_binary() -> str:
    """Path of ffmpeg: the system's, else the imageio-ffmpeg package's. Raises DependencyError FFMPEG_MISSING."""
    found = shutil.which("ffmpeg")
    if found:
        return found
    try:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    except (ImportError, RuntimeError) as error:
        raise DependencyError(
            Code.FFMPEG_MISSING, "no ffmpeg program found", hint="install ffmpeg, or pip install imageio-ffmpeg"
        ) from error


def run_ffmpeg(graph: Any, timeout: float, code: Code = Code.STITCH_FAILED) -> None:
    """Run an ffmpeg-python output node, overwriting its file. ffmpeg's exit code is not trusted alone: anything that it
    reports at level error counts as failure.

    Raises StageError: `code` with the end of ffmpeg's own words, DISK_FULL, or TIMEOUT after `timeout` seconds or by
    end_running().
    """
    head = [ffmpeg_binary(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    process = subprocess.Popen(
        bound(head + ffmpeg.get_args(graph)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    with _lock:
        _running.add(process.pid)
    try:
        _, words = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise _overrun(f"after {timeout:.0f} s") from error
    finally:
        with _lock:
            _running.discard(process.pid)
            stopped = process.pid in _ended
            _ended.discard(process.pid)
        if process.poll() is None:
            # The whole group, so that nothing it started is left behind.
            kill_group(process.pid)
            with suppress(subprocess.TimeoutExpired):
                process.communicate(timeout=_REAP_SECONDS)
    if stopped:
        raise _overrun("when the step's time was over")
    text = words.decode("utf-8", "replace").strip()
    if process.returncode != 0 or text:
        raise _failure(text, process.returncode, code)


def end_running() -> int:
    """Kill every ffmpeg that this process is waiting for, with all that they started; each wait ends with StageError
    TIMEOUT. Returns how many there were. For watchdogs, from any thread."""
    with _lock:
        groups = list(_running)
        _ended.update(groups)
        for group in groups:
            kill_group(group)
    return len(groups)


def _overrun(when: str) -> StageError:
    # Not retryable: it has had all its time, and what hangs once hangs again.
    return StageError(
        Code.TIMEOUT, f"ffmpeg was still running {when} and was ended", hint="run again, perhaps with --step-timeout"
    )


def _failure(text: str, returncode: int, code: Code) -> RaydubError:
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return StageError(Code.DISK_FULL, "ffmpeg found no space left to write", hint="free space")
    return StageError(code, f"ffmpeg failed (exit {returncode}): {text[-_TAIL:] or 'without a word'}")
