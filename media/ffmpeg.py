"""Running the ffmpeg program: which one, under a time limit, and with errors that say what it said."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from typing import Any

import ffmpeg

from raydub.errors import Code, DependencyError, RaydubError, StageError

_TAIL = 1500


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

    Raises StageError: `code` with the end of ffmpeg's own words, DISK_FULL, or TIMEOUT after `timeout` seconds.
    """
    head = [ffmpeg_binary(), "-nostdin", "-hide_banner", "-loglevel", "error", "-y"]
    command = head + ffmpeg.get_args(graph)
    process = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    try:
        _, words = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired as error:
        raise StageError(Code.TIMEOUT, f"ffmpeg was still running after {timeout:.0f} s", retryable=True) from error
    finally:
        if process.poll() is None:
            # Its own process group, so that nothing it started is left behind.
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    text = words.decode("utf-8", "replace").strip()
    if process.returncode != 0 or text:
        raise _failure(text, process.returncode, code)


def _failure(text: str, returncode: int, code: Code) -> RaydubError:
    if "No space left on device" in text or "Disk quota exceeded" in text:
        return StageError(Code.DISK_FULL, "ffmpeg found no space left to write", hint="free space")
    return StageError(code, f"ffmpeg failed (exit {returncode}): {text[-_TAIL:] or 'without a word'}")
