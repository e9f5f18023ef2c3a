"""Ten seconds of the lipsync stage's network under torch's profiler. Prints the operators that take longest as JSON and
writes the trace for chrome://tracing or Perfetto to <out>/trace.json.gz.

    python -m bench.gpu.trace --device cuda --out FOLDER [--quick]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from torch.profiler import ProfilerActivity, profile

from bench.network import random_network
from raydub.models.backends.base import make_backend
from raydub.stages.batching import FixedBatches
from raydub.stages.lipsync.wav2lip import BATCH_CPU, BATCH_CUDA


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    cuda = options.device.startswith("cuda")
    backend = make_backend(random_network(), options.device, "torch")
    batches = FixedBatches(backend.conveyor or backend.run, BATCH_CUDA if cuda else BATCH_CPU)
    rows = 4 * batches.size
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (rows, 96, 96, 3), dtype=np.uint8)
    mel = random.uniform(-4, 4, (rows, 80, 16)).astype(np.float32)
    batches.map(crops, mel)
    kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if cuda else [ProfilerActivity.CPU]
    until, done = time.perf_counter() + (0.1 if options.quick else 10.0), 0
    with profile(activities=kinds) as found:
        while done == 0 or (time.perf_counter() < until and done < 200 * rows):
            batches.map(crops, mel)
            done += rows
    found.export_chrome_trace(str(options.out / "trace.json.gz"))
    column = "self_device_time_total" if cuda else "self_cpu_time_total"
    told: list[dict[str, Any]] = [
        {"operator": one.key, "calls": one.count, "ms": round(getattr(one, column) / 1000, 2)}
        for one in sorted(found.key_averages(), key=lambda one: -getattr(one, column))[:25]
    ]
    sys.stdout.write(json.dumps({"faces": done, "by": column, "operators": told}, indent=1) + "\n")


if __name__ == "__main__":
    main()
