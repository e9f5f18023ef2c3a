"""Notes of progress on their way from Ray workers to the driver: a small actor that collects them until they are
fetched.

Only progress and benches read it. Nothing depends on it: when it is lost, notes are lost and the work goes on.
"""

from __future__ import annotations

from typing import Any

import ray

from pipeline.events import Note

_KEPT_NOTES = 100_000


class Board:
    """Collects notes; drain() hands them over."""

    def __init__(self) -> None:
        self._notes: list[Note] = []

    def note(self, note: Note) -> None:
        """Keep a note, up to a limit."""
        if len(self._notes) < _KEPT_NOTES:
            self._notes.append(note)

    def drain(self) -> list[Note]:
        """All notes since the last call."""
        notes, self._notes = self._notes, []
        return notes


def start_board() -> Any:
    """A handle of a new board, which lives as long as somebody holds the handle."""
    return ray.remote(num_cpus=0, max_restarts=-1)(Board).remote()


class BoardReporter:
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
