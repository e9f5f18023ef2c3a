"""raydub beside the published Wav2Lip inference: same clip, speech, box and weights, whole processes in turns, as JSON.

    python bench/versus_wav2lip.py CHECKOUT --clip webcam.mp4 --speech speech.wav --box "170 470 420 650" --seconds 60

CHECKOUT: files of github.com/Rudrabha/Wav2Lip, which are not part of raydub. How they run under today's libraries: see
published.py. The weights are random (bench/network.py), full width; with `paste=box` and `masking=always` both do the
same work. Each round runs theirs, ours in fp32, and ours in bf16 where the CPU has it. For each: wall and CPU seconds,
frames written (theirs end before the speech does), and the most memory that its processes had together, in MiB.
`ratio` is theirs to ours of one round, the median over the rounds.

`psnr`: dB between the luma of both outputs after their lossy encoders: the whole frame, the box, and for comparison the
box of the source against theirs. `own_detector`: S3FD was run on `--detector-frames` frames only; the time theirs would
take with it is computed. Ours with its own detector is run, once.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.end_to_end import looped, random_checkpoint  # noqa: E402
from bench.processes import Watch  # noqa: E402
from bench.published import checked  # noqa: E402
from bench.report import report  # noqa: E402

SAME_WORK = ("--paste", "box", "--masking", "always", "--length", "video")


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkout", metavar="CHECKOUT", type=checked, help="folder of the published code")
    parser.add_argument("--clip", required=True, help="video to dub")
    parser.add_argument("--speech", required=True, help="the new speech, .wav")
    parser.add_argument("--box", required=True, help="the face, in pixels: top bottom left right")
    parser.add_argument("--seconds", type=float, help="loop clip and speech to this length first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--detector-frames", type=int, default=5, help="frames for S3FD, seconds each; 0: none")
    parser.add_argument("--out", type=Path, help="write the JSON here too")
    return parser.parse_args(words)


def whole(command: list[str], folder: Path, environment: dict[str, str]) -> tuple[dict[str, Any], str]:
    """Run a command to its end; its seconds and memory, and its standard output."""
    before, start = os.times(), time.perf_counter()
    child = subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True)
    with Watch(child.pid) as watch:
        said, _ = child.communicate()
    wall, after = time.perf_counter() - start, os.times()
    if child.returncode:
        raise SystemExit(f"{command[1:4]} failed with {child.returncode}\n{said}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": watch.together_mb}, said


def ours(folder: Path, name: str, flags: list[str]) -> dict[str, Any]:
    """One run of `raydub dub` into NAME.mp4, with a work folder of its own."""
    command = [sys.executable, "-m", "raydub.cluster.cli", "dub", "--no-ray", "--json", "--model", "random.pth"]
    command += ["--video", "clip.mp4", "--audio", "speech.wav", "-o", f"{name}.mp4", *SAME_WORK, *flags]
    with tempfile.TemporaryDirectory(dir=folder) as work:
        # Without its own --work-dir the second round would be "already finished".
        found, said = whole(
            [*command, "--work-dir", work, "--overwrite"], folder, {**os.environ, "PYTHONPATH": str(ROOT)}
        )
    result = json.loads(said)
    stages = {stage: round(seconds, 2) for stage, seconds in dict(result["seconds"]).items()}
    return {**found, "frames": result["frames"], "stages": stages}


def theirs(folder: Path, checkout: Path, box: str) -> dict[str, Any]:
    """One run of their inference.py into theirs.mp4."""
    command = [sys.executable, str(ROOT / "bench/published.py"), str(checkout), "inference"]
    command += ["--checkpoint_path", "random.pth", "--face", "clip.mp4", "--audio", "speech.wav"]
    command += ["--outfile", "theirs.mp4", "--box", *box.split()]
    return whole(command, folder, with_ffmpeg(folder))[0]


def with_ffmpeg(folder: Path) -> dict[str, str]:
    """An environment in which the program ffmpeg is imageio_ffmpeg's."""
    from imageio_ffmpeg import get_ffmpeg_exe

    (folder / "bin").mkdir(exist_ok=True)
    link = folder / "bin" / "ffmpeg"
    if not link.exists():
        link.symlink_to(get_ffmpeg_exe())
    return {**os.environ, "PATH": f"{link.parent}{os.pathsep}{os.environ.get('PATH', '')}"}


def psnr(folder: Path, one: str, other: str, box: str | None = None) -> tuple[float, int]:
    """dB between the luma of two videos, frame by frame as long as both last, and the number of frames compared."""
    crop = ""
    if box:
        top, bottom, left, right = map(int, box.split())
        crop = f"crop={right - left}:{bottom - top}:{left}:{top}:exact=1,"
    each = f"format=yuv420p,{crop}setpts=N/TB/30"
    graph = f"[0:v]{each}[a];[1:v]{each}[b];[a][b]psnr=shortest=1:stats_file=-"
    command = ["ffmpeg", "-v", "info", "-i", one, "-i", other, "-lavfi", graph, "-f", "null", "-"]
    done = subprocess.run(command, cwd=folder, env=with_ffmpeg(folder), capture_output=True, text=True, check=True)
    [average] = re.findall(r"PSNR y:(\S+) ", done.stderr)
    return float(average), done.stdout.count("psnr_y:")


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="versus") as name:
        # They take what follows the first dot of the clip's path for its suffix, so they get names without a folder.
        folder = Path(name)
        (folder / "temp").mkdir()
        random_checkpoint(1.0, folder / "random.pth")
        for source, made in ((options.clip, "clip.mp4"), (options.speech, "speech.wav")):
            if options.seconds:
                looped(source, options.seconds, folder / made)
            else:
                (folder / made).symlink_to(Path(source).absolute())
        report(measure(options, folder), options.out)


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """All rounds, then what is computed from them."""
    from raydub.models.backends.base import has_bf16

    kinds = ["fp32", *(["bf16"] if has_bf16() else [])]
    found: dict[str, Any] = {"cores": len(os.sched_getaffinity(0)), "load_before": os.getloadavg()[0], "rounds": []}
    for _ in range(options.rounds):
        row: dict[str, Any] = {"theirs": theirs(folder, options.checkout, options.box)}
        for kind in kinds:
            row[kind] = ours(folder, kind, ["--precision", kind, "--box", options.box])
        found["rounds"].append(row)
    found["frames"] = {one: psnr(folder, f"{one}.mp4", f"{one}.mp4")[1] for one in ("theirs", *kinds)}

    def ratio(kind: str, what: str, more: float = 0.0) -> float:
        values = [(row["theirs"][what] + more) / row[kind][what] for row in found["rounds"]]
        return round(statistics.median(values), 2)

    found["ratio"] = {kind: {what: ratio(kind, what) for what in ("wall_s", "cpu_s", "peak_mb")} for kind in kinds}
    found["psnr"] = {
        "whole": psnr(folder, "fp32.mp4", "theirs.mp4")[0],
        "box": psnr(folder, "fp32.mp4", "theirs.mp4", options.box)[0],
        "box_of_source": psnr(folder, "clip.mp4", "theirs.mp4", options.box)[0],
    }
    if options.detector_frames:
        command = [sys.executable, str(ROOT / "bench/published.py"), str(options.checkout), "detector", "clip.mp4"]
        _, said = whole([*command, str(options.detector_frames)], folder, dict(os.environ))
        each = json.loads(said.rpartition("BENCH ")[2])["seconds_a_frame"]
        own = ours(folder, "own", ["--precision", "fp32"])
        frames = own["frames"]
        computed = statistics.median(row["theirs"]["wall_s"] for row in found["rounds"]) + each * frames
        found["own_detector"] = {
            "s3fd_ms_a_frame": round(1000 * each),
            "our_track_ms_a_frame": round(1000 * own["stages"]["track"] / frames, 1),
            "theirs_wall_s_computed": round(computed, 1),
            "fp32": own,
            "ratio_computed": round(computed / own["wall_s"], 1),
        }
    return found


if __name__ == "__main__":
    main()
