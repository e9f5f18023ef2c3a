"""Find speech engines by name: entry points of the group "tts", of raydub and of other packages."""

from __future__ import annotations

import os
from importlib.metadata import EntryPoint, PackageNotFoundError, version
from typing import TYPE_CHECKING, cast

from raydub import plugins
from raydub.errors import Code, DependencyError
from raydub.plugins import SPEECH_ENGINES, is_installed, is_own

if TYPE_CHECKING:
    from raydub.tts.engines.base import Engine

COMMAND_VARIABLE = "RAYDUB_TTS_COMMAND"
_NEEDS = {
    "espeak": ("espeakng_loader",),
    "piper": ("piper", "onnxruntime"),
    "kokoro": ("kokoro_onnx", "onnxruntime"),
}
"""Modules that raydub's own engines import."""
_DISTRIBUTIONS = {
    "espeak": ("espeakng-loader",),
    "piper": ("piper-tts", "onnxruntime"),
    "kokoro": ("kokoro-onnx", "espeakng-loader", "onnxruntime"),
}
"""Distributions that decide how they sound."""
_METHODS = ("voices", "named", "identity", "synthesise")


def engine_names() -> tuple[str, ...]:
    """Names of all engines with an entry point, whether or not their packages are installed."""
    return tuple(sorted(SPEECH_ENGINES.points()))


def check_engine(name: str) -> None:
    """Check that this engine is available. Finds packages without importing them, for admission. Raises UsageError
    FIELD_VALUE for an unknown name; DependencyError DEPENDENCY_MISSING for an engine whose packages are not installed,
    whose name two packages claim, or (command) without a command line."""
    point = SPEECH_ENGINES.point(name)
    if not is_own(point):
        SPEECH_ENGINES.check(point)
        return
    for package in _NEEDS.get(name, ()):
        if not is_installed(package):
            raise missing_package(name, package)
    if name == "command" and not os.environ.get(COMMAND_VARIABLE, "").strip():
        raise missing_command()


def make_engine(name: str) -> Engine:
    """The engine in this process; use tts.engines.host.HostedEngine instead, except in the child. Raises what
    check_engine raises, and DependencyError DEPENDENCY_MISSING for an entry point that cannot be imported, raises, or
    returns something else than an engine; RaydubErrors of the engine pass."""
    check_engine(name)
    point = SPEECH_ENGINES.point(name)
    try:
        engine = SPEECH_ENGINES.make(point)
    except DependencyError as error:
        absent = error.__cause__.name if isinstance(error.__cause__, ImportError) else None
        if is_own(point) and absent in _NEEDS.get(name, ()):
            raise missing_package(name, absent or name) from error.__cause__
        raise
    _check_shape(point, engine)
    return cast("Engine", engine)


def release(name: str) -> str:
    """The release of an engine: versions of its packages, or the command line. Imports none of them; Engine.identity of
    a voice is more specific. Raises what check_engine raises."""
    check_engine(name)
    point = SPEECH_ENGINES.point(name)
    if not is_own(point):
        return plugins.release(point)
    said = [f"{package} {_version(package)}" for package in _DISTRIBUTIONS.get(name, ())]
    return ", ".join(said) if name != "command" else f"command {os.environ[COMMAND_VARIABLE].strip()}"


def missing_package(name: str, package: str) -> DependencyError:
    """The error for one of raydub's own engines without its package."""
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the speech engine {name} is not installed (no package {package})",
        hint=f"pip install 'raydub[{name}]'",
    )


def missing_command() -> DependencyError:
    """The error for the engine command without a command line."""
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        "the speech engine command needs a command line",
        hint=f"set {COMMAND_VARIABLE}, for example to 'my-tts --text {{text_file}} --out {{out_wav}}'",
    )


def _check_shape(point: EntryPoint, engine: object) -> None:
    absent = [method for method in _METHODS if not callable(getattr(engine, method, None))]
    if not isinstance(getattr(engine, "name", None), str):
        absent.append("name")
    speed = getattr(engine, "max_speed", None)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 1.0 <= speed <= 10.0:
        absent.append("max_speed (1.0 to 10.0)")
    if absent:
        raise SPEECH_ENGINES.broken(point, f"its object is not an engine: it lacks {', '.join(absent)}")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # onnxruntime has several distributions, one for each kind of device
        return "?"
