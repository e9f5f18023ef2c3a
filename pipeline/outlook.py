"""What is left of a run, and how long it will take: the work of each stage by the table of costs, corrected by what the
steps of this run take, and placed on the workers that were seen.

The table (pipeline.costs) says how the work divides among stages and jobs of different size; the steps that have ended
say how fast these machines are with this material. Jobs without a plan are taken to be like those with one, and as much
longer or shorter as their files are. Without Ray a worker does everything, and the rest is placed order by order
(pipeline.makespan). On Ray each stage has its workers: the time is that of the stage that needs most, and of the way
behind it. Seconds are those of a worker's steps, which contain what other steps on the machine take away.
"""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from raydub.pipeline.events import Note
from raydub.pipeline.expected import PER, Alike, PlannedJob, later, load_of
from raydub.pipeline.left import Left
from raydub.pipeline.makespan import Rest, makespan
from raydub.pipeline.rates import Rates
from raydub.pipeline.registry import STAGES

_SILENT = 90.0  # seconds after which a worker without a note, and without a step, is taken to be gone
_SHORTEST = 1.5  # seconds of a step after which its frames tell a rate
_LEAST = 0.1  # of a step that takes longer than expected
_ALONE = 0.85  # of its time takes the last work: those who are left have the cores of the others
_MOST_COMING = 300
"""Jobs without a plan that are expected one by one; of more, several count as one."""

Worker = tuple[str, int]  # host and process


@dataclass
class _Step:
    """A step that a worker is at; frames: of it, as it told at the time `told`."""

    stage: str
    job: str
    chunk: int | None
    begun: float
    frames: int = 0
    told: float = 0.0


class Outlook:
    """Not thread-safe: pipeline.tally locks. workers: of a run without Ray, None if not known."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.workers: int | None = None
        self._clock = clock
        self._coming: dict[str, PlannedJob | None] = {}  # jobs without a plan, as far as they are known
        self._plans: dict[str, PlannedJob] = {}
        self._alike = Alike()
        self._early: dict[str, list[Note]] = defaultdict(list)  # ended steps of jobs whose plan is not known here
        self._steps: dict[Worker, _Step] = {}
        self._seen: dict[tuple[str, Worker], float] = {}
        self._loaded: set[tuple[str, Worker]] = set()
        self._rates = Rates()
        self._behind: Counter[str] = Counter()  # seconds of jobs with an outcome

    def expect(self, job_ids: Iterable[str]) -> None:
        """The jobs of the run, in order."""
        self._coming |= dict.fromkeys(job_ids)

    def foresee(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float]) -> None:
        """What a job will be like, before its plan."""
        if job_id in self._coming:
            self._coming[job_id] = PlannedJob.of(frames, chunks, work, prepared=False)

    def plan(self, job_id: str, frames: int, chunks: int, work: Mapping[str, float]) -> None:
        """A job was prepared. work: seconds of each of its stages by the table, {} if not known."""
        plan = self._plans[job_id] = PlannedJob.of(frames, chunks, work)
        self._alike.add(plan)
        self._coming.pop(job_id, None)
        for note in self._early.pop(job_id, ()):
            self._ended(plan, note)

    def part(self, job_id: str, frames: int, reused: bool) -> None:
        """A part of a job is there."""
        if reused and job_id in self._plans:
            self._plans[job_id].reused += frames
            self._plans[job_id].reused_chunks += 1

    def note(self, note: Note) -> None:
        """A step of a worker has begun, advanced or ended."""
        if note.stage not in PER:
            return
        worker = (note.host, note.pid)
        self._seen[(note.stage, worker)] = self._clock()
        if note.done:
            self._steps.pop(worker, None)
            note = replace(note, seconds=self._without_load(note.stage, worker, note.seconds))
            self._loaded.add((note.stage, worker))
            if not note.code:
                plan = self._plans.get(note.job_id)
                if plan is None:
                    self._early[note.job_id].append(note)
                else:
                    self._ended(plan, note)
            return
        step = self._steps.get(worker)
        if step is None or (step.stage, step.job, step.chunk) != (note.stage, note.job_id, note.chunk):
            for other, at in list(self._steps.items()):
                if (at.stage, at.job, at.chunk) == (note.stage, note.job_id, note.chunk) and note.chunk is not None:
                    del self._steps[other]  # its worker has died
            self._steps[worker] = step = _Step(note.stage, note.job_id, note.chunk, self._clock())
        step.frames, step.told = note.frames, self._clock()

    def end(self, job_id: str) -> None:
        """A job has its outcome."""
        self._coming.pop(job_id, None)
        self._early.pop(job_id, None)
        plan = self._plans.pop(job_id, None)
        if plan is not None:
            self._behind.update({stage: self._whole(job_id, plan, stage) * plan.share(stage) for stage in plan.weights})
        self._rates.forget(job_id)
        for worker in [worker for worker, step in self._steps.items() if step.job == job_id]:
            del self._steps[worker]

    def working(self) -> Mapping[str, int]:
        """Workers at each stage."""
        return Counter(step.stage for step in self._steps.values())

    def stages_of(self) -> Mapping[str, list[str]]:
        """The stages at which each job is worked on now."""
        found: dict[str, list[str]] = {}
        for step in self._steps.values():
            if step.stage not in found.setdefault(step.job, []):
                found[step.job].append(step.stage)
        return found

    def left(self, unplanned: int) -> Left:
        """What is left of the run. unplanned: number of jobs whose plan is to come."""
        self._rates.running(())
        self._rates.running(list(self._halves()))
        done, to_do, jobs = self._behind.copy(), Counter[str](), {}
        for job_id, plan in self._plans.items():
            mine = {stage: self._whole(job_id, plan, stage) for stage in plan.weights}
            left = {stage: max(0.0, seconds * (1 - plan.share(stage)) - self._advanced(job_id, stage))
                    for stage, seconds in mine.items()}  # fmt: skip
            whole = sum(mine.values())
            jobs[job_id] = 1 - sum(left.values()) / whole if whole else 1.0
            to_do.update(left)
            done.update({stage: seconds - left[stage] for stage, seconds in mine.items()})
        coming = list(self._expected_jobs(unplanned))
        for name, plan in coming:
            for stage in plan.weights:
                seconds, behind = self._whole(name, plan, stage), self._advanced(name, stage)
                to_do[stage] += max(0.0, seconds - behind)  # type: ignore[assignment]
                done[stage] += min(seconds, behind)  # type: ignore[assignment]
        stages = {stage: done[stage] / (done[stage] + to_do[stage]) for stage in PER if done[stage] + to_do[stage] > 0}
        total = sum(done.values()) + sum(to_do.values())
        share = sum(done.values()) / total if total else 0.0
        known = (self._alike.last is not None or bool(coming)) and (bool(self._steps) or sum(to_do.values()) > 1e-9)
        return Left(self._time(coming, to_do) if known else None, share, stages, jobs)

    def _ended(self, plan: PlannedJob, note: Note) -> None:
        said = plan.weights.get(note.stage, 0.0)
        before = plan.share(note.stage)
        plan.step(note.stage, note.chunk, note.frames)
        if PER[note.stage] == "chunk":
            said = plan.work(note.stage) * (plan.share(note.stage) - before)
        self._rates.took(note.job_id, note.stage, said, note.seconds)

    def _halves(self) -> Iterator[tuple[str, str, float, float]]:
        """See Rates.running. A step that takes longer than expected tells a rate too."""
        for worker, step in self._steps.items():
            plan, passed = self._known(step.job), self._clock() - step.begun
            if plan is not None and step.frames and step.told - step.begun >= _SHORTEST:
                took = self._without_load(step.stage, worker, step.told - step.begun)
                yield step.job, step.stage, plan.work(step.stage) * self._share(plan, step), took
            elif plan is not None and not step.frames and passed > (expected := self._expected(step)) > 0:
                yield step.job, step.stage, expected / self._rates.factor(step.job, step.stage), passed

    def _without_load(self, stage: str, worker: Worker, took: float) -> float:
        """Seconds of a step without what a worker's first one takes for libraries and models."""
        return took if (stage, worker) in self._loaded else max(0.3 * took, took - load_of(stage))

    def _whole(self, job_id: str, plan: PlannedJob, stage: str) -> float:
        """Seconds of a stage of a job, without parts that were there."""
        return plan.work(stage) * self._rates.factor(job_id, stage)

    def _expected_jobs(self, count: int) -> Iterator[tuple[str, PlannedJob]]:
        """Jobs without a plan, as they are expected to be; those that nothing is known of are like the others."""
        known = [(name, plan) for name, plan in self._coming.items() if plan is not None]
        yield from known
        if self._alike.last is None or count <= len(known):
            return
        names = [name for name, plan in self._coming.items() if plan is None]
        left = count - len(known)
        together = -(-left // _MOST_COMING)
        for first in range(0, left, together):
            yield names[first] if first < len(names) else "", self._alike.times(min(together, left - first))

    def _known(self, job_id: str) -> PlannedJob | None:
        """The plan of a job, or what it is expected to be."""
        plan = self._plans.get(job_id) or self._coming.get(job_id)
        return plan if plan is not None or self._alike.last is None else self._alike.times(1)

    def _expected(self, step: _Step) -> float:
        """Seconds that a whole step takes."""
        plan = self._known(step.job)
        if plan is None:
            return 0.0
        return self._whole(step.job, plan, step.stage) * (
            self._share(plan, step, whole=True) if PER[step.stage] == "chunk" else 1.0
        )

    def _share(self, plan: PlannedJob, step: _Step, *, whole: bool = False) -> float:
        """How much of a stage of a job one running step is, or as far as it has told."""
        passed, mine = plan.passed[step.stage], plan.frames / plan.chunks if whole else step.frames
        return plan.share_of(step.stage, round(passed + mine)) - plan.share_of(step.stage, passed)

    def _rest(self, step: _Step) -> float:
        """Seconds until a step ends."""
        expected, passed = self._expected(step), self._clock() - step.begun
        plan = self._plans.get(step.job)
        if PER[step.stage] == "chunk" and step.frames and plan is not None:
            gone = min(1.0, step.frames * plan.chunks / plan.frames) if plan.frames else 1.0
            return (1 - gone) * max(expected, passed + _LEAST * expected)
        return max(expected - passed, _LEAST * expected)

    def _advanced(self, job_id: str, stage: str) -> float:
        """Seconds of a job's running steps of a stage that are behind them."""
        mine = [step for step in self._steps.values() if step.job == job_id and step.stage == stage]
        return sum(max(0.0, self._expected(step) - self._rest(step)) for step in mine)

    def _time(self, coming: list[tuple[str, PlannedJob]], to_do: Mapping[str, float]) -> float:
        pools: dict[str, set[Worker]] = defaultdict(set)
        for (stage, worker), at in self._seen.items():
            if worker in self._steps or self._clock() - at < _SILENT:
                pools[stage].add(worker)
        chunk_pools = [pool for stage, pool in pools.items() if PER[stage] == "chunk"]
        if len(chunk_pools) > 1 and sum(map(len, chunk_pools)) == len(set().union(*chunk_pools)):
            return self._time_of_pools(pools, to_do)
        return self._time_of_orders(set().union(*pools.values()), coming)

    def _time_of_pools(self, pools: Mapping[str, set[Worker]], to_do: Mapping[str, float]) -> float:
        """Each stage has its own workers."""
        plans = [*self._plans.items()] or [("", plan) for plan in [self._alike.last] if plan is not None]
        way = {
            stage: max((self._whole(name, plan, stage) / plan.items(stage) for name, plan in plans), default=0.0)
            for stage in PER
        }
        names = [stage.name for stage in STAGES]
        times = []
        for place, stage in enumerate(names):
            if to_do.get(stage, 0.0) > 0:
                behind = sum(way[after] for after in names[place + 1 :] if to_do.get(after, 0.0) > 0)
                workers = len(pools.get(stage, ())) if PER[stage] == "chunk" else self.working().get(stage, 0)
                times.append(to_do[stage] / max(1, workers) + behind)
        return max(times, default=0.0)

    def _time_of_orders(self, seen: set[Worker], coming: Iterable[tuple[str, PlannedJob]]) -> float:
        """Every worker does everything, one order after the other."""
        rests = {name: self._rest_of(name, plan) for name, plan in self._plans.items()}
        anonymous = 0
        for name, plan in coming:
            anonymous += not name
            rests[name or f"\0{anonymous}"] = self._rest_of(name, plan, planned=False)
        busy = []
        for step in self._steps.values():
            rest, known = self._rest(step), self._known(step.job)
            if known is not None:
                plan = known
                rest += sum(self._whole(step.job, plan, stage) / plan.items(stage) for stage in later(step.stage, plan))
            busy.append(rest)
            mine = rests.get(step.job)
            if mine is not None:
                if PER[step.stage] == "job":
                    mine.wait = max(mine.wait, rest)
                else:
                    mine.until = max(mine.until or 0.0, rest)
        orders = sum(rest.orders for rest in rests.values())
        most = self.workers if self.workers and not any(PER[stage] == "output" for stage, _ in self._seen) else 0
        count = max(len(seen), min(most or 0, len(busy) + orders), len(busy), 1)
        idle, end = makespan([*busy, *(0.0,) * (count - len(busy))], [*rests.values()])
        return idle + _ALONE * (end - idle)

    def _rest_of(self, name: str, plan: PlannedJob, *, planned: bool = True) -> Rest:
        """The orders of a job that no worker has."""
        mine = [step for step in self._steps.values() if step.job == name]
        kinds = {PER[step.stage] for step in mine}
        seconds = {stage: self._whole(name, plan, stage) for stage in plan.weights}
        first = sum(took for stage, took in seconds.items() if PER[stage] == "job")
        stitch = sum(took for stage, took in seconds.items() if PER[stage] == "output")
        running = [step for step in mine if PER[step.stage] == "chunk"]
        chunks = plan.chunks_left() - len(running)
        work = sum(took * (1 - plan.share(stage)) for stage, took in seconds.items() if PER[stage] == "chunk")
        for step in running:
            work -= self._expected(step) + sum(seconds[stage] / plan.items(stage) for stage in later(step.stage, plan))
        each = max(0.0, work) / max(1, chunks)
        return Rest(
            first=0.0 if planned or "job" in kinds else max(first, 1e-3),
            chunks=max(0, chunks),
            chunk=each,
            stitch=0.0 if "output" in kinds else stitch,
        )
