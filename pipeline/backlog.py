"""What is left to do of the jobs of a run, as their plans, chunks and failures become known."""

from __future__ import annotations

from collections.abc import Sequence

from raydub.manifests.job import Job
from raydub.pipeline.events import Failed, Item, Planned
from raydub.pipeline.turns import Turns
from raydub.stages.types import Chunk, Part


class Backlog:
    """The jobs of a run, and the chunks that wait for a worker. Its truth value: whether a chunk waits."""

    def __init__(self, jobs: Sequence[Job] = ()) -> None:
        self._jobs = {job.id: job for job in sorted(jobs, key=lambda job: -job.options.priority)}
        self._chunks: dict[str, int] = {}  # of each planned job; 0 if there is nothing to do
        self._seen: dict[str, set[int]] = {job.id: set() for job in jobs}  # those that have been there
        self._turns: Turns[Chunk] = Turns()

    def __bool__(self) -> bool:
        return bool(self._turns)

    @property
    def size(self) -> int:
        """The number of jobs."""
        return len(self._jobs)

    def unplanned(self) -> list[Job]:
        """The jobs whose plan or chunks are not all known, those of the highest priority first."""
        known = self._chunks
        return [job for name, job in self._jobs.items() if name not in known or len(self._seen[name]) < known[name]]

    def new(self, item: Item) -> bool:
        """Take an item of the stages per job: whether it is anything new for the driver. Plans may come twice, chunks
        are for workers."""
        if isinstance(item, Planned):
            known = self._chunks.get(item.job_id, item.n_chunks)
            self._chunks[item.job_id] = known if item.finished is None else 0
        elif isinstance(item, (Chunk, Part)):
            chunk = item if isinstance(item, Chunk) else item.chunk
            seen = self._seen[chunk.job_id]
            if chunk.index in seen or self._chunks.get(chunk.job_id) == 0:
                return False
            seen.add(chunk.index)
            if isinstance(item, Chunk):
                self.queue(item)
                return False
        elif isinstance(item, Failed):
            self.give_up(item.job_id)
        return True

    def give_up(self, job_id: str) -> None:
        """Forget what is left of a job."""
        self._turns.drop(job_id)
        self._chunks[job_id] = 0

    def queue(self, chunk: Chunk, *, again: bool = False) -> None:
        """Let a chunk wait for its turn; again: before the others of its job."""
        if self._chunks.get(chunk.job_id) != 0:
            priority = self._jobs[chunk.job_id].options.priority
            self._turns.add(chunk.job_id, [chunk], priority=priority, size=chunk.n_chunks, first=again)

    def take(self) -> Chunk | None:
        """The chunk whose turn it is; None if none waits."""
        return self._turns.take()
