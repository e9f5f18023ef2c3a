"""What machine this is: GPU, its memory and peaks, torch, cores. Prints JSON.

python -m bench.gpu.machine --device cuda
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from typing import Any

import torch

# Dense, without sparsity, in FLOP/s, from NVIDIA's data sheets: fp32 without TF32, half precision on tensor cores.
PEAKS = {
    "H200": {"fp32": 67e12, "fp16": 989e12, "bf16": 989e12},
    "H100": {"fp32": 67e12, "fp16": 989e12, "bf16": 989e12},
    "A100": {"fp32": 19.5e12, "fp16": 312e12, "bf16": 312e12},
    "L40S": {"fp32": 91.6e12, "fp16": 362e12, "bf16": 362e12},
}


def peak_of(device: str, precision: str) -> float | None:
    """FLOP/s that the card can do at most; None if it is not known."""
    if not device.startswith("cuda"):
        return None
    name = torch.cuda.get_device_name(torch.device(device))
    return next((peaks[precision] for known, peaks in PEAKS.items() if known in name), None)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    device = parser.parse_args().device
    found: dict[str, Any] = {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cores": len(os.sched_getaffinity(0)),
        "load": round(os.getloadavg()[0], 2),
    }
    if device.startswith("cuda"):
        if not torch.cuda.is_available():
            sys.exit("torch sees no CUDA GPU")
        about = torch.cuda.get_device_properties(torch.device(device))
        found |= {
            "gpu": about.name,
            "memory_gb": round(about.total_memory / 1e9, 1),
            "capability": f"{about.major}.{about.minor}",
            "cudnn": torch.backends.cudnn.version(),
            "peaks_tflops": {kind: (peak_of(device, kind) or 0) / 1e12 for kind in ("fp32", "fp16", "bf16")},
        }
    sys.stdout.write(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
