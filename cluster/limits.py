"""How patient a run is, in seconds, unless it is told otherwise, and where networks may run. Alone in a module, because
`--help` must load nothing else."""

WAIT_GPU_SECONDS = 30.0
STALL_SECONDS = 1800.0
DEVICES = ("auto", "cpu", "cuda")
