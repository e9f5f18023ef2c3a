"""Light-ASD (Liao et al., "A Light Weight Model for Active Speaker Detection", 2023) in OpenVINO: does a face speak
what is heard? Written from the paper and the names and shapes of the published weights.

A clip of one face is T pictures at 25 a second and 4 T rows of cepstra (models.cepstra) at 100. Pictures and sound
become 128 values a picture, whose sum passes a GRU forward and another one backward. Two graphs of fixed shapes:
`see` for at most PIECE pictures, `judge` for the sound and what was seen of a clip of at most CLIP pictures. Shorter
clips are padded, and a mask keeps what is padded at zero before each convolution over time, so that scores are those
of the network on the clip alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from raydub.arrays import F32, I32, U8
from raydub.models.load import check_layout, layout_error
from raydub.models.torch_file import read_torch

RATE = 25
"""Pictures a second."""
SIDE = 112
"""Pixels of a picture's sides."""
ROWS = 4
"""Rows of cepstra for each picture."""
CEPSTRA = 13
CLIP = 124
"""Pictures of the longest clip: five seconds less a little."""
REACH = 6
"""Pictures before and after one that decide what is seen in it."""
PIECE = CLIP // 2 + REACH
_FEATURES = 128
_CHANNELS = ((1, 32), (32, 64), (64, _FEATURES))
_MEAN, _SPREAD = 0.4161, 0.1688  # of the pictures that the network learned from, black 0 and white 1
_EPSILON = 1e-3  # of its batch norms
_NAME = "the active speaker network"


def _convolutions() -> Iterator[tuple[str, str, tuple[int, ...]]]:
    """(name, name of its batch norm, shape of its kernel) of each convolution."""
    for number, (inner, outer) in enumerate(_CHANNELS, 1):
        for part, spatial in (("visual", "s"), ("audio", "m")):
            block = f"model.{part}Encoder.block{number}"
            for size in (3, 5):
                first = (outer, inner, 1, size, size) if part == "visual" else (outer, inner, size, 1)
                then = (outer, outer, size, 1, 1) if part == "visual" else (outer, outer, 1, size)
                yield f"{block}.{spatial}_{size}", f"{block}.bn_{spatial}_{size}", first
                yield f"{block}.t_{size}", f"{block}.bn_t_{size}", then
            ones = (1, 1, 1) if part == "visual" else (1, 1)
            yield f"{block}.last", f"{block}.bn_last", (outer, outer, *ones)


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of all weights, as published."""
    found: dict[str, tuple[int, ...]] = {}
    for name, norm, kernel in _convolutions():
        found[f"{name}.weight"] = kernel
        found |= {f"{norm}.{part}": kernel[:1] for part in ("weight", "bias", "running_mean", "running_var")}
        found[f"{norm}.num_batches_tracked"] = ()
    for way in ("forward", "backward"):
        for part in ("ih", "hh"):
            found[f"model.GRU.gru_{way}.weight_{part}_l0"] = (3 * _FEATURES, _FEATURES)
            found[f"model.GRU.gru_{way}.bias_{part}_l0"] = (3 * _FEATURES,)
    for loss in ("lossAV", "lossV"):
        found |= {f"{loss}.FC.weight": (2, _FEATURES), f"{loss}.FC.bias": (2,)}
    return found


def read_state(path: Path) -> dict[str, Any]:
    """The weights by name, without running code of the file. DependencyError WEIGHTS_LAYOUT for other files."""
    state = read_torch(path, lambda found: found)
    if state is None:
        raise layout_error(str(path), sorted(shapes()), [], _NAME)
    check_layout(str(path), state, shapes(), _NAME)
    return state


class LightAsd:
    """The loaded network. One thread and full precision, so that a clip always gives the same bits on one machine."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        """state: see read_state."""
        import openvino as ov

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Pinned, the threads of all workers of a machine would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        core, graphs = ov.Core(), _Graphs(state)
        self._see: Any = core.compile_model(graphs.see(), "CPU", settings).create_infer_request()
        self._judge: Any = core.compile_model(graphs.judge(), "CPU", settings).create_infer_request()

    def scores(self, pictures: U8, cepstra: F32) -> F32:
        """(T,) log odds that the face speaks, above 0 for yes. pictures: (T, 112, 112) grey, T from 1 to CLIP;
        cepstra: (4 T, 13). ValueError for other shapes."""
        n = len(pictures)
        if not 0 < n <= CLIP or pictures.shape[1:] != (SIDE, SIDE) or cepstra.shape != (ROWS * n, CEPSTRA):
            raise ValueError(f"a clip of {pictures.shape} pictures and {cepstra.shape} cepstra")
        seen = np.zeros((CLIP, _FEATURES), np.float32)
        half = CLIP // 2
        for start in range(0, n, half):
            first = max(0, start - REACH)
            piece = np.zeros((PIECE, SIDE, SIDE), np.uint8)
            there = pictures[first : start + half + REACH][:PIECE]
            piece[: len(there)] = there
            out = self._see.infer({0: piece, 1: _mask(len(there), PIECE)}, share_inputs=True, share_outputs=True)
            stop = min(start + half, n)
            seen[start:stop] = np.asarray(out[0])[start - first : stop - first]
        rows = np.zeros((ROWS * CLIP, CEPSTRA), np.float32)
        rows[: ROWS * n] = cepstra
        count: I32 = np.array([n], np.int32)
        asked = {0: rows, 1: seen, 2: count, 3: _mask(n, CLIP)}
        out = self._judge.infer(asked, share_inputs=True, share_outputs=True)
        return np.array(out[0], np.float32)[:n]


def _mask(n: int, of: int) -> F32:
    return np.asarray(np.arange(of) < n, np.float32)


class _Graphs:
    """Builds both graphs of a state dict."""

    def __init__(self, state: Mapping[str, Any]) -> None:
        self._state = {name: np.asarray(value).astype(np.float32) for name, value in state.items()}

    def see(self) -> Any:
        """pictures (PIECE, 112, 112) uint8 and mask (PIECE,) in, (PIECE, 128) out."""
        import openvino as ov
        from openvino import opset13 as op

        pictures = op.parameter([PIECE, SIDE, SIDE], np.uint8)
        mask = op.parameter([PIECE], np.float32)
        here = op.reshape(mask, np.array([1, 1, PIECE, 1, 1]), False)
        grey = op.divide(op.convert(pictures, "f32"), np.float32(255))
        x = op.divide(op.subtract(grey, np.float32(_MEAN)), np.float32(_SPREAD))
        x = op.reshape(x, np.array([1, 1, PIECE, SIDE, SIDE]), False)
        for number in (1, 2, 3):
            x = self._block(f"model.visualEncoder.block{number}", "s", x, here, 2 if number == 1 else 1)
            if number < 3:
                x = _pool(x, [1, 3, 3])
        most = op.reduce_max(x, np.array([3, 4]), False)  # (1, 128, PIECE)
        return ov.Model([op.transpose(op.squeeze(most, np.array([0])), np.array([1, 0]))], [pictures, mask], "see")

    def judge(self) -> Any:
        """cepstra (4 CLIP, 13), what was seen (CLIP, 128), how many (1,) int32 and mask (CLIP,) in, (CLIP,) out."""
        import openvino as ov
        from openvino import opset13 as op

        cepstra = op.parameter([ROWS * CLIP, CEPSTRA], np.float32)
        seen = op.parameter([CLIP, _FEATURES], np.float32)
        count = op.parameter([1], np.int32)
        mask = op.parameter([CLIP], np.float32)
        x = op.reshape(op.transpose(cepstra, np.array([1, 0])), np.array([1, 1, CEPSTRA, ROWS * CLIP]), False)
        for number, per in ((1, 4), (2, 2), (3, 1)):
            every = op.broadcast(op.unsqueeze(mask, np.array([1])), np.array([CLIP, per]))
            here = op.reshape(every, np.array([1, 1, 1, per * CLIP]), False)
            x = self._block(f"model.audioEncoder.block{number}", "m", x, here, 1)
            if number < 3:
                # What is padded is 0, and nothing is less: as if it were not there.
                x = _pool(op.multiply(x, here), [1, 3])
        heard = op.transpose(op.reduce_mean(x, np.array([2]), False), np.array([0, 2, 1]))  # (1, CLIP, 128)
        both = op.add(heard, op.unsqueeze(seen, np.array([0])))
        for way, direction in (("forward", "forward"), ("backward", "reverse")):
            both = op.gelu(self._gru(f"model.GRU.gru_{way}", both, count, direction), "erf")
        weight, bias = self._state["lossAV.FC.weight"], self._state["lossAV.FC.bias"]
        odds = op.matmul(op.squeeze(both, np.array([0])), _constant((weight[1] - weight[0])[:, None]), False, False)
        odds = op.add(op.squeeze(odds, np.array([1])), np.float32(bias[1] - bias[0]))
        return ov.Model([odds], [cepstra, seen, count, mask], "judge")

    def _block(self, name: str, first: str, x: Any, here: Any, stride: int) -> Any:
        """Two ways, of kernels of 3 and 5: within a picture (a column), then over time; their sum, mixed."""
        from openvino import opset13 as op

        ways = []
        for size in (3, 5):
            within = self._conv(f"{name}.{first}_{size}", f"{name}.bn_{first}_{size}", x, stride)
            ways.append(self._conv(f"{name}.t_{size}", f"{name}.bn_t_{size}", op.multiply(within, here), 1))
        return self._conv(f"{name}.last", f"{name}.bn_last", op.add(*ways), 1)

    def _conv(self, name: str, norm: str, x: Any, stride: int) -> Any:
        """Convolution, with its batch norm in it, and ReLU. stride: across a picture."""
        from openvino import opset13 as op

        scale = self._state[f"{norm}.weight"] / np.sqrt(self._state[f"{norm}.running_var"] + np.float32(_EPSILON))
        kernel = self._state[f"{name}.weight"]
        sides = kernel.shape[2:]
        kernel = kernel * scale.reshape(-1, *[1] * (kernel.ndim - 1))
        shift = self._state[f"{norm}.bias"] - self._state[f"{norm}.running_mean"] * scale
        pads = [side // 2 for side in sides]
        strides = [1, stride, stride] if len(sides) == 3 else [1, 1]
        made = op.convolution(x, _constant(kernel), strides, pads, pads, [1] * len(sides))
        return op.relu(op.add(made, _constant(shift.reshape(1, -1, *[1] * len(sides)))))

    def _gru(self, name: str, x: Any, count: Any, direction: str) -> Any:
        """torch's GRU, whose gates are in another order than OpenVINO's: reset, update, new."""
        from openvino import opset13 as op

        def gates(values: F32) -> F32:
            reset, update, new = np.split(values, 3)
            return np.concatenate([update, reset, new])

        inner, again = (gates(self._state[f"{name}.weight_{part}_l0"])[None] for part in ("ih", "hh"))
        of_inner, of_again = (gates(self._state[f"{name}.bias_{part}_l0"]) for part in ("ih", "hh"))
        gated = 2 * _FEATURES
        bias = np.concatenate([of_inner[:gated] + of_again[:gated], of_inner[gated:], of_again[gated:]])[None]
        made = op.gru_sequence(
            x,
            np.zeros((1, 1, _FEATURES), np.float32),
            count,
            _constant(inner),
            _constant(again),
            _constant(bias),
            _FEATURES,
            direction,
            linear_before_reset=True,
        )
        return op.squeeze(made.output(0), np.array([1]))


def _pool(x: Any, kernel: list[int]) -> Any:
    """The largest of three, at every second place, over the axes where the kernel is 3."""
    from openvino import opset13 as op

    pads = [side // 2 for side in kernel]
    strides = [2 if side > 1 else 1 for side in kernel]
    return op.max_pool(x, strides, [1] * len(kernel), pads, pads, kernel).output(0)


def _constant(values: F32) -> Any:
    from openvino.op import Constant

    return Constant(np.ascontiguousarray(values, np.float32))
