"""Locates the network that tells which face speaks (models.light_asd): a small file of the catalogue, and OpenVINO."""

from __future__ import annotations

from pathlib import Path

from raydub.errors import Code, DependencyError, InputError
from raydub.models.catalogue import get
from raydub.models.face_landmarks import has_openvino
from raydub.models.store.published import absent, published_file

_ENTRY = get("light_asd")
ASD_FILE, ASD_SHA256 = _ENTRY.file, _ENTRY.sha256
_PULL = "`raydub models pull light_asd` downloads it"


def asd_file() -> Path | None:
    """Path of the weights, None if they are absent. A file with another digest is refused (DependencyError,
    WEIGHTS_HASH)."""
    return published_file(ASD_FILE, ASD_SHA256, "active speaker network", f"{_PULL} again", "face")


def require_active_speaker() -> Path:
    """Path of the weights. DependencyError WEIGHTS_MISSING if they are absent, WEIGHTS_HASH, DEPENDENCY_MISSING without
    OpenVINO."""
    path = asd_file()
    if path is None:
        hint = f"{_PULL} (4 MB, MIT); face=largest, left or reference:IMAGE need no file"
        raise absent(ASD_FILE, "the network that tells who speaks", hint, "face")
    if not has_openvino():
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            "face=active needs OpenVINO, which is not installed",
            hint="pip install 'raydub[openvino]', or another face",
            field="face",
        )
    return path


def require_sound(path: str, has_audio: bool) -> None:
    """Raise InputError VIDEO_NO_SOUND for a video in which nobody can be heard."""
    if not has_audio:
        raise InputError(
            Code.VIDEO_NO_SOUND,
            f"face=active needs the original voices, and {path} has no sound",
            hint="choose a face: largest, left, index:N, reference:IMAGE",
            field="face",
        )
