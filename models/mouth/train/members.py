"""The networks of an ensemble while it is made: each trained without its share of the clips, judged on that share, and
scaled by it. Trained networks are kept in the cache, so that training continues where it was stopped."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from raydub.arrays import F32, F64
from raydub.models.mouth.layout import OUTPUTS, SHAPES, NetworkConfig
from raydub.models.mouth.network import MouthNetwork
from raydub.models.mouth.spoken import ARTICULATORS, SpokenMouth
from raydub.models.mouth.train.clips import Clip
from raydub.models.mouth.train.closures import Listener, closure_scores, rank_auc
from raydub.models.mouth.train.evaluate import Predictor
from raydub.models.mouth.train.fit import FitConfig, fit
from raydub.models.mouth.train.material import Lesson, lesson_of

OnStep = Callable[[int, float], None]
_BIASES = tuple(np.arange(-1.5, 2.01, 0.5).tolist())


@dataclass(frozen=True)
class Member:
    """A trained network, its loss by step, and the clips that it has not seen."""

    network: MouthNetwork
    losses: tuple[float, ...]
    unseen: tuple[Clip, ...]


class ArticulatorScore(BaseModel):
    """On utterances that were kept out. auc: of being at work or not, by column; recall: share of the columns at work
    that are said to be; false: of the others."""

    model_config = ConfigDict(frozen=True)

    articulator: str
    auc: float
    recall: float
    false: float


def train_member(
    clips: Sequence[Clip],
    lessons: dict[str, list[Lesson]],
    uttered: Sequence[Lesson],
    share: tuple[int, int],
    network: NetworkConfig,
    config: FitConfig,
    seed: int,
    cache: Path,
    on_step: OnStep,
) -> Member:
    """Network k of n (`share`), which does not see every n-th clip."""
    k, n = share
    unseen = tuple(clips[k::n]) if 1 < n <= len(clips) else ()
    names = {clip.name for clip in unseen}
    material = [one for clip in clips if clip.name not in names for one in lessons[clip.name]]
    kept = cache / f"network-{_key(material, uttered, network, config, seed)}.pt"
    if kept.is_file():
        found = torch.load(kept, weights_only=True)
        made = MouthNetwork(network)
        made.load_state_dict(found["state"])
        return Member(made.eval(), tuple(found["losses"]), unseen)
    losses: list[float] = []

    def step(number: int, loss: float) -> None:
        losses.append(loss)
        on_step(number, float(np.mean(losses[-25:])))

    made = fit(material, network, config, seed, step, uttered if network.outputs > SHAPES else ())
    cache.mkdir(parents=True, exist_ok=True)
    draft = kept.with_suffix(f".{os.getpid()}.draft")
    torch.save({"state": made.state_dict(), "losses": losses}, draft)
    os.replace(draft, kept)
    return Member(made, tuple(losses), unseen)


def _key(
    material: Sequence[Lesson], uttered: Sequence[Lesson], network: NetworkConfig, config: FitConfig, seed: int
) -> str:
    digest = hashlib.sha256(
        f"{network.model_dump_json()} {config.model_dump_json()} {seed} {torch.__version__}".encode()
    )
    for lesson in (*material, *uttered):
        digest.update(lesson.clip.encode())
        for array in (lesson.mel, lesson.target, lesson.known):
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:24]


def curve_of(network: MouthNetwork, mel: F32) -> F32:
    """(80, T) → (outputs, T), silence beyond the ends."""
    reach = network.config.reach
    padded = np.pad(mel, ((0, 0), (reach, reach)), constant_values=-4)
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(padded)[None])[0].numpy())


def predictor_of(network: MouthNetwork) -> Predictor:
    """A network before it is written, as a Predictor without gain."""

    def at(mel: F32, times: F64) -> F32:
        curve = curve_of(network, mel)[:SHAPES]
        columns = np.arange(curve.shape[1])
        return np.stack([np.interp(times * 80, columns, row) for row in curve], axis=1).astype(np.float32)

    return at


def listener_of(network: MouthNetwork, bias: float = 0.0) -> Listener:
    """A network with articulators before it is written, as a Listener. It keeps the last curve: a clip is heard again
    with its times moved."""
    heard: list[tuple[F32, F32]] = []

    def listen(mel: F32, times: F64, period: float) -> SpokenMouth:
        if not heard or heard[0][0] is not mel:
            heard[:] = [(mel, curve_of(network, mel))]
        curve = heard[0][1]
        columns = np.arange(curve.shape[1])
        looks = [
            np.stack([np.interp((times + part * period) * 80, columns, row) for row in curve])
            for part in (0, -0.5, -0.25, 0.25, 0.5)
        ]
        own, most = looks[0], np.max(looks, axis=0)
        chances = (1 / (1 + np.exp(-(rows + bias))) for rows in (most[2], own[3], most[4]))
        return SpokenMouth(*(np.asarray(row, np.float32) for row in (own[0], own[1], *chances)))

    return listen


def movement_gain(members: Sequence[Member], seen: Sequence[Lesson]) -> tuple[float, float]:
    """Factors that scale the ensemble's movement on unseen speech to that of real mouths (1 in z-scores). A member's
    movement on unseen clips is measured; averaging reduces it further, which is measured on the clips seen."""
    curves = [[curve_of(one.network, lesson.mel)[:SHAPES] for one in members] for lesson in seen]
    single = np.mean([[curve.std(axis=1) for curve in each] for each in curves], axis=(0, 1))
    together = np.mean([np.mean(each, axis=0).std(axis=1) for each in curves], axis=0)
    unseen = [curve_of(one.network, lesson_of(clip).mel)[:SHAPES].std(axis=1) for one in members for clip in one.unseen]
    alone = np.mean(unseen, axis=0) if unseen else single
    movement = np.maximum(alone * together / np.maximum(single, 1e-3), 0.2)
    return float(1 / movement[0]), float(1 / movement[1])


def closure_bias(members: Sequence[Member]) -> float:
    """Added to the closure's logit: what makes hit and found exceed chance most, over the clips that each member has
    not seen. 0 without any. Found alone would be largest with lips that are always closed."""
    best, bias = 0.0, 0.0
    for candidate in _BIASES:
        scores = [score for one in members for score in closure_scores(one.unseen, listener_of(one.network, candidate))]
        gains = [
            score.hit - score.by_chance[0] + score.found - score.by_chance[1]
            for score in scores
            if score.clip != "mean"
        ]
        if gains and float(np.mean(gains)) > best:
            best, bias = float(np.mean(gains)), candidate
    return bias


def articulator_scores(networks: Sequence[MouthNetwork], uttered: Sequence[Lesson]) -> tuple[ArticulatorScore, ...]:
    """The ensemble on utterances that it has not seen; () without any."""
    if not uttered or networks[0].config.outputs < OUTPUTS:
        return ()
    said = [np.mean([curve_of(one, lesson.mel) for one in networks], axis=0) for lesson in uttered]
    scores = []
    for row, name in enumerate(ARTICULATORS, SHAPES):
        x = np.concatenate([curve[row][one.known[row]] for curve, one in zip(said, uttered, strict=True)])
        y = np.concatenate([one.target[row][one.known[row]] > 0.5 for one in uttered])
        scores.append(
            ArticulatorScore(
                articulator=name,
                auc=rank_auc(x, y, ~y),
                recall=float((x[y] > 0).mean()),
                false=float((x[~y] > 0).mean()),
            )
        )
    return tuple(scores)
