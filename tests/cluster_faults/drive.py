"""The `raydub` command with stages that go wrong on request: `python -m tests.cluster_faults.drive run ...`."""

from __future__ import annotations

if __name__ == "__main__":
    import cluster.where
    from cluster.cli import main

    cluster.where.TOOLBOX = "tests.cluster_faults.faults:FaultToolbox"
    main()
