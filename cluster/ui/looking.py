"""Looks at users' files in processes of their own: what crashes a decoder must not end the page."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, InputError, RaydubError, StageError, rebuilt

_SECONDS, _FACES_SECONDS = 60.0, 180.0
_SAMPLES = 24
PICTURE = "first.jpg"
_WIDE = 640


@dataclass(frozen=True)
class Look:
    """seconds: of a video or sound; width, height, rate: of a video, 0 for sound."""

    seconds: float
    width: int = 0
    height: int = 0
    rate: float = 0.0

    def words(self) -> str:
        """For people."""
        minutes, seconds = divmod(self.seconds, 60)
        lasts = f"{int(minutes)} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
        return f"{lasts}, {self.width} × {self.height}, {self.rate:g} frames a second" if self.width else lasts


@dataclass(frozen=True)
class Face:
    """A person in a video. value: of the field `face`; picture: the portrait; share: of the sampled frames that show
    the person."""

    value: str
    picture: Path
    share: float
    largest: bool


def look(path: Path, kind: str, picture: Path | None = None) -> Look:
    """What a file of the kind "video" or "sound" is; writes a video's first frame as a JPEG. Raises RaydubErrors."""
    command = [sys.executable, "-m", "raydub.cluster.ui.looking", kind, str(path), str(picture or "")]
    said = _said(command, _SECONDS, path)
    return Look(**{name: said[name] for name in ("seconds", "width", "height", "rate") if name in said})


def faces(video: Path, folder: Path) -> list[Face]:
    """The people in a video, from the left, as `raydub faces` finds them; portraits are written into the folder. [] if
    there is none. Raises RaydubErrors."""
    command = [sys.executable, "-m", "raydub.cluster.cli", "faces", str(video), "--output", str(folder), "--json"]
    try:
        said = _said([*command, "--samples", str(_SAMPLES)], _FACES_SECONDS, video)
    except RaydubError as error:
        if error.code == Code.FACE_NONE:
            return []
        raise
    found = []
    for person in said["people"]:
        values: Sequence[str] = person["face"]
        value = next((one for one in values if one.startswith("reference:")), values[0])
        share = person["seen"] / max(1, said["frames"])
        found.append(Face(value, Path(person["portrait"]), share, "largest" in values))
    return found


def _said(command: list[str], seconds: float, path: Path) -> Mapping[str, Any]:
    """The JSON document that a command prints. Raises the error that it contains."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds, check=False)
    except subprocess.TimeoutExpired as error:
        message = f"{path.name} could not be looked at within {seconds:.0f} s"
        raise StageError(Code.STALLED, message, hint="try again when less work is in progress") from error
    try:
        said: Mapping[str, Any] = json.loads(done.stdout)
    except ValueError as error:
        message = f"{path.name} cannot be read: the reader has crashed"
        raise InputError(Code.INPUT_UNREADABLE, message, hint="convert it to mp4 and try again") from error
    if "error" in said:
        known = {**said["error"], "message": str(said["error"].get("message", "")).replace(str(path), path.name)}
        raise rebuilt(str(said.get("kind", "InputError")), known)
    return said


def main() -> None:
    """Look at one file, and print what it is. Arguments: video or sound, its path, where its first frame goes or ""."""
    from raydub.cluster.output import say_json

    kind, path, picture = sys.argv[1:4]
    try:
        say_json(_video(path, picture) if kind == "video" else _sound(path))
    except RaydubError as error:
        say_json({"error": error.to_dict(), "kind": type(error).__name__})


def _video(path: str, picture: str) -> dict[str, Any]:
    import cv2

    from raydub.media.frames import Transform, open_frames
    from raydub.media.probe import probe_video
    from raydub.media.yuv import to_bgr

    info = probe_video(path)
    if picture:
        with open_frames(info, Transform()) as reader:
            frame = to_bgr(next(iter(reader.frames(0, 1))))
        height = max(2, round(frame.shape[0] * _WIDE / frame.shape[1]))
        small = cv2.resize(frame, (_WIDE, height), interpolation=cv2.INTER_AREA)
        Path(picture).write_bytes(cv2.imencode(".jpg", small)[1].tobytes())
    return {"seconds": float(info.duration), "width": info.width, "height": info.height, "rate": float(info.rate)}


def _sound(path: str) -> dict[str, Any]:
    from raydub.media.probe import probe_speech

    return {"seconds": float(probe_speech(path).seconds)}


if __name__ == "__main__":
    main()
