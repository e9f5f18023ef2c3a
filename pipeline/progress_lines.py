"""Progress for programs: one JSON object a line (docs/progress.md).

Fields are added, never renamed or removed; SCHEMA is raised if that rule is broken.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any, Self

from raydub import __version__
from raydub.manifests.results import JobResult
from raydub.pipeline.events import Note
from raydub.pipeline.now import now_of
from raydub.pipeline.progress import QuietProgress, Ticker
from raydub.texts import strict_json

SCHEMA = 1
_EVERY = 1.0


class JsonProgress(QuietProgress):
    """Writes lines: start, planned, progress (every second), finished; the command adds the last one, end.

    write: takes a line without its end; run_id: of the run."""

    def __init__(self, jobs: int, write: Callable[[str], None], earlier: int = 0, run_id: str = "") -> None:
        super().__init__(jobs, earlier)
        self._write = write
        self._one, self._writing = threading.Lock(), threading.Lock()
        self._last = -_EVERY
        self._ticker = Ticker(_EVERY / 4, self._tell)
        self._say("start", schema=SCHEMA, raydub=__version__, run=run_id, jobs=jobs, earlier=earlier)

    def planned(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float] | None = None) -> None:
        super().planned(job_id, frames, chunks, work)
        self._say("planned", job=job_id, frames=frames, chunks=chunks)

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        names = ("status", "output", "frames", "synthesised", "error_code", "error_message", "hint", "line", "verdict")
        said = {name: getattr(result, name) for name in names}
        self._say("finished", job=result.id, **said, warnings=list(result.warnings), reasons=list(result.reasons))

    def note(self, note: Note) -> None:
        super().note(note)
        self._tell()

    def __enter__(self) -> Self:
        self._ticker.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ticker.stop()
        self._tell(last=True)

    def _tell(self, *, last: bool = False) -> None:
        with self._one:
            now = self.tally.elapsed
            if now - self._last < _EVERY and not last:
                return
            self._last = now
        self._say("progress", **now_of(self.tally).row())

    def _say(self, event: str, **said: Any) -> None:
        with self._writing:
            self._write(line_of(event, self.tally.elapsed, said))


def line_of(event: str, at: float, said: Mapping[str, Any]) -> str:
    """A line. at: seconds since the run began."""
    return strict_json({"event": event, "at": round(at, 3), **said})
