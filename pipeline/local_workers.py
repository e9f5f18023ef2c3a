"""How many worker processes one machine is used with, without Ray."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from raydub.manifests.job import Job
from raydub.manifests.options import EMBEDDED_ENGINES
from raydub.pipeline.engines import finishes, resolved_engine
from raydub.pipeline.threads import usable_cores

# Bytes that one worker may need (bench/NOTES.md, "Memory against length"), by the networks that it loads.
_EMBEDDED, _NETWORK, _FINISHING = 1 << 30, 2 << 30, 3 << 30
_LEFT = 1 << 30  # for the driver and the system
_CGROUP = Path("/sys/fs/cgroup")
_log = logging.getLogger(__name__)


def local_workers(jobs: Sequence[Job], asked: int | None = None) -> int:
    """The number asked for, or one worker per core as far as the memory of this machine, or of its control group,
    suffices."""
    cores = usable_cores()
    if asked is not None:
        if asked > cores:
            _log.warning("%d workers share %d cores: more than one for each core is not faster", asked, cores)
        return asked
    if any(finishes(job.options) for job in jobs):
        need = _FINISHING
    elif any(resolved_engine(job.options) not in EMBEDDED_ENGINES for job in jobs):
        need = _NETWORK
    else:
        need = _EMBEDDED
    memory = available_memory()
    fit = cores if memory is None else (memory - _LEFT) // need
    return max(1, min(cores, fit))


def available_memory() -> int | None:
    """Bytes that can be allocated without swapping, in a container (cgroup v2) below its limit; None if unknown."""
    found = [int(line.split()[1]) << 10 for line in _read(Path("/proc/meminfo")).splitlines() if "MemAvailable" in line]
    limit, used = _read(_CGROUP / "memory.max"), _read(_CGROUP / "memory.current")
    if limit.isdecimal() and used.isdecimal():
        stat = dict(line.split() for line in _read(_CGROUP / "memory.stat").splitlines())
        found.append(int(limit) - int(used) + int(stat.get("inactive_file", 0)))  # page cache can be dropped
    return max(0, min(found)) if found else None


def memory_limit() -> int | None:
    """Bytes that this container may use (cgroup v2); None without a limit."""
    said = _read(_CGROUP / "memory.max")
    return int(said) if said.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return ""
