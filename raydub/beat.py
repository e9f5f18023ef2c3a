"""How far a long step has come: the loop that does the work says so, whoever runs the step may listen.

A beat costs next to nothing where nobody listens. Listeners belong to the thread that runs the step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_listener: ContextVar[tuple[str, Callable[[int], None]] | None] = ContextVar("beat", default=None)


def beat(stage: str, frames: int = 1) -> None:
    """So many more frames (or faces) of this stage are done. A beat of another stage than is listened for is unheard:
    the same code serves several."""
    heard = _listener.get()
    if heard is not None and heard[0] == stage:
        heard[1](frames)


@contextmanager
def listening(stage: str, listener: Callable[[int], None]) -> Iterator[None]:
    """Hear the beats of a stage. The listener must never raise and never block."""
    token = _listener.set((stage, listener))
    try:
        yield
    finally:
        _listener.reset(token)
