"""Find and kill the processes that a process has started. Linux only; on other systems nothing is found."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_DEAD = "ZX"


@dataclass(frozen=True)
class Entry:
    """A process. parent: the process that started or adopted it; session: its session id (setsid(2))."""

    parent: int
    session: int
    state: str

    @property
    def lives(self) -> bool:
        """Whether it is running, not a zombie."""
        return self.state not in _DEAD


def processes() -> dict[int, Entry]:
    """Every process that /proc shows, by its id."""
    found: dict[int, Entry] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            # The name in brackets may contain brackets: state, parent, group and session follow the last one.
            fields = text[text.rindex(")") + 2 :].split()
            found[int(stat.parent.name)] = Entry(int(fields[1]), int(fields[3]), fields[0])
    return found


def below(roots: Iterable[int], table: dict[int, Entry]) -> list[int]:
    """All descendants of some processes."""
    found, todo = [], list(roots)
    while todo:
        above = todo.pop()
        children = [pid for pid, entry in table.items() if entry.parent == above]
        found += children
        todo += children
    return found


def kill_below(pid: int) -> list[int]:
    """Kill all descendants of `pid` (SIGKILL); returns their pids."""
    found = below([pid], processes())
    _kill(found)
    return found


def kill_rest(seconds: float = 2.0) -> list[int]:
    """Kill all descendants of this process (SIGKILL), repeatedly until none is left: orphans of killed processes move
    to the process that adopts them (raydub.bound.adopt_orphans). Returns their pids."""
    return _kill_all(lambda table: below([os.getpid()], table), seconds)


def kill_session(session: int, seconds: float = 5.0) -> list[int]:
    """Kill all processes of a session except this one, and their descendants in other sessions (SIGKILL), and wait
    until they have ended. Returns their pids. Call it before reaping the session's leader: afterwards its id may be
    reused."""

    def chosen(table: dict[int, Entry]) -> set[int]:
        members = [pid for pid, entry in table.items() if entry.session == session]
        return {*members, *below(members, table)} - {os.getpid()}

    return _kill_all(chosen, seconds)


def _kill_all(chosen: Callable[[dict[int, Entry]], Iterable[int]], seconds: float) -> list[int]:
    """Kill the chosen processes (SIGKILL), repeatedly until none runs; returns their pids."""
    killed: list[int] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        table = processes()
        # Zombies stay until they are reaped.
        found = [pid for pid in chosen(table) if table[pid].lives]
        if not found:
            break
        _kill(found)
        killed += found
        time.sleep(0.02)
    return sorted(set(killed))


def _kill(pids: Iterable[int]) -> None:
    for pid in pids:
        with suppress(OSError):
            os.kill(pid, signal.SIGKILL)
