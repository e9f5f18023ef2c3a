"""Draw docs/before-after.jpg: frames of the demo's clip above the same frames of its dubbed video.

    raydub demo --output demo-out
    python examples/demo/before_after.py demo-out/demo-es.mp4 docs/before-after.jpg

The output of the demo has the length of its clip, so equal frame numbers show the same moment.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.media.yuv import to_bgr

CLIP = Path(__file__).resolve().parent / "clip.mp4"
FRAMES = (12, 32, 56, 92, 120, 136)  # both closed and open mouths
FACE = (160, 430, 170, 440)  # top, bottom, left, right in the 640 x 640 clip: the face wherever the camera moves
TILE, GAP, LABEL = 190, 4, 64
QUALITY = 90

Image = npt.NDArray[np.uint8]


def row(video: str, label: str) -> Image:
    """One row of the picture: a label and the head in each of FRAMES, (TILE, width, 3) BGR."""
    info = probe_video(video)
    with open_frames(info) as reader:
        pictures = [to_bgr(frame) for frame in reader.frames_at(list(FRAMES))]
    top, bottom, left, right = FACE
    tiles = [np.full((TILE, LABEL, 3), 255, np.uint8)]
    cv2.putText(tiles[0], label, (4, TILE // 2), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
    for picture in pictures:
        head = cv2.resize(picture[top:bottom, left:right], (TILE, TILE), interpolation=cv2.INTER_AREA)
        tiles.append(np.pad(head, ((0, 0), (GAP, 0), (0, 0)), constant_values=255).astype(np.uint8))
    return np.concatenate(tiles, axis=1)


def main(dubbed: str, picture: str) -> None:
    """Write `picture`, a JPEG. dubbed: a video that `raydub demo` made."""
    before, after = row(str(CLIP), "source"), row(dubbed, "dubbed")
    between = np.full((GAP, before.shape[1], 3), 255, np.uint8)
    sheet = np.concatenate([before, between, after])
    Path(picture).write_bytes(cv2.imencode(".jpg", sheet, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


if __name__ == "__main__":
    main(*sys.argv[1:])
