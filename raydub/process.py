"""Identities of processes across machines and containers, for which host names and pids are not enough; and temporary
changes of the environment."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def born(pid: int) -> str:
    """Where and when a process started, as "boot:process namespace:clock tick" (proc(5)); "" if it has ended or is a
    zombie, and on systems other than Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may contain spaces and brackets
    return "" if fields[0] in "ZX" or not place() else f"{place()}:{fields[19]}"


def place_of(birth: str) -> str:
    """The place() of a born() value: only processes of the same place can be compared."""
    return birth.rpartition(":")[0]


@functools.cache
def place() -> str:
    """Boot id of this machine and pid namespace: within one place a pid identifies one process. "" on systems other
    than Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""
    return f"{boot[:8]}:{space}"


@contextmanager
def kept_environment(names: Iterable[str]) -> Iterator[None]:
    """Restore these environment variables after the block."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
