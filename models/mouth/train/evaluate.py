"""Evaluation of a network: correlation with measured mouths, controls, and baselines."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from raydub.arrays import F32, F64
from raydub.models.mel import mel_spectrogram
from raydub.models.mouth.train.clips import Clip
from raydub.models.mouth.train.material import COLUMNS, z_scored

Predictor = Callable[[F32, F64], F32]
"""(mel (80, T), times (M,) in seconds) → (M, 2) z-scored openness and width."""

LAGS = range(-5, 6)
SHIFT_SECONDS = 0.6


class ClipScore(BaseModel):
    """One clip. openness, width: correlation with the real mouth; by_lag: that of openness when the prediction is
    delayed by so many 1/25 s (the best should lie at 0); shifted: when shifted by 0.6 s, mean of both sides (a control:
    near 0); movement: standard deviation of predicted over real openness, both as z-scores; energy: correlation of
    plain log energy with openness (a baseline); frames: frames judged."""

    model_config = ConfigDict(frozen=True)

    clip: str
    frames: int
    openness: float
    width: float
    by_lag: dict[int, float]
    shifted: float
    movement: float
    energy: float


class Score(BaseModel):
    """Means over clips, and the clips."""

    model_config = ConfigDict(frozen=True)

    openness: float
    width: float
    by_lag: dict[int, float]
    shifted: float
    movement: float
    energy: float
    clips: tuple[ClipScore, ...]

    @classmethod
    def of(cls, clips: Sequence[ClipScore]) -> Score:
        """The means over some clips, each counting the same."""
        return cls(
            openness=float(np.mean([clip.openness for clip in clips])),
            width=float(np.mean([clip.width for clip in clips])),
            by_lag={lag: float(np.mean([clip.by_lag[lag] for clip in clips])) for lag in LAGS},
            shifted=float(np.mean([clip.shifted for clip in clips])),
            movement=float(np.mean([clip.movement for clip in clips])),
            energy=float(np.mean([clip.energy for clip in clips])),
            clips=tuple(clips),
        )


def evaluate(clips: Sequence[Clip], predict: Predictor) -> Score:
    """Score a predictor on clips that it has not seen. ValueError when there are none."""
    if not clips:
        raise ValueError("no clips to evaluate on")
    return Score.of([_score(clip, predict) for clip in clips])


def _score(clip: Clip, predict: Predictor) -> ClipScore:
    mel, use = mel_spectrogram(clip.samples), clip.usable
    real = z_scored(clip)[0][use]

    def said(delay: float) -> F32:
        return predict(mel, clip.times - delay)[use]

    plain = said(0.0)
    return ClipScore(
        clip=clip.name,
        frames=int(use.sum()),
        openness=correlation(plain[:, 0], real[:, 0]),
        width=correlation(plain[:, 1], real[:, 1]),
        by_lag={lag: correlation(said(lag / 25)[:, 0], real[:, 0]) for lag in LAGS},
        shifted=float(np.mean([correlation(said(s)[:, 0], real[:, 0]) for s in (-SHIFT_SECONDS, SHIFT_SECONDS)])),
        movement=float(plain[:, 0].std() / max(float(real[:, 0].std()), 1e-6)),
        energy=correlation(log_energy(mel, clip.times)[use], real[:, 0]),
    )


def log_energy(mel: F32, times: F64) -> F32:
    """Mean of the mel bands at the given times, (M,): the baseline for any network."""
    energy = mel.mean(axis=0)
    return np.interp(times * COLUMNS, np.arange(len(energy)), energy).astype(np.float32)


def correlation(a: npt.ArrayLike, b: npt.ArrayLike) -> float:
    """Pearson's r; 0 if one side is constant."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 1e-9 else 0.0
