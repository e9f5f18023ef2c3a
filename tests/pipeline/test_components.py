"""The bill of components, and commercial=true: refused by name, with what to use instead."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

from raydub.errors import Code, DependencyError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.models import face_landmarks, licences
from raydub.models.catalogue import ENTRIES, LICENCES, find
from raydub.models.face_landmarks import MESH_SHA256, LandmarksSpec
from raydub.models.mouth import embedded
from raydub.models.mouth.embedded import EMBEDDED, LANDMARKS_KEY, embedded_terms
from raydub.models.store.importing import import_file
from raydub.models.store.state import declare
from raydub.pipeline.components import Part, parts_of, refuse_non_commercial


@pytest.fixture
def learned_from_the_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "embedded_terms", lambda: licences.OWN)


@pytest.fixture
def with_mesh(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = LandmarksSpec(name="mesh", sha256=MESH_SHA256)
    real = face_landmarks.resolve_landmarks
    monkeypatch.setattr(face_landmarks, "resolve_landmarks", lambda name: real(name) if name == "dlib" else spec)


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Job]:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))

    def make(script: bool = False, **options: Any) -> Job:
        said = {"script": "s.txt"} if script else {"audio": "a.wav"}
        return Job(id="j", video="v.mp4", output="o.mp4", line=7, options=Options(commercial=True, **options), **said)

    return make


def refused(job: Job) -> DependencyError:
    with pytest.raises(DependencyError) as caught:
        refuse_non_commercial(job, parts_of(job))
    assert caught.value.code is Code.LICENCE
    assert (caught.value.job, caught.value.line) == ("j", 7)
    return caught.value


def test_a_clean_job_passes_and_its_bill_is_complete(
    job: Callable[..., Job], with_mesh: None, learned_from_the_mesh: None
) -> None:
    clean = job(detector="hog")
    parts = parts_of(clean)
    refuse_non_commercial(clean, parts)
    kinds = {part.kind: part.billed() for part in parts}
    assert set(kinds) == {"face detector", "landmarks", "lip engine", "lip weights", "codecs"}
    assert all(one.commercial == "true" and one.version and one.licence for one in kinds.values())
    assert kinds["landmarks"].licence == "Apache-2.0"
    assert "GPL-2.0" in kinds["codecs"].licence


def test_dlib_landmarks_are_refused_by_name(job: Callable[..., Job], learned_from_the_mesh: None) -> None:
    error = refused(job(landmarks="dlib", detector="hog"))
    assert error.field == "landmarks"
    assert "dlib's 68 points" in error.message
    assert "landmarks=mesh" in error.hint
    free = job(landmarks="dlib", detector="hog").model_copy(update={"options": Options(landmarks="dlib")})
    refuse_non_commercial(free, parts_of(free))


@pytest.mark.parametrize(
    ("options", "field", "named"),
    [
        ({"model": "wav2lip_gan"}, "model", "wav2lip-noncommercial"),
        ({"restore": "gfpgan"}, "restore", "gfpgan-mixed"),
        ({"restore": "codeformer"}, "restore", "codeformer-noncommercial"),
        ({"script": True, "tts": "piper", "voice": "en_US-lessac-medium"}, "voice", "lessac-research"),
    ],
)
def test_each_component_is_refused_without_a_download(
    options: dict[str, Any],
    field: str,
    named: str,
    job: Callable[..., Job],
    with_mesh: None,
    learned_from_the_mesh: None,
) -> None:
    if options.get("tts") == "piper":
        pytest.importorskip("piper")
    error = refused(job(detector="hog", **options))
    assert error.field == field
    assert named in error.message
    assert error.hint


def test_all_refused_components_are_named_at_once(job: Callable[..., Job], learned_from_the_mesh: None) -> None:
    error = refused(job(landmarks="dlib", detector="hog", model="wav2lip", restore="gfpgan"))
    for word in ("dlib's 68 points", "wav2lip", "GFPGANv1.4"):
        assert word in error.message


@pytest.mark.parametrize("upscale", ["x2", "x4", "general", "anime"])
def test_upscalers_are_free(
    upscale: str, job: Callable[..., Job], with_mesh: None, learned_from_the_mesh: None
) -> None:
    clean = job(detector="hog", upscale=upscale)
    refuse_non_commercial(clean, parts_of(clean))
    assert "BSD-3-Clause" in {part.terms.licence for part in parts_of(clean)}


def test_own_weights_are_unknown_until_their_importer_declares_a_licence(
    job: Callable[..., Job], with_mesh: None, learned_from_the_mesh: None, tmp_path: Path
) -> None:
    own = tmp_path / "own.safetensors"
    own.write_bytes(EMBEDDED.read_bytes())
    state = _state(own)
    save_file(state, own, metadata={"config": "mine"})
    asked = job(detector="hog", engine="warp", model=str(own))
    error = refused(asked)
    assert error.field == "model"
    assert "own.safetensors" in error.message
    assert "--commercial" in error.hint
    entry, place = import_file(own, to_name="own-net")
    assert entry.custom
    refused(asked)
    declare(place, "contract 12")
    refuse_non_commercial(asked, parts_of(asked))
    assert "custom: contract 12" in {part.terms.licence for part in parts_of(asked)}


def _state(path: Path) -> dict[str, Any]:
    with safe_open(str(path), framework="numpy") as file:
        names = list(file.keys())
        return {name: file.get_tensor(name) for name in names[:3]}


@pytest.mark.parametrize(("said", "commercial"), [("mesh", "true"), ("dlib", "false"), (None, "false")])
def test_embedded_weights_state_what_they_learned_from(said: str | None, commercial: str, tmp_path: Path) -> None:
    path = tmp_path / "mouth.safetensors"
    save_file(_state(EMBEDDED), path, metadata={"config": "x"} | ({LANDMARKS_KEY: said} if said else {}))
    terms = embedded_terms(path)
    assert terms.commercial == commercial
    assert bool(terms.instead) == (commercial == "false")


def test_speech_engines_have_terms_and_foreign_ones_are_unknown(job: Callable[..., Job]) -> None:
    assert licences.SPEECH_ENGINES["espeak"].commercial == "true"
    assert licences.SPEECH_ENGINES["command"].commercial == "unknown"
    assert licences.terms_of_package("no-such-package", "x").commercial == "unknown"
    assert licences.terms_of_package("numpy", "x").commercial == "true"
    assert licences.terms_of_file("0" * 64).commercial == "unknown"


def test_every_file_of_the_catalogue_has_terms() -> None:
    for entry in ENTRIES:
        terms = licences.terms_of_file(entry.sha256, "something else")
        assert terms.commercial == {"permissive": "true", "unstated": "unknown"}.get(
            LICENCES[entry.licence].kind, "false"
        )
        assert terms.commercial == "true" or terms.instead
    mesh = find("mesh")
    assert mesh is not None
    assert mesh.sha256 == MESH_SHA256


def test_a_bill_says_nothing_of_fields() -> None:
    part = Part("x", "codecs", "1", licences.OWN, "codec")
    assert set(part.billed().model_dump()) == {"component", "kind", "version", "licence", "commercial"}


@pytest.mark.parametrize("people", [False, True])
def test_engines_that_tell_people_apart_have_the_embedding_in_the_bill(
    people: bool, job: Callable[..., Job], learned_from_the_mesh: None
) -> None:
    from types import SimpleNamespace

    from raydub.models.face_detectors import DetectorSpec
    from raydub.stages.track.config import TrackConfig

    landmarks = LandmarksSpec(name="mesh", sha256=MESH_SHA256)
    track = TrackConfig(detector=DetectorSpec(name="hog"), landmarks=landmarks, people=people)
    plan: Any = SimpleNamespace(faces=SimpleNamespace(track=track, landmarks=landmarks), weights=())
    kinds = [part.kind for part in parts_of(job(), plan)]
    assert ("face embedding" in kinds) == people
