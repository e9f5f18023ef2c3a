"""Trying again: a bounded number of times, with bounded pauses, and only what may pass."""

from __future__ import annotations

import errno

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, InputError, RaydubError, StageError, UsageError
from raydub.pipeline.failures import as_raydub_error, failed, while_loading
from raydub.pipeline.retry import LONGEST_PAUSE, may_pass, pause_before, with_retries
from tests.pipeline.hazards import OutOfMemoryError, Unpicklable


class Flaky:
    """Fails so often, then answers."""

    def __init__(self, failures: int, error: BaseException) -> None:
        self.failures, self.error, self.calls = failures, error, 0

    def __call__(self) -> str:
        self.calls += 1
        if self.calls <= self.failures:
            raise self.error
        return "done"


@given(failures=st.integers(0, 12), tries=st.integers(1, 10), jitter=st.floats(0, 1, exclude_max=True))
def test_success_within_the_bound_and_the_error_itself_beyond(failures: int, tries: int, jitter: float) -> None:
    error = OSError(errno.EIO, "flaky")
    call = Flaky(failures, error)
    pauses: list[float] = []
    if failures < tries:
        assert with_retries(call, "track", tries, pauses.append, lambda: jitter) == "done"
    else:
        with pytest.raises(OSError) as caught:
            with_retries(call, "track", tries, pauses.append, lambda: jitter)
        assert caught.value is error
    assert call.calls == min(failures + 1, tries)
    assert len(pauses) == call.calls - 1
    assert pauses == sorted(pauses)
    assert all(1.0 <= pause <= LONGEST_PAUSE * 1.25 for pause in pauses)


@given(st.integers(-5, 10_000))
def test_pauses_are_bounded(attempt: int) -> None:
    assert 1.0 <= pause_before(attempt) <= LONGEST_PAUSE
    assert [pause_before(n) for n in (2, 3, 4, 5)] == [1.0, 2.0, 4.0, 8.0]


@pytest.mark.parametrize(
    ("error", "again"),
    [
        (OSError(errno.EIO, "x"), True),
        (OSError(errno.ESTALE, "x"), True),
        (OSError(errno.ENOENT, "x"), True),  # not listed yet on this node
        (OSError(errno.EACCES, "x"), False),
        (OSError(errno.EROFS, "x"), False),
        (OSError(errno.ENOSPC, "x"), False),
        (OSError(errno.EDQUOT, "x"), False),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), True),
        (TimeoutError("x"), True),
        (ConnectionResetError(errno.ECONNRESET, "x"), True),
        (MemoryError(), True),
        (OutOfMemoryError("CUDA"), True),
        (RuntimeError("std::bad_alloc"), True),
        (ZeroDivisionError(), False),
        (StageError(Code.STITCH_FAILED, "x"), False),
        (StageError(Code.VERIFY_FAILED, "x", retryable=True), True),
        (StageError(Code.QUARANTINED, "x", retryable=True), False),
        (StageError(Code.DISK_FULL, "x", retryable=True), False),
        (InputError(Code.INPUT_TRUNCATED, "x", retryable=True), False),
        (UsageError(Code.FIELD_VALUE, "x", retryable=True), False),
        (DependencyError(Code.WEIGHTS_HASH, "x"), False),
    ],
    ids=repr,
)
def test_what_is_tried_again(error: Exception, again: bool) -> None:
    assert may_pass(as_raydub_error(error, "track")) == again
    call = Flaky(1, error)
    if again:
        assert with_retries(call, "track", 2, lambda _: None) == "done"
    else:
        with pytest.raises(type(error)):
            with_retries(call, "track", 2, lambda _: None)
        assert call.calls == 1


def test_the_user_is_not_asked_to_wait() -> None:
    with pytest.raises(KeyboardInterrupt):
        with_retries(Flaky(1, KeyboardInterrupt()), "track", 3, lambda _: pytest.fail("slept"))


def test_an_exception_that_will_not_be_told_is_a_row_with_a_code() -> None:
    problem = failed("j", "track", Unpicklable())
    assert problem.error["code"] == Code.INTERNAL
    assert "Unpicklable" in problem.error["message"]
    assert "Unpicklable" in problem.detail


@pytest.mark.parametrize(
    ("error", "code", "again"),
    [
        (RuntimeError("the driver did not answer"), Code.INTERNAL, True),
        (OutOfMemoryError("CUDA"), Code.OUT_OF_MEMORY, True),
        (OSError(errno.EIO, "x"), Code.STORAGE, True),
        (DependencyError(Code.WEIGHTS_MISSING, "x"), Code.WEIGHTS_MISSING, False),
    ],
)
def test_surprises_while_loading_may_pass(error: Exception, code: Code, again: bool) -> None:
    with pytest.raises(RaydubError) as caught, while_loading("the engine"):
        raise error
    assert (caught.value.code, may_pass(caught.value)) == (code, again)
    detail = failed("j", "lipsync", caught.value).detail
    assert ("the driver did not answer" in detail) == (code is Code.INTERNAL), "a surprise keeps its traceback"
