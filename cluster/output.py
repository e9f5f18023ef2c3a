"""How commands speak: plain text for people, one JSON document for machines, errors on stderr with code and way out."""

from __future__ import annotations

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
from raydub.texts import has_utf8, strict_json

P = ParamSpec("P")
_STEERING = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

JSON_HELP = "One JSON document on stdout instead of text."


def say(text: str = "") -> None:
    """A line for the user on stdout."""
    typer.echo(harmless(text))


def warn(text: str) -> None:
    """A line for the user on stderr."""
    typer.echo(harmless(text), err=True)


def harmless(text: str) -> str:
    """Text that cannot steer a terminal: control characters (line ends and tabs stay), characters that turn the order
    of text around, and lone surrogates become their escapes. Names of files can hold any of them."""
    return "".join(
        repr(character)[1:-1] if unicodedata.category(character) in _STEERING and character not in "\n\t" else character
        for character in text
    )


def say_json(value: Mapping[str, Any]) -> None:
    """The one JSON document of a command with --json."""
    typer.echo(strict_json(value, indent=2))


def show_error(error: RaydubError) -> None:
    """One error as `[E_CODE] job 'x', line 3, field 'video': message (hint)` on stderr."""
    warn(str(error))


def command(function: Callable[P, int | None]) -> Callable[P, None]:
    """Wrap a command: its return value is the exit code; a RaydubError is shown and gives its own; never a traceback.

    With --json (a parameter named as_json) the error is the JSON document. RAYDUB_DEBUG=1 shows tracebacks of bugs.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            _check_arguments(kwargs)
            code = function(*args, **kwargs) or 0
        except RaydubError as error:
            if kwargs.get("as_json"):
                say_json({"error": error.to_dict()})
            show_error(error)
            code = error.exit_code
        except KeyboardInterrupt:
            show_error(InterruptedRun(Code.INTERRUPTED, "stopped"))
            code = EXIT_INTERRUPTED
        except BrokenPipeError:
            # The reader of our output has gone (`raydub ... | head`): nothing is left to be said to it.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except Exception as error:
            if os.environ.get("RAYDUB_DEBUG"):
                raise
            logging.getLogger(__name__).debug("bug", exc_info=True)
            text = f"{type(error).__name__}: {error}"
            show_error(StageError(Code.INTERNAL, text, hint="a bug in raydub: run with RAYDUB_DEBUG=1 and report it"))
            code = StageError.exit_code
        raise typer.Exit(code)

    return run


def _check_arguments(given: Mapping[str, Any]) -> None:
    """Raises UsageError FIELD_VALUE for an argument that is no UTF-8 (a path can be any bytes): neither results nor
    messages nor Ray could hold it."""
    for name, value in given.items():
        for text in value if isinstance(value, (list, tuple)) else (value,):
            if isinstance(text, (str, PurePath)) and not has_utf8(str(text)):
                message = f"the argument {str(text)!r} holds bytes that are no UTF-8"
                hint = "rename the file or folder"
                raise UsageError(Code.FIELD_VALUE, message, field=name.replace("_", "-"), hint=hint)


def set_up_logging(verbose: bool) -> None:
    """Log lines of raydub itself on stderr; with verbose, what happens inside, too."""
    logging.basicConfig(
        format="%(asctime)s %(levelname)s %(name)s: %(message)s", stream=sys.stderr, level=logging.WARNING
    )
    if verbose:
        for name in ("pipeline", "stages", "media", "models", "cluster", "manifests"):
            logging.getLogger(name).setLevel(logging.DEBUG)
