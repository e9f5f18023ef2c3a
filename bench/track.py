"""Tracking speed and coverage on clips, as JSON.

    python bench/track.py CLIP [CLIP ..] [--detector auto|hog|mmod|yunet] [--landmarks auto|mesh|dlib] [--frames N]

Milliseconds are CPU time per source frame, all threads of one process: decode (reading the frames), detection (the
detector, on the grid of stages.track.see, spread over all frames), landmarks (fits, refits, checks, shot score),
decide. coverage is the share of frames in which the largest face was found.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path

from raydub.media.frames import Frame, FrameReader, open_frames
from raydub.media.probe import probe_video
from raydub.stages.track.config import FaceChoice, TrackConfig
from raydub.stages.track.decide import decide
from raydub.stages.track.detect import Detector, Found, make_detector
from raydub.stages.track.landmarker import load
from raydub.stages.track.raw import pack
from raydub.stages.track.see import see
from raydub.stages.types import Span


class TimedSource:
    """A reader that adds up how long it takes to give frames."""

    def __init__(self, reader: FrameReader) -> None:
        self._reader = reader
        self.seconds = 0.0

    def frames(self, start: int, stop: int) -> Iterator[Frame]:
        frames = iter(self._reader.frames(start, stop))
        while True:
            began = time.process_time()
            frame = next(frames, None)
            self.seconds += time.process_time() - began
            if frame is None:
                return
            yield frame


class TimedDetector:
    """A detector that adds up how long it takes."""

    def __init__(self, detector: Detector) -> None:
        self._detector = detector
        self.seconds = 0.0
        self.calls = 0

    def find(self, frame: Frame, fine: bool) -> list[Found]:
        began = time.process_time()
        found = self._detector.find(frame, fine)
        self.seconds += time.process_time() - began
        self.calls += 1
        return found


def measure(path: str, detector_name: str, landmarks: str, limit: int | None) -> dict[str, object]:
    """Track one clip from its first frame and return the figures."""
    info = probe_video(path)
    n = min(info.n_frames, limit or info.n_frames)
    config = TrackConfig.plan(FaceChoice(), detector_name, landmarks=landmarks)
    detector = TimedDetector(make_detector(config))
    load(config.landmarks)
    with open_frames(info) as reader:
        source = TimedSource(reader)
        began = time.process_time()
        raw = pack(list(see(source, detector, config, Span(0, n), n)), embed=False)
        total = time.process_time() - began
    began = time.process_time()
    (track,) = decide(raw, Span(0, n))
    decided = time.process_time() - began

    def per_frame(seconds: float) -> float:
        return round(1000 * seconds / n, 3)

    return {
        "clip": Path(path).name,
        "size": [info.width, info.height],
        "frames": n,
        "detector": config.detector.name,
        "landmarks": config.landmarks.name,
        "detections": detector.calls,
        "cuts": int(raw.cut.sum()),
        "coverage": round(float(track.present.mean()), 4),
        "lips_open": round(float(track.lips_open[track.present].mean()), 4) if track.present.any() else None,
        "ms_per_frame": {
            "decode": per_frame(source.seconds),
            "detection": per_frame(detector.seconds),
            "landmarks": per_frame(total - source.seconds - detector.seconds),
            "decide": per_frame(decided),
            "total": per_frame(total + decided),
            "total_without_decode": per_frame(total + decided - source.seconds),
        },
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Tracking speed and coverage, as JSON.")
    parser.add_argument("clips", nargs="+")
    parser.add_argument("--detector", default="auto")
    parser.add_argument("--landmarks", default="auto")
    parser.add_argument("--frames", type=int)
    args = parser.parse_args()
    print(json.dumps([measure(clip, args.detector, args.landmarks, args.frames) for clip in args.clips], indent=2))


if __name__ == "__main__":
    main()
