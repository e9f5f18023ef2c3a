"""Lip engines of other packages, found by their entry points; whatever is wrong with one becomes an error that names
it."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from raydub.errors import Code, RaydubError, StageError
from raydub.manifests.options import LIP_ENGINES_BUILT_IN
from raydub.media.frames import Frame
from raydub.plugins import LIP_ENGINES, distribution, release
from raydub.stages.batching import is_out_of_memory
from raydub.stages.engine import Arrays, DrawItem, EngineRequest, Patch, SourceSampler, Speech, WeightsRecord
from raydub.stages.types import FaceItems

_METHODS = ("weights", "load", "prepare", "hears", "infer", "draw")


def release_of(name: str) -> str:
    """Name and version of the distribution of another package's engine, without importing it. Raises UsageError
    FIELD_VALUE for an unknown name, DependencyError DEPENDENCY_MISSING if its package is absent or two packages claim
    the name."""
    point = LIP_ENGINES.point(name, LIP_ENGINES_BUILT_IN)
    LIP_ENGINES.check(point)
    return release(point)


class InstalledEngine:
    """LipEngine (see stages.engine) of another package. release: what decides its frames beside options and weights.

    Raises what release_of() raises, and DependencyError DEPENDENCY_MISSING for an entry point that cannot be imported
    or makes no engine. Every method raises StageError INTERNAL if the engine's own raises an unexpected exception or
    returns an invalid value; RaydubErrors, and errors of memory and of the file system, pass."""

    def __init__(self, request: EngineRequest) -> None:
        self.name = request.name
        self.release = release_of(request.name)
        point = LIP_ENGINES.point(request.name)
        self._package = distribution(point)
        self._engine = LIP_ENGINES.make(point, request)
        absent = [method for method in _METHODS if not callable(getattr(self._engine, method, None))]
        absent += [] if isinstance(getattr(self._engine, "needs_crops", None), bool) else ["needs_crops"]
        if absent:
            raise LIP_ENGINES.broken(point, f"its object is not an engine: it lacks {', '.join(absent)}")
        self.needs_crops = bool(self._engine.needs_crops)

    def weights(self) -> tuple[WeightsRecord, ...]:
        """See LipEngine."""
        records = tuple(self._call("weights"))
        if not all(isinstance(record, WeightsRecord) for record in records):
            raise self._wrong("weights", "it returned something else than WeightsRecord")
        return records

    def load(self, device: str) -> None:
        """See LipEngine."""
        self._call("load", device)

    def prepare(self, video: SourceSampler) -> dict[str, npt.NDArray[np.generic]]:
        """See LipEngine."""
        return self._arrays("prepare", self._call("prepare", video))

    def hears(self, rate: Fraction) -> tuple[int, int]:
        """See LipEngine."""
        said = self._call("hears", rate)
        try:
            before, after = (int(columns) for columns in said)
        except (TypeError, ValueError) as error:
            raise self._wrong("hears", f"{said!r} are not two numbers") from error
        if before < 0 or after < 0:
            raise self._wrong("hears", f"{said!r} has a number below 0")
        return before, after

    def infer(self, items: FaceItems, speech: Speech) -> dict[str, npt.NDArray[np.generic]]:
        """See LipEngine."""
        made = self._arrays("infer", self._call("infer", items, speech))
        for name, rows in made.items():
            if rows.shape[:1] != (len(items),):
                raise self._wrong("infer", f"{name} has shape {rows.shape} for {len(items)} faces")
        return made

    def draw(self, frame: Frame, item: DrawItem, mouth: Arrays, source: Arrays) -> Patch | None:
        """See LipEngine."""
        patch = self._call("draw", frame, item, mouth, source)
        if patch is None:
            return None
        try:
            x0, y0, x1, y1 = (int(side) for side in patch.box)
            kinds = [(patch.bgr.shape, patch.bgr.dtype), (patch.alpha.shape, patch.alpha.dtype)]
        except (AttributeError, TypeError, ValueError) as error:
            raise self._wrong("draw", f"{type(patch).__name__} is not a Patch: {error}") from error
        width, height = frame.size
        if not (0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height) or (x0 | y0 | x1 | y1) & 1:
            raise self._wrong("draw", f"box {patch.box} is not even or not inside the frame of {width}x{height}")
        if kinds != [((y1 - y0, x1 - x0, 3), np.uint8), ((y1 - y0, x1 - x0), np.float32)]:
            said = ", ".join(f"{shape} {dtype}" for shape, dtype in kinds)
            raise self._wrong("draw", f"box {patch.box} with pixels and alpha {said}")
        return Patch((x0, y0, x1, y1), patch.bgr, patch.alpha)

    def _call(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._engine, method)(*arguments)
        except (RaydubError, OSError):
            raise
        except Exception as error:
            if is_out_of_memory(error):
                raise
            raise self._wrong(method, f"{type(error).__name__}: {error}") from error

    def _arrays(self, method: str, made: Any) -> dict[str, npt.NDArray[np.generic]]:
        if not isinstance(made, Mapping):
            raise self._wrong(method, f"a {type(made).__name__} is not a mapping of names to arrays")
        for name, array in made.items():
            if not isinstance(name, str) or not isinstance(array, np.ndarray) or array.dtype.hasobject:
                raise self._wrong(method, f"{name!r} is not an array of numbers")
        return dict(made)

    def _wrong(self, method: str, reason: str) -> StageError:
        message = f"the lip engine {self.name!r} of {self.release} failed in {method}: {reason[:500]}"
        return StageError(Code.INTERNAL, message, hint=f"this is a bug in {self._package}: report it to its author")
