"""Training of the mouth networks: correlation and distance on random stretches of speech."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from models.mouth.network import OUTPUTS, MouthNetwork, NetworkConfig
from models.mouth.train.material import Batches, Sequence_


class FitConfig(BaseModel):
    """How one network is trained. columns: mel columns a sequence, beside the network's reach; the learning rate warms up
    for 5 % of the steps, then falls along a cosine to nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    steps: int = Field(1200, ge=1)
    batch: int = Field(24, ge=2)
    columns: int = Field(200, ge=32)
    learning_rate: float = 2e-3
    weight_decay: float = 0.02
    width_share: float = 0.35
    extra_share: float = 0.3
    hush_share: float = 0.12


def fit(
    sequences: Sequence[Sequence_],
    network: NetworkConfig,
    config: FitConfig,
    seed: int,
    on_step: Callable[[int, float], None] | None = None,
) -> MouthNetwork:
    """Train one network on the sequences. `on_step(step, loss)` is called after every step. Returns it in evaluation mode."""
    torch.manual_seed(seed)
    model = MouthNetwork(network).train()
    batches = Batches(sequences, config.columns + 2 * network.reach, network.reach, seed, config.hush_share)
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
    """said (B, O, T), target (B, >= 2, T), known (B, T). One minus the correlation inside each stretch keeps the movement lively;
    the distance term settles level and scale; auxiliary outputs, if any, are held by distance alone."""
    mask = known[:, None]
    count = mask.sum(dim=2).clamp(min=1)
    main, wanted = said[:, :OUTPUTS], target[:, :OUTPUTS]
    a = (main - (main * mask).sum(2, keepdim=True) / count[..., None]) * mask
    b = (wanted - (wanted * mask).sum(2, keepdim=True) / count[..., None]) * mask
    r = (a * b).sum(2) / torch.sqrt((a * a).sum(2) * (b * b).sum(2) + 1e-3)
    gap = (torch.nn.functional.smooth_l1_loss(main, wanted, reduction="none") * mask).sum(2) / count
    per_output = (1 - r + gap).mean(dim=0)
    loss = per_output[0] + config.width_share * per_output[1]
    if said.shape[1] > OUTPUTS and target.shape[1] > OUTPUTS:
        extra = torch.nn.functional.smooth_l1_loss(said[:, OUTPUTS:], target[:, OUTPUTS:], reduction="none")
        loss = loss + config.extra_share * ((extra * mask).sum(2) / count).mean()
    return loss
