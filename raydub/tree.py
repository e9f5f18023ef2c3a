"""Which processes a process has started, and their end. Linux; elsewhere nothing is found."""

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
    """A process: the one that started it, or that took it over, and its session (setsid(2))."""

    parent: int
    session: int
    state: str

    @property
    def lives(self) -> bool:
        """Is it more than the remains of a process that nobody asked about?"""
        return self.state not in _DEAD


def processes() -> dict[int, Entry]:
    """Every process that /proc shows, by its id."""
    found: dict[int, Entry] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError, ValueError, IndexError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            # The name in brackets may hold anything: state, parent, group and session follow its last bracket.
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
    """SIGKILL to every process that `pid` started, and to those that they started; returns their ids."""
    found = below([pid], processes())
    _kill(found)
    return found


def kill_rest(seconds: float = 2.0) -> list[int]:
    """SIGKILL to all that this process has started, until nothing of it is left: what dies hands its own children on to
    whoever adopts orphans (raydub.bound.adopt_orphans). Returns their ids."""
    return _kill_all(lambda table: below([os.getpid()], table), seconds)


def kill_session(session: int, seconds: float = 5.0) -> list[int]:
    """SIGKILL to every process of a session but this one, and to what they started, wherever it was moved since; waits
    for the end of them. Returns their ids. Call it before the session's leader is waited for: afterwards its id may be
    somebody else's."""

    def chosen(table: dict[int, Entry]) -> set[int]:
        members = [pid for pid, entry in table.items() if entry.session == session]
        return {*members, *below(members, table)} - {os.getpid()}

    return _kill_all(chosen, seconds)


def _kill_all(chosen: Callable[[dict[int, Entry]], Iterable[int]], seconds: float) -> list[int]:
    """SIGKILL to what is chosen, again and again until nothing of it lives; returns their ids."""
    killed: list[int] = []
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        table = processes()
        # The remains of a process stay until they are asked for.
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
