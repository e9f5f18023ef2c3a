"""Rows that ask for restored faces, larger frames and weights of the catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, UsageError
from raydub.manifests.job import Job
from raydub.manifests.options import Options
from raydub.manifests.rows import parse_options, parse_row
from raydub.manifests.sharper import restore_weights, upscale_partner, upscale_weights

GOOD = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4"}


def options(folder: Path = Path("/in"), **fields: Any) -> Options:
    found, errors = parse_options(fields, folder)
    assert found is not None, errors
    return found


def refused(folder: Path = Path("/in"), **fields: Any) -> list[UsageError]:
    found, errors = parse_options(fields, folder)
    assert found is None
    return errors


@pytest.mark.parametrize(
    ("value", "name", "made"),
    [
        ("GFPGAN", "restore", "gfpgan"),
        ("off", "restore", "none"),
        (False, "upscale", "none"),
        ("x4", "upscale", "x4"),
        ("0.25", "restore_strength", 0.25),
        (1, "restore_steady", 1.0),
        ("2", "outscale", 2.0),
        ("64", "upscale_tile", 64),
        (0, "upscale_tile", 0),
        ("FACE", "restore_area", "face"),
        ("Synthesised", "restore_frames", "synthesised"),
    ],
)
def test_values(value: Any, name: str, made: Any) -> None:
    main = {} if name in ("restore", "upscale") else {"restore": "gfpgan", "upscale": "general"}
    assert getattr(options(**main, **{name: value}), name) == made


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("restore", "gpfgan"),
        ("restore", True),
        ("upscale", 4),
        ("restore_strength", 1.01),
        ("restore_strength", "nan"),
        ("restore_steady", -0.1),
        ("upscale_denoise", 2),
        ("upscale_strength", 1.01),
        ("outscale", 0.2),
        ("outscale", "8.5"),
        ("outscale", "inf"),
        ("upscale_tile", 31),
        ("upscale_tile", 2049),
        ("upscale_tile", -32),
        ("restore_area", "frame"),
        ("upscale_area", "mouth"),
        ("upscale_model", "a\nb"),
        ("restore_model", 4),
    ],
)
def test_wrong_values_are_named(name: str, value: Any) -> None:
    main = {} if name in ("restore", "upscale") else {"restore": "gfpgan", "upscale": "general"}
    errors = refused(**main, **{name: value})
    assert [(error.code, error.field) for error in errors] == [(Code.FIELD_VALUE, name)]
    assert errors[0].hint.startswith("expected ")


def test_a_near_miss_is_answered() -> None:
    assert "did you mean 'gfpgan'?" in refused(restore="gpfgan")[0].hint
    assert "did you mean 'general'?" in refused(upscale="realesr-general")[0].hint


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"outscale": 2}, "outscale"),
        ({"upscale": "none", "outscale": 2}, "outscale"),
        ({"upscale": "x4", "upscale_denoise": 0.5}, "upscale_denoise"),
        ({"restore": "gfpgan", "restore_fidelity": 0.7}, "restore_fidelity"),
        ({"restore_model": "./w.pth"}, "restore_model"),
        ({"upscale_model": "./w.pth"}, "upscale_model"),
    ],
)
def test_contradictions(fields: dict[str, Any], field: str) -> None:
    errors = refused(**fields)
    assert [(error.code, error.field) for error in errors] == [(Code.FIELD_CONFLICT, field)]
    assert errors[0].hint


def test_what_is_switched_off_changes_nothing() -> None:
    """So that a column or a --set for all rows leaves the rows alone that say none: their keys stay as they were."""
    off = {"restore_model": "GFPGANv1.3", "restore_strength": 0.3, "restore_frames": "all", "restore_fidelity": 0.9}
    assert options(restore="none", **off) == Options()
    off = {
        "upscale_model": "./absent",
        "upscale_denoise": 0.3,
        "upscale_tile": 64,
        "outscale": 1,
        "upscale_area": "face",
    }
    assert options(upscale="none", **off) == Options()


def test_default_weights() -> None:
    assert restore_weights(Options()) is upscale_weights(Options()) is upscale_partner(Options()) is None
    assert restore_weights(options(restore="gfpgan")) == "GFPGANv1.4"
    assert restore_weights(options(restore="codeformer")) == "codeformer"
    assert restore_weights(options(restore="gfpgan", restore_model="gfpganv1.3")) == "GFPGANv1.3"
    assert upscale_weights(options(upscale="x2")) == "RealESRGAN_x2plus"
    assert upscale_weights(options(upscale="general", upscale_model="sub/w.pth")) == "/in/sub/w.pth"
    assert upscale_partner(options(upscale="general")) is None
    assert upscale_partner(options(upscale="general", upscale_denoise=0.5)) == "realesr-general-wdn-x4v3"


def test_names_of_the_catalogue_and_files(tmp_path: Path) -> None:
    """A bare word is a file where one lies beside the manifest, else a name; names come in the catalogue's spelling."""
    assert options(tmp_path, model="WAV2LIP_gan").model == "wav2lip_gan"
    assert options(tmp_path, model="wav2lip_gan.pth").model == "wav2lip_gan"
    (tmp_path / "wav2lip_gan.pth").write_bytes(b"x")
    assert options(tmp_path, model="wav2lip_gan.pth").model == str(tmp_path / "wav2lip_gan.pth")
    assert options(tmp_path, model="wav2lip_gan").model == "wav2lip_gan"
    assert options(tmp_path, model="./wav2lip_gan").model == str(tmp_path / "wav2lip_gan")
    assert options(tmp_path, model="mine.safetensors").model == str(tmp_path / "mine.safetensors")
    assert options(tmp_path, model="/abs/wav2lip").model == "/abs/wav2lip"


@pytest.mark.parametrize(
    ("field", "main", "text", "near"),
    [
        ("model", {}, "wav2lip_gam", "wav2lip_gan"),
        ("restore_model", {"restore": "gfpgan"}, "GFPGANv1.5", "GFPGANv1."),
        ("upscale_model", {"upscale": "x4"}, "RealESRGAN_x4", "RealESRGAN_x4plus"),
        ("upscale_model", {"upscale": "x4"}, "qqqqqqqqqq", ""),
    ],
)
def test_a_bare_word_that_is_neither(field: str, main: dict[str, str], text: str, near: str) -> None:
    (error,) = refused(**main, **{field: text})
    assert (error.code, error.field) == (Code.FIELD_VALUE, field)
    assert (f"did you mean '{near}" in error.hint) == bool(near)
    assert "raydub models list" in error.hint


@pytest.mark.parametrize(
    ("field", "main", "text"),
    [
        ("model", {}, "GFPGANv1.4"),
        ("restore_model", {"restore": "gfpgan"}, "wav2lip"),
        ("upscale_model", {"upscale": "x4"}, "codeformer"),
        ("upscale_model", {"upscale": "x4"}, "face_detection_yunet_2023mar.onnx"),
    ],
)
def test_weights_for_something_else(field: str, main: dict[str, str], text: str) -> None:
    (error,) = refused(**main, **{field: text})
    assert (error.code, error.field) == (Code.FIELD_VALUE, field)
    assert "has another purpose" in error.message


@pytest.mark.parametrize("restore", ["gfpgan", "codeformer"])
@pytest.mark.parametrize("upscale", ["x2", "x4", "general", "anime"])
def test_default_weights_are_in_the_catalogue(restore: str, upscale: str) -> None:
    """Named outright they are accepted, in the same spelling."""
    chosen = options(restore=restore, upscale=upscale, upscale_denoise=0.5 if upscale == "general" else 1)
    names = {"restore_model": restore_weights(chosen), "upscale_model": upscale_weights(chosen)}
    named = options(restore=restore, upscale=upscale, **names)
    assert {name: getattr(named, name) for name in names} == names
    assert upscale != "general" or options(upscale="x4", upscale_model=upscale_partner(chosen))


SHARPER = [name for name in Options.model_fields if name.startswith(("restore", "upscale", "outscale"))]
VALUES = st.sampled_from(
    [
        *("none", "gfpgan", "codeformer", "x2", "x4", "general", "anime", "face", "mouth", "all", "frame"),
        *("GFPGANv1.3", "wav2lip", "./w", "w.pth", "0.5", "1", 0, 1, 2, 0.5, 64, False, None, ""),
    ]
)


@given(st.dictionaries(st.sampled_from(SHARPER), VALUES, max_size=5))
def test_every_accepted_row_can_be_fed_back(row: dict[str, Any]) -> None:
    found = parse_row({**GOOD, **row}, Path("/in"), Path("/out"), 3)
    if isinstance(found, Job):
        assert parse_row(found.row(), Path("/elsewhere"), Path("/out"), 3) == found
    else:
        assert all(isinstance(error, UsageError) and error.field in SHARPER and error.hint for error in found)
