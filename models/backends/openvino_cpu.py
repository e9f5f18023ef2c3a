"""The network in OpenVINO: its graph built from the folded torch network, compiled for the CPU at one batch size.

Building the graph here takes a fraction of a second; OpenVINO's own conversion traces the torch network for seconds.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from raydub.arrays import F32, U8
from raydub.models.wav2lip import FACE, Block, Wav2Lip

_HINT = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend:
    """See models.backends.base.Backend. Compiles again when the batch changes (after a batch was halved)."""

    name = "openvino"
    conveyor = None

    def __init__(self, network: Wav2Lip, precision: str, threads: int | None = None) -> None:
        import openvino as ov

        self.precision = precision
        self._core = ov.Core()
        self._settings = {
            # OpenVINO would use bf16 by default if the CPU has it; here the user chooses the precision.
            "INFERENCE_PRECISION_HINT": _HINT[precision],
            "INFERENCE_NUM_THREADS": threads or torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        self._model = _graph(network.folded().requires_grad_(False))
        self._batch = 0
        self._request: Any = None

    def run(self, crops: U8, mel: F32) -> F32:
        """See Backend.run. The result is the caller's own."""
        if len(crops) != self._batch:
            self._compile(len(crops))
        made = self._request.infer({0: crops, 1: mel}, share_inputs=True, share_outputs=True)
        return np.array(made[0], np.float32)

    def _compile(self, batch: int) -> None:
        self._request = None  # free the old network's memory before the new one is compiled
        self._model.reshape({0: [batch, FACE, FACE, 3], 1: [batch, 80, 16]})
        self._request = self._core.compile_model(self._model, "CPU", self._settings).create_infer_request()
        self._batch = batch


def _graph(network: Wav2Lip) -> Any:
    """openvino.Model: crops (N, 96, 96, 3) uint8 and mel (N, 80, 16) float32 in, (N, 96, 96, 3) float32 out."""
    import openvino as ov
    from openvino import opset13 as op

    crops = op.parameter([-1, FACE, FACE, 3], np.uint8, name="crops")
    mel = op.parameter([-1, 80, 16], np.float32, name="mel")
    whole = op.divide(op.convert(crops, "f32"), np.float32(255.0))
    upper = np.zeros((1, FACE, 1, 1), np.float32)
    upper[:, : FACE // 2] = 1.0
    x = op.transpose(op.concat([op.multiply(whole, upper), whole], 3), np.array([0, 3, 1, 2]))
    skips = []
    for encode in network.face_encoder_blocks:
        x = _chain(encode, x)
        skips.append(x)
    x = _chain(network.audio_encoder, op.unsqueeze(mel, np.array([1])))
    for decode in network.face_decoder_blocks:
        x = op.concat([_chain(decode, x), skips.pop()], 1)
    x = op.transpose(_chain(network.output_block, x), np.array([0, 2, 3, 1]))
    return ov.Model([x], [crops, mel], "wav2lip")


def _chain(modules: nn.Module, x: Any) -> Any:
    from openvino import opset13 as op

    for module in modules.children():
        if isinstance(module, nn.Sigmoid):
            x = op.sigmoid(x)
        elif isinstance(module, nn.Conv2d):
            x = _conv(module, x)
        elif isinstance(module, Block):
            made = _conv(module.conv_block[0], x)
            x = op.relu(op.add(made, x) if module.residual else made)
        else:
            raise TypeError(f"unsupported layer in the network: {type(module).__name__}")
    return x


def _conv(conv: nn.Module, x: Any) -> Any:
    """A convolution or its transpose, with bias."""
    from openvino import opset13 as op
    from openvino.op import Constant

    if not isinstance(conv, nn.Conv2d | nn.ConvTranspose2d) or conv.bias is None:
        raise TypeError(f"not a convolution with a bias: {conv}")
    # Explicit constants: opset13 converts arrays value by value, which takes a second for this network.
    weight = Constant(np.ascontiguousarray(conv.weight.detach().numpy()))
    bias = Constant(np.ascontiguousarray(conv.bias.detach().numpy().reshape(1, -1, 1, 1)))
    stride, pad, dilation = list(conv.stride), list(conv.padding), [1, 1]
    if isinstance(conv, nn.ConvTranspose2d):
        extra = list(conv.output_padding)
        made = op.convolution_backprop_data(
            x, weight, strides=stride, pads_begin=pad, pads_end=pad, dilations=dilation, output_padding=extra
        )
    else:
        made = op.convolution(x, weight, stride, pad, pad, dilation)
    return op.add(made, bias)
