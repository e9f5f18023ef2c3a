"""Whether torch can compute on a GPU of this machine, and what is in the way where it cannot."""

from __future__ import annotations

import ctypes
import functools
import os
import re
import sys
import warnings
from collections.abc import Iterable
from typing import NamedTuple

from raydub.errors import Code, DependencyError

_INSTALL = "https://pytorch.org/get-started/locally shows which build fits which driver"


class Problem(NamedTuple):
    """Why no network can run on a GPU, and the way out. present: there is a GPU, or a driver."""

    found: str
    hint: str
    present: bool


@functools.cache
def may_have_gpu() -> bool:
    """Whether torch has to be asked: importing it takes 3 s of processor time. On Linux it needs CUDA's driver library,
    or ROCm's device (/dev/dxg under Windows)."""
    if not sys.platform.startswith("linux"):
        return True
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return any(os.path.exists(device) for device in ("/dev/kfd", "/dev/dxg"))
    return True


def cuda_problem(device: str = "cuda") -> Problem | None:
    """None where torch can compute on this "cuda[:n]". Imports torch; allocates nothing on the card."""
    import torch

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # once per process; _unavailable() asks again
        available = torch.cuda.is_available()
    if not available:
        return _unavailable()
    number = int(device.partition(":")[2] or torch.cuda.current_device())
    count = torch.cuda.device_count()
    if number >= count:
        return Problem(f"there is no GPU {number}: torch sees {count}", f"cuda:0 to cuda:{count - 1}", True)
    own = torch.cuda.get_device_capability(number)
    built = torch.cuda.get_arch_list()
    if not runs_on(own, built):
        found = f"{torch.cuda.get_device_name(number)} has compute capability {own[0]}.{own[1]}"
        hint = f"install a torch build that supports this GPU, or use --device cpu; {_INSTALL}"
        return Problem(f"{found}, but torch {torch.__version__} is built for {' '.join(built)}", hint, True)
    return None


def check_cuda(device: str = "cuda") -> None:
    """Raises DependencyError NO_GPU where cuda_problem finds one."""
    problem = cuda_problem(device)
    if problem is not None:
        raise DependencyError(Code.NO_GPU, f"device {device}: {problem.found}", hint=problem.hint)


def runs_on(own: tuple[int, int], built: Iterable[str]) -> bool:
    """Does code of torch's architectures run on a GPU of this compute capability? sm_XY runs on X.Y and later of the
    same major version, sm_XYa on X.Y alone, and compute_XY, which the driver compiles, on everything later. True where
    no name is of this form (ROCm)."""
    known = [found for name in built if (found := re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", name))]
    for kind, major, minor, only in (found.groups() for found in known):
        made = int(major), int(minor)
        if made == own or (only != "a" and made <= own and (kind == "compute" or made[0] == own[0])):
            return True
    return not known


def _unavailable() -> Problem:
    import torch

    cpu = "or use --device cpu"
    if torch.version.cuda is None and torch.version.hip is None:
        return Problem(
            f"the installed torch {torch.__version__} is a build without CUDA", f"{_INSTALL}; {cpu}", _has_driver()
        )
    try:
        # Says why, every time.
        torch.cuda.init()
        reason = "torch finds no working GPU"
    except (RuntimeError, AssertionError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    if "too old" in reason or "driver version is insufficient" in reason:
        hint = f"update the GPU's driver, or install a torch build for this one ({_INSTALL}), {cpu}"
        return Problem(f"the driver does not fit torch {torch.__version__}: {reason}", hint, True)
    if not _has_driver() or "no NVIDIA driver" in reason:
        return Problem(f"no GPU: {reason}", f"install a GPU and its driver, {cpu}", False)
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES")
    hint = f"CUDA_VISIBLE_DEVICES is {hidden!r}: unset it" if hidden is not None else "check nvidia-smi"
    return Problem(f"no working GPU: {reason}", f"{hint}, {cpu}", hidden is None)


def _has_driver() -> bool:
    """The kernel's NVIDIA driver is loaded (Linux)."""
    return os.path.exists("/proc/driver/nvidia/version")
