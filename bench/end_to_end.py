"""End-to-end speed and memory, as one JSON document: the plain loop and Ray with one worker per stage, in one run.

    python bench/end_to_end.py --clip webcam.mp4 --speech speech.wav --random-wav2lip 1.0 --seconds 60

For each way of running: wall seconds, start-up, frames a second end to end without start-up, work and frames a
second per stage, peak memory of each worker, and the share of the wall time that the bare network would take (the
same number of faces through the network alone, measured in the same process right after the run). Each way runs in a
process of its own, with an empty work folder. Nothing of the clip is kept.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True, help="video to dub")
    parser.add_argument("--speech", required=True, help="the new speech")
    parser.add_argument("--engine", default="auto")
    parser.add_argument("--model", help="checkpoint")
    parser.add_argument("--random-wav2lip", type=float, metavar="WIDTH", help="random weights of this width instead")
    parser.add_argument("--seconds", type=float, help="loop clip and speech to this length first")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--modes", default="local,ray", help="local, ray or both")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--cpus", type=int, help="cores of the local Ray")
    parser.add_argument("--inner", choices=["local", "ray"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def looped(path: str, seconds: float, out: Path) -> str:
    """The file repeated to `seconds`, packets copied."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [
        get_ffmpeg_exe(),
        "-v",
        "error",
        "-stream_loop",
        "-1",
        "-i",
        path,
        "-t",
        str(seconds),
        "-c",
        "copy",
        "-y",
        str(out),
    ]
    subprocess.run(command, check=True, timeout=300)
    return str(out)


def random_checkpoint(width: float, out: Path) -> str:
    """A Wav2Lip checkpoint of random weights in the published layout."""
    import torch

    from bench.network import random_network

    torch.save({"state_dict": random_network(width).state_dict()}, out)
    return str(out)


def bare_network(job: Any, faces: int, rate: Fraction) -> float:
    """Seconds that the engine's network alone takes for `faces` faces (measured on up to 256 and scaled)."""
    import numpy as np

    from raydub.pipeline.engines import make_job_engine, pick_device
    from raydub.stages.engine import Speech
    from raydub.stages.types import FaceItems

    if not faces:
        return 0.0
    count = min(faces, 256)
    engine = make_job_engine(job.options)
    engine.load(pick_device("auto"))
    random = np.random.default_rng(0)
    columns = math.ceil(80 * count / rate) + 32
    speech = Speech(random.uniform(-4, 4, (80, columns)).astype(np.float32), rate, count)
    frames = np.arange(count, dtype=np.int32)
    crops = random.integers(0, 256, (count if engine.needs_crops else 0, 96, 96, 3), dtype=np.uint8)
    box, marks = (
        np.tile(np.float32([100, 100, 300, 300]), (count, 1)),
        random.uniform(100, 300, (count, 68, 2)).astype(np.float32),
    )
    items = FaceItems(frames, frames, frames * 0, box, marks, np.ones(count, np.float32), crops)
    engine.infer(items, speech)
    start = time.perf_counter()
    engine.infer(items, speech)
    return (time.perf_counter() - start) * faces / count


def inner(options: argparse.Namespace) -> dict[str, Any]:
    """Run one way and describe it."""
    from raydub.cluster.commands.fields import chosen
    from raydub.cluster.runner import RunRequest, run_jobs
    from raydub.manifests.read import check_rows
    from raydub.media.probe import probe_video

    folder = Path(options.folder)
    row = {"video": options.clip, "audio": options.speech, "output": f"{options.inner}.mp4", "length": "video"}
    asked = check_rows(
        [(1, row | chosen({"engine": options.engine, "model": options.model}, options.set))], folder, folder
    )
    for error in asked.errors:
        raise error
    [job] = asked.jobs
    report = run_jobs(
        RunRequest(
            jobs=(job,),
            bad=(),
            work_dir=folder / f"work-{options.inner}",
            results=None,
            use_ray=options.inner == "ray",
            num_cpus=options.cpus,
            workers=options.workers,
            show="plain" if os.environ.get("BENCH_SHOW") else "quiet",
        )
    )
    [result] = report.results
    if result.status != "ok":
        raise SystemExit(f"{options.inner}: {result.error_code} {result.error_message}")
    info = probe_video(options.clip)
    startup = max(0.0, report.until_plan - report.stage_seconds.get("prepare", 0.0))
    working = report.seconds - startup
    network = bare_network(job, result.synthesised, info.rate)
    return {
        "frames": result.frames,
        "synthesised": result.synthesised,
        "faceless": result.faceless,
        "size": [info.width, info.height],
        "wall_seconds": round(report.seconds, 2),
        "startup_seconds": round(startup, 2),
        "fps_end_to_end_without_startup": round(result.frames / working, 2),
        "fps_from_first_part": round(report.speed, 2),
        "stage_seconds": report.stage_seconds,
        "stage_fps": {
            stage: round(result.frames / seconds, 1) for stage, seconds in report.stage_seconds.items() if seconds > 0
        },
        "detail_seconds": dict(result.seconds),
        "bare_network_seconds": round(network, 2),
        "bare_network_share": round(network / working, 3),
        "peak_mb": report.peak_mb,
    }


def main() -> None:
    options = arguments()
    if options.inner:
        print("BENCH " + json.dumps(inner(options)))
        return
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": round(os.getloadavg()[0], 2)}
    with tempfile.TemporaryDirectory(prefix="raydub-bench-") as name:
        folder = Path(name)
        clip, speech, model = options.clip, options.speech, options.model
        if options.seconds:
            clip = looped(clip, options.seconds, folder / f"clip{Path(clip).suffix}")
            speech = looped(speech, options.seconds, folder / f"speech{Path(speech).suffix}")
        if options.random_wav2lip:
            model = random_checkpoint(options.random_wav2lip, folder / "random.pth")
        for mode in options.modes.split(","):
            command = [sys.executable, __file__, "--inner", mode, "--folder", name, "--engine", options.engine]
            command += ["--clip", str(Path(clip).absolute()), "--speech", str(Path(speech).absolute())]
            command += ["--workers", str(options.workers), *(["--model", model] if model else [])]
            command += ["--cpus", str(options.cpus)] if options.cpus else []
            command += [part for pair in options.set for part in ("--set", pair)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
            lines = [line for line in done.stdout.splitlines() if line.startswith("BENCH ")]
            if done.returncode or not lines:
                raise SystemExit(f"{mode} failed with {done.returncode}\n{done.stdout}")
            found[mode] = json.loads(lines[-1].removeprefix("BENCH "))
    if {"local", "ray"} <= found.keys():
        local, ray = (found[mode]["wall_seconds"] - found[mode]["startup_seconds"] for mode in ("local", "ray"))
        found["ray_wall_over_local"] = round(ray / local, 3)
        found["ray_total_wall_over_local"] = round(found["ray"]["wall_seconds"] / found["local"]["wall_seconds"], 3)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
