"""Which process is this, and does that one still live? Host names and pids alone tell neither machines nor containers
nor processes apart. And its environment, changed for a while."""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path


def born(pid: int) -> str:
    """Where and when a process started, as "boot:process namespace:clock tick" (proc(5)); "" for one that is gone or
    a zombie, and off Linux."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    fields = stat[stat.rindex(")") + 2 :].split()  # the name in brackets may hold anything
    return "" if fields[0] in "ZX" or not place() else f"{place()}:{fields[19]}"


def place_of(birth: str) -> str:
    """The place() of a born(): only processes of one place can be compared."""
    return birth.rpartition(":")[0]


@functools.cache
def place() -> str:
    """Boot of this machine and process namespace: within one place a pid means one process. "" off Linux."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = os.readlink("/proc/self/ns/pid").strip("pid:[]")
    except OSError:
        return ""
    return f"{boot[:8]}:{space}"


@contextmanager
def kept_environment(names: Iterable[str]) -> Iterator[None]:
    """After the block these variables of the environment are what they were before it."""
    before = {name: os.environ.get(name) for name in names}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
