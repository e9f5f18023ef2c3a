"""The phases of the GPU bench, in order of worth: each in a process of its own with a time limit of its own, its result
in `<out>/<phase>.json` at once, what it said in `<out>/<phase>.log`, an overview in `<out>/summary.json`.

    python -m bench.gpu.phases --device cuda --out FOLDER [--quick] [--seconds 480] [--only faces loop]

--quick makes everything small, so that the script itself can be tried on a CPU.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Phase:
    """One part of the bench. arguments: of `python`, with {device}, {out} and {quick}; seconds: its time limit on a
    GPU, four times as long on a CPU."""

    name: str
    seconds: float
    arguments: tuple[str, ...]


TESTS = ("tests/gpu", "tests/stages/test_restore_network.py")
PHASES = (
    Phase("machine", 30, ("-m", "bench.gpu.machine", "--device", "{device}")),
    Phase("tests", 150, ("-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "--no-header", *TESTS)),
    Phase("faces", 60, ("-m", "bench.gpu.networks", "faces", "--device", "{device}", "{quick}")),
    Phase("restore", 70, ("-m", "bench.gpu.networks", "restore", "--device", "{device}", "{quick}")),
    Phase("upscale", 70, ("-m", "bench.gpu.networks", "upscale", "--device", "{device}", "{quick}")),
    Phase("loop", 150, ("-m", "bench.gpu.whole", "loop", "--device", "{device}", "{quick}")),
    Phase("ray", 150, ("-m", "bench.gpu.whole", "ray", "--device", "{device}", "{quick}")),
    Phase("trace", 60, ("-m", "bench.gpu.trace", "--device", "{device}", "--out", "{out}", "{quick}")),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--seconds", type=float, default=480.0, help="for all phases together")
    parser.add_argument("--only", nargs="+", choices=[phase.name for phase in PHASES])
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    until = time.monotonic() + options.seconds
    summary: list[dict[str, Any]] = []
    for phase in PHASES:
        if options.only and phase.name not in options.only:
            continue
        left = until - time.monotonic()
        if left < 5:
            summary.append({"phase": phase.name, "state": "no time left", "seconds": 0.0})
        else:
            limit = phase.seconds * (1 if options.device.startswith("cuda") else 4)
            summary.append(run(phase, min(left, limit), options))
        (options.out / "summary.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
        sys.stdout.write(f"{json.dumps(summary[-1])}\n")
        sys.stdout.flush()
    sys.exit(any(one["state"] != "ok" for one in summary))


def run(phase: Phase, seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """Run one phase and save what it printed. Its process group is ended at the limit."""
    words = {"{device}": options.device, "{out}": str(options.out), "{quick}": "--quick" if options.quick else ""}
    arguments = [words.get(part, part) for part in phase.arguments if words.get(part, part)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "RAYDUB_GPU_TESTS": options.device}
    began, log = time.monotonic(), options.out / f"{phase.name}.log"
    with log.open("wb") as errors:
        process = subprocess.Popen(
            [sys.executable, *arguments], cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=errors, start_new_session=True,
        )  # fmt: skip
        try:
            said, state = process.communicate(timeout=seconds)[0], ""
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            said, state = process.communicate()[0], f"ended after {seconds:.0f} s"
    (options.out / f"{phase.name}.json").write_bytes(said)
    code = process.returncode
    return {
        "phase": phase.name,
        "state": state or ("ok" if code == 0 else f"exit {code}"),
        "seconds": round(time.monotonic() - began, 1),
        "said": log.read_text(encoding="utf-8", errors="replace")[-300:] if code else "",
    }


if __name__ == "__main__":
    main()
