"""Evaluate one film: measure it window by window, make figures and curves, judge them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

import numpy as np

from raydub.arrays import F32, F64, I64, Bools
from raydub.errors import InputError
from raydub.manifests.evaluation import Evaluation, Reason, Segment
from raydub.media.stream_times import stream_times
from raydub.memory import release_free_memory
from raydub.stages.evaluate.cues import Cue, cue_figures, film_figures
from raydub.stages.evaluate.curves import curves_of, worst_moments
from raydub.stages.evaluate.figures import (
    FEWEST_FILM,
    Figures,
    Heard,
    Person,
    Spoken,
    at_rest,
    closed,
    following,
    mouth,
    picture,
)
from raydub.stages.evaluate.film import NONE, Film
from raydub.stages.evaluate.identity import SAMPLES, identity, spread
from raydub.stages.evaluate.lse_film import lse_windows, output_lse, source_lse
from raydub.stages.evaluate.rows import Measuring, Rows
from raydub.stages.evaluate.sound import Piece, Sound, heard_or_why
from raydub.stages.evaluate.thresholds import Thresholds
from raydub.stages.evaluate.verdict import always, judged, overall, reasons_of
from raydub.stages.evaluate.wanted import wanted
from raydub.stages.evaluate.windows import windows_of
from raydub.stages.types import Span

SEGMENT_SECONDS = 4.0
"""Of a segment where the job has no script."""
_FEWEST = 3
"""Frames below which no landmarks are looked for."""


@dataclass(frozen=True)
class Facts:
    """What the run says of a film. gates: (n,) per face, how much of a new mouth shows; voiced: (n,) the new speech is
    heard; closures: p, b and m; shares: figures that the run counted; wanted_frames: frames that the output should
    have; reasons: why the file itself is not what was expected."""

    id: str
    source: str | None = None
    speech: str | None = None
    gates: tuple[F32, ...] = ()
    voiced: Bools | None = None
    cues: tuple[Cue, ...] = ()
    closures: tuple[Spoken, ...] = ()
    shares: Mapping[str, float | None] = field(default_factory=dict)
    wanted_frames: int | None = None
    reasons: tuple[Reason, ...] = ()


def evaluate(film: Film, facts: Facts, thresholds: Thresholds) -> Evaluation:
    """The evaluation of a film. Raises InputError only for an output that cannot be read, DependencyError for face
    models that are absent."""
    began = time.process_time()
    n, rate = len(film), film.output.rate
    windows = windows_of(n)
    gates = [gate[:n] if len(gate) >= n else np.pad(gate, (0, n - len(gate))) for gate in facts.gates]
    who_at = _who_at(windows)
    measuring = Measuring(film, _speaker(gates, n), who_at, lse_windows(windows))
    rows = Rows.joined(list(_windows(measuring, windows)) if n >= _FEWEST else [])
    sound, why = heard_or_why(film.output.path, Fraction(film.output.start_time), _seconds(windows, rate))
    heard = _heard(rows, windows, sound, facts.voiced, gates, rate)
    person = Person.of(rows)
    made = [_segment(span, cue, film, rows, heard, person, facts) for span, cue in _parts(n, rate, facts)]
    segments, partial = judged([one for one in made if one is not None], thresholds)
    figures: Figures = dict(facts.shares)
    figures |= (
        mouth(rows, heard, person, rate, FEWEST_FILM)
        | closed(rows, person, facts.closures, rate)
        | picture(rows, heard)
    )
    who = measuring.who
    figures |= identity(who.source, who.output, at_rest=at_rest(rows))
    figures |= output_lse(film, measuring.seen, _by_window(windows, sound))
    figures["measured_share"] = float(rows.known.sum() / n) if n else None
    figures |= _of_sound(film, sound) | film_figures(facts.cues)
    missing = None if facts.wanted_frames is None else max(0, facts.wanted_frames - n)
    figures["frames_missing"] = missing
    whole = [*facts.reasons, *reasons_of(figures, thresholds)]
    if why:
        whole.append(always("sound", 0.0, "look", why))
    elif sound is not None and sound.silent:
        whole.append(always("sound", 0.0, "look", "nothing is heard in the file's sound"))
    if missing:
        message = f"the output lacks {missing} of {facts.wanted_frames} frames"
        whole.append(always("frames_missing", float(missing), "bad", message, 0.0))
    whole += [always("source_readable", 0.0, "look", note) for note in measuring.notes]
    level = None if sound is None else sound.level_db(rate, n)
    gate = np.max(gates, axis=0) if gates else None
    return Evaluation(
        id=facts.id,
        output=film.output.path,
        output_sha256=film.output.identity,
        source=facts.source,
        speech=facts.speech,
        frames=n,
        duration=round(float(n / rate), 4),
        verdict=overall(whole, partial, segments),
        reasons=tuple(whole + partial),
        figures=rounded(figures),
        source_figures=_of_source(film, rows, windows, person, measuring),
        segments=tuple(segments),
        worst=tuple(worst_moments(rows, heard, person, rate, thresholds)),
        curves=curves_of(n, rate, rows, heard, person, level, gate),
        thresholds=thresholds.digest,
        seconds=round(time.process_time() - began, 3),
    )


def _windows(measuring: Measuring, windows: Sequence[Span]) -> Iterator[Rows]:
    for span in windows:
        yield measuring.window(span)
        release_free_memory()


def rounded(figures: Mapping[str, float | None]) -> Figures:
    """To 4 decimals; None for what is no finite number."""
    return {
        name: None if one is None or not np.isfinite(one) else round(float(one), 4) for name, one in figures.items()
    }


def _speaker(gates: Sequence[F32], n: int) -> I64 | None:
    """(n,) the face with the most open gate, which stays until another one opens; None for one face."""
    if len(gates) < 2:
        return None
    stacked = np.stack(gates)
    best = np.where(stacked.max(axis=0) > 0, stacked.argmax(axis=0), NONE)
    last = np.maximum.accumulate(np.where(best != NONE, np.arange(n), 0))
    return np.asarray(np.maximum(best[last], 0), np.int64)


def _who_at(windows: Sequence[Span]) -> list[int]:
    """The frames whose faces are compared: SAMPLES, spread evenly over all that are measured."""
    frames = np.concatenate([np.arange(*span) for span in windows]) if windows else np.zeros(0, np.int64)
    if not len(frames):
        return []
    return [int(frames[at]) for at in spread(len(frames), SAMPLES)]


def _seconds(windows: Sequence[Span], rate: Fraction) -> list[tuple[float, float]]:
    return [(float(span.start / rate), float(span.stop / rate)) for span in windows]


def _by_window(windows: Sequence[Span], sound: Sound | None) -> dict[Span, Piece]:
    return {} if sound is None else dict(zip(windows, sound.pieces, strict=True))


def _heard(
    rows: Rows,
    windows: Sequence[Span],
    sound: Sound | None,
    told: Bools | None,
    gates: Sequence[F32],
    rate: Fraction,
) -> Heard:
    m, at = len(rows), np.maximum(rows.frame, 0)
    n = int(at.max()) + 1 if m else 0
    voiced = np.zeros(n, np.bool_)
    if told is not None:
        voiced[: min(n, len(told))] = told[:n]
    elif sound is not None:
        voiced = sound.voiced(rate, n)
    asked = np.full(m, np.nan)
    for span, piece in zip(windows, sound.pieces if sound is not None else (), strict=False):
        here = (rows.frame >= span.start) & (rows.frame < span.stop)
        asked[here] = _asked(piece, rows.frame[here], rate)
    gate = np.full(m, np.nan)
    if gates:
        gate = np.max([one[at] for one in gates], axis=0).astype(np.float64) if n else gate
    gate[~rows.known] = np.nan
    return Heard(asked, voiced[at] & rows.known if n else np.zeros(m, np.bool_), gate)


def _asked(piece: Piece, frames: I64, rate: Fraction) -> F64:
    if not np.abs(piece.samples).max(initial=0.0) > 0:
        return np.full(len(frames), np.nan)
    return wanted(piece, frames, float(rate))


def _parts(n: int, rate: Fraction, facts: Facts) -> list[tuple[Span, Cue | None]]:
    """The segments: cues, or SEGMENT_SECONDS of every part that was measured."""
    if facts.cues:
        spans = [Span(int(one.start * rate), min(n, int(np.ceil(one.stop * float(rate))))) for one in facts.cues]
        return [(span, one) for span, one in zip(spans, facts.cues, strict=True) if len(span)]
    step = max(1, round(SEGMENT_SECONDS * rate))
    starts = range(0, max(n - step // 2, 1), step)
    spans = [Span(at, n if at + step * 3 // 2 > n else at + step) for at in starts] if n else []
    return [(span, None) for span in spans]


def _segment(
    span: Span, cue: Cue | None, film: Film, rows: Rows, heard: Heard, person: Person | None, facts: Facts
) -> Segment | None:
    rate = film.output.rate
    chosen = (rows.frame >= span.start) & (rows.frame < span.stop)
    figures: Figures = {} if cue is None else dict(cue_figures(cue))
    if 2 * chosen.sum() >= len(span):
        part, told = rows.between(*span), heard.rows(chosen)
        figures |= mouth(part, told, person, rate) | picture(part, told)
        inside = [one for one in facts.closures if one.start * rate >= span.start and one.stop * rate <= span.stop]
        figures |= closed(part, person, inside, rate)
    elif cue is None:
        return None  # between windows
    start, stop = float(span.start / rate), float(span.stop / rate)
    text = None if cue is None else cue.text
    return Segment(start=round(start, 4), stop=round(stop, 4), figures=rounded(figures), text=text)


def _of_sound(film: Film, sound: Sound | None) -> Figures:
    found: Figures = dict.fromkeys(("loudness_lufs", "true_peak_dbtp", "speech_share", "av_start_ms", "av_end_ms"))
    if sound is None:
        return found
    found["loudness_lufs"], found["true_peak_dbtp"] = sound.lufs, sound.peak_dbtp
    found["speech_share"] = float(sound.voiced(film.output.rate, len(film)).mean()) if len(film) else None
    try:
        times = stream_times(film.output.path)
    except InputError:
        return found
    if times.audio_start is not None and times.video_start is not None:
        found["av_start_ms"] = 1000 * (times.audio_start - times.video_start)
    if times.audio_end is not None and times.video_end is not None:
        found["av_end_ms"] = 1000 * (times.audio_end - times.video_end)
    return found


def _of_source(film: Film, rows: Rows, windows: Sequence[Span], person: Person | None, measuring: Measuring) -> Figures:
    """How the source's mouth follows the source's own sound, in the same frames."""
    if film.source is None or person is None or not np.isfinite(rows.source).any():
        return {}
    info = film.source.info
    shown = [film.shown(*span) for span in windows]
    sound, _ = heard_or_why(info.path, Fraction(info.start_time), [_shown_seconds(one, info.rate) for one in shown])
    if sound is None:
        return {}
    asked, voiced = np.full(len(rows), np.nan), np.zeros(len(rows), np.bool_)
    active = sound.voiced(info.rate, info.n_frames)
    for span, numbers, piece in zip(windows, shown, sound.pieces, strict=True):
        here = np.flatnonzero((rows.frame >= span.start) & (rows.frame < span.stop))
        there = numbers != NONE
        if len(here) == len(numbers) and there.any():
            asked[here[there]] = _asked(piece, numbers[there], info.rate)
            voiced[here[there]] = active[numbers[there]]
    told = Heard(asked, voiced, np.full(len(rows), np.nan))
    found = following(person.share(rows.source), told, film.output.rate, FEWEST_FILM)
    as_source = replace(rows, drawn=rows.source, present=rows.present_source)
    rest = mouth(as_source, told, person, film.output.rate)
    found |= source_lse(film, measuring.seen_source, _by_window(windows, sound))
    return rounded(found | {name: rest.get(name) for name in ("silence_motion", "mouth_range", "face_share")})


def _shown_seconds(numbers: I64, rate: Fraction) -> tuple[float, float]:
    """From the first to the last source frame that a window shows; nothing at 0 where it shows none."""
    known = numbers[numbers != NONE]
    if not len(known):
        return 0.0, 0.0
    return float(int(known.min()) / rate), float((int(known.max()) + 1) / rate)
