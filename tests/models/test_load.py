"""Weight files as they really turn up: pages, pointers, cut files, pickles with code, other networks."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raydub.errors import EXIT_DEPENDENCY, Code, DependencyError
from raydub.models import catalogue
from raydub.models.catalogue import ACCEPT_VARIABLE, Published, licence_of
from raydub.models.load import load_arrays, load_state, sha256_of

LICENCE = "wav2lip-noncommercial"
TENSORS = {"a.weight": torch.arange(600, dtype=torch.float32), "a.bias": torch.ones(3)}


def refused(path: Path, sha256: str | None = None) -> DependencyError:
    with pytest.raises(DependencyError) as error:
        load_state(path, sha256)
    assert error.value.exit_code == EXIT_DEPENDENCY
    if sha256 is None:
        with pytest.raises(DependencyError) as other:
            load_arrays(path)
        assert other.value.code == error.value.code
    return error.value


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("nest", [None, "state_dict", "params_ema"])
def test_torch_files(tmp_path: Path, nest: str | None, old: bool) -> None:
    state = {f"module.{key}": value for key, value in TENSORS.items()}
    path = tmp_path / "x.pth"
    whole = state if nest is None else {nest: state, "global_step": 7}
    torch.save(whole, path, _use_new_zipfile_serialization=not old)
    loaded = load_state(path, hashlib.sha256(path.read_bytes()).hexdigest().upper())
    assert loaded.keys() == TENSORS.keys()
    assert all(torch.equal(loaded[key], TENSORS[key]) for key in TENSORS)


def test_safetensors_whatever_the_name(tmp_path: Path) -> None:
    for name in ("x.safetensors", "x.pth"):
        save_file(TENSORS, tmp_path / name)
        assert load_state(tmp_path / name).keys() == TENSORS.keys()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"<!DOCTYPE html><title>Sign in</title>", "web page"),
        (b"\xef\xbb\xbf \n <HTML><body>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 435801865\n", "git-lfs pointer"),
        (b"", "empty"),
        (b"PK\x03\x04 not a zip at all", "truncated"),
        (b"just some text", "truncated"),
        (bytes((37 * n * n + 11 * n) % 251 for n in range(4096)), "truncated"),
    ],
)
@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
def test_files_that_are_no_weights(tmp_path: Path, content: bytes, words: str, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    error = refused(path)
    assert error.code == Code.WEIGHTS_REFUSED
    assert words in error.message
    assert str(path) in error.message


@pytest.mark.parametrize("form", ["zip", "old", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.95])
def test_truncated_files(tmp_path: Path, form: str, share: float) -> None:
    path = tmp_path / "x.bin"
    if form == "safetensors":
        save_file(TENSORS, path)
    else:
        torch.save(TENSORS, path, _use_new_zipfile_serialization=form == "zip")
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    assert refused(path).code == Code.WEIGHTS_REFUSED


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["zip", "old", "pickle"])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path: Path, form: str) -> None:
    path, trace = tmp_path / "x.pth", tmp_path / "was-run"
    if form == "pickle":
        path.write_bytes(pickle.dumps({"state_dict": Bomb(trace)}))
    else:
        torch.save({"state_dict": Bomb(trace)}, path, _use_new_zipfile_serialization=form == "zip")
    assert refused(path).code == Code.WEIGHTS_REFUSED
    assert not trace.exists()


@pytest.mark.parametrize("trick", ["compressed", "twice", "script", "objects"])
def test_archives_that_torch_never_writes(tmp_path: Path, trick: str) -> None:
    """Compressed members were read as garbage: a mapped file is not inflated. None of the others runs anything."""
    path, trace = tmp_path / "x.pth", tmp_path / "was-run"
    if trick == "script":
        torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    elif trick == "objects":
        torch.save({"a": np.array([Bomb(trace)], dtype=object)}, path)
    else:
        torch.save(TENSORS, path)
        data = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(path, "w") as target:
            for member in source.infolist():
                packed = zipfile.ZIP_DEFLATED if trick == "compressed" else zipfile.ZIP_STORED
                target.writestr(member.filename, source.read(member), compress_type=packed)
            if trick == "twice":
                with pytest.warns(UserWarning, match="Duplicate"):
                    target.writestr(source.namelist()[0], pickle.dumps(Bomb(trace)))
    assert refused(path).code == Code.WEIGHTS_REFUSED
    assert not trace.exists()


def test_missing_hash_layout_onnx(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.pth").code == Code.WEIGHTS_MISSING
    assert refused(tmp_path).code == Code.WEIGHTS_MISSING
    path = tmp_path / "x.pth"
    torch.save(TENSORS, path)
    assert refused(path, "0" * 64).code == Code.WEIGHTS_HASH
    torch.save({"state_dict": {"epoch": 3}}, path)
    assert refused(path).code == Code.WEIGHTS_LAYOUT
    torch.save([1, 2], path)
    assert refused(path).code == Code.WEIGHTS_LAYOUT
    (tmp_path / "x.onnx").write_bytes(b"\x08\x07")
    assert "ONNX" in refused(tmp_path / "x.onnx").message


def test_sha256_sees_a_changed_file(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"one")
    assert sha256_of(path) == hashlib.sha256(b"one").hexdigest()
    path.write_bytes(b"three")
    assert sha256_of(path) == hashlib.sha256(b"three").hexdigest()


def test_licences(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ACCEPT_VARIABLE, raising=False)
    digest = "ca9ab7b7b812c0e80a6e70a5977c545a1e8a365a6c49d5e533023c034d7ac3d8"
    assert licence_of("ab" * 32) == "custom"
    with pytest.raises(DependencyError) as error:
        licence_of(digest)
    assert error.value.code == Code.LICENCE
    assert error.value.exit_code == 3
    assert LICENCE in error.value.hint
    assert "wav2lip_gan.pth" in error.value.message
    assert licence_of(digest, [LICENCE]) == LICENCE
    monkeypatch.setenv(ACCEPT_VARIABLE, f"other, {LICENCE}")
    assert licence_of(digest.upper()) == LICENCE
    monkeypatch.setitem(catalogue.PUBLISHED, "cd" * 32, Published("free.pth", "MIT", consent=False))
    monkeypatch.delenv(ACCEPT_VARIABLE)
    assert licence_of("cd" * 32) == "MIT"
