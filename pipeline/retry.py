"""Trying again what may work the second time: flaky storage, a model load that failed once, memory that was short.

Only errors that say so themselves (`RaydubError.retryable`) are tried again, a few times, with growing pauses. What is
wrong with the input, the call or the disk's size stays wrong, and fails at once.
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
    """What `call` returns. It is called up to `tries` times while it fails with errors that may pass.

    Raises its last error as it was. stage: for the log. rng: a number in [0, 1); pauses are stretched by up to a
    quarter, so that the workers of a cluster do not come back to a storage server all at once.
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
            _log.info("%s, try %d of %d, again in %.1f s: %s", stage, attempt, tries, pause, known)
        sleep(pause)
        attempt += 1


def may_pass(error: RaydubError) -> bool:
    """Is it worth another try, here and soon?"""
    if error.code is Code.INPUT_CHANGED:
        return error.retryable  # what is there now may be the input again
    if isinstance(error, _HOPELESS) or error.code in _HOPELESS_CODES:
        return False
    # Absent packages and refused weights stay so, unless whoever raised the error knows better.
    return error.retryable and not (isinstance(error, DependencyError) and error.code is Code.LICENCE)


def pause_before(attempt: int) -> float:
    """Seconds to wait before the attempt with this number, from 2 on, without jitter: 1, 2, 4 .. at most 30."""
    # The exponent is bounded too: 2.0 ** 2000 is an OverflowError.
    return min(LONGEST_PAUSE, FIRST_PAUSE * GROWTH ** min(max(0, attempt - 2), 32))
