"""Curves of a film for plots, and its worst moments."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from raydub.arrays import F32, F64
from raydub.manifests.evaluation import Curves, Moment
from raydub.stages.evaluate import measures
from raydub.stages.evaluate.figures import SEARCHED, Heard, Person, at_rest
from raydub.stages.evaluate.film import NONE
from raydub.stages.evaluate.rows import Rows, columns
from raydub.stages.evaluate.thresholds import Thresholds

STEP = 1.0
"""Seconds from one delay to the next."""
AROUND = 2.0
"""Seconds before and after that decide it."""
SURE = 0.35
"""Correlation below which no delay is given."""
MOMENTS = 8
APART = 1.0
"""Seconds between two worst moments."""


def curves_of(
    n: int, rate: Fraction, rows: Rows, heard: Heard, person: Person | None, level: F32 | None, gate: F32 | None
) -> Curves:
    """level: (n,) dBFS; gate: (n,) opacity; None where they are not known."""
    known = rows.known
    at = rows.frame[known]

    def spread(values: F64) -> tuple[float | None, ...]:
        whole = np.full(n, np.nan)
        whole[at] = values[known]
        return _plain(whole, 3)

    drawn = person.share(rows.drawn) if person is not None else rows.drawn * np.nan
    source = person.share(rows.source) if person is not None else rows.source * np.nan
    return Curves(
        rate=float(rate),
        wanted=spread(heard.wanted),
        drawn=spread(drawn),
        source=spread(source) if np.isfinite(source).any() else (),
        speech_db=() if level is None else _plain(level.astype(np.float64), 1),
        gate=() if gate is None else _plain(gate.astype(np.float64), 2),
        delay_ms=_delays(n, rate, rows, heard, drawn),
        delay_step=STEP,
    )


def _delays(n: int, rate: Fraction, rows: Rows, heard: Heard, drawn: F64) -> tuple[float | None, ...]:
    reach = round(SEARCHED * rate)
    out: list[float | None] = []
    for second in range(int(np.ceil(n / float(rate) / STEP))):
        middle = (second + 0.5) * STEP * float(rate)
        near = (np.abs(rows.frame - middle) <= AROUND * rate) & (rows.frame != NONE)
        a, b = drawn[near], heard.wanted[near]
        by_lag = {lag: measures.correlation(a, b, lag) for lag in range(-reach, reach + 1)} if near.any() else {}
        known = {lag: r for lag, r in by_lag.items() if r is not None}
        best = max(known, key=lambda lag: known[lag], default=None)
        sure = best is not None and known[best] >= SURE
        out.append(round(1000 * best / float(rate), 1) if sure and best is not None else None)
    return tuple(out)


def _plain(values: F64, digits: int) -> tuple[float | None, ...]:
    return tuple(round(float(one), digits) if np.isfinite(one) else None for one in values)


def worst_moments(
    rows: Rows, heard: Heard, person: Person | None, rate: Fraction, thresholds: Thresholds
) -> list[Moment]:
    """Up to MOMENTS frames, at least APART seconds from each other, the worst first: where a figure of single frames is
    farthest beyond what its threshold allows on average, or the mouth is farthest from what the speech wants."""
    found: list[tuple[float, int, str, str]] = []
    for name, values, limit, what in _candidates(rows, heard, person, rate, thresholds):
        scored = np.where(np.isfinite(values), values / limit, -1.0)
        for row in np.argsort(-scored, kind="stable")[: 4 * MOMENTS]:
            if scored[row] > 0.5 and rows.frame[row] != NONE:
                text = f"{what}: {values[row]:.2f}"
                found.append((float(scored[row]), int(rows.frame[row]), name, text))
    found.sort(key=lambda one: (-one[0], one[1]))
    out: list[Moment] = []
    for _, frame, name, text in found:
        seconds = frame / float(rate)
        if all(abs(seconds - one.seconds) >= APART for one in out):
            out.append(Moment(frame=frame, seconds=round(seconds, 3), figure=name, message=text))
        if len(out) == MOMENTS:
            break
    return out


def _candidates(
    rows: Rows, heard: Heard, person: Person | None, rate: Fraction, thresholds: Thresholds
) -> list[tuple[str, F64, float, str]]:
    """(figure, value per row, limit, what it is)."""
    by = {name: rows.pixels[:, number] for name, number in columns().items()}
    ratio = {
        "seam": by["new_seam"] / np.maximum(by["own_seam"], 1e-3),
        "light_step": by["light_step"],
        "colour_step": by["colour_step"],
        "jitter": np.sqrt(by["new_jitter"] / np.maximum(np.nanmean(by["own_jitter"]), 1e-3))
        if np.isfinite(by["own_jitter"]).any() and not at_rest(rows)
        else np.full(len(rows), np.nan),
    }
    out = []
    for name, values in ratio.items():
        limit = thresholds.limits.get(name)
        if limit is not None and limit.look_above is not None:
            out.append((name, np.asarray(values, np.float64), 2 * limit.look_above, limit.what))
    if person is not None and np.isfinite(heard.wanted).any():
        apart = np.abs(person.share(rows.drawn) - heard.wanted)
        width = max(1, round(0.2 * rate))
        known = np.isfinite(apart)
        total = np.convolve(np.where(known, apart, 0.0), np.ones(width), mode="same")
        count = np.convolve(known.astype(float), np.ones(width), mode="same")
        mean = np.where(count >= width / 2, total / np.maximum(count, 1), np.nan)
        out.append(("r", mean, 0.8, "the mouth is far from what the speech wants"))
    return out
