"""Training of the mouth networks: correlation and distance on random stretches of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from raydub.models.mouth.layout import NetworkConfig
from raydub.models.mouth.network import MouthNetwork
from raydub.models.mouth.train.material import Batches, Lesson


class FitConfig(BaseModel):
    """How one network is trained. columns: mel columns a stretch, beside the network's reach; width_share: weight of
    the width in the loss, where openness has 1; hush_share: part of the stretches that get a silence. The learning rate
    warms up for 5 % of the steps, then falls along a cosine to nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(500, ge=1)
    batch: int = Field(16, ge=2)
    columns: int = Field(160, ge=32)
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    width_share: float = 0.35
    hush_share: float = 0.12


def fit(
    lessons: Sequence[Lesson],
    network: NetworkConfig,
    config: FitConfig,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> MouthNetwork:
    """Train one network on the lessons; `on_step(step, loss)` is called after every step. Returns it in evaluation
    mode."""
    torch.manual_seed(seed)
    model = MouthNetwork(network).train()
    batches = Batches(lessons, config.columns + 2 * network.reach, network.reach, seed, config.hush_share)
    optimiser = torch.optim.AdamW(model.parameters(), config.learning_rate, weight_decay=config.weight_decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, config.learning_rate, total_steps=config.steps + 1, pct_start=0.05, cycle_momentum=False
    )
    for step in range(config.steps):
        mel, target, known = (torch.from_numpy(part) for part in batches.draw(config.batch))
        loss = loss_of(model(mel), target, known.float(), config)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        if on_step is not None:
            on_step(step, loss.item())
    return model.eval()


def loss_of(said: Tensor, target: Tensor, known: Tensor, config: FitConfig) -> Tensor:
    """said and target (B, 2, T), known (B, T). One minus the correlation inside each stretch fits the movement, the
    distance fits level and scale."""
    mask = known[:, None]
    count = mask.sum(dim=2).clamp(min=1)
    a = (said - (said * mask).sum(2, keepdim=True) / count[..., None]) * mask
    b = (target - (target * mask).sum(2, keepdim=True) / count[..., None]) * mask
    r = (a * b).sum(2) / torch.sqrt((a * a).sum(2) * (b * b).sum(2) + 1e-3)
    gap = (torch.nn.functional.smooth_l1_loss(said, target, reduction="none") * mask).sum(2) / count
    openness, width = (1 - r + gap).mean(dim=0)
    return openness + config.width_share * width
