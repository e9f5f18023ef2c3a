"""Locates the face models, and chooses the face detector of a job.

dlib's files come with the PyPI package `face_recognition_models`, which cannot be imported without pkg_resources, so
its folder is found without importing it. YuNet is a small separate file of the catalogue, in the folder RAYDUB_WEIGHTS
or in the cache folder. HOG's file is part of raydub.

Licences: dlib's code and detectors are BSL-1.0 / CC0; the 68-point predictor was trained on iBUG 300-W, whose images
may not be used commercially; YuNet is MIT.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from raydub.errors import Code, DependencyError, UsageError
from raydub.models.catalogue import get
from raydub.models.load import sha256_of
from raydub.models.store.published import absent, published_file

DetectorName = Literal["hog", "mmod", "yunet"]
DETECTORS: tuple[DetectorName, ...] = ("hog", "mmod", "yunet")

_YUNET = get("yunet")
YUNET_FILE, YUNET_SHA256 = _YUNET.file, _YUNET.sha256
PREDICTOR_FILE = "shape_predictor_68_face_landmarks.dat"
MMOD_FILE = "mmod_human_face_detector.dat"
EMBEDDING_FILE = "dlib_face_recognition_resnet_model_v1.dat"
HOG_FILE = Path(__file__).with_name("frontal_face.svm")
"""dlib.get_frontal_face_detector() as written by its save(): loads in 3 ms instead of 0.9 s."""


class DetectorSpec(BaseModel):
    """A resolved detector: `sha256` is of its weights file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: DetectorName
    sha256: str = ""


def dlib_file(name: str) -> Path:
    """Path of one of dlib's model files; DependencyError (DEPENDENCY_MISSING) if the package or the file is absent."""
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / name
        if path.is_file():
            return path
    raise DependencyError(
        Code.DEPENDENCY_MISSING,
        f"the face model {name} is not installed",
        hint="pip install face_recognition_models",
    )


def yunet_file() -> Path | None:
    """Path of the YuNet network, None if it is absent. A file with another digest is refused (DependencyError,
    WEIGHTS_HASH): a different detector would give different results without notice."""
    return published_file(YUNET_FILE, YUNET_SHA256, "YuNet file", "`raydub models pull yunet` replaces it")


def predictor_sha256() -> str:
    """Digest of the 68-point predictor in use: part of the track cache's key."""
    path = dlib_file(PREDICTOR_FILE)
    return sha256_of(path)


def best_detector() -> DetectorName:
    """The best available detector: YuNet if its file is present, else HOG."""
    return "yunet" if yunet_file() is not None else "hog"


def resolve_detector(name: str = "auto") -> DetectorSpec:
    """Resolve `auto`, hog, mmod or yunet once, where the run is planned: workers get the spec, never `auto`, so that
    machines with different files cannot mix detectors in one video.

    Raises DependencyError: WEIGHTS_MISSING (YuNet asked for but absent), WEIGHTS_HASH, DEPENDENCY_MISSING; UsageError
    (FIELD_VALUE) for an unknown name.
    """
    chosen = best_detector() if name == "auto" else name
    if chosen == "hog":
        return DetectorSpec(name="hog", sha256=sha256_of(HOG_FILE))
    if chosen == "mmod":
        path = dlib_file(MMOD_FILE)
        return DetectorSpec(name="mmod", sha256=sha256_of(path))
    if chosen == "yunet":
        require_yunet()
        return DetectorSpec(name="yunet", sha256=YUNET_SHA256)
    raise UsageError(Code.FIELD_VALUE, f"unknown face detector {name!r}", hint=f"one of auto, {', '.join(DETECTORS)}")


def require_yunet() -> Path:
    """Path of YuNet. DependencyError (WEIGHTS_MISSING) if it is absent: workers must not use another detector than
    planned."""
    path = yunet_file()
    if path is None:
        hint = "`raydub models pull yunet` downloads it; detector hog needs no file"
        raise absent(YUNET_FILE, "the YuNet face detector", hint)
    return path
