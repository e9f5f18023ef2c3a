"""The network in OpenVINO: its graph built from layer table and weights, compiled for the CPU at one batch size. Works
without torch, whose import takes longer than all of this.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from raydub.arrays import F32, U8
from raydub.models.wav2lip_table import EPSILON, FACE, Layer, table_of, width_of

_HINT = {"fp32": "f32", "bf16": "bf16"}


class OpenVinoBackend:
    """See models.backends.base.Backend. Compiles again when the batch changes (after a batch was halved)."""

    name = "openvino"
    conveyor = None

    def __init__(self, state: Mapping[str, Any], precision: str, threads: int | None = None) -> None:
        """state: the published weights by name, arrays or torch's tensors on the CPU."""
        import openvino as ov

        self.precision = precision
        self._core = ov.Core()
        self._settings = {
            # OpenVINO would use bf16 by default if the CPU has it; here the user chooses the precision.
            "INFERENCE_PRECISION_HINT": _HINT[precision],
            "INFERENCE_NUM_THREADS": threads or _threads(),
            "NUM_STREAMS": 1,
            # Pinned, the threads of all workers of a machine would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        self._model = _Graph(state, precision).model()
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


def _threads() -> int:
    """OMP_NUM_THREADS, by which workers share the cores; 0, OpenVINO's own choice, where it is not a number."""
    said = os.environ.get("OMP_NUM_THREADS", "")
    return int(said) if said.isdecimal() else 0


class _Graph:
    """Builds the openvino.Model of a state dict."""

    def __init__(self, state: Mapping[str, Any], precision: str) -> None:
        self._state, self._precision = state, precision

    def model(self) -> Any:
        """crops (N, 96, 96, 3) uint8 and mel (N, 80, 16) float32 in, (N, 96, 96, 3) float32 out."""
        import openvino as ov
        from openvino import opset13 as op

        table = table_of(width_of(self._state))
        crops = op.parameter([-1, FACE, FACE, 3], np.uint8, name="crops")
        mel = op.parameter([-1, 80, 16], np.float32, name="mel")
        whole = op.divide(op.convert(crops, "f32"), np.float32(255.0))
        upper = np.zeros((1, FACE, 1, 1), np.float32)
        upper[:, : FACE // 2] = 1.0
        x = op.transpose(op.concat([op.multiply(whole, upper), whole], 3), np.array([0, 3, 1, 2]))
        skips = []
        for encode in table.encoder:
            x = self._chain(encode, x)
            skips.append(x)
        x = self._chain(table.audio, op.unsqueeze(mel, np.array([1])))
        for decode in table.decoder:
            x = op.concat([self._chain(decode, x), skips.pop()], 1)
        x = op.transpose(op.sigmoid(self._chain(table.output, x)), np.array([0, 2, 3, 1]))
        return ov.Model([x], [crops, mel], "wav2lip")

    def _chain(self, layers: tuple[Layer, ...], x: Any) -> Any:
        from openvino import opset13 as op

        for layer in layers:
            weight, bias = self._folded(layer)
            added = layer.residual
            if added and self._precision == "fp32":
                # The input comes through the middle of the kernel, which saves the addition (3 % of the network's
                # time). Not in bf16, whose 8 bits would lose the weight beside the 1.
                middle = np.arange(layer.outer)
                weight[middle, middle, layer.kernel // 2, layer.kernel // 2] += 1.0
                added = False
            made = _conv(layer, weight, bias, x)
            made = op.add(made, x) if added else made
            x = op.relu(made) if layer.norm else made
        return x

    def _folded(self, layer: Layer) -> tuple[F32, F32]:
        """Weight and bias, with the batch norm in them; arrays of their own."""

        def get(name: str) -> F32:
            return np.asarray(self._state[name]).astype(np.float32)

        weight, bias = get(f"{layer.conv}.weight"), get(f"{layer.conv}.bias")
        if layer.norm:
            norm = f"{layer.name}.conv_block.1"
            scale = get(f"{norm}.weight") / np.sqrt(get(f"{norm}.running_var") + np.float32(EPSILON))
            weight *= scale.reshape((1, -1, 1, 1) if layer.up else (-1, 1, 1, 1))
            bias = (bias - get(f"{norm}.running_mean")) * scale + get(f"{norm}.bias")
        return weight, bias


def _conv(layer: Layer, weight: F32, bias: F32, x: Any) -> Any:
    """A convolution or its transpose, with bias."""
    from openvino import opset13 as op
    from openvino.op import Constant

    # Explicit constants: opset13 converts arrays value by value, which takes a second for this network.
    kernel, shift = Constant(np.ascontiguousarray(weight)), Constant(bias.reshape(1, -1, 1, 1))
    stride, pad, dilation = list(layer.stride), [layer.padding] * 2, [1, 1]
    if layer.up:
        extra = [step - 1 for step in layer.stride]
        made = op.convolution_backprop_data(
            x, kernel, strides=stride, pads_begin=pad, pads_end=pad, dilations=dilation, output_padding=extra
        )
    else:
        made = op.convolution(x, kernel, stride, pad, pad, dilation)
    return op.add(made, shift)
