"""Engines by name: entry points of the group "tts", raydub's own and those of any package that is installed."""

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
"""Packages that our own engines need, as they are imported."""
_DISTRIBUTIONS = {
    "espeak": ("espeakng-loader",),
    "piper": ("piper-tts", "onnxruntime"),
    "kokoro": ("kokoro-onnx", "espeakng-loader", "onnxruntime"),
}
"""What decides how they sound, as it is installed."""
_METHODS = ("voices", "named", "identity", "synthesise")


def engine_names() -> tuple[str, ...]:
    """Names of all engines for which there is an entry point, whether or not what they need is installed."""
    return tuple(sorted(SPEECH_ENGINES.points()))


def check_engine(name: str) -> None:
    """Can this engine be had? Looks for packages only and imports none of them, so it is for admission. Raises
    UsageError FIELD_VALUE for a name that is unknown; DependencyError DEPENDENCY_MISSING for an engine whose packages
    are not installed, of which two packages claim the name, or (command) whose command line is not set."""
    point = SPEECH_ENGINES.point(name)
    if not is_own(point):
        SPEECH_ENGINES.check(point)
        return
    for package in _NEEDS.get(name, ()):
        if not is_installed(package):
            raise missing_package(name, package)
    if name == "command" and not os.environ.get(COMMAND_VARIABLE, "").strip():
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            "the speech engine command needs a command line, and none is set",
            hint=f"{COMMAND_VARIABLE}='my-tts --text {{text_file}} --out {{out_wav}} --lang {{language}}'",
        )


def make_engine(name: str) -> Engine:
    """The engine itself, in this process; tts.engines.host.HostedEngine is the one to use. Raises what check_engine
    raises, and DependencyError DEPENDENCY_MISSING for an entry point that cannot be imported, raises, or gives
    something else than an engine; RaydubErrors of the engine pass."""
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
    """Which release of an engine would speak: versions of the packages that bring it and that it needs, or the command
    line. Imports none of them; what Engine.identity says of a voice is finer. Raises what check_engine raises."""
    check_engine(name)
    point = SPEECH_ENGINES.point(name)
    if not is_own(point):
        return plugins.release(point)
    said = [f"{package} {_version(package)}" for package in _DISTRIBUTIONS.get(name, ())]
    return ", ".join(said) if name != "command" else f"command {os.environ[COMMAND_VARIABLE].strip()}"


def missing_package(name: str, package: str) -> DependencyError:
    """The error for an engine of ours without its package."""
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the speech engine {name} is not installed (no package {package})",
        hint=f"pip install 'raydub[{name}]'",
    )


def _check_shape(point: EntryPoint, engine: object) -> None:
    absent = [method for method in _METHODS if not callable(getattr(engine, method, None))]
    if not isinstance(getattr(engine, "name", None), str):
        absent.append("name")
    speed = getattr(engine, "max_speed", None)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 1.0 <= speed <= 10.0:
        absent.append("max_speed (from 1.0 on)")
    if absent:
        raise SPEECH_ENGINES.broken(point, f"what it names is no engine: it lacks {', '.join(absent)}")


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # onnxruntime comes under several names, one for each kind of device
        return "?"
