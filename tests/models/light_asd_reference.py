"""Light-ASD in torch, function by function from the paper and the published names, and random weights of its layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from raydub.models.light_asd import shapes


def random_state(seed: int = 0) -> dict[str, np.ndarray]:
    """Weights under which neither scores nor any layer vanish."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}
    for name, shape in shapes().items():
        if name.endswith("num_batches_tracked"):
            state[name] = np.zeros((), np.int64)
        elif name.endswith("running_var") or (".bn_" in name and name.endswith("weight")):
            state[name] = rng.uniform(0.5, 2, shape).astype(np.float32)
        else:
            spread = 0.3 if len(shape) < 2 else 1.4 / np.sqrt(np.prod(shape[1:]))
            state[name] = (rng.normal(size=shape) * spread).astype(np.float32)
    return state


@torch.no_grad()
def reference(state: Mapping[str, Any], pictures: np.ndarray, cepstra: np.ndarray) -> np.ndarray:
    """(T,) log odds of a clip of any length."""
    s = {name: torch.from_numpy(np.array(value)) for name, value in state.items()}

    def layer(x: Tensor, name: str, norm: str, stride: Any = 1) -> Tensor:
        weight = s[f"{name}.weight"]
        conv = F.conv3d if weight.ndim == 5 else F.conv2d
        y = conv(x, weight, stride=stride, padding=[side // 2 for side in weight.shape[2:]])
        means = (s[f"{norm}.running_mean"], s[f"{norm}.running_var"])
        return F.relu(F.batch_norm(y, *means, s[f"{norm}.weight"], s[f"{norm}.bias"], eps=0.001))

    def block(x: Tensor, name: str, first: str, stride: Any = 1) -> Tensor:
        ways = []
        for k in (3, 5):
            y = layer(x, f"{name}.{first}_{k}", f"{name}.bn_{first}_{k}", stride)
            ways.append(layer(y, f"{name}.t_{k}", f"{name}.bn_t_{k}"))
        return layer(ways[0] + ways[1], f"{name}.last", f"{name}.bn_last")

    def gru(x: Tensor, name: str) -> Tensor:
        network = nn.GRU(128, 128, batch_first=True)
        network.load_state_dict({part: s[f"{name}.{part}"] for part, _ in network.named_parameters()})
        return network(x)[0]

    x = ((torch.from_numpy(pictures).float() / 255 - 0.4161) / 0.1688)[None, None]
    for number in (1, 2, 3):
        x = block(x, f"model.visualEncoder.block{number}", "s", (1, 2, 2) if number == 1 else 1)
        if number < 3:
            x = F.max_pool3d(x, (1, 3, 3), (1, 2, 2), (0, 1, 1))
    seen = x.amax((3, 4)).transpose(1, 2)
    x = torch.from_numpy(cepstra).T[None, None]
    for number in (1, 2, 3):
        x = block(x, f"model.audioEncoder.block{number}", "m")
        if number < 3:
            x = F.max_pool2d(x, (1, 3), (1, 2), (0, 1))
    heard = x.mean(2).transpose(1, 2)
    both = F.gelu(gru(seen + heard, "model.GRU.gru_forward"))
    both = F.gelu(gru(both.flip(1), "model.GRU.gru_backward").flip(1))
    logits = F.linear(both[0], s["lossAV.FC.weight"], s["lossAV.FC.bias"])
    return (logits[:, 1] - logits[:, 0]).numpy()
