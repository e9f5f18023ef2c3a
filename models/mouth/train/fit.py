"""Training of the mouth networks: correlation and distance on random stretches of speech with pictures, and closures,
rounding and lip-teeth contact on utterances whose phonemes are known. One trunk learns both in every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from raydub.models.mouth.layout import SHAPES, NetworkConfig
from raydub.models.mouth.network import MouthNetwork
from raydub.models.mouth.train.material import Batches, Lesson


class FitConfig(BaseModel):
    """How one network is trained. batch, uttered: stretches a step, of clips and of utterances; columns: mel columns a
    stretch, beside the network's reach; width_share, articulator_share: weight in the loss of the width and of each
    articulator, where openness has 1; uttered_dropout: share of the network's dropout that utterances get: there are
    enough of them, and phonemes are lost in it; hush_share: part of the stretches that get a silence. The learning rate
    warms up for 5 % of the steps, then falls along a cosine to nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(600, ge=1)
    batch: int = Field(14, ge=2)
    uttered: int = Field(14, ge=1)
    columns: int = Field(128, ge=32)
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    width_share: float = 0.35
    articulator_share: float = 3.0
    uttered_dropout: float = Field(0.25, ge=0, le=1)
    hush_share: float = 0.12


def fit(
    lessons: Sequence[Lesson],
    network: NetworkConfig,
    config: FitConfig,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
    uttered: Sequence[Lesson] = (),
) -> MouthNetwork:
    """Train one network on the lessons, and on utterances if it has articulators; `on_step(step, loss)` is called after
    every step. Returns it in evaluation mode."""
    torch.manual_seed(seed)
    model = MouthNetwork(network).train()
    columns = config.columns + 2 * network.reach
    sources = [(Batches(lessons, columns, network.reach, seed, config.hush_share), config.batch)]
    if uttered:
        sources.append((Batches(uttered, columns, network.reach, seed + 1000, synthetic=True), config.uttered))
    shares = ((1.0, config.batch), (config.uttered_dropout, config.uttered if uttered else 0))
    dropout = torch.cat([torch.full((count,), share) for share, count in shares])
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps + 1, pct_start=0.05, cycle_momentum=False
    )
    for step in range(config.steps):
        drawn = zip(*(batches.draw(count) for batches, count in sources), strict=True)
        mel, target, known = (torch.from_numpy(np.concatenate(parts)) for parts in drawn)
        loss = loss_of(model(mel, dropout), target, known.float(), config)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(step, loss.item())
    return model.eval()


def loss_of(said: Tensor, target: Tensor, known: Tensor, config: FitConfig) -> Tensor:
    """said (B, outputs, T), target and known (B, OUTPUTS, T). Openness and width: one minus the correlation inside each
    stretch fits the movement, the distance fits level and scale. Articulators: cross entropy over all that is known."""
    shown = known[:, 0].any(dim=1)
    loss = _shape_loss(said[shown, :SHAPES], target[shown, :SHAPES], known[shown, :SHAPES], config)
    outputs = said.shape[1]
    if outputs > SHAPES:
        mask = known[:, SHAPES:outputs]
        missed = torch.nn.functional.binary_cross_entropy_with_logits(
            said[:, SHAPES:], target[:, SHAPES:outputs], reduction="none"
        )
        loss = loss + config.articulator_share * ((missed * mask).sum((0, 2)) / mask.sum((0, 2)).clamp(min=1)).sum()
    return loss


def _shape_loss(said: Tensor, target: Tensor, mask: Tensor, config: FitConfig) -> Tensor:
    count = mask.sum(dim=2).clamp(min=1)
    a = (said - (said * mask).sum(2, keepdim=True) / count[..., None]) * mask
    b = (target - (target * mask).sum(2, keepdim=True) / count[..., None]) * mask
    r = (a * b).sum(2) / torch.sqrt((a * a).sum(2) * (b * b).sum(2) + 1e-3)
    gap = (torch.nn.functional.smooth_l1_loss(said, target, reduction="none") * mask).sum(2) / count
    openness, width = (1 - r + gap).mean(dim=0)
    return openness + config.width_share * width
