"""Run the published Wav2Lip code, of a checkout, under today's libraries.

    python bench/published.py CHECKOUT inference [its arguments]
    python bench/published.py CHECKOUT detector CLIP FRAMES

Its files stay as they are. Patched, in memory only: librosa.filters.mel takes its first two arguments by name now; tqdm
(its progress bars) is not needed by raydub, so where it is not installed a stand-in passes the items through. The
program ffmpeg that it calls is found on PATH (see versus_wav2lip.py).

detector: seconds a frame of its own S3FD, for FRAMES frames of the clip in one batch, as `BENCH {...}`. The weights are
random; the biases of the scores say "no face", because each place with a score costs it a loop in Python.
"""

from __future__ import annotations

import importlib.util
import json
import runpy
import sys
import time
import types
from pathlib import Path
from typing import Any

NEEDED = ("inference.py", "audio.py", "models/wav2lip.py", "face_detection/detection/sfd/net_s3fd.py")


def checked(path: str | Path) -> Path:
    """The checkout's folder; SystemExit that names what is missing."""
    folder = Path(path).absolute()
    missing = [name for name in NEEDED if not (folder / name).is_file()]
    if missing:
        raise SystemExit(f"{path} is no checkout of github.com/Rudrabha/Wav2Lip: it has no {missing[0]}")
    return folder


def patch(filters: Any) -> None:
    """filters: librosa.filters. See the module."""
    mel = filters.mel

    def called_as_before(sr: float, n_fft: int, **others: Any) -> Any:
        return mel(sr=sr, n_fft=n_fft, **others)

    filters.mel = called_as_before
    if importlib.util.find_spec("tqdm") is None:
        stand_in: Any = types.ModuleType("tqdm")
        stand_in.tqdm = lambda items, **_: items
        sys.modules["tqdm"] = stand_in


def detect(clip: str, count: int) -> float:
    """Seconds a frame of S3FD on the first `count` frames of the clip."""
    import cv2
    import face_detection
    import numpy as np
    import torch
    from face_detection.detection.sfd import sfd_detector

    torch.manual_seed(0)
    weights = sfd_detector.s3fd().state_dict()
    for name, value in weights.items():
        if name.endswith("_mbox_conf.bias"):
            value[:] = 20.0
            value[-1] = -20.0
    sfd_detector.load_url = lambda *_, **__: weights  # nothing is downloaded
    detector = face_detection.FaceAlignment(face_detection.LandmarksType._2D, flip_input=False, device="cpu")
    video = cv2.VideoCapture(clip)
    frames = np.array([video.read()[1] for _ in range(count)])
    detector.get_detections_for_batch(frames[:1])
    start = time.perf_counter()
    found = detector.get_detections_for_batch(frames)
    assert found == [None] * count
    return (time.perf_counter() - start) / count


def main() -> None:
    folder, what = checked(sys.argv[1]), sys.argv[2]
    sys.path[0] = str(folder)
    import librosa.filters

    patch(librosa.filters)
    if what == "inference":
        script = str(folder / "inference.py")
        sys.argv = [script, *sys.argv[3:]]
        runpy.run_path(script, run_name="__main__")
    else:
        print("BENCH " + json.dumps({"seconds_a_frame": detect(sys.argv[3], int(sys.argv[4]))}))


if __name__ == "__main__":
    main()
