"""The `raydub` command with stages that go wrong on request: `python -m tests.cluster_faults.drive run ...`."""

from __future__ import annotations

if __name__ == "__main__":
    from raydub.cluster.cli import main
    from raydub.cluster.session import where

    where.STAGES = "tests.cluster_faults.faults:STAGES"
    main()
