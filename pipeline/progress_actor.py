"""A small Ray actor that collects progress notes of workers until the driver fetches them.

It runs on the driver's node. If it is lost, notes are lost and the work continues.
"""

from __future__ import annotations

from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydub.pipeline.events import Note
from raydub.pipeline.notes import arrived

_KEPT_NOTES = 100_000


class ProgressActor:
    """Collects notes until drain()."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def note(self, note: Note) -> None:
        """Keep a note, up to a limit."""
        if len(self._notes) < _KEPT_NOTES:
            self._notes.append(arrived(note))

    def drain(self) -> list[Note]:
        """Return all notes since the last call."""
        notes, self._notes = self._notes, []
        return notes


def start_progress_actor() -> Any:
    """A handle of a new progress actor, which lives as long as the handle."""
    here: Any = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=True)
    return ray.remote(num_cpus=0, max_restarts=-1, scheduling_strategy=here)(ProgressActor).remote()


class ActorReporter:
    """Sends notes to a progress actor without waiting."""

    def __init__(self, board: Any) -> None:
        self._board = board
        self._last: Any = None

    def note(self, note: Note) -> None:
        """Send a note."""
        self._last = self._board.note.remote(note)

    def flush(self, seconds: float = 2.0) -> None:
        """Wait up to `seconds` for the last note to arrive; for a task's last note."""
        if self._last is not None:
            ray.wait([self._last], timeout=seconds)
