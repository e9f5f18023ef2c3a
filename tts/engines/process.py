"""One engine's child process, as seen by its parent: requests and answers, each under a limit of time.

Whatever goes wrong with an answer (the child crashes, hangs, or writes something else than it should) ends the child:
after it nobody could say what the next bytes mean.
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
_START = 180.0  # seconds until an engine has said hello: imports of large packages on a cold, slow disk
_TAIL = 800
_NOISE = 1 << 20  # bytes on standard error that are kept between two requests
_REAP = 5.0
_children: weakref.WeakSet[Child] = weakref.WeakSet()


class _Told(Exception):
    """The engine raised something in the child, and the child is as well as before."""

    def __init__(self, answer: dict[str, Any]) -> None:
        super().__init__()
        state = {key: value for key, value in answer.items() if key not in ("error", "code", "message")}
        kind = getattr(errors, str(answer["error"]), StageError)
        known = isinstance(kind, type) and issubclass(kind, RaydubError)
        self.error: RaydubError = (kind if known else StageError)(Code(answer["code"]), str(answer["message"]), **state)


class Child:
    """The process. Not for use from several threads at a time.

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
        """Can it be asked?"""
        return self._process is not None and self._process.lives()

    def ask(self, request: dict[str, Any], limit: float, most: int = 0) -> tuple[dict[str, Any], bytes]:
        """The answer, and the samples' bytes. limit: seconds; most: samples that an answer may have.

        RaydubErrors that the engine raised are raised again as they were, and the child goes on; StageError TTS_FAILED
        for a crash, a hang, and an answer that is none, which end it."""
        assert self._process is not None
        try:
            answer, body = self._talk(self._process, request, limit, f"within {limit:.0f} s", most)
        except _Told as told:
            raise told.error from None
        # An interrupt leaves an answer unread, and so would any mistake of ours.
        except BaseException:
            self.end()
            raise
        self._quieten()
        return answer, body

    def end(self) -> None:
        """Kill it and all that it has started. It may have ended already."""
        # A fork of the parent has a copy of this object, and the child is not its own.
        mine, self._owner = self._owner == os.getpid(), None
        if self._process is not None and mine:
            kill_below(self._process.pid)  # programs that it runs have groups of their own
            self._process.end(0.0)
        self._noise.close()

    def _talk(
        self, process: ChildProcess, request: dict[str, Any] | None, limit: float, when: str, most: int
    ) -> tuple[dict[str, Any], bytes]:
        """Ask, unless it is the first message that is waited for, and hear the answer. At the limit the process is
        killed, which ends whatever is waited for."""
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
                raise self._failed("answered with something that is no answer")
            if "error" in answer:
                raise _Told(answer)
            count = int(answer.get("samples", 0))
            if not 0 <= count <= most:
                raise self._failed(f"answered with {count} samples, and at most {most} make sense")
            body = process.receive_bytes(4 * count) if count else b""
            if len(body) != 4 * count:
                raise self._failed("answered with something that is no answer")
            return answer, body
        except ValueError as error:
            raise self._failed("answered with something that is no answer") from error
        except (EOFError, OSError):
            how = f"gave no answer {when} and was ended" if late.is_set() else None
            raise self._failed(how or self._end_of(process)) from None
        finally:
            timer.cancel()

    def _end_of(self, process: ChildProcess) -> str:
        code = process.wait(_REAP)
        if code is None:
            return "closed its end of the conversation"
        return f"crashed ({f'signal {-code}, {how_it_ended(code)}' if code < 0 else f'exit code {code}'})"

    def _failed(self, how: str) -> StageError:
        with contextlib.suppress(OSError, ValueError):
            self._noise.seek(max(0, self._noise.seek(0, os.SEEK_END) - _TAIL))
            said = self._noise.read().decode("utf-8", "replace").strip()
            if said:
                return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint=f"it last said: {said}")
        return StageError(Code.TTS_FAILED, f"the engine {self._engine} {how}", hint="try another engine or voice")

    def _quieten(self) -> None:
        if os.fstat(self._noise.fileno()).st_size > _NOISE:
            self._noise.truncate(0)


@atexit.register
def _end_all() -> None:
    """While the threads that wait for the children still run."""
    for child in list(_children):
        child.end()
