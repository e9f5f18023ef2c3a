"""Chooses and locates the landmarks of a job: MediaPipe's face mesh, a small file of the catalogue that needs OpenVINO,
or dlib's 68-point predictor, which is always installed (models.face_detectors).

Licences: the mesh is Apache-2.0; dlib's predictor was trained on iBUG 300-W, whose images may not be used commercially.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from raydub.errors import Code, DependencyError, UsageError
from raydub.models.catalogue import get
from raydub.models.face_detectors import predictor_sha256
from raydub.models.store.published import absent, published_file

LandmarksName = Literal["mesh", "dlib"]
LANDMARKS: tuple[LandmarksName, ...] = ("mesh", "dlib")

_MESH = get("face_landmark")
MESH_FILE, MESH_SHA256 = _MESH.file, _MESH.sha256


class LandmarksSpec(BaseModel):
    """Resolved landmarks: `sha256` is of the file of the mesh or of dlib's predictor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: LandmarksName
    sha256: str


def has_openvino() -> bool:
    """Is OpenVINO installed? Looked up without importing it."""
    return importlib.util.find_spec("openvino") is not None


def mesh_file() -> Path | None:
    """Path of the face mesh, None if it is absent. A file with another digest is refused (DependencyError,
    WEIGHTS_HASH): other landmarks would give other results without notice."""
    hint = "`raydub models pull mesh` replaces it; landmarks=dlib needs no file"
    return published_file(MESH_FILE, MESH_SHA256, "face mesh", hint, "landmarks")


def require_mesh() -> Path:
    """Path of the face mesh. DependencyError WEIGHTS_MISSING if it is absent, DEPENDENCY_MISSING without OpenVINO:
    workers must not use other landmarks than planned."""
    path = mesh_file()
    if path is None:
        hint = "`raydub models pull mesh` downloads it; landmarks=dlib needs no file"
        raise absent(MESH_FILE, "the face mesh", hint, "landmarks")
    if not has_openvino():
        raise DependencyError(
            Code.DEPENDENCY_MISSING,
            "landmarks=mesh needs OpenVINO, which is not installed",
            hint="pip install 'raydub[openvino]', or landmarks=dlib",
            field="landmarks",
        )
    return path


def best_landmarks() -> LandmarksName:
    """The landmarks of `auto`: the mesh if its file and OpenVINO are installed, else dlib's."""
    return "mesh" if has_openvino() and mesh_file() is not None else "dlib"


def resolve_landmarks(name: str = "auto") -> LandmarksSpec:
    """Resolve auto, mesh or dlib once, where the run is planned: workers get the spec, never `auto`, so that machines
    with different files cannot mix landmarks in one video.

    Raises DependencyError: WEIGHTS_MISSING, WEIGHTS_HASH, DEPENDENCY_MISSING; UsageError (FIELD_VALUE) for an unknown
    name.
    """
    chosen = best_landmarks() if name == "auto" else name
    if chosen == "mesh":
        require_mesh()
        return LandmarksSpec(name="mesh", sha256=MESH_SHA256)
    if chosen == "dlib":
        return LandmarksSpec(name="dlib", sha256=predictor_sha256())
    raise UsageError(
        Code.FIELD_VALUE, f"unknown landmarks {name!r}", hint=f"one of auto, {', '.join(LANDMARKS)}", field="landmarks"
    )
