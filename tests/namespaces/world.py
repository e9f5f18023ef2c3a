"""One bucket, a cluster that shares nothing but it, and runs of the six jobs from bucket to bucket."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.namespaces.bucket import Server, credentials
from tests.namespaces.cluster import Cluster
from tests.namespaces.jobs import OPTIONS, outputs_of, six_jobs, write_manifest
from tests.namespaces.machines import PYTHON, Machine, Network, Run

BUCKET = "films"
_PROXY = 8334


@dataclass
class World:
    """folder: for the disks of all machines; inputs: from prepare(); media: the real clips, which machines do not see;
    chances: of faults between nodes and server (tests.objects.proxy), None for no proxy. Ends with the block."""

    folder: Path
    inputs: Path
    media: Path
    chances: Mapping[str, float] | None = None
    network: Network = field(init=False)
    server: Server = field(init=False)
    cluster: Cluster = field(init=False)
    bucket: Any = field(init=False)
    rows: list[dict[str, Any]] = field(init=False)

    def __enter__(self) -> World:
        self.network = Network(self.folder / "machines", [self.media.resolve()])
        try:
            self.server = Server(self.network.switch)
            self.server.start()
            self.bucket = self.server.make(BUCKET)
            manifest = self.inputs / "jobs.jsonl"
            self.rows = [json.loads(line) for line in manifest.read_text(encoding="utf-8").splitlines()]
            for path in [manifest, *sorted((self.inputs / "in").iterdir())]:
                self.bucket.put(path.relative_to(self.inputs).as_posix(), path)
            endpoint = self.server.endpoint if self.chances is None else self._proxy(self.chances)
            self.cluster = Cluster(self.network, credentials(endpoint))
        except BaseException:
            self.network.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.network.close()

    def nodes(self, others: int = 1) -> None:
        """A head of one core and other nodes of one."""
        self.cluster.start_head(1)
        for _ in range(others):
            self.cluster.add_node(1)

    def run(self, *more: str, to: str = "dubbed", on: Machine | None = None) -> Run:
        """The command on the head: all from the bucket, all to it."""
        words = ["run", f"s3://{BUCKET}/jobs.jsonl", "--output-root", f"s3://{BUCKET}/{to}", "--json", *OPTIONS]
        return self.cluster.raydub(*words, "--address", "auto", *more, on=on)

    def names(self, below: str) -> dict[str, dict[str, Any]]:
        """Objects below a prefix, by key."""
        return {found["path"]: found for page in self.bucket.list(below) for found in page}

    def parts(self, to: str = "dubbed") -> dict[str, str]:
        """Records of finished parts in the work folder: key to e-tag and time, which change with every write."""
        found = self.names(f"{to}/.raydub/refs/parts")
        return {key: f"{about['e_tag']} {about['last_modified']}" for key, about in found.items()}

    def outputs(self, to: str = "dubbed") -> dict[str, tuple[str, str]]:
        """Decoded frames and sound of the outputs, see outputs_of()."""
        there = self.names(f"{to}/out")
        with tempfile.TemporaryDirectory() as folder:
            for row in self.rows:
                goal = Path(folder) / row["output"]
                goal.parent.mkdir(exist_ok=True)
                if f"{to}/{row['output']}" in there:
                    goal.write_bytes(bytes(self.bucket.get(f"{to}/{row['output']}").bytes()))
            return outputs_of(Path(folder), self.rows)

    def traffic(self) -> dict[str, Any]:
        """What the proxy counted: see tests.objects.proxy."""
        time.sleep(1.5)  # it writes its counts each second
        found: dict[str, Any] = json.loads((self.network.switch.disk / "root/tmp/counts.json").read_text())
        return found

    def _proxy(self, chances: Mapping[str, float]) -> str:
        host = self.network.switch.address
        words = ["--to", self.server.endpoint, "--host", host, "--port", str(_PROXY), "--json", "/tmp/counts.json"]
        for fault, chance in chances.items():
            words += [f"--{fault}", str(chance)]
        self.network.switch.start(PYTHON, "-m", "tests.objects.proxy", *words, "--seed", "1")
        return f"http://{host}:{_PROXY}"


def prepare(folder: Path, media: Path) -> dict[str, Any]:
    """Write manifest and inputs of the six jobs into `folder` and run them on this computer, without Ray and without
    buckets. Returns outputs (see outputs_of()), seconds, parts."""
    rows = six_jobs(media, folder)
    manifest = write_manifest(folder / "jobs.jsonl", rows)
    words = [PYTHON, "-m", "raydub.cluster.cli", "run", str(manifest), "--output-root", str(folder), "--no-ray"]
    environment = {**os.environ, "RAYDUB_OFFLINE": "1"}
    begun = time.monotonic()
    done = subprocess.run([*words, "--json", *OPTIONS], capture_output=True, text=True, env=environment, timeout=400)
    assert done.returncode == 0, done.stderr[-4000:]
    parts = len(list(folder.glob(".raydub/refs/parts/*/*.json")))
    return {"outputs": outputs_of(folder, rows), "seconds": round(time.monotonic() - begun, 1), "parts": parts}
