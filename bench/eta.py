"""The remaining time that a run tells, beside the time that it took, as JSON.

    python bench/eta.py run MANIFEST [RAYDUB FLAGS ..]

Runs `raydub run MANIFEST --json-progress` in a fresh work folder, notes when each progress line arrives, and compares
its `eta` with the time that was left until the command's last line. Seconds are of the wall clock of this process.

moments: one row for each line: at (seconds since the start), share, eta, left (the truth), error ((eta - left) / left).
worst_from_half, mean_from_half: of |error| over lines in the second half of the time with at least a tenth of it left:
in the last tenth a second more or less is more than a fifth. late: the largest |eta - left| of that tenth, in seconds.
end: (at + eta - whole) over whole, the worst from the half on. others: cores that other processes kept busy meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from raydub.pipeline.measure import busy_seconds

ROOT = Path(__file__).resolve().parent.parent


def moments(manifest: Path, flags: list[str], folder: Path) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The progress lines of a run, each with its time of arrival, and facts about the run."""
    command = [sys.executable, "-m", "raydub.cluster.cli", "run", str(manifest), "--json-progress"]
    command += ["--output-root", str(folder), *flags]
    busy, own, start = busy_seconds() or 0.0, _own(), time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    lines = []
    for text in process.stdout:
        lines.append({**json.loads(text), "seen": time.perf_counter() - start})
    errors = process.communicate()[1]
    whole = time.perf_counter() - start
    others = ((busy_seconds() or 0.0) - busy - (_own() - own)) / whole
    last = lines[-1] if lines else {}
    if last.get("event") != "end":
        raise SystemExit(f"the run did not end in order:\n{errors}")
    facts = {"seconds": round(last["seen"], 2), "counts": last.get("counts"), "others": round(others, 2)}
    return [line for line in lines if line["event"] == "progress"], facts


def _own() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def judged(lines: list[dict[str, Any]], whole: float) -> dict[str, Any]:
    """The errors of the remaining times that were told."""
    rows = []
    for line in lines:
        left, eta = whole - line["seen"], line["eta"]
        row = {"at": round(line["seen"], 1), "share": line["share"], "eta": eta, "left": round(left, 1)}
        row["stages"] = {stage["stage"]: stage["share"] for stage in line["stages"]}
        rows.append({**row, "error": None if eta is None or left <= 0 else round((eta - left) / left, 3)})
    half = [row for row in rows if row["at"] >= whole / 2 and row["left"] > 0]
    fair = [abs(row["error"]) for row in half if row["left"] >= whole / 10 and row["error"] is not None]
    ends = [abs(row["eta"] - row["left"]) / whole for row in half if row["eta"] is not None]
    late = [abs(row["eta"] - row["left"]) for row in half if row["left"] < whole / 10 and row["eta"] is not None]
    stages = {stage["stage"]: {"frames": stage["frames"], "seconds": stage["seconds"]} for stage in lines[-1]["stages"]}
    return {
        "stages": stages,
        "worst_from_half": max(fair, default=None),
        "mean_from_half": round(sum(fair) / len(fair), 3) if fair else None,
        "unknown_from_half": sum(row["eta"] is None for row in half if row["left"] >= whole / 10),
        "end": round(max(ends), 3) if ends else None,
        "late": round(max(late), 1) if late else None,
        "moments": rows,
    }


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["run"])
    parser.add_argument("manifest", type=Path)
    given, flags = parser.parse_known_args()
    with tempfile.TemporaryDirectory(prefix="raydub-eta-", dir=os.environ.get("TMPDIR")) as folder:
        lines, facts = moments(given.manifest.resolve(), flags, Path(folder))
    print(json.dumps({**facts, **judged(lines, facts["seconds"])}, indent=1))


if __name__ == "__main__":
    main()
