"""A lip engine as another package brings it: a coloured rectangle over the mouth. Its module and the dist-info that
names it are written into a temporary folder."""

from __future__ import annotations

from pathlib import Path

import pytest

MODULE = """
import numpy as np
from raydub.errors import Code, UsageError
from raydub.stages.engine import Patch


class Painted:
    needs_crops = False

    def __init__(self, request):
        unknown = set(request.options) - {"bgr", "odd"}
        if unknown:
            raise UsageError(Code.FIELD_VALUE, f"painted has no {min(unknown)}", field="engine_options")
        self.bgr = request.options.get("bgr", [40, 40, 240])
        self.odd = request.options.get("odd", "")

    def weights(self):
        return ()

    def load(self, device):
        self.device = device

    def prepare(self, video):
        return {}

    def hears(self, rate):
        return 0, 1

    def infer(self, items, speech):
        if self.odd == "raises":
            raise KeyError("what it looked for")
        rows = len(items) + (self.odd == "rows")
        return {"loud": np.ones(rows, np.float32)}

    def draw(self, frame, item, mouth, source):
        width, height = frame.size
        x0, y0 = (int(side) // 2 * 2 for side in item.landmarks[48:].min(axis=0))
        x1, y1 = (int(side) // 2 * 2 + 2 for side in item.landmarks[48:].max(axis=0))
        x0, y0, x1, y1 = max(0, x0), max(0, y0), min(width, x1), min(height, y1)
        if x0 >= x1 or y0 >= y1:
            return None
        if self.odd == "box":
            x0 += 1
        bgr = np.empty((y1 - y0, x1 - x0, 3), np.uint8)
        bgr[:] = self.bgr
        return Patch((x0, y0, x1, y1), bgr, np.ones((y1 - y0, x1 - x0), np.float32))


def no_engine(request):
    return request


def broken(request):
    raise RuntimeError("no device today")
"""
POINTS = {
    "painted": "painted_lips:Painted",
    "no-engine": "painted_lips:no_engine",
    "broken": "painted_lips:broken",
    "no-module": "absent_lips:Engine",
    "warp": "painted_lips:Painted",
}


def install(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    version: str = "1.0",
    module: str = "painted_lips",
    source: str = MODULE,
) -> None:
    """Put the package on the search path, or another version of it in its place."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{module}.py").write_text(source, encoding="utf-8")
    info = folder / f"{module}.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module.replace('_', '-')}\nVersion: {version}\n")
    lines = "".join(f"{name} = {target.replace('painted_lips', module)}\n" for name, target in POINTS.items())
    (info / "entry_points.txt").write_text(f"[raydub.engines]\n{lines}")
    monkeypatch.syspath_prepend(str(folder))
