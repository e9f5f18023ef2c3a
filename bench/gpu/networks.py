"""Faces or frames a second of each network by batch and precision, and the share of the card's peak. Prints JSON.

    python -m bench.gpu.networks faces|restore|upscale --device cuda [--quick]

faces: Wav2Lip at full width, from bytes on the host to bytes on the host: a chunk of 300 faces as the lipsync stage
calls it, padding, first and last copy included; four batches, whose copies are beside the computation; one call after
the other, without CUDA graph and pinned memory; and the network alone with its input on the card. restore: GFPGAN and
CodeFormer. upscale: general-x4v3 (SRVGG) and x4plus (RRDB) from 360p. All weights are random. Median of the rounds; the
card is waited for.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from bench.gpu.machine import peak_of
from raydub.models.backends.base import make_backend
from raydub.models.backends.torch_any import TorchBackend
from raydub.stages.batching import FixedBatches
from tests.models.macs import macs


def timed(call: Callable[[], object], device: str, rounds: int) -> float:
    """Median seconds of a call, after two that are not counted."""
    seconds = []
    for number in range(rounds + 2):
        _wait(device)
        start = time.perf_counter()
        call()
        _wait(device)
        if number >= 2:
            seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def _memory(device: str) -> int:
    return torch.cuda.max_memory_allocated() >> 20 if device.startswith("cuda") else 0


def _precisions(device: str) -> tuple[str, ...]:
    return ("fp16", "bf16", "fp32") if device.startswith("cuda") else ("fp32",)


def _share(flops: float, seconds: float, device: str, precision: str) -> float | None:
    peak = peak_of(device, precision)
    return None if peak is None else round(flops / seconds / peak, 4)


def faces(device: str, quick: bool) -> list[dict[str, Any]]:
    """Wav2Lip."""
    from torch.utils.flop_counter import FlopCounterMode

    from bench.network import random_network

    width_network, rows = random_network(), []
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        width_network(torch.zeros(1, 1, 80, 16), torch.zeros(1, 6, 96, 96))
    flops = counter.get_total_flops()
    batches = (2, 4) if quick else (16, 64, 128, 256, 512, 1024)
    random = np.random.default_rng(0)
    chunk = 6 if quick else 300
    crops = random.integers(0, 256, (max(chunk, 4 * max(batches)), 96, 96, 3), dtype=np.uint8)
    mel = random.uniform(-4, 4, (len(crops), 80, 16)).astype(np.float32)
    for precision in _precisions(device):
        backend = make_backend(random_network(), device, "torch", precision)  # type: ignore[arg-type]
        assert isinstance(backend, TorchBackend)
        for batch in batches:
            if device.startswith("cuda"):
                torch.cuda.reset_peak_memory_stats()
            fixed = FixedBatches(backend.conveyor or backend.run, batch)
            many, one = (crops[: 4 * batch], mel[: 4 * batch]), (crops[:batch], mel[:batch])
            calls: dict[str, tuple[int, Callable[[], object]]] = {
                "faces_per_s_chunk": (chunk, partial(fixed.map, crops[:chunk], mel[:chunk])),
                "faces_per_s": (4 * batch, partial(fixed.map, *many)),
                "faces_per_s_one_by_one": (batch, partial(backend.run, *one)),
            }
            rates = {name: round(n / timed(call, device, 1 if quick else 5)) for name, (n, call) in calls.items()}
            alone = timed(_resident(backend, batch, device), device, 1 if quick else 5)
            rows.append(
                {
                    "precision": precision,
                    "batch": batch,
                    **rates,
                    "faces_per_s_network_alone": round(batch / alone),
                    "share_of_peak": _share(flops * batch, alone, device, precision),
                    "device_mb": _memory(device),
                }
            )
    return rows


def _resident(backend: TorchBackend, batch: int, device: str) -> Callable[[], object]:
    """The network's call with its input on the device already."""
    kind = backend._type
    sound = torch.zeros((batch, 1, 80, 16), device=device, dtype=kind)
    pictures = torch.zeros((batch, 6, 96, 96), device=device, dtype=kind).contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def call() -> object:
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            return backend._network(sound, pictures)

    return call


def restore(device: str, quick: bool) -> list[dict[str, Any]]:
    """GFPGAN and CodeFormer."""
    from raydub.models.restore.load import load_restorer
    from raydub.stages.restore.network import TorchRestorer
    from tests.models.restore_states import random_restorer_state

    rows = []
    for architecture in ("gfpgan", "codeformer"):
        state = random_restorer_state(architecture=architecture, small=quick)  # type: ignore[arg-type]
        for precision in _precisions(device):
            network, spec = load_restorer(state)
            cost = 2 * macs(network, spec.size, spec.size)
            restorer = TorchRestorer(network, device, precision)
            for batch in (1, 2) if quick else (1, 4, 16, 32):
                if device.startswith("cuda"):
                    torch.cuda.reset_peak_memory_stats()
                squares = np.random.default_rng(0).integers(0, 256, (batch, spec.size, spec.size, 3), dtype=np.uint8)
                seconds = timed(lambda one=restorer, s=squares: one(s), device, 1 if quick else 5)  # type: ignore[misc]
                rows.append(
                    {
                        "network": architecture,
                        "precision": precision,
                        "batch": batch,
                        "faces_per_s": round(batch / seconds, 2),
                        "share_of_peak": _share(cost * batch, seconds, device, precision),
                        "device_mb": _memory(device),
                    }
                )
    return rows


def upscale(device: str, quick: bool) -> list[dict[str, Any]]:
    """general-x4v3 and x4plus, from 640x360, as the render stage calls them."""
    from bench.upscale import SIZES
    from raydub.models.upscale.load import load_upscaler
    from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
    from raydub.models.upscale.srvgg import SRVGGNetCompact
    from raydub.stages.upscale.network import UpscaleNetwork

    rows, side = [], (64, 36) if quick else (640, 360)
    picture = np.random.default_rng(0).integers(0, 256, (side[1], side[0], 3), dtype=np.uint8)
    for name in ("general",) if quick else ("general", "x4plus"):
        size = SIZES[name]
        torch.manual_seed(0)
        state = dict((RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)).state_dict())
        for precision in _precisions(device):
            network, spec = load_upscaler(state, name)
            cost = 2 * macs(network, 16, 16) / 256 * side[0] * side[1]
            upscaler = UpscaleNetwork(network, spec, device, precision)
            together = upscaler.at_once(side)
            seconds = timed(
                lambda one=upscaler, n=together: one.enlarge([picture] * n, stream=True), device, 1 if quick else 5  # type: ignore[misc]
            )  # fmt: skip
            rows.append(
                {
                    "network": name,
                    "precision": precision,
                    "frames_together": together,
                    "frames_per_s": round(together / seconds, 2),
                    "share_of_peak": _share(cost * together, seconds, device, precision),
                    "device_mb": _memory(device),
                }
            )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["faces", "restore", "upscale"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    kinds: dict[str, Callable[[str, bool], list[dict[str, Any]]]]
    kinds = {"faces": faces, "restore": restore, "upscale": upscale}
    sys.stdout.write(json.dumps(kinds[options.what](options.device, options.quick), indent=1) + "\n")


if __name__ == "__main__":
    main()
