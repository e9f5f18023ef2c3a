"""`raydub status`: how far a run is, from the state that it keeps in its work folder."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from raydub.cluster.commands.options import AsJson
from raydub.cluster.commands.reach import Address, Found, JobOrFolder, asked_head, find
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_OK, EXIT_SOME_FAILED, Code, UsageError

_SHOWN = 10
_MOST_WATCH = 86400.0


@command
def status(
    job: JobOrFolder,
    address: Address = None,
    watch: Annotated[
        float,
        typer.Option(
            "--watch",
            min=0,
            metavar="SECONDS",
            help="Watch a run of another machine for so long, to see whether its driver works; states are written "
            "every 5 s.",
        ),
    ] = 0.0,
    ray_job: Annotated[
        str | None, typer.Option("--ray-job", metavar="ID", help="With a folder: the latest run of this job.")
    ] = None,
    as_json: AsJson = False,
) -> int:
    """Show jobs, stages, frames, remaining time and failures of the latest run of a job or folder. With a folder no Ray
    is asked: this works after the driver is gone. With an id, the cluster's head is asked if the work folder cannot be
    read from here. Exit code 1 if rows have failed or the driver is dead."""
    from raydub.pipeline.run_lookup import shows_life

    if not 0 <= watch <= _MOST_WATCH:
        message = f"--watch takes 0 to {_MOST_WATCH:.0f} seconds, not {watch}"
        raise UsageError(Code.FIELD_VALUE, message, field="watch", hint="15 shows three changes")
    found = find(job, address, ray_job)
    here = found.run is not None
    if found.run is None and found.job is not None and found.job.status != "PENDING":
        found = asked_head(found)
    lives = _lives(found)
    if lives is None and watch and found.run is not None:
        lives = shows_life(found.run, watch)
    run = found.run
    log = ""
    if run is None and found.job is not None and found.cluster is not None:
        from raydub.cluster.session.jobs import last_progress

        log = last_progress(found.cluster.log(found.job.id))
    state = dict(run.state) if run is not None else None
    if as_json:
        about = None if found.job is None else {"id": found.job.id, "status": found.job.status}
        number = None if run is None else run.number
        read = None if run is None else "here" if here else "head"
        also = list(found.others)
        said = {"job": about, "run": number, "read": read, "alive": lives, "state": state, "also_running": also}
        say_json({**said, "log": log, "problem": found.problem if run is None else ""})
    else:
        _tell(found, lives, watch, log)
        if run is not None and not here:
            say(f"  read by the cluster's head: {found.problem}")
        for one in found.others:
            say(f"also said to run: run {one.get('run')} of process {one.get('pid')} on {one.get('host')}")
    bad = state is not None and (sum(state["counts"].get(name, 0) for name in ("failed", "quarantined", "skipped")) > 0)
    died = state is not None and state["status"] == "running" and lives is False
    gone = state is None and found.job is not None and found.job.status in ("FAILED", "STOPPED")
    return EXIT_SOME_FAILED if bad or died or gone else EXIT_OK


def _lives(found: Found) -> bool | None:
    """Whether the driver works; None if it is not known."""
    from raydub.pipeline.run_lookup import alive

    if found.job is not None:
        return not found.job.is_over
    return alive(found.run) if found.run is not None else None


def _tell(found: Found, lives: bool | None, watch: float, log: str) -> None:
    if found.job is not None:
        say(f"{found.job.id}: {found.job.status}")
    if found.run is None:
        say(f"  {found.problem or 'no run has begun yet'}")
        if log:
            say(f"  from its log: {log}")
        return
    state = found.run.state
    say(f"run {found.run.number} in {found.run.work_dir}: {_state_words(state, lives, watch)}")
    counts = ", ".join(f"{count} {name}" for name, count in state["counts"].items() if count)
    say(f"  rows: {state['rows']} ({counts})")
    frames = state["frames"]
    if frames["planned"]:
        more = state["unplanned"]
        unknown = f", {more} {'job' if more == 1 else 'jobs'} of unknown length" if more else ""
        say(f"  frames: {frames['done']} of {frames['planned']} done, {frames['reached']} reached{unknown}")
    if state["status"] == "running" and lives is not False:
        from raydub.pipeline.progress import clock

        eta = "unknown" if state["eta"] is None else f"{'about ' if state['unplanned'] else ''}{clock(state['eta'])}"
        share = "" if state["share"] is None else f"  {state['share']:.0%} of the work is done; "
        say(f"{share or '  '}speed: {state['speed']:.1f} frames/s, remaining: {eta}")
    _tell_parts(state)


def _state_words(state: Mapping[str, Any], lives: bool | None, watch: float) -> str:
    if state["status"] != "running":
        return str(state["status"])
    driver = f"process {state.get('pid')} on {state.get('host')}"
    if lives is None:
        return f"running, as {driver} wrote last (state {state['beat']}; --watch 15 shows whether it still works)"
    if not lives:
        # With an id, or on the driver's own machine, this is known without waiting.
        return f"no sign of life for {watch:g} s: {driver}" if watch else f"its driver is dead: {driver}"
    return f"running, {driver}"


def _tell_parts(state: Mapping[str, Any]) -> None:
    worked = [stage for stage in state["stages"] if stage["seconds"] or stage["frames"] or stage["working"]]
    if worked:
        say("  stage        frames    seconds    done  workers")
        for stage in worked:
            share = "" if stage["share"] is None else f"{stage['share']:.0%}"
            now = stage["working"] if state["status"] == "running" else ""
            row = f"  {stage['stage']:<10}{stage['frames']:>9}{stage['seconds']:>11.1f}{share:>8}{now or '':>9}"
            say(row.rstrip())
    if state["jobs"]:
        say("  job                         frames    chunks    done  stage")
        for one in state["jobs"][:_SHOWN]:
            frames, chunks = (f"{one[a]}/{one[b] if one[b] is not None else '?'}" for a, b in _PAIRS)
            share = "" if one["share"] is None else f"{one['share']:.0%}"
            say(f"  {one['id'][:24]:<24}{frames:>10}{chunks:>10}{share:>8}  {one['stage'] or ''}")
        left = len(state["jobs"]) - _SHOWN + state["jobs_left_out"]
        if left > 0:
            say(f"  and {left} more")
    for one in state["failures"][:_SHOWN]:
        place = f", line {one['line']}" if one["line"] is not None else ""
        hint = f" ({one['hint']})" if one["hint"] else ""
        say(f"  [{one['error_code']}] job {one['id']!r}{place}: {one['error_message']}{hint}")
    left = len(state["failures"]) - _SHOWN + state["failures_left_out"]
    if left > 0:
        say(f"  and {left} more; `raydub results --failed-only` lists all when the run has ended")
    for path in state.get("files", ()):
        say(f"  {path}")


_PAIRS = (("done", "frames"), ("parts", "chunks"))
