"""Limit the threads of libraries, so that the workers of one machine do not compete for its cores."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path


def thread_environment(threads: int) -> dict[str, str]:
    """Environment of a worker with `threads` threads.

    Idle OpenMP threads sleep instead of spinning: on two cores with three busy workers spinning costs more than
    waking up.
    """
    count = str(threads)
    return {
        "OMP_NUM_THREADS": count,
        "MKL_NUM_THREADS": count,
        "OPENBLAS_NUM_THREADS": count,
        "OMP_WAIT_POLICY": "PASSIVE",
        "KMP_BLOCKTIME": "0",
    }


def limit_threads(threads: int) -> None:
    """Limit the threads of this process, also in libraries that are already imported."""
    os.environ.update(thread_environment(threads))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)


def usable_cores() -> int:
    """Cores that this process may use: of its affinity and, in a container, of its quota (cgroup v2)."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text(encoding="ascii").split())
        cores = min(cores, -(-quota // period))
    return max(1, cores)
