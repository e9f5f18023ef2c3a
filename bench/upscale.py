"""Upscaling on a CPU or a GPU: frames a second by tile, batch and precision, and memory, as one JSON document.

    python bench/upscale.py [--networks general,anime,x4plus,x2plus] [--size 640x360] [--tiles 0,64,128,whole]
                            [--batches 1,4] [--precisions fp32] [--device cpu] [--threads N] [--rounds 3] [--memory]
                            [--gmacs N] [--media FOLDER] [--out FILE]

general and anime are the published weights where the media folder has them; all else has the published layout at full
width with random weights. All candidates of a network take turns, so that a busy machine slows all of them alike; on
such a one believe `gmacs_per_core_s` of a run with --threads 1. `predicted_frames_per_s` is `--gmacs` (billions of
multiplications with addition a second, of all threads) over what the tiles of a frame cost, overlap included.
`useful_gmacs_per_s` leaves the overlap out. `worst` is the largest difference from the untiled picture in steps of
1/255. `rest_ms` is what YUV to BGR, shrinking to twice the input's size and BGR to YUV add to a frame. --memory: each
candidate once more in a process of its own, for its peak.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from bench.report import report
from raydub.media.frames import Frame
from raydub.media.info import Colour
from raydub.media.yuv import from_bgr, to_bgr
from raydub.models.backends.base import has_bf16, resolve
from raydub.models.load import load_state
from raydub.models.upscale.load import load_upscaler
from raydub.models.upscale.rrdb import RRDBNet, RrdbSize
from raydub.models.upscale.srvgg import SRVGGNetCompact, SrvggSize
from raydub.stages.upscale.face_area import resized
from raydub.stages.upscale.network import UpscaleNetwork
from tests.models.macs import macs as macs_of

ROOT = Path(__file__).resolve().parent.parent
WHOLE = 1 << 14
FILES = {"general": "realesr-general-x4v3.from_fp16.pth", "anime": "realesr-animevideov3-x4.from_fp16.pth"}
SIZES: dict[str, SrvggSize | RrdbSize] = {
    "general": SrvggSize(),
    "anime": SrvggSize(convs=16),
    "x4plus": RrdbSize(),
    "x2plus": RrdbSize(unshuffle=2),
}


def state_of(name: str, media: Path) -> tuple[dict[str, torch.Tensor], bool]:
    """(weights, are they the published ones)."""
    file = media / "weights" / FILES.get(name, "-")
    if file.is_file():
        return load_state(file), True
    torch.manual_seed(0)
    size = SIZES[name]
    network = RRDBNet(size) if isinstance(size, RrdbSize) else SRVGGNetCompact(size)
    return dict(network.state_dict()), False


def make(name: str, args: argparse.Namespace, precision: str, tile: int, batch: int) -> UpscaleNetwork:
    network, spec = load_upscaler(state_of(name, args.media)[0], name)
    made = UpscaleNetwork(network, spec, args.device, precision, tile)
    if batch == 1:
        return made
    width, height = made.tiling(args.size).window
    return UpscaleNetwork(network, spec, args.device, precision, made.core, width * height * batch)


def picture(size: tuple[int, int]) -> Frame:
    """Waves of every length, in colour."""
    width, height = size
    y, x = np.mgrid[:height, :width].astype(np.float32)
    waves = [np.sin((x * (3 + k) + y * (5 - 2 * k)) * (x + y + 40) / 9000) for k in range(3)]
    return from_bgr(np.rint(np.stack(waves, axis=2) * 100 + 128).astype(np.uint8), Colour(), 0)


def seen_pixels(network: UpscaleNetwork, size: tuple[int, int]) -> int:
    """Pixels that the network works on for one picture."""
    plan = network.tiling(size)
    return len(plan.tiles) * plan.window[0] * plan.window[1]


def turn(network: UpscaleNetwork, pixels: np.ndarray, device: str) -> tuple[float, float, np.ndarray]:
    """Wall and CPU seconds a picture, and the picture."""
    together = network.at_once((pixels.shape[1], pixels.shape[0]))
    start, spent = time.perf_counter(), time.process_time()
    made = network.enlarge([pixels] * together, stream=True)[0]
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return (time.perf_counter() - start) / together, (time.process_time() - spent) / together, made


def measure(name: str, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All candidates of one network, in turns."""
    state, published = state_of(name, args.media)
    macs, pixels = macs_of(load_upscaler(state, name)[0], 16, 16) / 16**2, to_bgr(picture(args.size), smooth=True)
    keys = [(kind, tile, batch) for kind in args.precisions for tile in args.tiles for batch in args.batches]
    keys = [key for key in keys if key[1] != WHOLE or key[2] == 1]
    networks = {key: make(name, args, *key) for key in keys}
    whole = turn(make(name, args, "fp32", WHOLE, 1), pixels, args.device)[2].astype(int)
    worst = {key: int(np.abs(turn(one, pixels, args.device)[2] - whole).max()) for key, one in networks.items()}
    seconds: dict[Any, list[tuple[float, float]]] = {key: [] for key in keys}
    for _ in range(args.rounds):
        for key, network in networks.items():
            seconds[key].append(turn(network, pixels, args.device)[:2])
    rows = []
    for key, network in networks.items():
        wall, core = (statistics.median(column) for column in zip(*seconds[key], strict=True))
        seen, useful = (
            macs * count / 1e9 for count in (seen_pixels(network, args.size), pixels.shape[0] * pixels.shape[1])
        )
        plan = network.tiling(args.size)
        rows.append(
            {
                "network": name,
                "published_weights": published,
                "precision": key[0],
                "tile": "whole" if key[1] == WHOLE else key[1],
                "batch": key[2],
                "tiles": len(plan.tiles),
                "window": plan.window,
                "gmacs_a_frame": round(seen, 1),
                "predicted_frames_per_s": round(args.gmacs / seen, 3),
                "frames_per_s": round(1 / wall, 3),
                "output_mpixels_per_s": round(whole.shape[0] * whole.shape[1] / wall / 1e6, 3),
                "gmacs_per_s": round(seen / wall, 1),
                "useful_gmacs_per_s": round(useful / wall, 1),
                "gmacs_per_core_s": round(seen / core, 1),
                "frames_per_core_s": round(1 / core, 3),
                "worst": worst[key],
                "peak_mb": peak_of(name, args, *key) if args.memory else None,
            }
        )
    return rows


def peak_of(name: str, args: argparse.Namespace, precision: str, tile: int, batch: int) -> dict[str, int]:
    """Peak memory before and after the first picture, in a fresh process."""
    words = ["--one", json.dumps([name, precision, tile, batch]), "--size", "x".join(map(str, args.size))]
    words += ["--device", args.device, "--threads", str(args.threads), "--media", str(args.media)]
    done = subprocess.run([sys.executable, __file__, *words], capture_output=True, text=True, check=True)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def one(args: argparse.Namespace) -> dict[str, int]:
    name, precision, tile, batch = json.loads(args.one)
    network, pixels = make(name, args, precision, tile, batch), to_bgr(picture(args.size), smooth=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    network.enlarge([pixels] * network.at_once(args.size), stream=True)
    found = {"loaded": before, "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    if args.device.startswith("cuda"):
        found["cuda"] = torch.cuda.max_memory_allocated() >> 20
    return found


def rest_ms(size: tuple[int, int], scale: int = 4, rounds: int = 5) -> float:
    frame, times = picture(size), []
    large = np.zeros((scale * size[1], scale * size[0], 3), np.uint8)
    for _ in range(rounds):
        start = time.process_time()
        to_bgr(frame, smooth=True)
        from_bgr(resized(large, (2 * size[0], 2 * size[1])), frame.colour, 0)
        times.append(time.process_time() - start)
    return round(statistics.median(times) * 1000, 1)


def main() -> None:
    def words(text: str) -> list[str]:
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", type=words, default=["general", "anime"])
    parser.add_argument("--size", type=lambda text: tuple(map(int, text.split("x"))), default=(640, 360))
    parser.add_argument("--tiles", type=words, default=["64", "128", "256", "whole"])
    parser.add_argument("--batches", type=words, default=["1", "4"])
    parser.add_argument("--precisions", type=words, default=["fp32"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--gmacs", type=float, default=140.0)
    parser.add_argument(
        "--media", type=Path, default=Path(os.environ.get("RAYDUB_TEST_MEDIA", ROOT.parent / "shared/media"))
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.one:
        print(json.dumps(one(args)))
        return
    args.tiles = [WHOLE if word == "whole" else int(word) for word in args.tiles]
    args.batches = [int(word) for word in args.batches]
    args.precisions = [kind for kind in args.precisions if resolve(args.device, "torch", kind)]
    result = {
        "bench": "upscale",
        "device": torch.cuda.get_device_name() if args.device.startswith("cuda") else "cpu",
        "size": args.size,
        "rounds": args.rounds,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "native_bf16": has_bf16(),
        "load_average": os.getloadavg()[0],
        "rest_ms": rest_ms(args.size),
        "rows": [row for name in args.networks for row in measure(name, args)],
    }
    report(result, args.out)


if __name__ == "__main__":
    main()
