"""Processes that end when the process that started them ends, for whatever reason.

On Linux the kernel kills a bound process when the thread that started it ends (prctl(2), PR_SET_PDEATHSIG = 1), so that
thread has to outlive it. On other systems the process notices that its pipes are closed.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from contextlib import suppress

# Runs in the new process before it executes the program. Exits if the parent ended before prctl was called.
# subprocess's preexec_fn would save these 20 ms, but runs Python between fork and exec, which can hang in a process
# with threads.
_PRELUDE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def die_with_parent() -> None:
    """Kill this process when its parent ends, if the kernel supports it. The caller must check whether the parent has
    ended already (see end_with_parent)."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """Make this process the parent of its orphaned descendants, if the kernel supports it (prctl(2),
    PR_SET_CHILD_SUBREAPER = 36). Needed for the programs that a speech engine runs, and their children."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Kill this process when its parent, whose pid is `parent`, ends; exit now if it has ended already."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def bound(command: list[str]) -> list[str]:
    """The command, changed so that its process is killed when this one ends, if the kernel supports it."""
    if not sys.platform.startswith("linux") or not sys.executable:
        return command
    program = shutil.which(command[0]) or command[0]
    return [sys.executable, "-I", "-S", "-c", _PRELUDE, str(os.getpid()), program, *command[1:]]


def kill_group(group: int) -> None:
    """Kill a process group, if it still exists."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
