"""Whatever dies, whenever it dies: the files of two drivers that work on the same jobs at once, with deaths between any
two file operations, full disks, power cuts and damaged files. The real steps, ledger, attempts, records and driver run;
text stands for pictures."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import tempfile
from contextlib import ExitStack
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from raydub.manifests.job import Job
from raydub.manifests.results import JobResult
from raydub.pipeline.attempts import end_run, start_run
from raydub.pipeline.driver import Driver as JobDriver
from raydub.pipeline.events import Planned
from raydub.pipeline.finished import Finished
from raydub.pipeline.ledger import Ledger, part_name
from raydub.stages.types import Chunk, Span
from raydub.store import Store
from tests.examples import examples
from tests.pipeline.chaos import END_DRIVER, END_WORKER, FLAKY, FULL, GO, Chaos, Driver, WorkerEnded
from tests.pipeline.ledger_world import CHUNKS, FILM, FRAMES, POISON, Run, Workers, picture

MAX_DEATHS = 2  # in words, not from the code: one death may be an accident, a third one is too many
FORGIVEN = {"E_DISK_FULL", "E_STORAGE", "E_QUARANTINED"}


class LedgerMachine(RuleBasedStateMachine):
    """Two places for drivers, one work folder, two good jobs and perhaps one that kills its worker."""

    @initialize(poison=st.booleans(), varied=st.booleans())
    def begin(self, poison: bool, varied: bool) -> None:
        self.root = Path(tempfile.mkdtemp(prefix="ledger-"))
        self.work = str(self.root / "work")
        self.varied, self.marks = varied, iter(range(1 << 30))
        self.numbers = iter(range(1 << 30))
        for name in ("a.mp4", "a.wav"):
            (self.root / name).write_text(name)
        names = ["good", "bad", "late"] if poison else ["good", "late"]
        self.jobs = [
            Job(
                id=name,
                video=str(self.root / "a.mp4"),
                audio=str(self.root / "a.wav"),
                output=str(self.root / "out" / f"{name}.mp4"),
            )
            for name in names
        ]
        self.chaos = Chaos()
        self.chaos.before, self.chaos.after = self._before, self._after
        self.stack = ExitStack()
        self.stack.enter_context(self.chaos.installed())
        self.places: dict[int, tuple[Driver, Run]] = {}
        self.powered = True
        self.damaged: set[Path] = set()

    # -- what a driver does

    def mark(self) -> str:
        """Two attempts need not give the same bytes, only the same frames."""
        return f"made as number {next(self.marks)}\n" if self.varied else ""

    def worker_dies(self, run: Run) -> None:
        driver = next(driver for driver, other in self.places.values() if other is run)
        self._count_death(driver, run)
        self.chaos.living.discard(driver.worker or 0)
        driver.command = END_WORKER
        raise WorkerEnded

    def _drive(self, driver: Driver, run: Run) -> None:
        try:
            self._drive_run(driver, run)
        except (OSError, Exception) as error:
            # The whole run stops for want of a disk: the command line says so and ends.
            if getattr(error, "code", None) not in FORGIVEN:
                raise

    def _drive_run(self, driver: Driver, run: Run) -> None:
        finished = Finished(self.work)
        open_jobs = [job for job in self.jobs if finished.finished(job, []) is None]
        if not open_jobs:
            run.results = {}
            return

        def record(job: Job, plan: Planned, result: JobResult) -> None:
            finished.write(job, [], plan, result.model_dump(mode="json"))

        start_run(self.work, run.id, {}, [job.output for job in open_jobs])
        try:
            jobs = JobDriver(
                Workers(self, driver, run),
                record=record,
            )
            results, _ = jobs.run(open_jobs)
            run.results = {result.id: result for result in results}
        finally:
            end_run(self.work, run.id)

    # -- what the file operations must be

    def _run_of(self, driver: Driver) -> Run:
        return next(run for other, run in self.places.values() if other is driver)

    def _before(self, driver: Driver, name: str, path: str) -> None:
        parts = Path(path).parts
        if name == "open" and "runs" not in parts and not Path(path).is_dir():
            assert ".tmp" in path, f"{path} is written in place"
        if name == "open" and "attempts" in parts:
            run, work = self._run_of(driver), Path(path).name.rpartition(".")[0]
            died = run.deaths[parts[-2], work]
            assert died < MAX_DEATHS, f"{work} was touched again after {died} deaths"

    def _after(self, driver: Driver, name: str, path: str) -> None:
        if name != "replace":
            return
        self.damaged.discard(Path(path))
        self._whole(Path(path))

    def _whole(self, path: Path) -> None:
        """No reader sees half a file, at any time."""
        if "refs" in path.parts:
            name = path.relative_to(Path(self.work) / "refs").as_posix().removesuffix(".json")
            assert Store(self.work).record(name) is not None, f"{path} is not whole"
        elif "blobs" in path.parts:
            assert hashlib.sha256(path.read_bytes()).hexdigest() == path.stem, f"{path} is not whole"
        elif path.parent.name == "out":
            assert path.read_text() == FILM, f"{path} is not whole"

    def _count_death(self, driver: Driver, run: Run) -> None:
        """Charge what the worker holds: a attempt that was written whole and has not ended."""
        held = sorted((Path(self.work) / "runs" / run.id / "attempts").glob("*/*"))
        for path in held:
            if path.name.rpartition(".")[2].isdigit():
                with contextlib.suppress(ValueError):
                    if json.loads(path.read_bytes())["pid"] == driver.worker:
                        run.deaths[path.parent.name, path.name.rpartition(".")[0]] += 1

    # -- what happens

    @rule(place=st.integers(0, 1))
    def start(self, place: int) -> None:
        if place in self.places and not self.places[place][0].ended:
            return
        run = Run(next(self.numbers))
        run.finished_before = self._finished()
        self.places.pop(place, None)
        driver = Driver(lambda driver: self._drive(driver, run))
        self.places[place] = (driver, run)
        self.chaos.launch(driver)

    @rule(place=st.integers(0, 1), steps=st.integers(1, 120))
    def advance(self, place: int, steps: int) -> None:
        for _ in range(steps):
            if place in self.places:
                self.chaos.step(self.places[place][0], GO)

    @rule(place=st.integers(0, 1), what=st.sampled_from([END_WORKER, END_DRIVER, FULL, FLAKY]), part=st.floats(0, 1))
    def disturb(self, place: int, what: str, part: float) -> None:
        if place not in self.places or self.places[place][0].ended:
            return
        driver, run = self.places[place]
        run.disturbed = True
        if what == END_WORKER and driver.worker is not None:
            self._count_death(driver, run)
        self.chaos.step(driver, what, part)

    @rule(part=st.floats(0, 1))
    def cut_the_power(self, part: float) -> None:
        self.chaos.power_cut(self.root, part)
        self.places.clear()
        self.powered = False

    @rule(
        kind=st.sampled_from(["blobs/*/*", "refs/parts/*/*.json", "out/*.mp4", "refs/done/*/*", "refs/identities/*/*"]),
        at=st.integers(0, 1 << 16),
        cut=st.booleans(),
    )
    @precondition(lambda self: all(driver.ended for driver, _ in self.places.values()))
    def damage(self, kind: str, at: int, cut: bool) -> None:
        """A file that was published goes bad while nobody works."""
        files = sorted(path for path in self.root.rglob(kind) if not path.name.startswith("."))
        if files:
            path = files[at % len(files)]
            self.damaged.add(path)
            content = path.read_bytes()
            spot = at % max(1, len(content))
            path.write_bytes(content[:spot] if cut else content[:spot] + b"\x00" + content[spot + 1 :])
            self._finished()

    @rule(which=st.integers(0, 2))
    def lose_an_output(self, which: int) -> None:
        """Somebody removes a film: it is made again, of the parts that are there."""
        with contextlib.suppress(OSError):
            os.unlink(self.jobs[which % len(self.jobs)].output)

    @rule()
    def finish(self) -> None:
        """Everybody comes to an end, undisturbed from here on."""
        while any(not driver.ended for driver, _ in self.places.values()):
            for driver, _ in self.places.values():
                self.chaos.step(driver, GO)

    @invariant()
    def files_are_whole(self) -> None:
        """What bears its final name is whole, after a power cut too. Records that can be done without are not synced,
        they prove themselves."""
        for path in self.root.rglob("*.*") if hasattr(self, "root") else ():
            hidden = path.name.startswith(".") or {"runs", "done", "identities"} & set(path.parts)
            if path.is_file() and not hidden and path.parent != self.root and path not in self.damaged:
                self._whole(path)

    @invariant()
    def results_are_right(self) -> None:
        for driver, run in getattr(self, "places", {}).values():
            if driver.ended and run.results is not None:
                self._check(run)
                run.results = None

    def _check(self, run: Run) -> None:
        for job_id, result in (run.results or {}).items():
            fatal = any(count >= MAX_DEATHS for (job, _), count in run.deaths.items() if job == _short(job_id))
            assert (result.status == "quarantined") == fatal, (job_id, result, run.deaths)
            if job_id == "bad":
                assert result.status == "quarantined" or run.disturbed, result
                assert run.rendered["bad", POISON] <= MAX_DEATHS
            elif not fatal:
                assert result.status == "ok" or (run.disturbed and result.error_code in FORGIVEN), result
            if not run.disturbed and result.status == "ok":
                assert result.attempts <= 1, result

    def _finished(self) -> set[str]:
        found = set()
        for job in self.jobs:
            folder = Path(self.work) / "jobs" / job.id
            chunks = [Chunk(job.id, str(folder), i, CHUNKS, Span(i * FRAMES, (i + 1) * FRAMES)) for i in range(CHUNKS)]
            for index, part in Ledger(self.work).finished_parts(chunks).items():
                assert Path(part.path).read_text().startswith(picture(index)), f"{part.path} counts and is damaged"
                found.add(part_name(part.chunk))
        return found

    def teardown(self) -> None:
        if not hasattr(self, "places"):
            return
        try:
            self.finish()
            self.results_are_right()
            self._undisturbed()
        finally:
            self.stack.close()
            shutil.rmtree(self.root, ignore_errors=True)

    def _undisturbed(self) -> None:
        """After all that, one quiet run ends right, and another one has nothing to do."""
        for again in (False, True):
            self.places.clear()
            self.start(0)
            _, run = self.places[0]
            self.finish()
            results = run.results or {}
            self._check(run)
            assert [name for name, result in results.items() if result.status != "ok"] == (
                ["bad"] if len(self.jobs) == 3 else []
            )
            for job in self.jobs:
                assert job.id == "bad" or Path(job.output).read_text() == FILM
            if again:
                assert set(run.rendered) <= {("bad", POISON)}
                assert set(results) <= {"bad"}
        # A folder that lost its driver's name in a power cut stays for a week.
        runs = list((Path(self.work) / "runs").iterdir())
        assert not [path for path in runs if self.powered or _names_its_driver(path)]
        assert not [name for name in os.listdir(self.root / "out") if ".tmp" in name]


def _names_its_driver(folder: Path) -> bool:
    try:
        return "pid" in json.loads((folder / "info.json").read_bytes())
    except (OSError, ValueError):
        return False


def _short(job_id: str) -> str:
    from raydub.pipeline.attempts import _short as short

    return short(job_id)


TestLedger = LedgerMachine.TestCase
TestLedger.settings = settings(
    max_examples=examples(30), stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
