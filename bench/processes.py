"""Memory of a command and of everything that it starts, from /proc (Linux only).

Three figures a process, in MiB, each the highest that was seen: `resident` (what ps and the kernel's ru_maxrss call
RSS), `private` (pages that no other process maps: what would be free again if it ended) and `shared` (program text,
libraries, files and Ray's object store, counted in every process that has touched them).
"""

from __future__ import annotations

import os
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

PROC = Path("/proc")
_FIELDS = {
    "Rss": ("resident",),
    "Private_Clean": ("private",),
    "Private_Dirty": ("private",),
    "Shared_Clean": ("shared",),
    "Shared_Dirty": ("shared",),
    "Anonymous": ("anonymous",),
    "Pss": ("proportional",),
    "Pss_Shmem": ("object_store",),
}


@dataclass
class Seen:
    """One process: its longest command line, peaks in MiB, when it was first and last seen."""

    command: str
    peak: dict[str, int] = field(default_factory=dict)
    samples: list[tuple[float, int]] = field(default_factory=list)


class Watch:
    """Samples a process and its descendants in a thread, as a context manager. seen: by process id. series: (seconds,
    private MiB) of every process once a minute. together_mb: the most that all had at one time, in MiB; pages that
    several of them map count once."""

    def __init__(self, root: int, every: float = 0.5) -> None:
        self.root, self.every = root, every
        self.seen: dict[int, Seen] = {}
        self.store_mb = self.together_mb = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        start, kept = time.monotonic(), -60.0
        while not self._end.wait(self.every):
            at = time.monotonic() - start
            keep = at - kept >= 60
            kept = at if keep else kept
            together = 0
            for pid in descendants(self.root):
                now = memory(pid)
                if now:
                    together += now["proportional"]
                    one = self.seen.setdefault(pid, Seen(""))
                    one.command = name_of(pid, one.command)
                    one.peak = {key: max(value, one.peak.get(key, 0)) for key, value in now.items()}
                    if keep:
                        one.samples.append((round(at), now["private"]))
            self.together_mb = max(self.together_mb, together)
            self.store_mb = max(self.store_mb, object_store_mb())


def descendants(root: int) -> list[int]:
    """The process and all below it, by parent ids."""
    children: dict[int, list[int]] = {}
    for entry in PROC.iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:
                continue
            # The name, in brackets, may hold anything: what follows the last bracket is state and parent.
            children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found, open_ = [], [root]
    while open_:
        pid = open_.pop()
        found.append(pid)
        open_ += children.get(pid, [])
    return found


def memory(pid: int) -> dict[str, int] | None:
    """MiB of one process now, None when it is gone."""
    try:
        lines = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return None
    found = {"resident": 0, "private": 0, "shared": 0, "anonymous": 0, "proportional": 0, "object_store": 0}
    for line in lines:
        key, _, rest = line.partition(":")
        for name in _FIELDS.get(key, ()):
            found[name] += int(rest.split()[0])
    return {name: value // 1024 for name, value in found.items()} if found["resident"] else None


def name_of(pid: int, known: str) -> str:
    """The process's command line; an idle Ray worker keeps the name that it had at work."""
    try:
        now = (PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return known
    return known if not now or ("IDLE" in now and known) else now


def object_store_mb() -> int:
    """MiB in use on the shared memory disk, where Ray keeps its objects: an upper bound when others use it too."""
    try:
        disk = os.statvfs("/dev/shm")
    except OSError:
        return 0
    return (disk.f_blocks - disk.f_bfree) * disk.f_frsize >> 20
