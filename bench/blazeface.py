"""BlazeFace beside YuNet and HOG: time and recall on clips, as JSON.

    python bench/blazeface.py WEIGHTS CLIP [CLIP ..] [--frames N]

WEIGHTS: folder with face_detection_short_range.tflite and face_detection_full_range_sparse.tflite. Every detector sees
N frames of each clip, evenly spread. A face is there where the mesh accepts a detection of any of them (recall is of
these; boxes that overlap by 0.35 are one face). Milliseconds are processor time on one core, scaling included.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import cv2
import numpy as np

from raydub.arrays import F32, F64
from raydub.media.frames import Frame, open_frames
from raydub.media.probe import probe_video
from raydub.stages.track import landmarks as lm
from raydub.stages.track import mesh as fm
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.detect import Found, _small_bgr, make_detector


class BlazeFace:
    """MediaPipe's detector. Boxes and points are regressed from anchors: cell centres of grids with these strides, so
    many to a cell."""

    def __init__(self, path: Path, side: int, layers: tuple[tuple[int, int], ...]) -> None:
        import openvino as ov

        core = ov.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
        self._net = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
        self.side = side
        self._anchors = np.concatenate([_grid(side // stride, count) for stride, count in layers])

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        height, width = frame.y.shape
        small, scale = _small_bgr(frame, self.side / max(height, width))
        picture = np.zeros((self.side, self.side, 3), np.uint8)
        picture[: small.shape[0], : small.shape[1]] = small[: self.side, : self.side]
        given = np.ascontiguousarray(picture[None, :, :, ::-1], np.float32) / 127.5 - 1
        out = {value.shape[-1]: value[0] for value in self._net.infer({0: given}).values()}
        scores = 1 / (1 + np.exp(-np.clip(out[1][:, 0], -80, 80)))
        rows = np.flatnonzero(scores > 0.5)
        found: list[Found] = []
        for row in sorted(rows.tolist(), key=lambda one: -scores[one]):
            x, y, w, _ = (float(value) for value in out[16][row, :4])
            at = np.array([x, y]) + self._anchors[row] * self.side
            cx, cy, half = at[0] / scale[0], at[1] / scale[1], 0.5 * w / scale[0]
            box = np.array([cx - half, cy - half, cx + half, cy + half], np.float32)
            if all(lm.overlap(box, other.box) < 0.3 for other in found):
                found.append(Found(box, float(scores[row]), 2))
        return found


def _grid(cells: int, count: int) -> F64:
    rows, columns = np.mgrid[0:cells, 0:cells]
    centres = (np.stack([columns, rows], axis=-1).reshape(-1, 2) + 0.5) / cells
    return np.repeat(centres, count, axis=0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("weights", type=Path)
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--frames", type=int, default=20)
    args = parser.parse_args()
    cv2.setNumThreads(1)
    detectors: dict[str, Any] = {
        "yunet": make_detector(TrackConfig.plan(FaceChoice(), "yunet", landmarks="mesh")),
        "hog": make_detector(TrackConfig.plan(FaceChoice(), "hog", landmarks="mesh")),
        "short": BlazeFace(args.weights / "face_detection_short_range.tflite", 128, ((8, 2), (16, 6))),
        "full": BlazeFace(args.weights / "face_detection_full_range_sparse.tflite", 192, ((4, 1),)),
    }
    for clip in args.clips:
        info = probe_video(clip)
        seconds, hits, wrong = (dict.fromkeys(detectors, 0.0) for _ in range(3))
        total = 0
        wanted = sorted({round(at) for at in np.linspace(0, info.n_frames - 1, args.frames)})
        with open_frames(info) as reader:
            for frame in reader.frames_at(wanted):
                faces: list[F32] = []
                boxes: dict[str, list[F32]] = {}
                for name, detector in detectors.items():
                    began = time.process_time()
                    found = detector.find(frame, True)
                    seconds[name] += time.process_time() - began
                    boxes[name] = []
                    for one in found:
                        made = fm.found_in(frame, one.box, one.tilt, patient=False)
                        if made is None:
                            wrong[name] += 1
                            continue
                        square = lm.square_of(fm.ibug(made[0]))
                        boxes[name].append(square)
                        if all(lm.overlap(square, other) < 0.35 for other in faces):
                            faces.append(square)
                total += len(faces)
                for name, squares in boxes.items():
                    hits[name] += sum(any(lm.overlap(face, one) >= 0.35 for one in squares) for face in faces)
        said = {
            name: {
                "ms": round(1000 * seconds[name] / len(wanted), 2),
                "recall": round(hits[name] / max(total, 1), 3),
                "refused": int(wrong[name]),
            }
            for name in detectors
        }
        print(json.dumps({"clip": Path(clip).name, "frames": len(wanted), "faces": total, **said}))


if __name__ == "__main__":
    main()
