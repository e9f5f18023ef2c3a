"""Log lines on stderr, the same from all processes of a run, as text or as JSON. Each names the run, job, chunk and
stage that it belongs to, as far as they are known (see doing())."""

from __future__ import annotations

import io
import json
import logging
import os
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

from raydub.errors import Code, RaydubError, UsageError
from raydub.texts import strict_json

FORMATS = ("text", "json")
VARIABLE = "RAYDUB_LOG_FORMAT"
PLACE = ("run", "job", "chunk", "stage")
"""What doing() may name, in the order of text lines."""

_doing: ContextVar[Mapping[str, Any] | None] = ContextVar("doing", default=None)
_process: Mapping[str, Any] = {}  # of threads without a context of their own: a worker does one step at a time
_format = "text"
# A line that Ray has forwarded from a worker: "(StageWorker pid=7, ip=10.0.0.2) {...}".
_FORWARDED = re.compile(r"\([^{]* pid=[^{]*\) (\{.*\})")
_COLOUR = re.compile(r"\x1b\[[\d;]*m")
# By such a line in its log Ray knows whose the next lines are.
_FOR_RAY = re.compile(r":(actor|task)_name:|:job_id:")


@contextmanager
def doing(**place: Any) -> Iterator[None]:
    """Name what the block works on (see PLACE; also `code`) in its log lines, in addition to what is named already."""
    global _process
    before, token = _process, _doing.set({**_here(), **place})
    _process = _here()
    try:
        yield
    finally:
        _process = before
        _doing.reset(token)


def set_up_logging(verbose: bool, form: str | None = None) -> None:
    """Log warnings on stderr; with verbose, also debug messages of raydub. form: "text" or "json", by default from
    RAYDUB_LOG_FORMAT. With "json" everything that Python code of this process writes to stderr becomes JSON lines.
    Raises UsageError FIELD_VALUE for another form."""
    global _format
    _format = check_format(form or os.environ.get(VARIABLE) or "text")
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(_add_place)
    handler.setFormatter(logging.Formatter(_TEXT) if _format == "text" else _JsonFormatter())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    if verbose:
        logging.getLogger("raydub").setLevel(logging.DEBUG)
    if _format == "json":
        logging.captureWarnings(True)
        if sys.stderr is not None and not isinstance(sys.stderr, JsonLines):
            sys.stderr = JsonLines(sys.stderr)


def log_format() -> str:
    """The form of this process's log lines."""
    return _format


def check_format(form: str) -> str:
    """The name of a form. Raises UsageError FIELD_VALUE."""
    if form not in FORMATS:
        message = f"{form!r} is not a log format"
        raise UsageError(Code.FIELD_VALUE, message, field="log-format", hint=f"use {' or '.join(FORMATS)}")
    return form


def json_line(level: str, logger: str, message: str, when: float | None = None, **more: Any) -> str:
    """One JSON object: time (UTC), level, logger, message, run, job, chunk, stage (null if unknown), host, pid, and
    `more` without its None values."""
    when = time.time() if when is None else when
    stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(when)) + f".{int(when % 1 * 1000):03d}Z"
    here = _here()
    said: dict[str, Any] = {"time": stamp, "level": level, "logger": logger, "message": message}
    said |= {name: here.get(name) for name in PLACE} | {"host": socket.gethostname(), "pid": os.getpid()}
    more = {"code": here.get("code"), **more}
    return strict_json(said | {name: value for name, value in more.items() if value is not None})


def _here() -> Mapping[str, Any]:
    here = _doing.get()
    return _process if here is None else here


def _add_place(record: logging.LogRecord) -> bool:
    """A filter that adds `place`, as text, and the `code` of the error that a record is about."""
    here = _here()
    words = [f"{name}={_word(here[name])}" for name in PLACE if here.get(name) is not None]
    record.place = f" [{' '.join(words)}]" if words else ""
    args = record.args if isinstance(record.args, tuple) else ()
    about = [*args, *(record.exc_info or ())[1:2]]
    record.code = next((str(error.code) for error in about if isinstance(error, RaydubError)), None)
    return True


def _word(value: Any) -> str:
    """A value without spaces, quotes and control characters, or as a JSON string."""
    text = str(value)
    return text if re.fullmatch(r"[\w.:/-]+", text, re.ASCII) else json.dumps(text)


_TEXT = "%(asctime)s %(levelname)s %(name)s%(place)s: %(message)s"


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        trace = self.formatException(record.exc_info) if record.exc_info else None
        code: str | None = getattr(record, "code", None)
        more = {"traceback": trace} | ({"code": code} if code else {})
        return json_line(record.levelname, record.name, record.getMessage(), record.created, **more)


class JsonLines(io.TextIOBase):
    """A stream in which every line is a JSON object: others, such as those of libraries, become messages of the logger
    "stderr"; lines of workers lose Ray's prefix."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = ""
        self._lock = threading.Lock()

    encoding = "utf-8"
    errors = "backslashreplace"

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._stream.fileno()

    def write(self, text: str) -> int:
        with self._lock:
            *lines, self._rest = (self._rest + text).split("\n")
            for line in lines:
                if line.strip():
                    self._stream.write(f"{_as_json(line)}\n")
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Write an unfinished line; the stream below stays open."""
        if self._rest:
            self.write("\n")


def _as_json(line: str) -> str:
    if _FOR_RAY.match(line):
        return line
    line = _COLOUR.sub("", line)
    forwarded = _FORWARDED.fullmatch(line)
    text = forwarded[1] if forwarded else line
    if text.startswith("{"):
        try:
            json.loads(text)
            return text
        except ValueError:
            pass
    return json_line("INFO", "stderr", line)
