"""Whole jobs: Wav2Lip at full width (random weights) on 720p and 1080p, without Ray and through it. Prints JSON, and
after each run one line to stderr, so that a phase that is cut short has shown what it had.

    python -m bench.gpu.whole loop|ray --device cuda [--quick]

The clip is the demo's portrait, moving, on a canvas of the size; the face's box is given, so that nothing is detected.
busy: mean utilisation of the GPU by nvidia-smi while the command ran, start-up included.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "demo"
FACE = (161, 376, 209, 424)
"""top, bottom, left, right of the portrait's face, found by HOG, in its 640 pixels."""
RATE = 30


def make_clip(path: Path, size: tuple[int, int], seconds: float) -> tuple[int, int, int, int]:
    """Write the clip; returns the face's box over all frames: top, bottom, left, right."""
    width, height = size
    portrait = cv2.imread(str(DEMO / "portrait.png"))
    assert portrait is not None
    portrait = cv2.resize(portrait, (height, height), interpolation=cv2.INTER_AREA)
    left, grown = (width - height) // 2, height / 640
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(RATE))
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": "20", "preset": "ultrafast"}
        for index in range(round(seconds * RATE)):
            frame = np.full((height, width, 3), 90, np.uint8)
            frame[:, left : left + height] = np.roll(portrait, index % 8, axis=1)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="bgr24")))
        container.mux(stream.encode(None))
    top, bottom, start, end = (round(side * grown) for side in FACE)
    return top, bottom, left + start, left + end + 8


def make_speech(path: Path, seconds: float) -> None:
    """The demo's speech, repeated."""
    from raydub.media.audio import decode_speech
    from tests.stages.fakes import write_wav

    said = decode_speech(str(DEMO / "speech_es.flac"))
    write_wav(path, np.resize(said, round(seconds * 16000)))


class Busy:
    """Samples the GPU's utilisation while a command runs."""

    def __init__(self) -> None:
        command = ["nvidia-smi", "--query-gpu=utilization.gpu", "--format=csv,noheader,nounits", "-lms", "250"]
        there = shutil.which("nvidia-smi") is not None
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True) if there else None

    def mean(self) -> float | None:
        """Per cent; None without nvidia-smi."""
        if self._process is None:
            return None
        self._process.terminate()
        values = [float(line) for line in self._process.communicate()[0].split() if line.strip().isdecimal()]
        return round(sum(values) / len(values), 1) if values else None


def run(folder: Path, clip: str, name: str, more: list[str], seconds: float) -> dict[str, Any]:
    """One `raydub dub` of the clip."""
    command = [sys.executable, "-m", "raydub.cluster.cli", "dub", "--json", *more]
    command += ["--video", str(folder / clip), "--audio", str(folder / "speech.wav"), "--length", "video"]
    command += ["-o", str(folder / f"{name}.mp4"), "--work-dir", str(folder / f"work-{name}")]
    busy, start = Busy(), time.perf_counter()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    wall = time.perf_counter() - start
    row: dict[str, Any] = {"run": name, "wall_s": round(wall, 2), "gpu_busy_percent": busy.mean()}
    row["exit"] = done.returncode
    if done.returncode:
        row["said"] = (done.stderr + done.stdout)[-600:]
    else:
        result = json.loads(done.stdout)
        row |= {
            "frames": result["frames"],
            "synthesised": result["synthesised"],
            "frames_per_s": round(result["frames"] / wall, 1),
            "frames_per_s_without_start": round(result["frames"] / max(result["wall_seconds"], 1e-3), 1),
            "stage_seconds": result["seconds"],
        }
    sys.stderr.write(f"{json.dumps(row)}\n")
    shutil.rmtree(folder / f"work-{name}", ignore_errors=True)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["loop", "ray"])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    from bench.end_to_end import random_checkpoint

    seconds = 1.0 if options.quick else 60.0
    sizes = {"360p": (640, 360)} if options.quick else {"720p": (1280, 720), "1080p": (1920, 1080)}
    rows = []
    with tempfile.TemporaryDirectory(prefix="raydub-gpu-") as temporary:
        folder = Path(temporary)
        weights = random_checkpoint(0.25 if options.quick else 1.0, folder / "wav2lip.pth")
        make_speech(folder / "speech.wav", seconds)
        for name, size in sizes.items():
            box = make_clip(folder / f"{name}.mp4", size, seconds)
            same = ["--device", options.device, "--engine", "wav2lip", "--model", weights, "--masking", "always"]
            same += ["--box", " ".join(map(str, box)), "--chunk-seconds", "0.5" if options.quick else "3"]
            counts = ("1",) if options.quick else ("1", "2", "4", "8") if name == "720p" else ("8",)
            way = ["--no-ray"] if options.what == "loop" else ["--ray"]
            for count in counts:
                more = [*same, *way, "--workers", count]
                rows.append(run(folder, f"{name}.mp4", f"{options.what}-{name}-{count}", more, seconds))
    sys.stdout.write(json.dumps(rows, indent=1) + "\n")
    sys.exit(any(row["exit"] for row in rows))


if __name__ == "__main__":
    main()
