"""Restoring faces on a CPU or a GPU: seconds a face by batch, and what aligning and pasting add, as one JSON document.

    python bench/restore.py [--architecture gfpgan codeformer] [--batches 1 2 4] [--precision fp32] [--device cpu]
                            [--threads N] [--rounds 2] [--out FILE]

Networks have the published layout at full width with random weights, squares have 512 pixels. `predicted_faces_per_s`
is `--gmacs` (billions of multiplications with addition a second, of all threads) over what a face costs. On a busy
machine believe the figures per core-second (CPU time) of a run with --threads 1. `steps_ms` are core-milliseconds a
face outside the network, for a square of 480 frame pixels in 720p and one of 1440 in 2160p. --rounds 0: one call, not
warmed up.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report import report
from raydub.media.yuv import add_bgr, to_bgr
from raydub.models.backends.base import resolve
from raydub.models.restore.load import load_restorer
from raydub.stages.restore.align import align
from raydub.stages.restore.area import area_alpha, area_box
from raydub.stages.restore.network import TorchRestorer
from raydub.stages.restore.steady import Look, steadied
from raydub.stages.restore.warp import make_warper
from tests.models.macs import macs
from tests.models.restore_states import random_restorer_state
from tests.stages.restore_fakes import face_at, picture

SIDE = 512


def peak_mb() -> int:
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def timed(call: Callable[[], Any], device: str, rounds: int) -> tuple[float, float]:
    """(wall seconds, CPU seconds), medians over the rounds, after one call to warm up."""
    wall, cpu = [], []
    for number in range(rounds + 1):
        start, spent = time.perf_counter(), time.process_time()
        call()
        if device.startswith("cuda"):
            torch.cuda.synchronize()
        if number or not rounds:
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - spent)
    return statistics.median(wall), statistics.median(cpu)


def network_rows(architecture: Any, args: argparse.Namespace) -> list[dict[str, Any]]:
    """One row per batch size, smallest first, so that the peak of memory can be told apart."""
    state = random_restorer_state(architecture=architecture, small=False)
    _, precision = resolve(args.device, "torch", args.precision)
    restorer = load_restorer(state)[0]
    cost = macs(restorer, SIDE, SIDE) / 1e9
    network = TorchRestorer(restorer, args.device, precision)
    del state
    loaded, rows = peak_mb(), []
    squares = np.random.default_rng(0).integers(0, 256, (max(args.batches), SIDE, SIDE, 3), dtype=np.uint8)
    for batch in sorted(args.batches):
        if args.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        wall, cpu = timed(lambda b=batch: network(squares[:b]), args.device, args.rounds)  # type: ignore[misc]
        on_device = torch.cuda.max_memory_allocated() if args.device.startswith("cuda") else 0
        rows.append(
            {
                "architecture": architecture,
                "precision": precision,
                "batch": batch,
                "gmac_per_face": round(cost, 1),
                "predicted_faces_per_s": round(args.gmacs / cost, 3),
                "faces_per_s": round(batch / wall, 3),
                "core_s_per_face": round(cpu / batch, 3),
                "gmac_per_core_s": round(cost * batch / cpu, 1),
                "rss_mb_loaded": loaded,
                "rss_mb_peak_so_far": peak_mb(),
                "device_mb_peak": round(on_device / 2**20),
            }
        )
    return rows


def steps(size: tuple[int, int], side: float, device: str, rounds: int) -> dict[str, float]:
    """Core-milliseconds of each step outside the network, for both areas."""
    frame, face = picture(size), face_at((size[0] / 2, size[1] / 2), side, 0.1)
    aligned, warper = align(face.landmarks, size), make_warper(device)
    assert aligned is not None
    corner = aligned.from_corner(aligned.region)
    bgr = to_bgr(frame, aligned.region, smooth=True)
    square = warper.cut(bgr, corner, SIDE)
    look = Look(face.landmarks, square, np.minimum(square, 200))
    change = steadied(look, [], 0.0)
    calls: dict[str, Callable[[], Any]] = {
        "to_bgr": lambda: to_bgr(frame, aligned.region, smooth=True),
        "cut": lambda: warper.cut(bgr, corner, SIDE),
        "steady_4_neighbours": lambda: steadied(look, [(1, look), (2, look), (1, look), (2, look)], 1.0),
    }
    for area in ("mouth", "face"):
        box = area_box(face.landmarks, area, size)  # type: ignore[arg-type]
        assert box is not None
        part, matrix = (box[2] - box[0], box[3] - box[1]), aligned.from_corner(box)
        alpha = area_alpha(face.landmarks, area, box)  # type: ignore[arg-type]
        back = warper.back(change, matrix, part)
        calls[f"mask_{area}"] = lambda a=area, b=box: area_alpha(face.landmarks, a, b)  # type: ignore[misc]
        calls[f"back_{area}"] = lambda m=matrix, p=part: warper.back(change, m, p)  # type: ignore[misc]
        calls[f"add_{area}"] = lambda b=box, v=back, a=alpha: add_bgr(frame, b, v, a)  # type: ignore[misc]
    return {name: round(1000 * timed(call, device, max(5, rounds))[1], 2) for name, call in calls.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--architecture", nargs="+", default=["gfpgan"], choices=["gfpgan", "codeformer"])
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 2, 4])
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--gmacs", type=float, default=110.0, help="GMAC/s that the prediction assumes")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    result = {
        "bench": "restore",
        "device": args.device,
        "threads": args.threads,
        "cores": os.cpu_count(),
        "load_average": round(os.getloadavg()[0], 1),
        "steps_ms": {
            "720p": steps((1280, 720), 480, args.device, args.rounds),
            "2160p": steps((3840, 2160), 1440, args.device, args.rounds),
        },
        "rows": [row for name in args.architecture for row in network_rows(name, args)],
    }
    report(result, args.out)


if __name__ == "__main__":
    main()
