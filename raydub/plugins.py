"""Engines by name: entry points of a group, raydub's own and those of any package that is installed."""

from __future__ import annotations

import difflib
import importlib.util
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from raydub.errors import Code, DependencyError, RaydubError, UsageError

OWN = "raydub"


@dataclass(frozen=True)
class Plugins:
    """One group of entry points. what: such as "speech engine", in messages; field: of a manifest, that names one."""

    group: str
    what: str
    field: str

    def points(self) -> dict[str, list[EntryPoint]]:
        """By name; what raydub itself brings cannot be replaced."""
        found: dict[str, list[EntryPoint]] = defaultdict(list)
        for point in entry_points(group=self.group):
            if point not in found[point.name]:
                found[point.name].append(point)
        return {name: [point for point in points if is_own(point)][:1] or points for name, points in found.items()}

    def point(self, name: str, others: Iterable[str] = ()) -> EntryPoint:
        """The entry point of a name. others: names that are no entry points, for the hint. Raises UsageError
        FIELD_VALUE for a name that is unknown, DependencyError DEPENDENCY_MISSING where two packages claim it."""
        points = self.points()
        if name not in points:
            hint = _way_out(name, [*others, *points])
            raise UsageError(Code.FIELD_VALUE, f"no {self.what} is called {name[:80]!r}", field=self.field, hint=hint)
        if len(points[name]) > 1:
            packages = ", ".join(sorted(distribution(point) or "?" for point in points[name]))
            raise DependencyError(
                Code.DEPENDENCY_MISSING,
                f"{len(points[name])} packages bring a {self.what} of the name {name!r}: {packages}",
                hint="uninstall all but one of them",
            )
        return points[name][0]

    def check(self, point: EntryPoint) -> None:
        """Is the entry point's package there? Imports nothing. Raises DependencyError DEPENDENCY_MISSING."""
        package = point.module.partition(".")[0]
        if not is_installed(package):
            raise self.broken(point, f"there is no module {package!r}")

    def make(self, point: EntryPoint, *arguments: Any) -> Any:
        """What the entry point makes of the arguments. Raises DependencyError DEPENDENCY_MISSING where it cannot be
        imported or raises; RaydubErrors pass."""
        try:
            return point.load()(*arguments)
        except RaydubError:
            raise
        except (Exception, SystemExit) as error:  # whatever a stranger's module does when it is imported
            raise self.broken(point, f"{type(error).__name__}: {error}") from error

    def broken(self, point: EntryPoint, reason: str) -> DependencyError:
        """The error for an entry point that cannot be used."""
        package = distribution(point) or "an unknown package"
        return DependencyError(
            Code.DEPENDENCY_MISSING,
            f"the {self.what} {point.name!r} of {package} (entry point {point.value}) cannot be used: {reason[:300]}",
            hint=f"install {package} anew, or ask its author",
        )


SPEECH_ENGINES = Plugins("raydub.tts", "speech engine", "tts")
LIP_ENGINES = Plugins("raydub.engines", "lip engine", "engine")


def is_own(point: EntryPoint) -> bool:
    """Does raydub itself bring this?"""
    return distribution(point) == OWN


def distribution(point: EntryPoint) -> str:
    """The name of the distribution that brings an entry point, "" where it has none."""
    return point.dist.name.lower() if point.dist is not None else ""


def release(point: EntryPoint) -> str:
    """Which release would be used: "name version" of the distribution."""
    return f"{distribution(point)} {point.dist.version if point.dist is not None else '?'}"


def is_installed(package: str) -> bool:
    """Can a package be found, by the name under which it is imported?"""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a package that is half there
        return False


def _way_out(name: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(name.strip().casefold(), words, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(words)}"
