"""The network in torch: batch norms folded, channels last, on a CPU (fp32, bf16) or on CUDA (fp32, bf16, fp16)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raydub.arrays import F32, U8
from raydub.models.wav2lip import FACE, Wav2Lip

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """See models.backends.base.Backend."""

    name = "torch"

    def __init__(self, network: Wav2Lip, device: str, precision: str, threads: int | None = None) -> None:
        """threads: sets torch's thread count for the whole process."""
        if threads is not None:
            torch.set_num_threads(threads)
        self.precision = precision
        self._type = _TYPES[precision]
        self._device = torch.device(device)
        folded = network.folded().requires_grad_(False)
        self._network = folded.to(self._device, self._type, memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(self, crops: U8, mel: F32) -> F32:
        """crops (B, 96, 96, 3) uint8 BGR, mel (B, 80, 16) -> (B, 96, 96, 3) float32 in [0, 1]. Repeatable: cuDNN keeps
        to deterministic kernels without TF32."""
        faces = torch.from_numpy(crops).to(self._device)
        sound = torch.from_numpy(mel).to(self._device)[:, None].to(self._type)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            made = self._network(sound, two_pictures(faces).to(self._type))
        return np.ascontiguousarray(made.permute(0, 2, 3, 1).float().cpu().numpy())


def two_pictures(crops: Tensor) -> Tensor:
    """(B, 96, 96, 3) uint8 -> (B, 6, 96, 96) float32 in [0, 1], channels last in memory: first the face without its
    lower half, then the whole face."""
    whole = crops.float() / 255.0
    upper = whole.clone()
    upper[:, FACE // 2 :] = 0.0
    return torch.cat((upper, whole), dim=3).permute(0, 3, 1, 2)
