"""Stop a run on Ctrl-C, SIGTERM or a closed terminal, in order and soon, even if the main thread is blocked.

The first signal raises Stopped in the main thread, which cancels in-flight work and writes the results. Python handlers
do not run while Ray blocks in native code, so a thread receives each signal through the interpreter's wakeup
descriptor. If the main thread has not finished after GRACE seconds, the thread calls last_words (which writes the
results) and ends the process with everything that it started. A second signal ends it at once.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from raydub.tree import kill_rest

GRACE = 7.0
"""Seconds from the first signal to the forced end. Docker kills after 10, Kubernetes after 30."""
_AGAIN = 0.05
_ECHO = 0.3
"""Seconds in which a second signal is ignored: some senders signal a process and then its group."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_MAY_BE_IGNORED = (signal.SIGHUP, signal.SIGQUIT)
"""A process started with these ignored (nohup) continues without its terminal."""


class Stopped(KeyboardInterrupt):
    """A signal asked the run to stop."""


class StopWatch:
    """`with StopWatch(last_words) as stop:` around a run.

    last_words: called once by the thread if the main thread does not finish in time; must not depend on it. signum: the
    first signal received, None before. leave: ends the process.
    """

    def __init__(
        self, last_words: Callable[[], None], grace: float = GRACE, leave: Callable[[int], Any] | None = None
    ) -> None:
        self.signum: int | None = None
        self._last_words = last_words
        self._grace = grace
        self._leave = leave or end_process
        self._before: dict[int, Any] = {}
        self._raised = False
        self._repeats = 0  # signals sent by ourselves that the thread will receive
        self._old_hook: Any = None
        self._read, self._write = -1, -1
        self._old_wakeup = -1

    @property
    def asked(self) -> bool:
        """Whether a signal was received."""
        return self.signum is not None

    @property
    def exit_code(self) -> int:
        """128 + the signal's number: 129 after SIGHUP, 130 after SIGINT, 131 after SIGQUIT, 143 after SIGTERM."""
        return 128 + (self.signum or 0)

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self  # signal handlers can be set in the main thread only
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        handlers = {signum: signal.getsignal(signum) for signum in SIGNALS}
        ignored = {signum for signum in _MAY_BE_IGNORED if handlers[signum] is signal.SIG_IGN}
        self._before = {signum: handler for signum, handler in handlers.items() if signum not in ignored}
        self._old_wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self.arm()
        self._old_hook, sys.unraisablehook = sys.unraisablehook, self._lost
        threading.Thread(target=self._listen, name="raydub-stop", daemon=True).start()
        return self

    def arm(self) -> None:
        """Set the signal handlers (again): ray.init() replaces them."""
        if self._before:
            for signum in self._before:
                signal.signal(signum, self._raise)

    def __exit__(self, *_: object) -> None:
        """Restore the signal handlers. After a stop the thread keeps running, to end the process if it hangs."""
        if not self._before:
            return
        sys.unraisablehook = self._old_hook
        signal.set_wakeup_fd(self._old_wakeup)
        for signum, handler in self._before.items():
            signal.signal(signum, signal.SIG_DFL if handler is None else handler)
        self._before = {}
        os.close(self._write)  # without a stop this ends the thread

    def _raise(self, signum: int, frame: FrameType | None) -> None:
        # The thread may have recorded the signal before this handler ran; raise the exception once.
        self.signum = self.signum or signum
        if not self._raised:
            self._raised = True
            raise Stopped(signal.Signals(signum).name)

    def _lost(self, what: Any) -> None:
        """The exception was raised in a finaliser or a callback, where Python drops it: send the signal again a little
        later."""
        if not isinstance(what.exc_value, Stopped):
            self._old_hook(what)
            return
        self._raised = False
        self._repeats += 1
        main = threading.main_thread().ident
        # A real signal: it also wakes a main thread that sleeps in a system call.
        again = threading.Timer(_AGAIN, signal.pthread_kill, (main, self.signum or signal.SIGINT))
        again.daemon = True
        again.start()

    def _listen(self) -> None:
        came: float | None = None
        pipe = self._read
        while True:
            left = None if came is None else max(0.0, came + self._grace - time.monotonic())
            ready, _, _ = select.select([pipe] if pipe >= 0 else [], [], [], left)
            if not ready:
                break
            data = os.read(pipe, 64)
            if not data:
                os.close(pipe)
                pipe = -1
                if came is None:
                    return
            if not any(signum in data for signum in SIGNALS):
                continue
            if came is not None and self._repeats > 0:
                self._repeats -= 1
            elif came is None:
                came, self.signum = time.monotonic(), self.signum or next(s for s in data if s in SIGNALS)
            elif time.monotonic() - came > _ECHO:
                self._leave(self.exit_code)
                return
        with contextlib.suppress(Exception):
            self._last_words()
        self._leave(self.exit_code)


def leave_in_order() -> None:
    """Make SIGTERM, SIGHUP and SIGQUIT end this process by an exception (SystemExit, 128 + the signal's number), so
    that temporary files and children are removed. A StopWatch replaces these handlers while active."""

    def leave(signum: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + signum)

    for signum in SIGNALS:
        if signal.getsignal(signum) is signal.SIG_DFL:
            signal.signal(signum, leave)


def end_process(code: int) -> None:
    """End this process now, and everything that it started."""
    kill_rest()
    os._exit(code)
