"""Output of commands: plain text or one JSON document on stdout, errors with code and hint on stderr."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
import unicodedata
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import PurePath
from typing import Any, ParamSpec

import typer

from raydub.errors import EXIT_INTERRUPTED, Code, InterruptedRun, RaydubError, StageError, UsageError
from raydub.logs import doing, json_line, log_format
from raydub.texts import has_utf8, strict_json

P = ParamSpec("P")
_MEMORY_SIGNS = (
    "cannot allocate memory",
    "failed to map segment",
    "bad_alloc",
    "can't start new thread",
    "out of memory",
)
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_reader_gone = False

JSON_HELP = "One JSON document on stdout instead of text."


class StdoutLost(Exception):
    """stdout could not be written; the message says why."""


def say(text: str = "") -> None:
    """Print a line on stdout. Raises StdoutLost, BrokenPipeError."""
    _echo(harmless(text))


def warn(text: str) -> None:
    """Print a line on stderr; with --log-format json, as a log line, whose level is that of the
    code in front. Errors are ignored."""
    text = harmless(text)
    level = "ERROR" if text.startswith("[E_") else "WARNING" if text.startswith("[W_") else "INFO"
    with contextlib.suppress(OSError):
        typer.echo(json_line(level, "raydub", text) if log_format() == "json" else text, err=True)


def _echo(text: str) -> None:
    try:
        typer.echo(text)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise StdoutLost(error.strerror or str(error)) from error


def harmless(text: str) -> str:
    """Text that is safe for a terminal: control characters (except line ends and tabs), bidirectional controls and lone
    surrogates are escaped. File names may contain any of them."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _STEERING and character not in "\n\t" else character
        for character in text
    )


def say_json(value: Mapping[str, Any]) -> None:
    """Print the JSON document of a command with --json."""
    _echo(strict_json(value, indent=2))


def say_line(line: str) -> None:
    """Print a line for a program on stdout, at once. Who does not read any more is not told more; the work goes on."""
    global _reader_gone
    if not _reader_gone:
        try:
            typer.echo(line)
        except OSError:
            _reader_gone = True


def show_error(error: RaydubError) -> None:
    """Print an error as `[E_CODE] job 'x', line 3, field 'video': message (hint)` on stderr."""
    with doing(job=error.job, code=str(error.code)) if error.job else doing(code=str(error.code)):
        warn(str(error))


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Wrap a command: its return value is the exit code; errors are printed without traceback and set their exit code.

    With --json (a parameter named as_json) the JSON document contains the error. RAYDUB_DEBUG=1 shows tracebacks.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            _check_arguments(kwargs)
            code = function(*args, **kwargs) or 0
        except RaydubError as error:
            if kwargs.get("as_json"):
                say_json({"error": error.to_dict()})
            _end_lines(kwargs, error)
            show_error(error)
            code = error.exit_code
        except KeyboardInterrupt:
            stopped = InterruptedRun(Code.INTERRUPTED, "stopped")
            if kwargs.get("as_json"):
                with contextlib.suppress(StdoutLost, BrokenPipeError):
                    say_json({"error": stopped.to_dict()})
            _end_lines(kwargs, stopped)
            show_error(stopped)
            code = EXIT_INTERRUPTED
        except (BrokenPipeError, StdoutLost) as error:
            code = lost(error)
        except Exception as error:
            if os.environ.get("RAYDUB_DEBUG"):
                raise
            logging.getLogger(__name__).debug("bug", exc_info=True)
            known = unforeseen(error)
            if kwargs.get("as_json"):
                with contextlib.suppress(StdoutLost):
                    say_json({"error": known.to_dict()})
            _end_lines(kwargs, known)
            show_error(known)
            code = known.exit_code
        raise typer.Exit(code)

    return run


def _end_lines(given: Mapping[str, Any], error: RaydubError) -> None:
    """With --json-progress: the last line of a command that could not work."""
    if given.get("json_progress"):
        say_line(strict_json({"event": "end", "error": error.to_dict(), "exit_code": error.exit_code}))


def _check_arguments(given: Mapping[str, Any]) -> None:
    """Raises UsageError FIELD_VALUE for an argument that is not UTF-8 (a path may be any bytes): results, messages and
    Ray require it."""
    for name, value in given.items():
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, (str, PurePath)) and not has_utf8(str(text)):
                message = f"the argument {str(text)!r} contains bytes that are not UTF-8"
                hint = "rename the file or folder"
                raise UsageError(Code.FIELD_VALUE, message, field=name.replace("_", "-"), hint=hint)


def lost(error: Exception) -> int:
    """Report that stdout cannot be written, and discard further output; returns the exit code. A closed pipe (`raydub
    ... | head`) is not reported."""
    with contextlib.suppress(OSError, ValueError):
        # Discard what is buffered for stdout, or flushing it at exit would fail again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    if not isinstance(error, BrokenPipeError):
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        hint = "the command's files were written"
        show_error(StageError(Code.STORAGE, f"cannot write to stdout: {why}", hint=hint))
    return StageError.exit_code


def unforeseen(error: Exception) -> RaydubError:
    """Convert an uncaught exception: a known problem of the machine, or a bug."""
    text = f"{type(error).__name__}: {error}"
    if _no_memory(error):
        hint = "free some memory, or raise its limit (`ulimit -v`, the container's)"
        return StageError(Code.OUT_OF_MEMORY, f"out of memory: {text}", hint=hint)
    if isinstance(error, OSError) and not _has_folder():
        hint = "change to an existing folder (cd) and run the command again"
        return UsageError(Code.STORAGE, "the current folder has been deleted", hint=hint)
    if isinstance(error, OSError) and error.errno is not None:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StageError(Code.DISK_FULL, f"no space left: {text}", hint="free some space and run again")
        return StageError(Code.STORAGE, text, hint="check that the file exists and can be read and written")
    return StageError(Code.INTERNAL, text, hint="this is a bug in raydub: run with RAYDUB_DEBUG=1 and report it")


def _no_memory(error: BaseException | None) -> bool:
    """Whether the error was caused by missing memory, also while loading a library."""
    while error is not None:
        words = str(error).lower()
        if isinstance(error, MemoryError) or getattr(error, "errno", None) == errno.ENOMEM:
            return True
        if isinstance(error, (ImportError, RuntimeError, OSError)) and any(sign in words for sign in _MEMORY_SIGNS):
            return True
        error = error.__cause__ or error.__context__
    return False


def _has_folder() -> bool:
    try:
        os.getcwd()
    except OSError:
        return False
    return True
