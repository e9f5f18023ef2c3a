"""Arrays between the host's memory and a device. On CUDA through pinned memory, which torch keeps for the next copy:
the card then copies by itself, without the driver's detour over a pinned buffer of its own."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


def to_device(array: npt.NDArray[np.generic], device: torch.device) -> Tensor:
    """The array as a tensor on the device. On a CPU both share their memory."""
    given = torch.from_numpy(array)
    return given.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else given.to(device)


def to_host(made: Tensor) -> npt.NDArray[np.generic]:
    """The tensor's values, once they are computed. On a CPU both share their memory."""
    if made.device.type != "cuda":
        return made.numpy()  # type: ignore[no-any-return]
    here = torch.empty(made.shape, dtype=made.dtype, pin_memory=True)
    here.copy_(made, non_blocking=True)
    torch.cuda.current_stream(made.device).synchronize()
    return here.numpy()  # type: ignore[no-any-return]
