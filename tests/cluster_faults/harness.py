"""What fault tests share: clusters of their own, the command in a process of its own, killers, and what must be true
afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raydub.cluster.session.connect import on_loopback
from raydub.manifests.results import JobResult, read_results
from raydub.process import kept_environment
from raydub.store import Store

REPOSITORY = Path(__file__).resolve().parents[2]
# A lost node is noticed after about 2 s instead of 16 s; nothing else depends on these.
_FAST_HEALTH_CHECK = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
_QUIET = {
    "RAY_AUTH_MODE": "disabled",
    "RAY_BACKEND_LOG_LEVEL": "fatal",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
    "PYTHONPATH": str(REPOSITORY),
}
_STORE = 80 << 20
# Long enough for a busy machine of two cores: it ends a run that hangs, it measures nothing.
PATIENCE = 400.0


@contextmanager
def cluster_of(*, cpus: int = 4, gpus: int = 0, **more: Any) -> Iterator[Any]:
    """A `ray.cluster_utils.Cluster` with a head of so many pretended CPUs and GPUs; every process of it ends with the
    block."""
    with kept_environment(_QUIET):
        os.environ.update(_QUIET)
        from ray.cluster_utils import Cluster

        head = {"num_cpus": cpus, "num_gpus": gpus, "object_store_memory": _STORE, **more}
        head["_system_config"] = _FAST_HEALTH_CHECK
        head["include_dashboard"] = False
        with on_loopback():
            cluster = Cluster(initialize_head=True, head_node_args=head)
            try:
                yield cluster
            finally:
                cluster.shutdown()


def add_node(cluster: Any, *, cpus: int = 4, gpus: int = 0) -> Any:
    """One more node."""
    return cluster.add_node(num_cpus=cpus, num_gpus=gpus, object_store_memory=_STORE)


def drain_node(cluster: Any, node: Any, seconds: float = 60.0) -> None:
    """The node has notice that it will be taken away in so many seconds, as the autoscaler gives it."""
    from ray._raylet import GcsClient
    from ray.core.generated import autoscaler_pb2

    reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
    until = int((time.time() + seconds) * 1000)
    accepted, why = GcsClient(address=cluster.address).drain_node(node.node_id, reason, "spot", until)
    assert accepted, why


def lose_node(cluster: Any, node: Any) -> None:
    """The node is gone from one moment to the next: raylet, workers and all."""
    pids = _children(node)
    cluster.remove_node(node, allow_graceful=False)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def _children(node: Any) -> list[int]:
    """The workers of a node's raylet. A machine that goes away takes them with it; Ray leaves them a moment."""
    raylets = [info.process.pid for infos in node.all_processes.values() for info in infos]
    return [child for raylet in raylets for child in children_of(raylet)]


def children_of(pid: int) -> list[int]:
    """Process ids of all descendants of a process."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parents[int(entry.name)] = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
    found, todo = [], [pid]
    while todo:
        here = todo.pop()
        mine = [child for child, parent in parents.items() if parent == here]
        found += mine
        todo += mine
    return found


@dataclass
class Case:
    """One manifest, its folders, and the commands run on it."""

    root: Path
    options: tuple[str, ...] = ()
    _running: list[Run] = field(default_factory=list)

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def manifest(self) -> Path:
        return self.root / "jobs.jsonl"

    def fake_jobs(self, **chunks: int) -> None:
        """A manifest of fake jobs, named by the keywords, of so many chunks each."""
        (self.root / "a.wav").write_text("speech")
        for name, n in chunks.items():
            (self.root / f"{name}.mp4").write_text(str(n))
        self.rows([{"video": f"{n}.mp4", "audio": "a.wav", "output": f"out/{n}.mp4", "id": n} for n in chunks])

    def rows(self, rows: list[dict[str, Any]]) -> None:
        """The manifest."""
        self.manifest.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(self, *more: str, manifest: Path | None = None) -> Run:
        """The command in a process group of its own. Without an address among `more` it runs without Ray."""
        ray = ("--no-ray",) if "--address" not in more else ()
        command = [sys.executable, "-m", "tests.cluster_faults.drive", "run", str(manifest or self.manifest)]
        command += ["--output-root", str(self.root), "--work-dir", str(self.work), "--json"]
        command += [*self.options, *ray, *more]
        log = self.root / f"driver{len(self._running)}.log"
        with open(log.with_suffix(".out"), "wb") as out, open(log, "wb") as err:
            process = subprocess.Popen(
                command,
                cwd=REPOSITORY,
                env={**os.environ, **_QUIET},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        run = Run(process, log)
        self._running.append(run)
        return run

    def run(self, *more: str, manifest: Path | None = None) -> Run:
        """The command, to its end."""
        run = self.start(*more, manifest=manifest)
        run.wait()
        return run

    def run_on(self, ray: bool) -> Run:
        """The command, to its end, on a cluster of its own or without Ray."""
        if not ray:
            return self.run()
        with cluster_of() as cluster:
            return self.run("--address", cluster.address)

    def end(self) -> None:
        """End what is still running."""
        for run in self._running:
            run.kill_all()

    def markers(self) -> dict[str, dict[str, Any]]:
        """Records of finished parts by file name."""
        found = {}
        for path in sorted(self.marker_files()):
            with suppress(FileNotFoundError):
                found[path.name] = json.loads(path.read_text())
        return found

    def marker_files(self) -> list[Path]:
        """The files of these records."""
        return list(self.work.glob("refs/parts/*/*.json"))

    def results(self) -> dict[str, JobResult]:
        """The results manifest, which has each row once."""
        rows = read_results(self.root / "jobs.results.jsonl")
        assert len({row.id for row in rows}) == len(rows)
        assert [row.id for row in read_results(self.root / "jobs.results.parquet")] == [row.id for row in rows]
        return {row.id: row for row in rows}


@dataclass
class Run:
    """A command that was started."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def code(self) -> int | None:
        return self.process.returncode

    @property
    def said(self) -> str:
        """Its stderr."""
        return self.log.read_text(errors="replace")

    @property
    def report(self) -> dict[str, Any]:
        """The JSON document that it printed."""
        found: dict[str, Any] = json.loads(self.log.with_suffix(".out").read_text())
        return found

    def wait(self, seconds: float = PATIENCE) -> int:
        """Its exit code."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            said = self.said[-4000:]
            self.kill_all()
            raise AssertionError(f"the run did not end within {seconds:.0f} s:\n{said}") from None

    def kill(self) -> None:
        """SIGKILL to the driver alone, as `kill -9` does it."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def kill_all(self) -> None:
        """SIGKILL to the driver and all that it started."""
        if self.process.poll() is None:
            for pid in [*children_of(self.process.pid), self.process.pid]:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.process.wait(10)


def until(true: Callable[[], Any], what: str, run: Run | None = None, seconds: float = PATIENCE) -> Any:
    """Wait for something to become true and return it; a run that ends meanwhile will not make it so."""
    deadline = time.monotonic() + seconds
    while True:
        found = true()
        if found:
            return found
        ended = run is not None and run.process.poll() is not None
        assert not ended or true(), (
            f"the run ended (exit {run and run.code}) before {what}:\n{run and run.said[-4000:]}"
        )
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what}:\n{run and run.said[-4000:]}"
        time.sleep(0.02)


def attempts(work: Path) -> list[tuple[str, Mapping[str, Any]]]:
    """(work, record) of the attempts that are open in all runs of a work folder: their workers are at it, or died."""
    found = []
    for path in sorted(work.glob("runs/*/attempts/*/*")):
        if path.name.rpartition(".")[2].isdigit():
            with suppress(OSError, ValueError):
                found.append((path.name.rpartition(".")[0], json.loads(path.read_text())))
    return found


def whole(case: Case, *, abandoned: bool = False) -> None:
    """Nothing half published: no temporary file, every part is there with the bytes that its record names, every output
    belongs to an ok row, and the rows of the results are those of the manifest.

    abandoned: the run was stopped a moment ago, and what its workers were writing may still lie there under temporary
    names, for the next run to sweep."""
    leftovers = [path for path in case.root.rglob("*") if ".tmp" in path.name or path.name.startswith("join-")]
    assert leftovers == [] or abandoned
    store = Store(case.work)
    assert all(store.get(name) is not None for name in store.names("parts"))
    asked = [json.loads(line) for line in case.manifest.read_text().splitlines()]
    rows = case.results()
    assert sorted(rows) == sorted(row.get("id", Path(row["output"]).stem) for row in asked)
    failed = case.root / "jobs.results.failed.jsonl"
    told = [json.loads(line)["id"] for line in failed.read_text().splitlines()] if failed.exists() else []
    assert sorted(told) == sorted(name for name, row in rows.items() if row.status != "ok")
    for row in rows.values():
        assert (row.status == "ok") == (row.error_code is None)
        if row.status == "ok":
            assert Path(row.output or "").is_file()
            assert row.frames == row.synthesised + row.untouched
