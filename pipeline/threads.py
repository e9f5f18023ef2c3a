"""Keeps the workers of one machine from fighting over its cores: every library is told how many threads it may run."""

from __future__ import annotations

import os
import sys


def thread_environment(threads: int) -> dict[str, str]:
    """Environment for a worker that is to run `threads` threads.

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
        "RAYDUB_THREADS": count,
    }


def limit_threads(threads: int) -> None:
    """Tell the libraries that this process has imported already."""
    os.environ.update(thread_environment(threads))
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)
    if "cv2" in sys.modules:
        sys.modules["cv2"].setNumThreads(threads)
