"""A run as its files say it; nothing is kept in the page's memory, so it survives a reload and the page's end.

order.json       what was asked: title, row, when
jobs.jsonl       the manifest, of one row
progress.jsonl   the lines of `raydub run --json-progress`
log.txt          its messages
process.json     its process, while it works
out/             the output root: the dubbed video, results, the work folder
report/          the pages of `raydub report`
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from raydub.pipeline.attempts import process_lives

ORDER, MANIFEST, PROGRESS, LOG, PROCESS = "order.json", "jobs.jsonl", "progress.jsonl", "log.txt", "process.json"
OUT, REPORT, PAGE = "out", "report", "report.html"
_TAIL = 1 << 18
State = Literal["waiting", "working", "stopped", "ok", "failed"]


@dataclass(frozen=True)
class RunSeen:
    """One run. state: waiting for its turn, working, stopped (its process has ended before its end), ok or failed; now:
    the last progress line, {} before; result: the line of the finished job; end: the last line of the command; output:
    the dubbed video, where it is."""

    folder: Path
    state: State
    title: str
    made: float
    row: Mapping[str, Any]
    now: Mapping[str, Any] = field(default_factory=dict)
    result: Mapping[str, Any] = field(default_factory=dict)
    end: Mapping[str, Any] = field(default_factory=dict)
    output: Path | None = None

    @property
    def id(self) -> str:
        """Its name in addresses."""
        return self.folder.name

    @property
    def is_over(self) -> bool:
        """Whether nothing more will happen by itself."""
        return self.state not in ("waiting", "working")

    def problem(self) -> tuple[str, str, str]:
        """Code, message and way out of what went wrong; empty where nothing did."""
        error = self.end.get("error") or {}
        if error:
            return str(error.get("code", "")), str(error.get("message", "")), str(error.get("hint") or "")
        names = ("error_code", "error_message", "hint")
        code, message, hint = (str(self.result.get(name) or "") for name in names)
        return code, message, hint


def see(folder: Path) -> RunSeen:
    """The run in a folder. Damaged or absent files count as not written yet."""
    order = order_of(folder)
    lines = tail_of(folder / PROGRESS)
    last: dict[str, Mapping[str, Any]] = {str(line.get("event")): line for line in lines}
    end, result = last.get("end", {}), last.get("finished", {})
    process = process_of(folder)
    output = folder / OUT / str(order.get("row", {}).get("output", ""))
    done = result.get("status") == "ok" or (end.get("counts") or {}).get("ok") == 1
    state: State
    if end:
        state = "ok" if done and output.is_file() else "failed"
    elif process:
        state = "working" if process_lives(process) else "stopped"
    else:
        state = "waiting" if order else "stopped"
    return RunSeen(
        folder,
        state,
        str(order.get("title", folder.name)),
        float(order.get("made", 0.0)),
        order.get("row", {}),
        last.get("progress", {}),
        result,
        end,
        output if state == "ok" else None,
    )


def tail_of(path: Path) -> Sequence[Mapping[str, Any]]:
    """The JSON objects in the last part of a file of lines. A line that is being written or damaged is left out."""
    try:
        with path.open("rb") as stream:
            size = stream.seek(0, 2)
            stream.seek(max(0, size - _TAIL))
            text = stream.read()
    except OSError:
        return ()
    found = []
    for line in text.split(b"\n"):
        try:
            said = json.loads(line)
        except ValueError:
            continue
        if isinstance(said, dict):
            found.append(said)
    return found


def messages_of(folder: Path, most: int = 40) -> list[str]:
    """The last messages of a run."""
    try:
        return (folder / LOG).read_text(encoding="utf-8", errors="replace").splitlines()[-most:]
    except OSError:
        return []


def order_of(folder: Path) -> Mapping[str, Any]:
    """What was asked; {} if it is not written, or damaged."""
    return _read(folder / ORDER)


def process_of(folder: Path) -> Mapping[str, Any]:
    """A this_worker() record of the run's process; {} before it has one."""
    return _read(folder / PROCESS)


def _read(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
