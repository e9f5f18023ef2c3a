"""Read the states of runs from a work folder (pipeline.run_state): works without Ray and after the driver is gone."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from raydub.errors import Code, UsageError
from raydub.pipeline.attempts import process_lives
from raydub.pipeline.run_record import whole
from raydub.pipeline.run_state import STATE, number_of, results_name
from raydub.places import WORK_FOLDER
from raydub.process import place, place_of
from raydub.store import Store

_POLL = 0.5


@dataclass(frozen=True)
class RunSeen:
    """A run's record as it was read. work_dir: the folder that it is in; name: of the record in the store."""

    work_dir: str
    name: str
    state: Mapping[str, Any]

    @property
    def number(self) -> int:
        """Runs of a work folder are numbered from 1."""
        return number_of(self.name)

    @property
    def says_running(self) -> bool:
        """Whether its last record was written during the work. Its driver may have died since: see alive()."""
        return self.state.get("status") == "running"


def work_folder(given: str) -> str:
    """The work folder that was given, or the one in the output root that was given; paths or addresses in a bucket.
    Raises UsageError NO_RUN if there is none."""
    for candidate in (given, f"{given.rstrip('/')}/{WORK_FOLDER}"):
        if Store(candidate).is_tagged:
            return candidate
    raise UsageError(
        Code.NO_RUN,
        f"{given} is neither a work folder of raydub nor an output root with one",
        hint="give the --output-root or the --work-dir of a run, readable from here",
        field="job",
    )


def runs(work_dir: str) -> Iterator[RunSeen]:
    """The runs of a work folder, the latest first, each read when it is asked for. Damaged records are left out. Raises
    UsageError NO_RUN at a record whose meaning is not known: to show an older run in its place would be wrong."""
    store = Store(work_dir)
    for name in reversed(store.names(STATE)):
        state = store.record(name) if number_of(name) else None
        if state is None:
            continue
        try:
            yield RunSeen(work_dir, name, whole(state))
        except ValueError as error:
            raise UsageError(
                Code.NO_RUN,
                f"the record of run {number_of(name)} in {work_dir} is not understood: {error}",
                hint=f"it was written by raydub {str(state.get('raydub', ''))[:40]}: use that version",
                field="job",
            ) from error


def latest(work_dir: str, ray_job: str | None = None) -> RunSeen | None:
    """The latest run; ray_job: of the runs of this Ray job."""
    seen = (run for run in runs(work_dir) if ray_job is None or run.state.get("ray_job") == ray_job)
    return next(seen, None)


def results(run: RunSeen) -> tuple[str, str | None]:
    """The files with a run's result rows and with those that did not succeed (None without any); read only. Raises
    UsageError NO_RESULTS if the run has written none."""
    store, name = Store(run.work_dir), results_name(run.name)
    rows, failed = store.get(f"{name}/rows"), store.get(f"{name}/failed")
    if rows is None:
        state = "is still working, or its driver has died" if run.says_running else "has kept none"
        raise UsageError(
            Code.NO_RESULTS,
            f"run {run.number} of {run.work_dir} has no results: it {state}",
            hint="`raydub status` shows how far it is; run or resume it again for results: finished parts are kept",
            field="job",
        )
    return rows.path, None if failed is None else failed.path


def alive(run: RunSeen) -> bool | None:
    """Whether the driver of a run works: known if it runs on this machine or has ended, else None."""
    if not run.says_running:
        return False
    birth = str(run.state.get("born") or "")
    return process_lives(run.state) if place() and place_of(birth) == place() else None


def shows_life(run: RunSeen, seconds: float, sleep: Callable[[float], None] = time.sleep) -> bool:
    """Whether the run's record changes within this time. No clock of another machine is used."""
    store, until = Store(run.work_dir), time.monotonic() + seconds
    while True:
        now = store.record(run.name)
        # A record that cannot be read at the moment is not a sign of life.
        if now is not None and now.get("beat") != run.state.get("beat"):
            return True
        if time.monotonic() >= until:
            return False
        sleep(_POLL)
