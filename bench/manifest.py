"""Many short jobs, as one JSON document: time, memory and what running again costs. Linux only.

    python bench/manifest.py [--jobs 1000] [--videos 50] [--speeches 20] [--workers N] [--no-ray]

Makes `videos` distinct clips of one second (the portrait of examples/demo, each of another size) and `speeches`
distinct pieces of speech, pairs them into `jobs` distinct rows, and dubs them with `raydub run` in one process of its
own. Then the same manifest again, three times; again with one speech touched (another time, the same content); and
again with one speech replaced, which one row alone uses.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.memory import roles  # noqa: E402
from bench.processes import Watch  # noqa: E402

_LANGUAGES = ("en", "es")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--videos", type=int, default=50)
    parser.add_argument("--speeches", type=int, default=20)
    parser.add_argument("--workers", type=int)
    parser.add_argument("--no-ray", action="store_true")
    parser.add_argument("--folder", help="where to work and what to keep; default: a temporary folder")
    return parser.parse_args()


def make_manifest(folder: Path, jobs: int, videos: int, speeches: int) -> Path:
    """Inputs and manifest.jsonl; the last row alone uses last.wav."""
    from tests.cluster.clips import make_clip, make_speech

    if jobs > videos * speeches:
        raise SystemExit(f"{videos} videos and {speeches} speeches make {videos * speeches} distinct rows at most")
    for number in range(videos):
        make_clip(folder / f"video{number}.mp4", 1.0, side=200 + 2 * number)
    for number in range(speeches):
        make_speech(folder / f"speech{number}.wav", 1.0, 0.3 * number, _LANGUAGES[number % 2])
    make_speech(folder / "last.wav", 1.0, 0.3)
    manifest = folder / "manifest.jsonl"
    with open(manifest, "w") as out:
        for number in range(jobs):
            speech = f"speech{number // videos}" if number < jobs - 1 else "last"
            row = {
                "id": f"job{number:05d}",
                "video": f"video{number % videos}.mp4",
                "audio": f"{speech}.wav",
                "output": f"out/{number:05d}.mp4",
            }
            out.write(json.dumps(row) + "\n")
    return manifest


def run(manifest: Path, options: argparse.Namespace) -> dict[str, Any]:
    """One `raydub run` of the manifest: seconds, outcomes, memory."""
    folder = manifest.parent
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(manifest), "--output-root", str(folder), "--json"]
    command += ["--workers", str(options.workers)] if options.workers else []
    command += ["--no-ray"] if options.no_ray else []
    with open(folder / "said.json", "w+") as said, open(folder / "said.err", "w") as errors:
        began = time.monotonic()
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(command, stdout=said, stderr=errors, cwd=folder, env=environment)
        with Watch(child.pid) as watch:
            code = child.wait()
        seconds = time.monotonic() - began
        said.seek(0)
        text = said.read()
    if not text.strip():
        raise SystemExit(f"ended with {code}: {(folder / 'said.err').read_text()[-2000:]}")
    report = json.loads(text)
    results = report["results"]
    return {
        "exit": code,
        "seconds": round(seconds, 2),
        "counts": report["counts"],
        "errors": dict(Counter(row["error_code"] for row in results if row["status"] != "ok")),
        "worked_on": sum(bool(row.get("attempts", 1)) for row in results),
        "stage_ms_per_job": {
            stage: round(1000 * spent / len(results), 1) for stage, spent in report.get("stage_seconds", {}).items()
        },
        "object_store_mb": report.get("object_store_mb"),
        "object_store_disk_mb": watch.store_mb,
        "memory_mb": roles(watch, report.get("peak_mb", {}), child.pid),
    }


def main() -> None:
    options = arguments()
    with tempfile.TemporaryDirectory(prefix="raydub-manifest-") as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        manifest = make_manifest(folder, options.jobs, options.videos, options.speeches)
        found: dict[str, Any] = {
            "jobs": options.jobs,
            "distinct": {"videos": options.videos, "speeches": options.speeches + 1},
            "cores": len(os.sched_getaffinity(0)),
            "load_before": round(os.getloadavg()[0], 2),
            "first": run(manifest, options),
        }
        found["first"]["jobs_per_second"] = round(options.jobs / found["first"]["seconds"], 3)
        again = [run(manifest, options) for _ in range(3)]
        found["again"] = {**again[0], "seconds": [one["seconds"] for one in again]}
        found["again_median_seconds"] = statistics.median(one["seconds"] for one in again)
        os.utime(folder / "last.wav")
        found["one_touched"] = run(manifest, options)
        from tests.cluster.clips import make_speech

        make_speech(folder / "last.wav", 1.0, 2.3)
        found["one_replaced"] = run(manifest, options)
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
