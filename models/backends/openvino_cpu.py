"""The network in OpenVINO: converted in memory from the folded torch network, compiled for the CPU at one fixed batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from models.wav2lip import FACE, Wav2Lip

_HINT = {"fp32": "f32", "bf16": "bf16"}


class _Dub(nn.Module):
    """Network with its pre-processing: (B, 96, 96, 3) uint8 and (B, 80, 16) in, (B, 96, 96, 3) float32 out."""

    def __init__(self, network: Wav2Lip) -> None:
        super().__init__()
        self.network = network
        upper = torch.zeros(1, FACE, 1, 1)
        upper[:, : FACE // 2] = 1.0
        self.register_buffer("upper", upper)

    def forward(self, crops: Tensor, mel: Tensor) -> Tensor:
        whole = crops.float() / 255.0
        faces = torch.cat((whole * self.upper, whole), dim=3).permute(0, 3, 1, 2)
        made: Tensor = self.network(mel[:, None], faces)
        return made.permute(0, 2, 3, 1)


class OpenVinoBackend:
    """See models.backends.base.Backend. Compiles again when the batch changes (after a batch was halved)."""

    name = "openvino"

    def __init__(self, network: Wav2Lip, precision: str, threads: int | None = None) -> None:
        import openvino as ov

        self.precision = precision
        self._core = ov.Core()
        self._settings = {
            # OpenVINO takes bf16 by itself where the CPU has it; precision is the user's choice here.
            "INFERENCE_PRECISION_HINT": _HINT[precision],
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        example = (torch.zeros(1, FACE, FACE, 3, dtype=torch.uint8), torch.zeros(1, 80, 16))
        with torch.inference_mode():
            self._model = ov.convert_model(_Dub(network.folded().requires_grad_(False)), example_input=example)
        self._batch = 0
        self._request: Any = None

    def run(self, crops: npt.NDArray[np.uint8], mel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """See Backend.run. The result is the caller's own."""
        if len(crops) != self._batch:
            self._compile(len(crops))
        made = self._request.infer({0: crops, 1: mel}, share_inputs=True, share_outputs=True)
        return np.array(made[0], np.float32)

    def _compile(self, batch: int) -> None:
        self._request = None  # the old network's memory goes before the new one's comes
        self._model.reshape({0: [batch, FACE, FACE, 3], 1: [batch, 80, 16]})
        self._request = self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()
        self._batch = batch
