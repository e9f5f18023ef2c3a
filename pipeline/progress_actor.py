"""Notes of progress on their way from Ray workers to the driver: a small actor that collects them until they are
fetched, and that knows the workers, so that they can be ended.

It lives on the driver's machine. When it is lost, notes are lost and the work goes on.
"""

from __future__ import annotations

import logging
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydub.pipeline.events import Note

_KEPT_NOTES = 100_000
_log = logging.getLogger(__name__)


class ProgressActor:
    """Collects notes; drain() hands them over. Holds a handle of every worker that has joined."""

    def __init__(self) -> None:
        self._notes: list[Note] = []
        self._workers: list[Any] = []

    def join(self, workers: list[Any]) -> None:
        """Actors that work for the run from now on."""
        self._workers += workers

    def leave(self) -> list[Any]:
        """All actors that joined since the last call."""
        workers, self._workers = self._workers, []
        return workers

    def note(self, note: Note) -> None:
        """Keep a note, up to a limit."""
        if len(self._notes) < _KEPT_NOTES:
            self._notes.append(note)

    def drain(self) -> list[Note]:
        """All notes since the last call."""
        notes, self._notes = self._notes, []
        return notes


def start_progress_actor() -> Any:
    """A handle of a new board, which lives as long as somebody holds the handle."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(ProgressActor).remote()


def end_workers(board: Any) -> None:
    """Kill the actors that have joined, those too that Ray is about to start again. Never raises."""
    try:
        for worker in ray.get(board.leave.remote(), timeout=5):
            ray.kill(worker)
    except Exception:
        _log.debug("the workers could not be ended", exc_info=True)


class ActorReporter:
    """Sends notes to a board without waiting for it."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._last: Any = None

    def note(self, note: Note) -> None:
        """Send and forget."""
        self._last = self._board.note.remote(note)

    def flush(self, seconds: float = 2.0) -> None:
        """Give the last note this long to arrive: for a run's last step, after which nobody fetches notes any more."""
        if self._last is not None:
            ray.wait([self._last], timeout=seconds)
