"""The data of a report's first page: sums, failures, and the table of all rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from raydub.cluster.report.figures import words
from raydub.cluster.report.gather import Video
from raydub.cluster.report.texts import shown
from raydub.cluster.report.totals import OUTCOMES, VERDICTS, Totals, work_of

OUTPUTS = {
    "here": "",
    "unchecked": "",
    "none": "",
    "missing": "output is gone",
    "changed": "another file is there now",
}
_MOST_MAIN = 4
_LEFT_OUT = 20
"""Rows of one failure that are listed; the table has all."""


def table_of(videos: Sequence[Video], links: Mapping[int, str]) -> dict[str, Any]:
    """The table for the page's script: columns (key, label, kind, digits, shown at first) and one list per row. links:
    by number of the video."""
    names = figure_names(videos)
    main = set([name for name in names if words(name).main][:_MOST_MAIN] or names[:_MOST_MAIN])
    columns: list[dict[str, Any]] = [
        {"key": "id", "label": "Video", "kind": "name", "shown": True},
        {"key": "verdict", "label": "Verdict", "kind": "verdict", "shown": bool(names) or any(map(_verdict, videos))},
        {"key": "status", "label": "Status", "kind": "status", "shown": True},
        {"key": "seconds", "label": "Length (s)", "kind": "number", "digits": 1, "shown": True},
        *(
            {
                "key": f"f:{name}",
                "label": words(name).title,
                "kind": "number",
                "digits": words(name).digits,
                "shown": name in main,
            }
            for name in names
        ),
        {"key": "made", "label": "New mouth (%)", "kind": "number", "digits": 0, "shown": not names},
        {"key": "faceless", "label": "No face (%)", "kind": "number", "digits": 0, "shown": False},
        {"key": "work", "label": "Work (s)", "kind": "number", "digits": 1, "shown": not names},
        {"key": "wall", "label": "Start to end (s)", "kind": "number", "digits": 1, "shown": False},
        {"key": "attempts", "label": "Attempts", "kind": "number", "digits": 0, "shown": False},
        {"key": "warnings", "label": "Warnings", "kind": "number", "digits": 0, "shown": False},
        {"key": "engine", "label": "Engine", "kind": "text", "shown": False},
        {"key": "code", "label": "Error", "kind": "text", "shown": False},
    ]
    rows = [
        {"cells": _cells(video, names), "href": links.get(video.number, ""), "note": _note(video)} for video in videos
    ]
    return {"columns": columns, "rows": rows, "verdicts": [*VERDICTS, ""], "statuses": list(OUTCOMES)}


def figure_names(videos: Sequence[Video]) -> list[str]:
    """Names of all figures of the run, the main ones first."""
    found: dict[str, None] = {}
    for video in videos:
        found.update(dict.fromkeys(video.evaluation.figures if video.evaluation else ()))
    return sorted(found, key=lambda name: not words(name).main)


def _cells(video: Video, names: Sequence[str]) -> list[Any]:
    row = video.result
    figures = video.evaluation.figures if video.evaluation else {}
    values = [figures.get(name) for name in names]
    scaled = [None if v is None else round(v * words(n).scale, 6) for n, v in zip(names, values, strict=True)]
    work = work_of(row.seconds)
    return [
        shown(row.id),
        row.verdict or "",
        row.status,
        None if video.seconds is None else round(video.seconds, 3),
        *scaled,
        _share(row.synthesised, row.frames),
        _share(row.faceless, row.frames),
        round(work, 2) if work else None,
        round(row.wall_seconds, 2) if row.wall_seconds else None,
        row.attempts or None,
        len(row.warnings),
        shown(row.engine),
        shown(row.error_code),
    ]


def _share(part: int, whole: int) -> float | None:
    return round(100 * part / whole, 2) if whole else None


def _verdict(video: Video) -> bool:
    return video.result.verdict is not None


def _note(video: Video) -> str:
    """A few words below the name."""
    return OUTPUTS[video.output] or shown(video.result.error_code) or (shown(video.note) if video.note else "")


def summary(totals: Totals) -> dict[str, Any]:
    """The sums as the template shows them."""
    work = totals.work
    return {
        "totals": totals,
        "statuses": [(name, totals.statuses[name]) for name in OUTCOMES if totals.statuses[name]],
        "verdicts": [(name, totals.verdicts[name]) for name in VERDICTS if totals.verdicts[name]],
        "stages": [(name, seconds, seconds / work if work else 0.0) for name, seconds in totals.stages.items()],
        "left_out": _LEFT_OUT,
    }
