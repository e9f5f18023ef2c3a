"""The data of one video's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from raydub.cluster.report.curves import curves_of
from raydub.cluster.report.figures import GROUPS, meaning, shown_figure, words
from raydub.cluster.report.gather import Video
from raydub.cluster.report.index import OUTPUTS
from raydub.cluster.report.media import Made
from raydub.cluster.report.texts import shown
from raydub.errors import RaydubError
from raydub.manifests.evaluation import Evaluation
from raydub.manifests.options import Options

SOURCE_STATES = {
    "missing": "The output is no longer at its place: it was moved or deleted after the run.",
    "changed": "Another file is at the output's place now, not the one that this run made.",
    "unchecked": "The output was not compared with the one that the run made.",
}


def section_of(video: Video, media: Mapping[str, Made], href: Mapping[str, str], wanted: bool) -> dict[str, Any]:
    """For the template. media: what was made for the video; href: addresses of its films and strip, by name; wanted:
    whether media were to be made."""
    row, evaluation = video.result, video.evaluation
    rate = _rate(video)
    problems = [
        f"{_FILMS[name]}: {shown(made.problem)}" for name, made in media.items() if made.problem and name in _FILMS
    ]
    return {
        "number": video.number,
        "video": video,
        "row": row,
        "name": shown(row.id),
        "state": SOURCE_STATES.get(video.output, "") if wanted or video.output != "unchecked" else "",
        "badge": OUTPUTS[video.output],
        "player": _player(video, media, href, rate) if row.status == "ok" else None,
        "problems": problems,
        "strip": _strip(video, media.get("strip"), href.get("strip", ""), rate),
        "figures": _figures(evaluation),
        "reasons": []
        if evaluation is None
        else [
            {"verdict": one.verdict, "message": shown(one.message), "start": one.start, "stop": one.stop}
            for one in evaluation.reasons
        ],
        "sentences": [shown(text) for text in row.reasons] if evaluation is None else [],
        "plots": _plots(video, media.get("levels")),
        "segments": _segments(evaluation),
        "settings": _settings(video),
        "facts": _facts(video),
        "previous": None,
        "next": None,
    }


_COLUMNS = 8
"""Figures in the table of segments, those of the verdict first; the document has all."""
_FILMS = {"before": "Preview of the source", "after": "Preview of the output", "strip": "Moments"}


def _rate(video: Video) -> float:
    """Frames a second of the output, 25 where nothing says it: the evaluation of an unreadable film has no frames."""
    if video.plan is not None:
        return float(video.plan.rate)
    evaluation = video.evaluation
    if evaluation is None or evaluation.frames <= 0 or evaluation.duration <= 0:
        return 25.0
    return evaluation.frames / evaluation.duration


def _player(video: Video, media: Mapping[str, Made], href: Mapping[str, str], rate: float) -> dict[str, Any] | None:
    if "after" not in href:
        return None
    about: Mapping[str, Any] = {}
    for name in ("after", "before"):
        about = about or (media[name].about if name in media else {})
    plan = video.plan
    size = about.get("size") or ([*plan.out_size] if plan is not None else [16, 9])
    width, height = (int(side) for side in size)
    aspect = float(plan.sample_aspect) if plan is not None else 1.0
    heard = bool(media["before"].about.get("sound")) if "before" in media else False
    return {
        "rate": rate,
        "frames": int(about.get("frames") or video.result.frames),
        "width": round(width * aspect),
        "height": height,
        "source_sound": heard,
        "before": href.get("before", ""),
        "after": href["after"],
    }


def _strip(video: Video, made: Made | None, href: str, rate: float) -> dict[str, Any] | None:
    if made is None or not made.path or not href:
        return None
    evaluation = video.evaluation
    worst = {} if evaluation is None else {one.frame: one for one in reversed(evaluation.worst)}
    numbers = list(made.about.get("frames") or [])
    moments = []
    for place, frame in enumerate(numbers):
        one = worst.get(frame)
        words_ = shown(one.message) if one is not None else ""
        moments.append({"frame": frame, "seconds": frame / rate, "message": words_, "place": place})
    return {**made.about, "href": href, "moments": moments, "worst": bool(worst)}


def _figures(evaluation: Evaluation | None) -> dict[str, Any] | None:
    """Measured figures by group, and the names of those that were not."""
    if evaluation is None:
        return None
    flagged = {one.figure: one for one in evaluation.reasons}
    groups: dict[str, list[dict[str, str]]] = {name: [] for name in GROUPS}
    without = []
    for name, value in evaluation.figures.items():
        label, reason, source = words(name), flagged.get(name), evaluation.source_figures.get(name)
        if value is None:
            without.append(shown(label.label))
            continue
        groups[label.group].append(
            {
                "label": shown(label.label),
                "unit": label.unit,
                "value": shown_figure(name, value),
                "source": "" if source is None else shown_figure(name, source),
                "limit": shown_figure(name, reason.limit) if reason else "",
                "verdict": reason.verdict if reason else "",
            }
        )
    said = [(shown(words(name).label), meaning(name)) for name in evaluation.figures if meaning(name)]
    return {"groups": [(name, rows) for name, rows in groups.items() if rows], "without": without, "said": said}


def _plots(video: Video, levels: Made | None) -> dict[str, Any] | None:
    if video.result.status != "ok":
        return None
    try:
        data = curves_of(video, levels)
    except (OSError, ValueError, KeyError, RaydubError):
        return None
    return data if data["curves"] or data["cues"] else None


def _segments(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None or not evaluation.segments:
        return None
    measured: dict[str, None] = {}
    for one in evaluation.segments:
        measured.update(dict.fromkeys(name for name, value in one.figures.items() if value is not None))
    judged = {one.figure for one in evaluation.reasons}
    names = sorted(measured, key=lambda name: (name not in judged, not words(name).main))[:_COLUMNS]
    rows = [
        {
            "start": one.start,
            "stop": one.stop,
            "verdict": one.verdict,
            "text": shown(one.text),
            "values": [shown_figure(name, one.figures.get(name)) for name in names],
        }
        for one in evaluation.segments
    ]
    texts = any(one.text for one in evaluation.segments)
    return {"heads": [shown(words(name).title) for name in names], "rows": rows, "texts": texts}


def _settings(video: Video) -> dict[str, Any] | None:
    if video.plan is None:
        return None
    options, usual = video.plan.job.options.model_dump(mode="json"), Options().model_dump(mode="json")
    rows = []
    for name, value in options.items():
        text = " ".join(map(str, value)) if isinstance(value, list) else value
        said = Options.model_fields[name].description
        rows.append({"name": name, "value": shown(text), "changed": value != usual[name], "words": shown(said)})
    return {"changed": [row for row in rows if row["changed"]], "all": rows}


def _facts(video: Video) -> list[tuple[str, str]]:
    row, plan, evaluation = video.result, video.plan, video.evaluation
    drawn = ", ".join(f"{count} by {name}" for name, count in row.drawn.items())
    frames = (
        f"{row.frames}: {row.synthesised} with a new mouth{f' ({drawn})' if drawn else ''}, {row.untouched} untouched"
    )
    found = [
        ("Source", row.video),
        ("Speech", row.audio),
        ("Script", row.script),
        ("Output", row.output),
        ("Found at", video.path if shown(video.path) != shown(row.output) else None),
        ("Output's SHA-256", video.sha256),
        ("Manifest line", row.line),
        ("Engine", row.engine),
        ("Picture", f"{plan.out_size[0]} × {plan.out_size[1]}, {float(plan.rate):g} frames a second" if plan else None),
        ("Frames", f"{frames}, {row.faceless} of them without a face" if row.frames else None),
        ("Cues", f"{row.segments}, {row.spoken} of them synthesised in this run" if row.segments else None),
        ("Attempts", row.attempts or None),
        ("Thresholds", evaluation.thresholds[:16] if evaluation else None),
    ]
    return [(name, shown(value)) for name, value in found if value not in (None, "")]
