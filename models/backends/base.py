"""The backend protocol of the lip network, and the choice of a backend."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

from raydub.arrays import F32, U8
from raydub.errors import Code, DependencyError, UsageError
from raydub.models.device import check_cuda

if TYPE_CHECKING:
    from raydub.models.backends.conveyor import Conveyor
    from raydub.models.wav2lip import Wav2Lip

BackendName = Literal["auto", "torch", "openvino"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]


class Backend(Protocol):
    """A loaded network. Calls of one shape do the same arithmetic on each row, wherever it stands in the batch."""

    name: str
    precision: str
    conveyor: Conveyor | None
    """What stages.batching runs instead of `run` where the device has one: crops and mel as for `run` -> (B, 96, 96, 3)
    uint8, made on the device by truncating what `run` returns, times 255."""

    def run(self, crops: U8, mel: F32) -> F32:
        """crops (B, 96, 96, 3) uint8 BGR, mel (B, 80, 16) -> new faces (B, 96, 96, 3) float32 in [0, 1], BGR."""
        ...


def make_backend(
    network: Wav2Lip | Mapping[str, Any],
    device: str,
    backend: BackendName = "auto",
    precision: Precision = "auto",
    threads: int | None = None,
) -> Backend:
    """The network ready to run. network: weights by name, as published (arrays or tensors; OpenVINO needs no torch for
    them), or a network, whose batch norms torch's backend folds in place.

    device: "cpu" or "cuda[:n]". auto backend: torch on CUDA, on a CPU OpenVINO where it is installed (1.5 times as
    fast as folded torch), else torch. auto precision: fp32 on a CPU, fp16 on CUDA. threads: of a CPU backend; default
    OMP_NUM_THREADS, or all cores.

    Raises UsageError (FIELD_VALUE) for an unknown word or a precision that this device does not support,
    DependencyError: DEPENDENCY_MISSING for an absent backend, NO_GPU for a device that torch cannot use.
    """
    name, kind = resolve(device, backend, precision)
    if name == "openvino":
        from raydub.models.backends.openvino_cpu import OpenVinoBackend

        return OpenVinoBackend(network if isinstance(network, Mapping) else network.state_dict(), kind, threads)
    from raydub.models.backends.torch_any import TorchBackend

    if isinstance(network, Mapping):
        import numpy as np
        import torch

        from raydub.models.wav2lip import from_state

        network = from_state({name: torch.tensor(np.asarray(value)) for name, value in network.items()})

    return TorchBackend(network, device, kind, threads)


def resolve(device: str, backend: str = "auto", precision: str = "auto") -> tuple[str, str]:
    """(backend, precision) that make_backend would use; raises as it does."""
    cuda = device.startswith("cuda")
    if backend not in get_args(BackendName) or precision not in get_args(Precision):
        expected = f"{'/'.join(get_args(BackendName))} and {'/'.join(get_args(Precision))}"
        raise UsageError(Code.FIELD_VALUE, f"no backend {backend!r} with precision {precision!r}", hint=expected)
    if cuda:
        check_cuda(device)
    installed = importlib.util.find_spec("openvino") is not None
    if backend == "openvino" and cuda:
        raise UsageError(Code.FIELD_VALUE, "the openvino backend runs on a CPU", hint="--device cpu, or backend torch")
    if backend == "openvino" and not installed:
        raise DependencyError(
            Code.DEPENDENCY_MISSING, "openvino is not installed", hint="pip install 'raydub[openvino]'"
        )
    if not cuda and precision == "fp16":
        raise UsageError(Code.FIELD_VALUE, "precision fp16 needs a CUDA device", field="precision", hint="fp32 or bf16")
    if not cuda and precision == "bf16" and not has_bf16():
        raise UsageError(
            Code.FIELD_VALUE, "this CPU has no bf16 instructions: bf16 would be slower", field="precision", hint="fp32"
        )
    chosen = ("openvino" if installed and not cuda else "torch") if backend == "auto" else backend
    kind = ("fp16" if cuda else "fp32") if precision == "auto" else precision
    return chosen, kind


@functools.cache
def has_bf16() -> bool:
    """Does this CPU support bf16 natively? Read from /proc/cpuinfo; False where that does not exist."""
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return False
    words = set(info.read_text(encoding="ascii", errors="replace").split())
    return bool(words & {"avx512_bf16", "amx_bf16", "bf16"})
