"""The data file, names, and who accepted what."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError, UsageError
from raydub.models import catalogue
from raydub.models.catalogue import ENTRIES, LICENCES, SETS, find, get, licence_and_consent, licence_of, suggest
from raydub.models.store import consent

GFPGAN = "e2cd4703ab14f4d01fd1383a8a8b266f9a5833dacee8e6a79d3bf21a1b6be5ad"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAYDUB_ACCEPT_LICENSE", raising=False)
    return tmp_path / "weights"


def test_the_data_file_is_sound() -> None:
    assert len({entry.sha256 for entry in ENTRIES}) == len(ENTRIES)
    for entry in ENTRIES:
        assert re.fullmatch("[0-9a-f]{64}", entry.sha256), entry.name
        assert re.fullmatch(r"[\w.-]+", entry.file), entry.name
        assert 200_000 < entry.size < 500_000_000, entry.name
        assert entry.licence in LICENCES, entry.name
        assert entry.purpose
        assert all(re.fullmatch(r"https?://[\w./~-]+", url) for url in entry.urls), entry.name
        published = {"light_asd": "/finetuning_TalkSet.model"}.get(entry.name, entry.file)
        assert all(url.endswith(published) for url in entry.urls), entry.name
        assert entry.urls or entry.notes, entry.name
    words = [word.casefold() for entry in ENTRIES for word in {entry.name, *entry.aliases}]
    words += [entry.file.casefold() for entry in ENTRIES if entry.file != entry.name]
    assert len(words) == len(set(words))
    assert all(get(name).name == name for names in SETS.values() for name in names)
    for licence in LICENCES.values():
        assert licence.kind in ("permissive", "non-commercial", "mixed", "unstated")
        assert licence.consent == (licence.kind in ("non-commercial", "mixed"))
        assert licence.url or not licence.consent


def test_the_table_of_the_design() -> None:
    known = {entry.name: (entry.size, entry.sha256[:8]) for entry in ENTRIES}
    assert known["wav2lip"] == (435807851, "b78b681b")
    assert known["wav2lip_gan"] == (435801865, "ca9ab7b7")
    assert known["GFPGANv1.4"] == (348632874, "e2cd4703")
    assert known["GFPGANv1.3"] == (348632874, "c953a88f")
    assert known["codeformer"] == (376637898, "1009e537")
    assert known["RealESRGAN_x2plus"] == (67061725, "49fafd45")
    assert known["RealESRGAN_x4plus"] == (67040989, "4fa0d389")
    assert known["realesr-general-x4v3"] == (4885111, "8dc7edb9")
    assert known["realesr-general-wdn-x4v3"] == (4885111, "1641f8c4")
    assert known["realesr-animevideov3"] == (2504012, "b8a83768")
    assert known["face_detection_yunet_2023mar"] == (232589, "8f2383e4")
    assert {"s3fd", "syncnet_v2", "lipsync_expert"} <= known.keys()


@pytest.mark.parametrize(
    ("word", "name"),
    [
        ("GFPGANv1.4", "GFPGANv1.4"),
        ("gfpganV1.4.PTH", "GFPGANv1.4"),
        (" gfpgan ", "GFPGANv1.4"),
        ("wav2lip", "wav2lip"),
        ("wav2lip.pth", "wav2lip"),
        ("wav2lip.onnx", "wav2lip-onnx"),
        ("wav2lip_gan", "wav2lip_gan"),
        ("syncnet_v2.model", "syncnet_v2"),
        ("s3fd-619a316812.pth", "s3fd"),
        ("yunet", "face_detection_yunet_2023mar"),
        ("RealESRGAN_x4plus", "RealESRGAN_x4plus"),
        ("", None),
        (".pth", None),
        ("GFPGAN", "GFPGANv1.4"),
        ("GFPGANv1.5", None),
        ("./wav2lip", None),
        ("models/wav2lip.pth", None),
    ],
)
def test_names(word: str, name: str | None) -> None:
    found = find(word)
    assert (found.name if found else None) == name


@settings(deadline=None)
@given(st.sampled_from([entry.name for entry in ENTRIES]), st.data())
def test_a_slip_of_one_letter_is_understood(name: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(name) - 1))
    slip = name[:at] + name[at + 1 :]
    near = suggest(slip)
    assert near is not None
    assert find(slip) is not None or near.casefold()[:3] == name.casefold()[:3] or at < 3


def test_unknown_names_suggest_the_nearest() -> None:
    assert suggest("gfpgan1.4") == "GFPGANv1.4"
    assert suggest("qqqqqqqq") is None
    with pytest.raises(UsageError) as error:
        get("codefromer")
    assert error.value.code == Code.FIELD_VALUE
    assert "'codeformer'" in error.value.hint


def test_consent_by_flag_environment_and_memory(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DependencyError) as error:
        licence_of(GFPGAN)
    assert error.value.code == Code.LICENCE
    assert "GFPGANv1.4.pth" in error.value.message
    assert "StyleGAN2" in error.value.message
    assert "--accept-license gfpgan-mixed" in error.value.hint
    assert licence_and_consent(GFPGAN, ["gfpgan-mixed"]) == ("gfpgan-mixed", "flag")
    file = consent.remember("gfpgan-mixed")
    assert file == folder / "licences.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    [record] = json.loads(file.read_text()).values()
    assert record["when"].endswith("+00:00")
    assert "@" in record["who"]
    assert licence_and_consent(GFPGAN) == ("gfpgan-mixed", "remembered")
    consent.remember("gfpgan-mixed")
    consent.remember("wav2lip-noncommercial")
    assert json.loads(file.read_text())["gfpgan-mixed"] == record
    monkeypatch.setenv("RAYDUB_ACCEPT_LICENSE", "other, gfpgan-mixed")
    assert licence_and_consent(GFPGAN) == ("gfpgan-mixed", "environment")
    assert consent.words(["x"]) == "gfpgan-mixed,other,wav2lip-noncommercial:remembered,x:flag"


def test_consent_that_travels_says_how_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_ACCEPT_LICENSE", "gfpgan-mixed:flag,codeformer-noncommercial:remembered,a:b,")
    assert licence_and_consent(GFPGAN) == ("gfpgan-mixed", "flag")
    assert licence_and_consent(get("codeformer").sha256)[1] == "remembered"
    assert consent.in_environment()["a"] == "environment"
    assert licence_and_consent(get("RealESRGAN_x2plus").sha256) == ("BSD-3-Clause", "")
    assert licence_and_consent("00" * 32) == ("custom", "")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"gfpgan-mixed": true}', '{"other": {}}'])
def test_a_damaged_memory_is_no_consent(folder: Path, text: str) -> None:
    folder.mkdir()
    (folder / "licences.json").write_text(text)
    with pytest.raises(DependencyError):
        licence_of(GFPGAN)
    consent.remember("gfpgan-mixed")
    assert licence_of(GFPGAN) == "gfpgan-mixed"


def test_a_shared_folder_that_is_not_ours(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write = consent.write_json

    def elsewhere(path: Path, *rest: object, **more: object) -> None:
        if path.parent == folder:
            raise PermissionError(13, "Permission denied")
        write(path, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(consent, "write_json", elsewhere)
    assert consent.remember("gfpgan-mixed") == tmp_path / ".cache/raydub/weights/licences.json"
    assert licence_and_consent(GFPGAN) == ("gfpgan-mixed", "remembered")
    monkeypatch.setattr(consent, "weights_folders", lambda: (folder,))
    with pytest.raises(DependencyError) as error:
        consent.remember("gfpgan-mixed")
    assert error.value.code == Code.STORAGE


def test_denied_files() -> None:
    [bad] = catalogue.DENIED
    with pytest.raises(DependencyError, match="web page"):
        catalogue.refuse_denied(bad.upper(), "x.pth")
    catalogue.refuse_denied(GFPGAN, "x.pth")


def test_no_consent_is_written_by_looking(folder: Path) -> None:
    for entry in ENTRIES:
        find(entry.name)
    with pytest.raises(DependencyError):
        licence_of(GFPGAN)
    assert not folder.exists() or os.listdir(folder) == []
