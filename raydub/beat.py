"""Progress of a long step: the loop that does the work reports it, and the code that runs the step may listen.

A beat without a listener costs almost nothing. Listeners belong to the thread (context) that runs the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[tuple[str, Callable[[int], None]] | None] = ContextVar("beat", default=None)


def beat(stage: str, frames: int = 1) -> None:
    """Report that `frames` more frames (or faces) of this stage are done. Ignored unless a listener is set for this
    stage: several stages share code."""
    heard = _listener.get()
    if heard is not None and heard[0] == stage:
        heard[1](frames)


@contextmanager
def listening(stage: str, listener: Callable[[int], None]) -> Iterator[None]:
    """Call `listener` for the beats of a stage. It must not raise or block."""
    token = _listener.set((stage, listener))
    try:
        yield
    finally:
        _listener.reset(token)
