"""Peak memory of every worker for inputs of different lengths, as one JSON document. Linux only.

    python bench/memory.py --clip talk_720p.mp4 --speech speech.wav --minutes 1 10 60

Clip and speech are looped to each length (packets copied) and dubbed by `raydub run`, once as the plain loop and once
through Ray with one worker per stage; every process that the command starts is watched. What counts is `private`: the
pages of Ray's object store that a worker has touched are counted as its own by `resident`, yet exist once, and the
store's size bounds them. The ratios are to the shortest length. Nothing of the clip is kept.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.end_to_end import looped  # noqa: E402
from bench.processes import Watch  # noqa: E402

SEEN = ("private", "resident", "shared", "object_store")
_RAY = {"raylet": "raylet", "gcs_server": "gcs"}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", required=True)
    parser.add_argument("--speech", required=True)
    parser.add_argument("--minutes", type=float, nargs="+", default=[1, 10, 60])
    parser.add_argument("--modes", nargs="+", default=["loop", "ray"], choices=["loop", "ray"])
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE")
    parser.add_argument("--folder", help="where to work and what to keep; default: a temporary folder")
    return parser.parse_args()


def measure(mode: str, clip: str, speech: str, folder: Path, options: list[str]) -> dict[str, Any]:
    """Dub one file and say what the processes took."""
    folder.mkdir(parents=True, exist_ok=True)
    row = {"video": clip, "audio": speech, "output": "out.mp4", "length": "video"}
    (folder / "job.jsonl").write_text(json.dumps(row) + "\n")
    command = [
        sys.executable,
        "-m",
        "raydub.cluster.cli",
        "run",
        "job.jsonl",
        "--json",
        "--workers",
        "1",
        "--output-root",
        ".",
    ]
    command += ["--no-ray"] if mode == "loop" else []
    command += [part for pair in options for part in ("--set", pair)]
    began = time.monotonic()
    with open(folder / "said.json", "w+") as said, open(folder / "said.err", "w") as errors:
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        child = subprocess.Popen(command, stdout=said, stderr=errors, cwd=folder, env=environment)
        with Watch(child.pid) as watch:
            code = child.wait()
        said.seek(0)
        text = said.read()
    if code:
        raise SystemExit(f"{mode} ended with {code}: {(folder / 'said.err').read_text()[-2000:]}{text[-2000:]}")
    report = json.loads(text)
    working = {int(key.rpartition(":")[2]) for key in report["peak_mb"]}
    return {
        "frames": report["results"][0]["frames"],
        "seconds": round(time.monotonic() - began, 1),
        "object_store_disk_mb": watch.store_mb,
        "processes": roles(watch, report["peak_mb"], child.pid),
        "private_each_minute": {str(pid): one.samples for pid, one in watch.seen.items() if pid in working},
    }


def roles(watch: Watch, peak_mb: dict[str, float], driver: int) -> dict[str, dict[str, int]]:
    """Peaks by what the processes did; of several with one role, the highest. peak_mb: as in raydub's report, its keys
    say which process ran which stages."""
    stages: dict[int, list[str]] = {}
    for key in peak_mb:
        stage, _, place = key.partition("@")
        stages.setdefault(int(place.rpartition(":")[2]), []).append(stage)
    found: dict[str, dict[str, int]] = {}
    for pid, one in watch.seen.items():
        role = "+".join(sorted(stages.get(pid, []))) or _role(one.command, pid == driver)
        found[role] = {key: max(one.peak[key], found.get(role, {}).get(key, 0)) for key in SEEN}
    return dict(sorted(found.items()))


def ratios(found: dict[str, dict[str, Any]]) -> dict[str, dict[str, dict[str, float]]]:
    """Peaks over those of the shortest length, for each worker that is in both."""
    first, *longer = found
    base = found[first]["processes"]
    return {
        length: {
            role: {key: round(peak[key] / base[role][key], 3) for key in ("private", "resident") if base[role][key]}
            for role, peak in found[length]["processes"].items()
            if role in base
        }
        for length in longer
    }


def _role(command: str, driver: bool) -> str:
    if driver:
        return "driver"
    for part, name in _RAY.items():
        if part in command:
            return name
    if command.startswith("ray::"):
        return command.split()[0].split("(")[0]
    return "helper"


def main() -> None:
    options = arguments()
    result: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="raydub-memory-") as temporary:
        folder = Path(options.folder or temporary).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        for mode in options.modes:
            found = {}
            for minutes in sorted(options.minutes):
                clip = looped(options.clip, 60 * minutes, folder / f"clip{minutes:g}{Path(options.clip).suffix}")
                speech = looped(
                    options.speech, 60 * minutes, folder / f"speech{minutes:g}{Path(options.speech).suffix}"
                )
                found[f"{minutes:g}"] = measure(mode, clip, speech, folder / f"{mode}-{minutes:g}", options.set)
                print(json.dumps({mode: found}), file=sys.stderr, flush=True)
            result[mode] = {"minutes": found, "ratios": ratios(found)}
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
