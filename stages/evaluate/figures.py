"""Figures of a film or a part of it, from the table of measured frames. docs/evaluate.md explains each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from fractions import Fraction

import numpy as np

from raydub.arrays import F64, Bools
from raydub.stages.evaluate import measures, outside, pixels
from raydub.stages.evaluate.rows import Rows

SEARCHED = 0.5
"""Seconds by which the drawn mouth is searched before and after what the speech wants."""
FAR = 1.2
"""Seconds: a shift from here on has nothing to do with the speech."""
FEWEST_SPEECH, FEWEST_FILM = 1.0, 2.5
"""Seconds of speech with a face below which nothing is said about how a mouth follows it: of a segment, of a film."""
CLOSED, AROUND_CLOSED = 0.15, 0.2
"""What the speech wants of a mouth that is closed, and for how many seconds around."""
STILL = 0.08
"""Standard deviation of what the speech wants, in speech, below which a mouth that does not move is right: murmurs, and
sounds that are no speech."""

AT_REST = 0.006
"""Standard deviation of the source's openness, in distances of the outer eye corners, below which its mouth rests, and
a comparison with how much it moves says nothing. Measured: 0.001 to 0.002 in a still picture and in a person who says
nothing, 0.015 to 0.05 in people who speak."""


@dataclass(frozen=True)
class Person:
    """The person's mouth, in distances of the outer eye corners. closed, widest: openness that count as 0 and 1; touch:
    lips touch up to it; own: standard deviation of the openness in the source, None without one."""

    closed: float
    widest: float
    touch: float
    own: float | None

    @staticmethod
    def of(rows: Rows) -> Person | None:
        """From the source where there is one, else from the output; None without a face."""
        own = rows.source[np.isfinite(rows.source)]
        values = own if len(own) >= measures.FEWEST else rows.drawn[np.isfinite(rows.drawn)]
        if len(values) < measures.FEWEST:
            return None
        closed, widest = (float(one) for one in np.quantile(values, (0.05, 0.98)))
        closed = min(closed, measures.LARGEST_CLOSED)
        own_std = float(own.std()) if len(own) >= measures.FEWEST else None
        return Person(closed, max(widest, closed + 0.04), measures.touching_below(values), own_std)

    def share(self, openness: F64) -> F64:
        """Openness as 0 (closed) .. 1 (widest); up to 1.5 for mouths that open wider than they did in the source."""
        return np.clip((openness - self.closed) / (self.widest - self.closed), 0.0, 1.5)


@dataclass(frozen=True)
class Heard:
    """What was heard, by row of the table, (m,) each. wanted: NaN where nothing was; voiced; gate: opacity of the new
    mouth, NaN where it is not known."""

    wanted: F64
    voiced: Bools
    gate: F64

    def rows(self, chosen: Bools) -> Heard:
        """Of these rows."""
        return Heard(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


@dataclass(frozen=True)
class Spoken:
    """A sound whose lips are known, see measures.Sound; here only closures are."""

    start: float
    stop: float
    closes: bool = True
    opens: bool = False
    roundness: float = 0.0


Figures = dict[str, float | None]


def following(drawn: F64, heard: Heard, rate: Fraction, fewest: float = FEWEST_SPEECH) -> Figures:
    """r, delay_ms, r_now, r_chance, r_above: how the mouth follows the speech; None for less than `fewest` seconds. A
    delay at the end of what is searched is none. drawn: (m,) 0 .. 1."""
    none: Figures = dict.fromkeys(("r", "delay_ms", "r_now", "r_chance", "r_above"))
    both = np.isfinite(drawn) & np.isfinite(heard.wanted)
    if (both & heard.voiced).sum() < fewest * rate or not _asks(heard):
        return none
    reach, far = round(SEARCHED * rate), round(FAR * rate)
    found = measures.following(drawn, heard.wanted, range(-reach, reach + 1), far)
    r, delay, chance = found["r"], found["delay"], found["r_chance"]
    if r is None or delay is None:
        return none
    exact = _between(drawn, heard.wanted, int(delay))
    above = None if chance is None else r - chance
    return {
        "r": r,
        "delay_ms": 1000 * exact / float(rate) if abs(delay) < reach else None,
        "r_now": found["r_now"],
        "r_chance": chance,
        "r_above": above,
    }


def _asks(heard: Heard) -> bool:
    """Does the speech want the mouth to move?"""
    values = heard.wanted[heard.voiced & np.isfinite(heard.wanted)]
    return bool(len(values)) and float(values.std()) >= STILL


def _unasked(drawn: F64, wanted: F64, rate: Fraction) -> float | None:
    """Standard deviation of the drawn opening where the speech wants a closed mouth, AROUND_CLOSED seconds before and
    after too; None for less than a second of such frames."""
    reach = round(AROUND_CLOSED * rate)
    asks = ~(wanted < CLOSED)  # also where nothing was heard
    near = np.convolve(asks.astype(np.int64), np.ones(2 * reach + 1, np.int64), mode="full")[reach : reach + len(asks)]
    still = drawn[(near == 0) & np.isfinite(drawn)]
    return float(still.std()) if len(still) >= rate else None


def _between(drawn: F64, wanted: F64, delay: int) -> float:
    """The delay between frames: the top of the parabola through three correlations."""
    a, b, c = (measures.correlation(drawn, wanted, delay + step) or 0.0 for step in (-1, 0, 1))
    bend = a - 2 * b + c
    return delay + (0.5 * (a - c) / bend if bend < -1e-9 else 0.0)


def mouth(rows: Rows, heard: Heard, person: Person | None, rate: Fraction, fewest: float = FEWEST_SPEECH) -> Figures:
    """Figures from landmarks. fewest: see following."""
    if person is None:
        return {"face_share": float(rows.present[rows.known].mean()) if rows.known.any() else None}
    found = following(person.share(rows.drawn), heard, rate, fewest)
    moving = heard.voiced & np.isfinite(rows.drawn)
    source = rows.source[moving & np.isfinite(rows.source)]
    enough = moving.sum() >= fewest * rate and _asks(heard)
    found["movement"] = None
    if enough and len(source) >= measures.FEWEST and not at_rest(rows):
        found["movement"] = float(np.std(rows.drawn[moving]) / max(float(np.std(source)), 0.01))
    found["mouth_range"] = float(np.std(person.share(rows.drawn[moving]))) if enough else None
    found |= measures.silence(rows.drawn, heard.voiced, person.closed)
    if not enough:
        found["silence_motion"] = None
    found["unasked_motion"] = _unasked(person.share(rows.drawn), heard.wanted, rate)
    seen = rows.known
    found["face_share"] = float(rows.present[seen].mean()) if seen.any() else None
    there = rows.present_source
    found["face_lost"] = float(1 - rows.present[there].mean()) if there.sum() >= 5 else None
    return found


def at_rest(rows: Rows) -> bool:
    """Does the mouth of the source rest, as in a still picture? False where no source was seen."""
    own = rows.source[np.isfinite(rows.source)]
    return len(own) > 0 and float(own.std()) < AT_REST


def closed(rows: Rows, person: Person | None, sounds: Sequence[Spoken], rate: Fraction) -> Figures:
    """closures, closures_hit, closures_chance."""
    names = ("closures", "closures_hit", "closures_chance")
    if person is None or not sounds or not len(rows):
        return dict.fromkeys(names)
    first = int(rows.frame[rows.known][0]) if rows.known.any() else 0
    # Rows are consecutive frames only within a window, so each sound is looked for among the frames by number.
    n = int(rows.frame.max()) - first + 1
    drawn = np.full(n, np.nan)
    drawn[rows.frame[rows.known] - first] = rows.drawn[rows.known]
    moved = [Spoken(one.start - first / float(rate), one.stop - first / float(rate)) for one in sounds]
    inside = [one for one in moved if one.start >= 0 and one.stop * float(rate) <= n]
    found = measures.closures(drawn, inside, rate, person.touch)
    return {name: found[name] for name in names}


def picture(rows: Rows, heard: Heard) -> Figures:
    """Figures from pixels, of frames with a new mouth where that is known."""
    drawn = ~(heard.gate < 0.5)
    table = rows.pixels.copy()
    table[~drawn] = np.nan
    found: Figures = dict(pixels.figures_of(table))
    measured = np.isfinite(rows.pixels[:, 0])
    found["changed_share"] = float(np.isfinite(rows.pixels[measured, 8]).mean()) if measured.any() else None
    del found["changed_frames"]
    if at_rest(rows):
        found["jitter"] = None
    untouched = heard.gate == 0
    found["psnr_outside"] = _psnr(rows.error[~untouched])
    found["psnr_untouched"] = _psnr(rows.error[untouched])
    ssim = rows.ssim[np.isfinite(rows.ssim)]
    found["ssim_outside"] = float(ssim.mean()) if len(ssim) else None
    return found


def _psnr(errors: F64) -> float | None:
    known = errors[np.isfinite(errors)]
    return outside.psnr(float(known.mean())) if len(known) >= 5 else None
