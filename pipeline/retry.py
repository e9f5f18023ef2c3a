"""Retries of errors that may be temporary: storage, model loads, memory.

Only errors with `RaydubError.retryable` are retried, a few times, with growing pauses. Input and usage errors and full
disks fail at once.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from typing import TypeVar

from raydub.errors import Code, DependencyError, InputError, InterruptedRun, RaydubError, UsageError
from raydub.pipeline.failures import as_raydub_error

TRIES = 3
FIRST_PAUSE, GROWTH, LONGEST_PAUSE = 1.0, 2.0, 30.0
"""Seconds before the second try, the factor from pause to pause, and the most seconds."""
_JITTER = 0.25

_HOPELESS = (InputError, UsageError, InterruptedRun)
_HOPELESS_CODES = (Code.DISK_FULL, Code.QUARANTINED)

_log = logging.getLogger(__name__)
T = TypeVar("T")


def with_retries(
    call: Callable[[], T],
    stage: str,
    tries: int = TRIES,
    sleep: Callable[[float], None] = time.sleep,
    rng: Callable[[], float] = random.random,
) -> T:
    """Return what `call` returns; it is called up to `tries` times while it raises retryable errors.

    Raises its last error unchanged. stage: for the log. rng: returns a number in [0, 1); pauses are extended by up to a
    quarter, so that workers do not return to a storage server at the same time.
    """
    attempt = 1
    while True:
        try:
            return call()
        except Exception as error:
            known = as_raydub_error(error, stage)
            if attempt >= tries or not may_pass(known):
                raise
            pause = pause_before(attempt + 1) * (1 + _JITTER * rng())
            _log.info("%s, try %d of %d failed, retrying in %.1f s: %s", stage, attempt, tries, pause, known)
        sleep(pause)
        attempt += 1


def may_pass(error: RaydubError) -> bool:
    """Whether a retry on this machine may succeed soon."""
    if error.code is Code.INPUT_CHANGED:
        return error.retryable  # the current file may be the input again
    if isinstance(error, _HOPELESS) or error.code in _HOPELESS_CODES:
        return False
    # Missing packages and refused weights are not retryable unless the error says so.
    return error.retryable and not (isinstance(error, DependencyError) and error.code is Code.LICENCE)


def pause_before(attempt: int) -> float:
    """Seconds to wait before attempt number `attempt`, from 2 on, without jitter: 1, 2, 4 .. at most 30."""
    # The exponent is bounded too: 2.0 ** 2000 is an OverflowError.
    return min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(max(0, attempt - 2), 32))
