"""Processes that end with whoever started them, however that one came to its end.

On Linux the kernel kills a bound process when the thread that started it is gone (prctl(2), PR_SET_PDEATHSIG = 1), so
that thread has to outlive it. Elsewhere a process notices by its closed pipes.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import sys
from contextlib import suppress

# Runs in the new process before the program takes its place; leaves at once when the parent has gone before the kernel
# was asked. subprocess's preexec_fn would save these 20 ms, but runs Python between fork and exec, which can hang in a
# process with threads.
_PRELUDE = (
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(1, 9, 0, 0, 0); "
    "os.getppid() == int(sys.argv[1]) or sys.exit(1); os.execvp(sys.argv[2], sys.argv[2:])"
)


def die_with_parent() -> None:
    """Bind this process to the life of its parent, where the kernel can do that. Who calls it has to look whether the
    parent is gone already (end_with_parent)."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)


def adopt_orphans() -> None:
    """What the processes below this one leave behind when they die becomes this one's own child, where the kernel can
    do that (prctl(2), PR_SET_CHILD_SUBREAPER = 36): a program that a speech engine runs, and what it has started."""
    if sys.platform.startswith("linux"):
        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)


def end_with_parent(parent: int) -> None:
    """Bind this process to the life of its parent, whose id is `parent`; ends it if that one is gone already."""
    die_with_parent()
    if os.getppid() != parent:
        os._exit(1)


def bound(command: list[str]) -> list[str]:
    """The command, bound to the life of this process where the kernel can do that."""
    if not sys.platform.startswith("linux") or not sys.executable:
        return command
    program = shutil.which(command[0]) or command[0]
    return [sys.executable, "-I", "-S", "-c", _PRELUDE, str(os.getpid()), program, *command[1:]]


def kill_group(group: int) -> None:
    """Kill a process group, which may be gone already."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(group, signal.SIGKILL)
