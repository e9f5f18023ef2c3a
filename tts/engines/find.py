"""Engines by name: entry points of the group "tts", raydub's own and those of any package that is installed."""

from __future__ import annotations

import difflib
import importlib.util
import os
from collections import defaultdict
from collections.abc import Iterable
from importlib.metadata import EntryPoint, PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, cast

from raydub.errors import Code, DependencyError, RaydubError, UsageError

if TYPE_CHECKING:
    from raydub.tts.engines.base import Engine

GROUP = "raydub.tts"
COMMAND_VARIABLE = "RAYDUB_TTS_COMMAND"
_OWN = "raydub"
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
    return tuple(sorted(_points()))


def check_engine(name: str) -> None:
    """Can this engine be had? Looks for packages only and imports none of them, so it is for admission. Raises
    UsageError FIELD_VALUE for a name that is unknown; DependencyError DEPENDENCY_MISSING for an engine whose packages
    are not installed, of which two packages claim the name, or (command) whose command line is not set."""
    point = _point(name)
    own = is_own(point)
    packages = _NEEDS.get(name, ()) if own else (point.module.partition(".")[0],)
    missing = [package for package in packages if not _installed(package)]
    if missing and own:
        raise missing_package(name, missing[0])
    if missing:
        raise _broken(point, f"there is no module {missing[0]!r}")
    if own and name == "command" and not os.environ.get(COMMAND_VARIABLE, "").strip():
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
    point = _point(name)
    try:
        engine = point.load()()
    except RaydubError:
        raise
    except ImportError as error:
        if is_own(point) and error.name in _NEEDS.get(name, ()):
            raise missing_package(name, error.name or name) from error
        raise _broken(point, f"{type(error).__name__}: {error}") from error
    except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
        raise _broken(point, f"{type(error).__name__}: {error}") from error
    _check_shape(point, engine)
    return cast("Engine", engine)


def release(name: str) -> str:
    """Which release of an engine would speak: versions of the packages that bring it and that it needs, or the command
    line. Imports none of them; what Engine.identity says of a voice is finer. Raises what check_engine raises."""
    check_engine(name)
    point = _point(name)
    if not is_own(point):
        return f"{_distribution(point)} {point.dist.version if point.dist is not None else '?'}"
    said = [f"{package} {_version(package)}" for package in _DISTRIBUTIONS.get(name, ())]
    return ", ".join(said) if name != "command" else f"command {os.environ[COMMAND_VARIABLE].strip()}"


def missing_package(name: str, package: str) -> DependencyError:
    """The error for an engine of ours without its package."""
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the speech engine {name} is not installed (no package {package})",
        hint=f"pip install 'raydub[{name}]'",
    )


def is_own(point: EntryPoint) -> bool:
    """Is this one of raydub's engines?"""
    return _distribution(point) == _OWN


def _points() -> dict[str, list[EntryPoint]]:
    """By name; what raydub itself brings cannot be replaced."""
    found: dict[str, list[EntryPoint]] = defaultdict(list)
    for point in entry_points(group=GROUP):
        if point not in found[point.name]:
            found[point.name].append(point)
    return {name: [point for point in points if is_own(point)][:1] or points for name, points in found.items()}


def _point(name: str) -> EntryPoint:
    points = _points()
    if name not in points:
        raise UsageError(
            Code.FIELD_VALUE, f"no speech engine is called {name[:80]!r}", field="tts", hint=_way_out(name, points)
        )
    if len(points[name]) > 1:
        packages = ", ".join(sorted(_distribution(point) or "?" for point in points[name]))
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            f"{len(points[name])} packages bring a speech engine of the name {name!r}: {packages}",
            hint="uninstall all but one of them",
        )
    return points[name][0]


def _way_out(name: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(name.strip().casefold(), words, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(words)}"


def _check_shape(point: EntryPoint, engine: object) -> None:
    absent = [method for method in _METHODS if not callable(getattr(engine, method, None))]
    if not isinstance(getattr(engine, "name", None), str):
        absent.append("name")
    speed = getattr(engine, "max_speed", None)
    if isinstance(speed, bool) or not isinstance(speed, int | float) or not 1.0 <= speed <= 10.0:
        absent.append("max_speed (from 1.0 on)")
    if absent:
        raise _broken(point, f"what it names is no engine: it lacks {', '.join(absent)}")


def _broken(point: EntryPoint, reason: str) -> DependencyError:
    package = _distribution(point) or "an unknown package"
    return DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the speech engine {point.name!r} of {package} (entry point {point.value}) cannot be used: {reason[:300]}",
        hint=f"install {package} anew, or ask its author",
    )


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:  # onnxruntime comes under several names, one for each kind of device
        return "?"


def _distribution(point: EntryPoint) -> str:
    return point.dist.name.lower() if point.dist is not None else ""


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a package that is half there
        return False
