"""Faces a second of the full-width Wav2Lip network (random weights) per backend, precision and batch, as JSON.

All candidates are loaded first and then take turns, one batch each, so that a busy machine slows all of them alike;
each figure is the median over the rounds, and `ratio` compares with eager fp32 at batch 16 of the same round. On a busy
machine believe `ratio_per_core_s` (CPU time) of a run with --threads 1: threads that wait for each other burn time.
`error` is the largest difference of the sigmoid's output from eager fp32. `load_s` is from state dict to first answer.

    python bench/network.py [--rounds 7] [--batches 1,8,16,32] [--threads N] [--compile] [--out FILE]
"""

from __future__ import annotations

import argparse
import copy
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report import report
from raydub.errors import RaydubError
from raydub.models.backends.base import has_bf16, make_backend, resolve
from raydub.models.backends.torch_any import two_pictures
from raydub.models.wav2lip import Wav2Lip

Run = Callable[[np.ndarray, np.ndarray], np.ndarray]
BASE = ("eager fp32", 16)


def eager(network: torch.nn.Module, layout: torch.memory_format) -> Run:
    """The network as published: batch norms apart, one call per layer."""
    held = network.to(memory_format=layout)

    @torch.inference_mode()
    def run(crops: np.ndarray, mel: np.ndarray) -> np.ndarray:
        faces = two_pictures(torch.from_numpy(crops)).contiguous(memory_format=layout)
        made = held(torch.from_numpy(mel)[:, None], faces)
        return made.permute(0, 2, 3, 1).float().numpy()

    return run


def random_network(width: float = 1.0) -> Wav2Lip:
    """Random weights, batch norms with statistics of their own, outputs that use [0, 1] without sticking
    to its ends, where differences would not show."""
    torch.manual_seed(0)
    network = Wav2Lip(width).eval()
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.inference_mode():
        made = network(torch.rand(2, 1, 80, 16) * 8 - 4, torch.rand(2, 6, 96, 96))
    last = network.output_block[1]
    last.weight.data *= 1.0 / torch.logit(made).std()
    last.bias.data.zero_()
    return network


def candidates(network: Wav2Lip, compiled: bool) -> dict[str, Callable[[], Run]]:
    """Name -> what loads it."""
    found: dict[str, Callable[[], Run]] = {
        "eager fp32": lambda: eager(copy.deepcopy(network), torch.contiguous_format),
        "eager fp32 channels_last": lambda: eager(copy.deepcopy(network), torch.channels_last),
    }
    for backend in ("torch", "openvino"):
        for precision in ("fp32", "bf16"):
            try:
                resolve("cpu", backend, precision)
            except RaydubError as error:
                print(f"# left out: {backend} {precision}: {error}")
                continue
            found[f"{backend} {precision}"] = lambda b=backend, p=precision: (
                make_backend(copy.deepcopy(network), "cpu", b, p).run  # type: ignore[misc]
            )
    if compiled:
        found["torch.compile fp32"] = lambda: eager(
            torch.compile(copy.deepcopy(network).folded()),  # type: ignore[arg-type]
            torch.channels_last,
        )
    return found


def measure(rounds: int, batches: list[int], compiled: bool) -> dict[str, Any]:
    """All candidates in turns; see the module."""
    network = random_network()
    random = np.random.default_rng(0)
    crops = random.integers(0, 256, (max(batches), 96, 96, 3), dtype=np.uint8)
    mel = random.uniform(-4, 4, (max(batches), 80, 16)).astype(np.float32)
    truth = eager(copy.deepcopy(network), torch.contiguous_format)(crops[:8], mel[:8])
    makers = candidates(network, compiled)
    loads: dict[str, float] = {}
    errors: dict[str, float] = {}
    runs: dict[tuple[str, int], Run] = {}
    for name, make in makers.items():
        for batch in batches:
            start = time.perf_counter()
            # OpenVINO compiles for one batch size: an own instance for each
            run = runs[name, batches[0]] if batch != batches[0] and not name.startswith("openvino") else make()
            made = run(crops[:batch], mel[:batch])
            runs[name, batch] = run
            loads[name] = max(loads.get(name, 0.0), time.perf_counter() - start)
            if batch >= 8:
                errors[name] = float(np.abs(made[:8] - truth).max())
    speeds: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    frugal: dict[tuple[str, int], list[float]] = {key: [] for key in runs}
    for _ in range(rounds):
        for (name, batch), run in runs.items():
            calls = max(1, 16 // batch)
            run(crops[:batch], mel[:batch])
            start, spent = time.perf_counter(), time.process_time()
            for _ in range(calls):
                run(crops[:batch], mel[:batch])
            speeds[name, batch].append(calls * batch / (time.perf_counter() - start))
            frugal[name, batch].append(calls * batch / (time.process_time() - spent))
    rows = []
    for (name, batch), values in speeds.items():
        ratio = statistics.median(value / base for value, base in zip(values, speeds[BASE], strict=True))
        frugality = statistics.median(
            value / base for value, base in zip(frugal[name, batch], frugal[BASE], strict=True)
        )
        rows.append(
            {
                "backend": name,
                "batch": batch,
                "faces_per_s": round(statistics.median(values), 1),
                "best_faces_per_s": round(max(values), 1),
                "ratio": round(ratio, 2),
                "faces_per_core_s": round(statistics.median(frugal[name, batch]), 1),
                "ratio_per_core_s": round(frugality, 2),
                "error": errors.get(name),
                "load_s": round(loads[name], 2),
            }
        )
    return {
        "bench": "network",
        "rounds": rounds,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "native_bf16": has_bf16(),
        "load_average": os.getloadavg()[0],
        "spread_of_output": [float(truth.min()), float(truth.max())],
        "peak_rss_mb_of_all_together": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "rows": rows,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batches", type=lambda text: [int(word) for word in text.split(",")], default=[1, 8, 16, 32])
    parser.add_argument("--compile", action="store_true", help="torch.compile too (a minute of compiling)")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    result = measure(args.rounds, sorted({*args.batches, BASE[1]}), args.compile)
    report(result, args.out)


if __name__ == "__main__":
    main()
