"""`python -m tests.pipeline.placement FOLDER [TYPE]`: a run with post-processors on a Ray of its own that pretends to
have two GPUs, of this type. Prints, as JSON, which share of a GPU each worker of each stage had."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import ray

from raydub.cluster.session.connect import on_loopback
from raydub.manifests.job import Job
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.driver import Driver
from raydub.pipeline.events import Planned
from raydub.pipeline.graph import RayExecutor
from raydub.pipeline.nodes import nodes_now
from raydub.pipeline.pools import plan_pools
from raydub.pipeline.stage import Demand
from raydub.stages.types import Chunk, Part, SynthesisedChunk, TrackedChunk
from tests.pipeline.fakes import FakeToolbox, stages_of
from tests.pipeline.test_driver import make_job


class NotingToolbox(FakeToolbox):
    """Stages that write down what Ray gave them."""

    def prepare(self, job: Job) -> tuple[Planned, Sequence[Chunk]]:
        self._tell("prepare")
        return super().prepare(job)

    def track(self, chunk: Chunk) -> TrackedChunk:
        self._tell("track")
        return super().track(chunk)

    def lipsync(self, chunk: TrackedChunk) -> SynthesisedChunk:
        self._tell("lipsync")
        return super().lipsync(chunk)

    def render(self, chunk: SynthesisedChunk, out_path: str) -> Part:
        self._tell("render")
        return super().render(chunk, out_path)

    def _tell(self, stage: str) -> None:
        context = ray.get_runtime_context()
        said = {"share": context.get_assigned_resources().get("GPU", 0.0), "gpus": context.get_accelerator_ids()["GPU"]}
        (Path(self._settings.work_dir) / f"{stage}.{os.getpid()}.json").write_text(json.dumps(said))


def main(folder: Path, kind: str = "") -> None:
    """One run; see the module docstring."""
    with on_loopback():
        ray.init(
            address="local",
            num_cpus=12 if kind else 4,
            num_gpus=2,
            resources={f"accelerator_type:{kind}": 1} if kind else None,
            object_store_memory=80 << 20,
            include_dashboard=False,
            log_to_driver=False,
            logging_level="ERROR",
        )
    pools = plan_pools(list(nodes_now().values()), 4, demand=Demand(finish=True))
    jobs = [make_job(folder, f"ok:{4 + number}", f"j{number}", line=number + 1) for number in range(4)]
    results, _ = Driver(RayExecutor(WorkSettings(str(folder / "work"), "r"), stages_of(NotingToolbox), pools)).run(jobs)
    assert all(result.status == "ok" for result in results), results
    found: dict[str, list[object]] = {}
    for path in sorted((folder / "work").glob("*.*.json")):
        found.setdefault(path.name.split(".")[0], []).append(json.loads(path.read_text()))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
