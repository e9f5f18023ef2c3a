"""MediaPipe's face mesh in OpenVINO: 468 points of the face in a square picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from raydub.arrays import F32, U8

SIDE = 192
"""Pixels of the sides of the picture that the network sees."""
POINTS = 468


class FaceMesh:
    """The loaded network, 2 to 3 ms a face on one core. One thread and full precision, so that a picture always gives
    the same bits on one machine."""

    def __init__(self, path: Path) -> None:
        """path: the checked file (models.face_landmarks.require_mesh)."""
        import openvino as ov

        settings = {
            "INFERENCE_PRECISION_HINT": "f32",
            "INFERENCE_NUM_THREADS": 1,
            "NUM_STREAMS": 1,
            # Pinned, the threads of all workers of a machine would share the first cores.
            "ENABLE_CPU_PINNING": False,
        }
        core = ov.Core()
        compiled = core.compile_model(core.read_model(path), "CPU", settings)
        sizes = [int(np.prod(out.partial_shape.to_shape())) for out in compiled.outputs]
        self._points, self._score = sizes.index(3 * POINTS), sizes.index(1)
        self._request: Any = compiled.create_infer_request()

    def run(self, bgr: U8) -> tuple[F32, float]:
        """bgr: (192, 192, 3) uint8. Returns (468, 3) float32, x y z in pixels of that picture (z grows away from the
        camera), and the log odds that it shows a face: above 17 for faces in their place, below 9 elsewhere."""
        picture = np.ascontiguousarray(bgr[None, :, :, ::-1], np.float32) / np.float32(255)
        out = self._request.infer({0: picture}, share_inputs=True, share_outputs=True)
        points = np.array(out[self._points], np.float32).reshape(POINTS, 3)
        return points, float(np.asarray(out[self._score]).item())
