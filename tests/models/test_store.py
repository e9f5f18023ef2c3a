"""Finding weights by name and path, what is remembered of them, and files that users bring."""

from __future__ import annotations

import collections
import hashlib
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from raydub import identity
from raydub.errors import Code, DependencyError, UsageError
from raydub.models import catalogue
from raydub.models.catalogue import Entry, custom_entries, find
from raydub.models.load import load_state
from raydub.models.store import state
from raydub.models.store.importing import import_file
from raydub.models.store.locate import known_digest, locate, present
from raydub.models.store.seen import look
from tests.kept import at_rest
from tests.models.weights_server import Shelf, entry_for, open_shop, weights

CONTENT = weights(40_000)
TENSORS = {"a.weight": torch.arange(600, dtype=torch.float32).reshape(20, 30), "a.bias": torch.ones(3).half()}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYDUB_WEIGHTS", str(tmp_path / "weights"))
    monkeypatch.setenv("RAYDUB_OFFLINE", "1")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("RAYDUB_ACCEPT_LICENSE", raising=False)
    (tmp_path / "weights").mkdir()
    return tmp_path / "weights"


Publish = Callable[..., Entry]


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> Publish:
    """Adds a file to the catalogue, for this test."""

    def add(content: bytes = CONTENT, *urls: str, name: str = "net", licence: str = "MIT") -> Entry:
        entry = entry_for(content, *urls, name=name, licence=licence)
        needs = catalogue.LICENCES[licence].consent
        monkeypatch.setattr(catalogue, "ENTRIES", (*catalogue.ENTRIES, entry))
        monkeypatch.setitem(catalogue.PUBLISHED, entry.sha256, catalogue.Published(entry.file, licence, needs))
        return entry

    return add


def code_of(call: Callable[[], object]) -> Code:
    with pytest.raises((DependencyError, UsageError)) as error:
        call()
    return error.value.code


def test_by_name_from_the_folder(folder: Path, published: Publish) -> None:
    entry = published()
    assert known_digest("NET.pth") == entry.sha256
    assert code_of(lambda: locate("net")) == Code.WEIGHTS_MISSING
    at_rest(folder / "net.pth", CONTENT)
    assert look(entry) == "unverified"
    found = locate("net")
    assert (found.path, found.name, found.sha256) == (folder / "net.pth", "net.pth", entry.sha256)
    assert (found.licence, found.consent) == ("MIT", "")
    assert look(entry) == "here"


def test_absent_files_are_downloaded(folder: Path, published: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYDUB_OFFLINE", "0")
    with open_shop() as shop:
        published(CONTENT, shop.put("/net.pth", Shelf(CONTENT)), licence="codeformer-noncommercial")
        assert code_of(lambda: locate("net")) == Code.LICENCE
        assert shop.hits == []
        found = locate("net", accepted=["codeformer-noncommercial"])
        assert found.path.read_bytes() == CONTENT
        assert (found.licence, found.consent) == ("codeformer-noncommercial", "flag")
        assert code_of(lambda: locate("net")) == Code.LICENCE


def test_a_damaged_file_is_refused_and_kept(folder: Path, published: Publish) -> None:
    entry = published()
    path = folder / "net.pth"
    at_rest(path, CONTENT)
    assert locate("net").path == path
    at_rest(path, CONTENT[:-1])
    assert look(entry) == "wrong"
    assert code_of(lambda: locate("net")) == Code.WEIGHTS_HASH
    at_rest(path, CONTENT[:-1] + b"?")
    assert code_of(lambda: locate("net")) == Code.WEIGHTS_HASH
    assert look(entry) == "wrong"
    assert path.exists()


def test_a_file_is_hashed_once(folder: Path, published: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = published()
    path = folder / "net.pth"
    at_rest(path, CONTENT)
    locate("net")
    with monkeypatch.context() as patch:
        patch.setattr(identity.hashlib, "file_digest", lambda *_: pytest.fail("hashed again"))
        identity._memo.clear()  # another process
        assert locate("net").sha256 == entry.sha256
    # Same size and time of change, other bytes: the time of the inode tells, which nobody can set.
    then = path.stat().st_mtime_ns
    path.write_bytes(CONTENT[:-1] + b"?")
    os.utime(path, ns=(then, then))
    assert state.digest_of(path) != entry.sha256
    assert code_of(lambda: locate("net")) == Code.WEIGHTS_HASH


def test_a_folder_that_cannot_be_written(folder: Path, published: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    published()
    (folder / "net.pth").write_bytes(CONTENT)

    def read_only(*_: object, **__: object) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(state, "write_json", read_only)
    assert locate("net").path == folder / "net.pth"


def test_by_path(folder: Path, tmp_path: Path, published: Publish, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "own.pth"
    torch.save(TENSORS, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for model in (path, str(path)):
        found = locate(model)
        assert (found.path, found.name, found.sha256, found.licence) == (path, "own.pth", digest, "custom")
        assert known_digest(model) == digest
    monkeypatch.chdir(tmp_path)
    assert locate("own.pth").sha256 == digest
    entry = published(path.read_bytes(), licence="wav2lip-noncommercial")
    assert code_of(lambda: locate(path)) == Code.LICENCE
    assert locate(path, accepted=[entry.licence]).licence == entry.licence
    assert code_of(lambda: locate(str(tmp_path / "none.pth"))) == Code.WEIGHTS_MISSING
    path.write_bytes(b"<html>")
    assert code_of(lambda: locate(path)) == Code.WEIGHTS_REFUSED


def test_neither_a_name_nor_a_file() -> None:
    for call in (locate, known_digest):
        with pytest.raises(DependencyError) as error:
            call("GFPGANv14")
        assert error.value.code == Code.WEIGHTS_MISSING
        assert "'GFPGANv1.4'" in error.value.hint


def test_denied_files_are_refused_wherever_they_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "wav2lip.pth"
    torch.save(TENSORS, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(catalogue.DENIED, digest, "another network")
    for call in (locate, import_file):
        with pytest.raises(DependencyError, match="another network"):
            call(path)


def test_looking_names_up_is_light() -> None:
    heavy = ("torch", "urllib3", "filelock", "numpy", "ray", "cv2")
    script = (
        "import sys\nfrom raydub.models.catalogue import find\nfrom raydub.models.store.locate import known_digest\n"
        "assert find('wav2lip_gan') and not find('./wav2lip_gan')\n"
        f"assert known_digest('GFPGANv1.4').startswith('e2cd')\nprint([n for n in {heavy} if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_import_of_a_published_file(folder: Path, tmp_path: Path, published: Publish) -> None:
    entry = published()
    source = tmp_path / "download(1).bin"
    source.write_bytes(CONTENT)
    found, place = import_file(source, as_name="net")
    assert (found, place) == (entry, folder / "net.pth")
    assert source.exists()
    assert present(entry) == place
    assert code_of(lambda: import_file(source, as_name="codeformer")) == Code.WEIGHTS_HASH
    assert code_of(lambda: import_file(source, as_name="codeformr")) == Code.FIELD_VALUE
    assert code_of(lambda: import_file(source, to_name="mine")) == Code.FIELD_CONFLICT
    place.write_bytes(b"damaged")
    assert import_file(source)[1].read_bytes() == CONTENT
    other = published(weights(3000), name="graph")
    other = replace(other, file="graph.onnx")
    source.write_bytes(weights(3000))
    assert import_file(source)[1] == folder / "graph.pth"


def equal(path: Path) -> bool:
    loaded = load_state(path)
    return loaded.keys() == TENSORS.keys() and all(
        torch.equal(loaded[key], TENSORS[key]) and loaded[key].dtype == TENSORS[key].dtype for key in TENSORS
    )


@pytest.mark.parametrize("form", ["old", "zip", "safetensors", "nested", "ordered"])
def test_custom_files_become_safetensors(folder: Path, tmp_path: Path, form: str) -> None:
    source = tmp_path / "My.Net.pth"
    if form == "safetensors":
        save_file(TENSORS, source)
    elif form == "nested":
        torch.save({"state_dict": {f"module.{key}": value for key, value in TENSORS.items()}, "epoch": 3}, source)
    else:
        state_dict = collections.OrderedDict(TENSORS) if form == "ordered" else TENSORS
        torch.save(state_dict, source, _use_new_zipfile_serialization=form == "zip")
    entry, place = import_file(source, to_name="mine")
    assert place == folder / "mine.safetensors"
    assert entry.custom
    assert equal(place)
    note = json.loads((folder / ".mine.safetensors.json").read_text())
    assert note["source_sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert (note["licence"], note["origin"]) == ("custom", "My.Net.pth")
    assert find("Mine") == entry
    found = locate("mine")
    assert (found.path, found.licence, found.consent) == (place, "custom", "")
    assert found.sha256 == known_digest("mine") == hashlib.sha256(place.read_bytes()).hexdigest()
    assert [custom.name for custom in custom_entries()] == ["mine"]
    assert look(entry) == "custom"


def test_conversion_happens_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from raydub.models.store import importing

    source = tmp_path / "net7.pth"
    torch.save(TENSORS, source)
    first = import_file(source)
    monkeypatch.setattr(importing, "read_pickle", lambda _: pytest.fail("converted again"))
    assert import_file(source) == first
    monkeypatch.undo()


@pytest.mark.parametrize("form", ["x.safetensors", "x.pth"])
@pytest.mark.parametrize("there", ["another", "folder", "link"])
def test_files_put_there_by_hand_are_not_imported_over(folder: Path, tmp_path: Path, form: str, there: str) -> None:
    source, own = tmp_path / form, folder / "mine.safetensors"
    save_file(TENSORS, source) if form.endswith("s") else torch.save(TENSORS, source)
    if there == "folder":
        own.mkdir()
    elif there == "link":
        own.symlink_to("nowhere")
    else:
        save_file({"a": torch.ones(5)}, own)
    before = os.lstat(own)
    assert code_of(lambda: import_file(source, to_name="mine")) == Code.OUTPUT_EXISTS
    assert (os.lstat(own).st_ino, os.lstat(own).st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    entry, _ = import_file(source, to_name="other")
    assert find("other") == entry


def test_the_same_file_put_there_by_hand_becomes_an_import(folder: Path, tmp_path: Path) -> None:
    """So does what an import that was killed before its note left behind."""
    source, own = tmp_path / "x.safetensors", folder / "mine.safetensors"
    save_file(TENSORS, source)
    own.write_bytes(source.read_bytes())
    entry, place = import_file(source, to_name="mine")
    assert (place, own.read_bytes(), find("mine")) == (own, source.read_bytes(), entry)


def test_tied_weights_and_numpy_leftovers(folder: Path, tmp_path: Path) -> None:
    shared = torch.arange(6.0)
    whole = {
        "state_dict": {"a": shared, "b": shared[2:], "c": np.arange(4, dtype=np.float32), "d": shared.view(2, 3).t()},
        "best": np.float64(0.5),
        "mean": np.ones(3),
    }
    source = tmp_path / "old.pth"
    torch.save(whole, source, _use_new_zipfile_serialization=False)
    assert code_of(lambda: load_state(source)) == Code.WEIGHTS_REFUSED
    loaded = load_state(import_file(source)[1])
    assert torch.equal(loaded["b"], shared[2:])
    assert torch.equal(loaded["d"], torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]]))
    assert loaded["c"].tolist() == [0.0, 1.0, 2.0, 3.0]
    # Only the import lets numpy in.
    assert code_of(lambda: load_state(source)) == Code.WEIGHTS_REFUSED


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> object:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["zip", "old", "pickle", "array"])
def test_a_pickle_with_code_never_runs(folder: Path, tmp_path: Path, form: str) -> None:
    source, canary = tmp_path / "evil.pth", tmp_path / "canary"
    whole = {"state_dict": {**TENSORS, "x": Bomb(canary)}}
    if form == "pickle":
        source.write_bytes(pickle.dumps(whole))
    elif form == "array":
        torch.save({"a": torch.ones(2), "x": np.array([Bomb(canary)], dtype=object)}, source)
    else:
        torch.save(whole, source, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(DependencyError) as error:
        import_file(source)
    assert error.value.code == Code.WEIGHTS_REFUSED
    named = {"pickle": "evil.pth"}.get(form, "posix.mkdir")
    assert named in error.value.message
    assert not canary.exists()
    assert [path.name for path in folder.iterdir() if not path.name.endswith(".lock")] == []


def test_a_small_file_does_not_swell(folder: Path, tmp_path: Path) -> None:
    source = tmp_path / "bomb.pth"
    torch.save({"a": torch.ones(1).expand(100_000, 100_000)}, source)
    with pytest.raises(DependencyError, match="would expand"):
        import_file(source)


@pytest.mark.parametrize(
    ("name", "to", "code"),
    [
        ("wav2lip.pth", None, Code.FIELD_CONFLICT),
        ("x.pth", "GFPGAN", Code.FIELD_CONFLICT),
        ("x.pth", "../x", Code.FIELD_VALUE),
        ("x.pth", ".x", Code.FIELD_VALUE),
        ("x.pth", "", Code.FIELD_VALUE),
        ("Netz für Münder.pth", None, Code.FIELD_VALUE),
    ],
)
def test_names_of_custom_files(folder: Path, tmp_path: Path, name: str, to: str | None, code: Code) -> None:
    torch.save(TENSORS, tmp_path / name)
    assert code_of(lambda: import_file(tmp_path / name, to_name=to)) == code
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("content", [b"<!doctype html>", b"version https://git-lfs.github.com/spec/v1\n", b""])
def test_imports_that_are_no_weights(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    assert code_of(lambda: import_file(tmp_path / "x.pth")) == Code.WEIGHTS_REFUSED
    assert code_of(lambda: import_file(tmp_path / "none.pth")) == Code.WEIGHTS_MISSING


def test_a_custom_file_that_changes_is_refused(folder: Path, tmp_path: Path) -> None:
    torch.save(TENSORS, tmp_path / "net8.pth")
    entry, place = import_file(tmp_path / "net8.pth")
    place.write_bytes(place.read_bytes() + b" ")
    assert code_of(lambda: locate("net8")) == Code.WEIGHTS_HASH
    assert look(entry) == "wrong"
    assert code_of(lambda: locate("net8")) == Code.WEIGHTS_HASH
    assert import_file(tmp_path / "net8.pth")[1] == place
    assert equal(locate("net8").path)
    place.unlink()
    assert find("net8") is None


@pytest.mark.media
def test_real_files(folder: Path, media_dir: Path) -> None:
    detector, network = (
        media_dir / "weights" / name
        for name in ("face_detection_yunet_2023mar.onnx", "realesr-general-x4v3.from_fp16.pth")
    )
    if not (detector.is_file() and network.is_file()):
        pytest.skip(f"no weights at {media_dir / 'weights'}")
    entry, place = import_file(detector)
    assert (entry.name, place.name) == ("face_detection_yunet_2023mar", detector.name)
    assert detector.stat().st_size == entry.size
    from raydub.models.face_detectors import best_detector, require_yunet

    assert require_yunet() == place
    assert best_detector() == "yunet"
    # The same tensors in another file are not the published bytes: custom.
    entry, place = import_file(network, to_name="general-half")
    assert entry.custom
    assert code_of(lambda: import_file(network, as_name="realesr-general-x4v3")) == Code.WEIGHTS_HASH
    before, after = load_state(network), load_state(place)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
