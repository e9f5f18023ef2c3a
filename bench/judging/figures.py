"""All figures of one film, and their means over films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from bench.judging.blind import Shown
from bench.judging.dubbing import Film
from bench.judging.pairs import Pair
from bench.judging.seen import see
from bench.judging.spoken import Sound
from raydub.arrays import F32, F64, U8
from raydub.media.activity import voiced
from raydub.media.probe import probe_video
from raydub.stages.evaluate import measures, pixels
from raydub.stages.evaluate.aligned import Place, place_of, still
from raydub.stages.evaluate.identity import faces_of, identity

GOALS = {
    "r": (0.50, None),
    "closures_hit": (0.70, None),
    "movement": (0.80, 1.20),
    "sharpness": (0.85, 1.15),
    "jitter": (None, 1.10),
    "identity": (None, 0.05),
    "draw_ms": (None, 8.0),
}
"""At least, at most; for the mean of an engine."""
_COUNTS = ("closures", "changed_frames", "frames", "drawn")
_BY_CLOSURES = ("closures_hit", "closures_chance")


@dataclass(frozen=True)
class Reference:
    """The still source of a pair: place, faces, luma and points over the frames that are judged."""

    pair: Pair
    place: Place
    faces: U8
    luma: F32
    points: F32

    @property
    def shown(self) -> Shown:
        """The source, for the sheet."""
        seen = self.pair.video.seen.first(len(self.faces))
        openness = np.nan_to_num(seen.openness, nan=np.inf)
        touching = openness <= measures.touching_below(seen.openness)
        return Shown(self.faces, self.points, seen.present, touching, drawn=False)

    @classmethod
    def of(cls, pair: Pair, n: int) -> Reference:
        """The first n frames of the pair's video."""
        seen = pair.video.seen.first(n)
        place = place_of(seen)
        faces = still(seen.path, place)
        return cls(pair, place, faces, pixels.luma_of(faces), place.to_still(seen.points))


def judged_frames(pair: Pair, films: Sequence[Film]) -> int:
    """Frames that all films and the source have."""
    return min(len(pair.video.seen), *(probe_video(str(film.path)).n_frames for film in films))


def figures(film: Film, reference: Reference, heard: F32, sounds: Sequence[Sound]) -> tuple[dict[str, Any], Shown]:
    """The film's figures by name (None where one cannot be measured), and its still faces for the blind choice. heard:
    (samples,) the new speech at 16 kHz; sounds: its phonemes, () where they are not known."""
    pair, n = reference.pair, len(reference.faces)
    source = pair.video.seen.first(n)
    drawn = see(film.path, n, pair.video.landmarks)
    faces = still(film.path, reference.place)
    luma = pixels.luma_of(faces)
    own, rate = source.openness, source.rate
    touch = measures.touching_below(own)
    real = _real(pair, film, n)
    box = pixels.mouth_box(reference.points, reference.place)
    found: dict[str, Any] = {"frames": n, "face_lost": float(1 - drawn.present[source.present].mean())}
    if real is not None:
        found |= measures.following(drawn.openness, real[0])
        found["movement"] = measures.movement(drawn.openness, real[0])
        found["rounding"] = measures.correlation(drawn.width, real[1], found["delay"] or 0)
    if sounds and not film.own_speech:
        found |= measures.closures(drawn.openness, sounds, rate, touch)
        found["rounding"] = measures.rounding(drawn.width, sounds, rate)
    if not film.own_speech:
        found["r_covered"] = measures.correlation(drawn.openness, own)
    found["movement_own"] = measures.movement(drawn.openness, own)
    speech = voiced(pair.video.sound if film.own_speech else heard, rate, n)
    found |= measures.silence(drawn.openness, speech, touch - measures.TOUCH)
    stills = zip(map(pixels.Still, reference.luma), map(pixels.Still, luma), strict=True)
    there = zip(source.present, stills, strict=True)
    rows = pixels.rows_of((pair if seen else (None, None) for seen, pair in there), box, reference.place)
    found |= pixels.figures_of(rows)
    found |= identity(pair.video.faces_first(n), faces_of(drawn))
    present = drawn.present & source.present
    touching = present & (np.nan_to_num(drawn.openness, nan=np.inf) <= touch)
    return found | film.told, Shown(
        faces, reference.place.to_still(drawn.points), present, touching, not film.own_speech
    )


def _real(pair: Pair, film: Film, n: int) -> tuple[F64, F64] | None:
    """Openness and width of the mouth that the film's speech belongs to, at the video's rate; None where nobody is seen
    to speak."""
    donor = pair.video if film.own_speech else pair.donor
    if donor is None:
        return None
    rate = pair.video.seen.rate
    return at_rate(donor.seen.openness, donor.seen.rate, rate, n), at_rate(donor.seen.width, donor.seen.rate, rate, n)


def at_rate(series: F64, rate: Fraction, wanted: Fraction, n: int) -> F64:
    """(n,) the series at another frame rate, between frames by straight lines; NaN where a neighbour is NaN, and after
    its end."""
    at = np.arange(n) * float(rate / wanted)
    return np.interp(at, np.arange(len(series)), series, right=np.nan)


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """The mean of every figure over the films that have it: of closures_hit and closures_chance over all closures, of
    all others over films. Counts are summed."""
    names = {name: None for row in rows for name, value in row.items() if isinstance(value, int | float)}
    out = {}
    for name in names:
        having = [row for row in rows if row.get(name) is not None]
        values = [float(row[name]) for row in having]
        weights = [row["closures"] for row in having] if name in _BY_CLOSURES else None
        out[name] = round(sum(values) if name in _COUNTS else float(np.average(values, weights=weights)), 4)
    return out


def met(mean: Mapping[str, float], rows: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, object]]:
    """For each of GOALS that was measured: does an engine's mean reach it, and which share of its films."""
    out: dict[str, dict[str, object]] = {}
    for name in GOALS:
        known = [float(row[name]) for row in rows if row.get(name) is not None]
        if name in mean:
            share = round(float(np.mean([_reaches(name, value) for value in known])), 2) if known else None
            out[name] = {"mean": _reaches(name, mean[name]), "films": share}
    return out


def _reaches(name: str, value: float) -> bool:
    low, high = GOALS[name]
    return (low is None or value >= low) and (high is None or value <= high)
