"""The network in torch: batch norms folded, channels last, on a CPU (fp32, bf16) or on CUDA (fp32, bf16, fp16)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from raydub.arrays import F32, U8
from raydub.models.backends.conveyor import Conveyor
from raydub.models.wav2lip import Wav2Lip
from raydub.models.wav2lip_table import FACE

_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class TorchBackend:
    """See models.backends.base.Backend. On CUDA batches of one shape are a CUDA graph, bytes in and bytes out."""

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
        self.conveyor: Conveyor | None = None
        if self._device.type == "cuda":
            from raydub.models.backends.cuda import CudaCard

            self.conveyor = Conveyor(CudaCard(self._device), lambda crops, mel: to_bytes(self.faces(crops, mel)))

    @torch.inference_mode()
    def run(self, crops: U8, mel: F32) -> F32:
        """See Backend.run. Repeatable: cuDNN keeps to deterministic kernels without TF32."""
        made = self.faces(torch.from_numpy(crops).to(self._device), torch.from_numpy(mel).to(self._device))
        return np.ascontiguousarray(made.float().cpu().numpy())

    def faces(self, crops: Tensor, mel: Tensor) -> Tensor:
        """crops (B, 96, 96, 3) uint8 BGR, mel (B, 80, 16) float32 on the device -> (B, 96, 96, 3) in [0, 1], in the
        precision's type."""
        pictures = two_pictures(crops).to(self._type)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            made: Tensor = self._network(mel[:, None].to(self._type), pictures)
        return made.permute(0, 2, 3, 1)


def to_bytes(faces: Tensor) -> Tensor:
    """Values in [0, 1] -> uint8, truncated, not rounded, as in the published code."""
    return (faces.float() * 255.0).to(torch.uint8).contiguous()


def two_pictures(crops: Tensor) -> Tensor:
    """(B, 96, 96, 3) uint8 -> (B, 6, 96, 96) float32 in [0, 1], channels last in memory: first the face without its
    lower half, then the whole face."""
    whole = crops.float() / 255.0
    upper = whole.clone()
    upper[:, FACE // 2 :] = 0.0
    return torch.cat((upper, whole), dim=3).permute(0, 3, 1, 2)
