"""Evaluation of closures on real clips: when lips are said to touch, do the measured lips touch?

Nobody wrote down the phonemes of real clips, so the lips' distance is the judge: touching and apart are those of
material.lips_of, frames between are not judged. A mouth also touches where nothing is spoken, so pauses are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from pydantic import BaseModel, ConfigDict
from scipy.ndimage import maximum_filter1d

from raydub.arrays import F32, F64, Bools
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.spoken import THRESHOLD, SpokenMouth
from raydub.models.mouth.train.clips import Clip
from raydub.models.mouth.train.evaluate import SHIFT_SECONDS, log_energy
from raydub.models.mouth.train.material import DECIBEL, lips_of

Listener = Callable[[F32, F64, float], SpokenMouth]
"""(mel (80, T), times (M,) in seconds, seconds that a frame lasts) → mouths."""

_NEAR = 0.085
"""Seconds: two frames of 25 a second, by which a closure may be early or late."""
_PAUSE = 0.25
_QUIET_DB = 30.0


class ClosureScore(BaseModel):
    """One clip, or the mean over some. touching: share of the judged frames in which the lips touch; auc: how well the
    predicted closure tells touching frames from frames with lips apart; auc_openness: the same by the predicted
    openness alone (what was known without closures); predicted: predicted closures; hit: the share of them with
    touching lips within two frames; false: the share in whose frames lips stay apart; found: the share of times when
    the lips touch, of at most half a second, with a predicted closure. by_chance: hit and found with the prediction
    shifted by 0.6 s, mean of both sides."""

    model_config = ConfigDict(frozen=True)

    clip: str
    frames: int
    touching: float
    auc: float
    auc_openness: float
    predicted: int
    hit: float
    false: float
    found: float
    by_chance: tuple[float, float]


def closure_scores(clips: Sequence[Clip], listen: Listener) -> tuple[ClosureScore, ...]:
    """Each clip in which lips touch and part while somebody speaks, then their mean (named "mean")."""
    found = [score for clip in clips if (score := _score(clip, listen)) is not None]
    return (*found, _mean(found)) if found else ()


def rank_auc(values: F32, positive: Bools, negative: Bools) -> float:
    """The probability that a positive has a larger value than a negative; ties count half."""
    a, b = np.sort(values[negative]), values[positive]
    below, upto = np.searchsorted(a, b, "left"), np.searchsorted(a, b, "right")
    return float(np.mean((below + upto) / 2) / len(a))


def events(closed: Bools) -> list[int]:
    """The middle entry of each run of True."""
    edges = np.flatnonzero(np.diff(closed.astype(np.int8), prepend=0, append=0))
    return [int((start + stop - 1) // 2) for start, stop in zip(edges[::2], edges[1::2], strict=True)]


def spoken_frames(mel: F32, times: F64) -> Bools:
    """(n,) bool: no pause of a quarter of a second or more around the frame."""
    energy = log_energy(mel, np.arange(mel.shape[1]) / 80) / DECIBEL
    loud = maximum_filter1d(energy > np.percentile(energy, 95) - _QUIET_DB, 2 * round(_PAUSE * 40) + 1)
    return np.asarray(loud[np.clip(np.rint(times * 80).astype(int), 0, len(loud) - 1)])


def _score(clip: Clip, listen: Listener) -> ClosureScore | None:
    mel, times = mel_spectrogram(clip.samples), clip.times
    period = float(np.median(np.diff(times))) if len(times) > 1 else 0.04
    near = max(1, round(_NEAR / period))
    spoken = spoken_frames(mel, times)
    touching, apart = lips_of(clip)
    touching, apart = touching & spoken, apart & spoken
    if touching.sum() < 3 or apart.sum() < 10:
        return None
    said = listen(mel, times, period)

    def hits(closed: Bools) -> tuple[float, float, float, int]:
        centres = [at for at in events(closed) if spoken[at] and clip.usable[at]]
        around = [slice(max(0, at - near), at + near + 1) for at in centres]
        hit = [bool(touching[part].any()) for part in around]
        false = [bool(apart[part].all()) for part in around]
        edges = np.flatnonzero(np.diff(touching.astype(np.int8), prepend=0, append=0))
        runs = [(a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if (b - a) * period < 0.5]
        found = [bool(closed[max(0, a - near) : b + near].any()) for a, b in runs]
        return _share(hit), _share(false), _share(found), len(centres)

    hit, false, found, predicted = hits(said.closure >= THRESHOLD)
    shifted = [hits(listen(mel, times + by, period).closure >= THRESHOLD) for by in (-SHIFT_SECONDS, SHIFT_SECONDS)]
    return ClosureScore(
        clip=clip.name,
        frames=int((touching | apart).sum()),
        touching=float(touching.sum() / (touching | apart).sum()),
        auc=rank_auc(said.closure, touching, apart),
        auc_openness=rank_auc(-said.open, touching, apart),
        predicted=predicted,
        hit=hit,
        false=false,
        found=found,
        by_chance=(float(np.mean([one[0] for one in shifted])), float(np.mean([one[2] for one in shifted]))),
    )


def _share(said: Sequence[bool]) -> float:
    return float(np.mean(said)) if said else 0.0


def _mean(scores: Sequence[ClosureScore]) -> ClosureScore:
    def mean(name: str) -> float:
        return float(np.mean([getattr(score, name) for score in scores]))

    return ClosureScore(
        clip="mean",
        frames=sum(score.frames for score in scores),
        predicted=sum(score.predicted for score in scores),
        **{name: mean(name) for name in ("touching", "auc", "auc_openness", "hit", "false", "found")},
        by_chance=(
            float(np.mean([score.by_chance[0] for score in scores])),
            float(np.mean([score.by_chance[1] for score in scores])),
        ),
    )
