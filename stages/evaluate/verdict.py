"""From figures to a verdict with reasons."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raydub.manifests.evaluation import Figures, Reason, Segment, Verdict
from raydub.stages.evaluate.thresholds import Limit, Thresholds

_RANK: dict[Verdict, int] = {"good": 0, "look": 1, "bad": 2}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of them; good for none."""
    return max(verdicts, key=_RANK.__getitem__, default="good")


def reasons_of(figures: Figures, thresholds: Thresholds) -> list[Reason]:
    """Why a film is not good, the worst first."""
    found = [
        reason
        for name, limit in thresholds.limits.items()
        if (value := figures.get(name)) is not None and (reason := _reason(name, value, limit)) is not None
    ]
    return sorted(found, key=lambda reason: -_RANK[reason.verdict])


def judged(segments: Sequence[Segment], thresholds: Thresholds) -> tuple[list[Segment], list[Reason]]:
    """The segments with their verdicts, and reasons for those that are not good, with their times. Only figures whose
    table says `segments = true` count."""
    limits = {name: limit for name, limit in thresholds.limits.items() if limit.segments}
    out, reasons = [], []
    for segment in segments:
        found = reasons_of(segment.figures, Thresholds(limits, ""))
        reasons += [one.model_copy(update={"start": segment.start, "stop": segment.stop}) for one in found]
        out.append(segment.model_copy(update={"verdict": worst(one.verdict for one in found)}))
    return out, reasons


def always(figure: str, value: float, verdict: Verdict, message: str, limit: float = 1.0) -> Reason:
    """A reason that needs no threshold."""
    return Reason(figure=figure, value=value, limit=limit, verdict=verdict, message=message)


def overall(whole: Sequence[Reason], parts: Sequence[Reason], segments: Sequence[Segment]) -> Verdict:
    """The film's verdict: the worst reason of the whole; bad segments make it `look`, and `bad` where they are most of
    it."""
    bad = sum(one.verdict == "bad" for one in segments)
    from_parts: Verdict = "good" if not any(one.verdict == "bad" for one in parts) else "look"
    if segments and 2 * bad > len(segments):
        from_parts = "bad"
    return worst([*(one.verdict for one in whole), from_parts])


def _reason(name: str, value: float, limit: Limit) -> Reason | None:
    found = limit.judge(value)
    if found is None:
        return None
    verdict, beyond = found
    side = "at least" if value < beyond else "at most"
    unit = f" {limit.unit}" if limit.unit else ""
    message = f"{limit.what}: {_said(value)}{unit}, {side} {_said(beyond)} expected"
    return Reason(figure=name, value=round(value, 4), limit=beyond, verdict=verdict, message=message)


def _said(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 20 else f"{value:.2f}"


def messages(reasons: Sequence[Reason]) -> tuple[str, ...]:
    """The reasons' sentences, with their times, for the results."""
    return tuple(
        one.message if one.start is None or one.stop is None else f"{one.start:.1f} to {one.stop:.1f} s: {one.message}"
        for one in reasons
    )
