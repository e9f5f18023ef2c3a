"""Engines by name: entry points of a group, from raydub and from other installed packages."""

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
    """One group of entry points. what: its name in messages, such as "speech engine"; field: the manifest field that
    selects one."""

    group: str
    what: str
    field: str

    def points(self) -> dict[str, list[EntryPoint]]:
        """Entry points by name. Those of raydub itself cannot be replaced."""
        found: dict[str, list[EntryPoint]] = defaultdict(list)
        for point in entry_points(group=self.group):
            if point not in found[point.name]:
                found[point.name].append(point)
        return {name: [point for point in points if is_own(point)][:1] or points for name, points in found.items()}

    def point(self, name: str, others: Iterable[str] = ()) -> EntryPoint:
        """The entry point of a name. others: further valid names, for the hint. Raises UsageError FIELD_VALUE for an
        unknown name, DependencyError DEPENDENCY_MISSING if two packages define it."""
        points = self.points()
        if name not in points:
            hint = _way_out(name, [*others, *points])
            raise UsageError(Code.FIELD_VALUE, f"there is no {self.what} {name[:80]!r}", field=self.field, hint=hint)
        if len(points[name]) > 1:
            packages = ", ".join(sorted(distribution(point) or "?" for point in points[name]))
            raise DependencyError(
                Code.DEPENDENCY_MISSING,
                f"{len(points[name])} packages define the {self.what} {name!r}: {packages}",
                hint="uninstall all but one of them",
            )
        return points[name][0]

    def check(self, point: EntryPoint) -> None:
        """Check that the entry point's package is installed, without importing it. Raises DependencyError
        DEPENDENCY_MISSING."""
        package = point.module.partition(".")[0]
        if not is_installed(package):
            raise self.broken(point, f"there is no module {package!r}")

    def make(self, point: EntryPoint, *arguments: Any) -> Any:
        """Load the entry point and call it with the arguments. Raises DependencyError DEPENDENCY_MISSING if that fails;
        RaydubErrors pass through."""
        try:
            return point.load()(*arguments)
        except RaydubError:
            raise
        except (Exception, SystemExit) as error:  # other packages' modules may raise anything when imported
            raise self.broken(point, f"{type(error).__name__}: {error}") from error

    def broken(self, point: EntryPoint, reason: str) -> DependencyError:
        """The error for an entry point that cannot be used."""
        package = distribution(point) or "an unknown package"
        return DependencyError(
            Code.DEPENDENCY_MISSING,
            f"the {self.what} {point.name!r} of {package} (entry point {point.value}) cannot be used: {reason[:300]}",
            hint=f"reinstall {package}, or report it to its author",
        )


SPEECH_ENGINES = Plugins("raydub.tts", "speech engine", "tts")
LIP_ENGINES = Plugins("raydub.engines", "lip engine", "engine")


def is_own(point: EntryPoint) -> bool:
    """Whether raydub itself defines this entry point."""
    return distribution(point) == OWN


def distribution(point: EntryPoint) -> str:
    """The name of the distribution that defines an entry point, "" if there is none."""
    return point.dist.name.lower() if point.dist is not None else ""


def release(point: EntryPoint) -> str:
    """ "name version" of the distribution."""
    return f"{distribution(point)} {point.dist.version if point.dist is not None else '?'}"


def is_installed(package: str) -> bool:
    """Whether a package, by its import name, can be found."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a partially installed package
        return False


def _way_out(name: str, known: Iterable[str]) -> str:
    words = sorted(known)
    near = difflib.get_close_matches(name.strip().casefold(), words, n=1)
    return (f"did you mean {near[0]!r}? " if near else "") + f"one of {', '.join(words)}"
