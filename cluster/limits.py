"""Default timeouts of a run in seconds, and devices. A module of its own, because `--help` must import nothing else."""

WAIT_GPU_SECONDS = 30.0
STALL_SECONDS = 1800.0
DEVICES = ("auto", "cpu", "cuda")
