"""Bars on a terminal: one for the run, one for each stage, and one for each of some jobs in work. Their number does not
grow with the run: what does not fit into the window is counted in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

from raydub.manifests.results import JobResult
from raydub.pipeline.now import SHOWN_JOBS, Now, now_of
from raydub.pipeline.progress import QuietProgress, clock, lines_of

if TYPE_CHECKING:
    from rich.console import Console

_FEW_JOBS = 20
"""Runs of so many jobs tell of every finished job; larger ones of those with an error or a warning."""
_MOST_LINES = 50
"""Lines about finished jobs; the results manifest has all."""
_PER_SECOND = 4


class RichProgress(QuietProgress):
    """Bars while the context is active."""

    def __init__(self, jobs: int, console: Console, earlier: int = 0) -> None:
        from rich.live import Live

        super().__init__(jobs, earlier)
        self._console = console
        self._lines = 0
        self._live = Live(console=console, get_renderable=self._view, refresh_per_second=_PER_SECOND, transient=True)

    def finished(self, result: JobResult) -> None:
        super().finished(result)
        lines = lines_of(result)
        if result.status == "ok" and len(lines) == 1 and self.tally.jobs > _FEW_JOBS:
            return
        for line in lines:
            self._lines += 1
            if self._lines <= _MOST_LINES:
                self._console.print(_safe(line), markup=False, highlight=False, soft_wrap=True)
            elif self._lines == _MOST_LINES + 1:
                self._console.print("more lines are left out: the results have all of them", highlight=False)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def _view(self) -> Any:
        now = now_of(self.tally, self._room())
        return bars(now, self._console.width)

    def _room(self) -> int:
        """Jobs that the window has lines for, below the run's, the stages', and one in words."""
        stages = len(self.tally.left().stages)
        return max(1, min(SHOWN_JOBS, self._console.height - stages - 4))


def bars(now: Now, width: int) -> Any:
    """A table for rich: the run, its stages, jobs in work."""
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    long = 32 if width >= 110 else 20 if width >= 70 else 10
    table = Table.grid(padding=(0, 1))
    table.add_column(no_wrap=True, max_width=24 if width >= 70 else 14)
    table.add_column(no_wrap=True, width=long)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, overflow="ellipsis")

    def row(name: str, share: float | None, more: str, style: str = "") -> None:
        share = share or 0.0
        bar = ProgressBar(total=1.0, completed=share, width=long)
        table.add_row(Text(printable(name), style), bar, Text(f"{share:.0%}", style), Text(more, style))

    row("all", now.share, _whole(now), "bold")
    for stage in now.stages:
        row(f"  {stage.stage}", stage.share, _workers(stage.working))
    for job in now.working:
        frames = f"{job.reached}/{job.frames} frames" if job.frames else ""
        row(job.id, job.share, "  ".join(part for part in (frames, ", ".join(job.stages)) if part))
    if now.working_left_out:
        table.add_row(Text(f"and {now.working_left_out} more in work", style="dim"))
    return table


def _whole(now: Now) -> str:
    parts = [f"{now.jobs_done}/{now.jobs} jobs"]
    parts += [f"{now.jobs_failed} failed"] if now.jobs_failed else []
    if now.eta is not None:
        parts.append(f"ETA {'about ' if now.unplanned else ''}{clock(now.eta)}")
    elif not now.stages:
        parts.append("starting")
    parts += [f"{now.frames_reached}/{now.frames} frames"] if now.frames else []
    parts += [f"{now.frames_per_second:.0f} fps"] if now.frames_per_second else []
    return "  ".join(parts)


def _workers(count: int) -> str:
    return "" if not count else "1 worker" if count == 1 else f"{count} workers"


def _safe(lines: str) -> str:
    """A message: it may quote names of files and what other programs say."""
    return "\n".join(map(printable, lines.split("\n")))


def printable(text: str) -> str:
    """The text without characters that move a terminal's cursor."""
    return "".join(one if one.isprintable() else "?" for one in text)
