"""The `raydub` command with stages that go wrong on request: `python -m tests.cluster_faults.drive run ...`."""

from __future__ import annotations

if __name__ == "__main__":
    import cluster.where
    import pipeline.toolbox
    from cluster.cli import main
    from tests.cluster_faults.faults import FaultToolbox

    pipeline.toolbox.StageToolbox = FaultToolbox  # type: ignore[misc, assignment]
    cluster.where.TOOLBOX = "tests.cluster_faults.faults:FaultToolbox"
    main()
