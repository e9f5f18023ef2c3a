"""The parent's side of an engine's child process: requests and answers, each under a time limit.

Any failure of an answer (the child crashes, hangs, or writes something invalid) ends the child, because the following
bytes could not be interpreted.
"""

from __future__ import annotations

import atexit
import contextlib
import fcntl
import os
import tempfile
import threading
import weakref
from typing import Any

from raydub import errors
from raydub.child import ChildProcess, boot, how_it_ended
from raydub.errors import Code, RaydubError, StageError
from raydub.tree import kill_below

BOOT = boot("raydub.tts.engines.child")
_START = 180.0  # seconds until the first message of an engine: imports of large packages from a slow disk
_TAIL = 800
_NOISE = 1 << 20  # bytes on standard error that are kept between two requests
_REAP = 5.0
_children: weakref.WeakSet[Child] = weakref.WeakSet()


class _Told(Exception):
    """The engine raised an exception in the child, which is still usable."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        state = {key: value for key, value in answer.items() if key not in ("error", "code", "message")}
        kind = getattr(errors, str(answer["error"]), StageError)
        known = isinstance(kind, type) and issubclass(kind, RaydubError)
        self.error: RaydubError = (kind if known else StageError)(Code(answer["code"]), str(answer["message"]), **state)


class Child:
    """The child process. Not for use from several threads at a time.

    Starting one raises StageError TTS_FAILED (it crashes or hangs), and what the engine raises when it is made."""

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._owner: int | None = os.getpid()
        self._process: ChildProcess | None = None
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - closed by end()
        fcntl.fcntl(self._noise, fcntl.F_SETFL, fcntl.fcntl(self._noise, fcntl.F_GETFL) | os.O_APPEND)
        _children.add(self)
        try:
            noise = self._noise.fileno()
            try:
                self._process = ChildProcess(BOOT, {"engine": engine}, own_session=True, noise=noise, tended=True)
            except OSError as error:
                raise self._failed(f"could not be started: {error}") from error
            self.hello, _ = self._talk(self._process, None, _START, "while it started", 0)
        except _Told as told:
            self.end()
            raise told.error from None
        except BaseException:
            self.end()
            raise

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Does the process live?"""
        return self._process is not None and self._process.lives()

    def ask(self, request: dict[str, Any], limit: float, most: int = 0) -> tuple[dict[str, Any], bytes]:
        """The answer, and the samples' bytes. limit: seconds; most: samples that an answer may have.

        RaydubErrors of the engine are raised again, and the child continues; StageError TTS_FAILED for a crash, a hang,
        and an invalid answer, which end it."""
        assert self._process is not None
        try:
            answer, body = self._talk(self._process, request, limit, f"within {limit:.0f} s", most)
        except _Told as told:
            raise told.error from None
        # Any exception, such as an interrupt, leaves an answer unread.
        except BaseException:
            self.end()
            raise
        self._quieten()
        return answer, body

    def end(self) -> None:
        """Kill it and everything that it has started. It may have ended already."""
        # A fork of the parent has a copy of this object, but not its own child.
        mine, self._owner = self._owner == os.getpid(), None
        if self._process is not None and mine:
            kill_below(self._process.pid)  # its programs have process groups of their own
            self._process.end(0.0)
        self._noise.close()

    def _talk(
        self, process: ChildProcess, request: dict[str, Any] | None, limit: float, when: str, most: int
    ) -> tuple[dict[str, Any], bytes]:
        """Send the request (None: wait for the first message) and receive the answer. At the limit the process is
        killed, which ends the wait."""
        late = threading.Event()

        def overdue() -> None:
            late.set()
            kill_below(process.pid)
            process.kill()

        timer = threading.Timer(limit, overdue)
        timer.daemon = True
        timer.start()
        try:
            if request is not None:
                process.send(request)
            answer = process.receive(None)
            if not isinstance(answer, dict):
                raise self._failed("answered with an invalid message")
            if "error" in answer:
                raise _Told(answer)
            count = int(answer.get("samples", 0))
            if not 0 <= count <= most:
                raise self._failed(f"answered with {count} samples, but at most {most} are plausible")
            body = process.receive_bytes(4 * count) if count else b""
            if len(body) != 4 * count:
                raise self._failed("answered with an invalid message")
            return answer, body
        except ValueError as error:
            raise self._failed("answered with an invalid message") from error
        except (EOFError, OSError):
            how = f"gave no answer {when} and was killed" if late.is_set() else None
            raise self._failed(how or self._end_of(process)) from None
        finally:
            timer.cancel()

    def _end_of(self, process: ChildProcess) -> str:
        code = process.wait(_REAP)
        if code is None:
            return "closed the connection"
        return f"crashed ({f'signal {-code}, {how_it_ended(code)}' if code < 0 else f'exit code {code}'})"

    def _failed(self, how: str) -> StageError:
        with contextlib.suppress(OSError, ValueError):
            self._noise.seek(max(0, self._noise.seek(0, os.SEEK_END) - _TAIL))
            said = self._noise.read().decode("utf-8", "replace").strip()
            if said:
                return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint=f"its last output: {said}")
        return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint="try another engine or voice")

    def _quieten(self) -> None:
        if os.fstat(self._noise.fileno()).st_size > _NOISE:
            self._noise.truncate(0)


@atexit.register
def _end_all() -> None:
    """Before the threads end that wait for the children."""
    for child in list(_children):
        child.end()
