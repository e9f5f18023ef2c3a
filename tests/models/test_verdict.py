"""Every kind of file that is no weights file gets a reason of its own that is true, and none of them runs anything."""

from __future__ import annotations

import gzip
import io
import json
import os
import pickle
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from raydub.errors import Code, DependencyError
from raydub.models.load import load_state
from raydub.models.store.importing import read_pickle
from tests.examples import examples

TENSORS = {"a": torch.ones(300)}
CODE = "objects other than tensors"


class Bomb:
    """Makes a folder where it is unpickled."""

    target = ""

    def __reduce__(self) -> Any:
        return os.mkdir, (self.target,)


def saved(content: object, **more: Any) -> bytes:
    out = io.BytesIO()
    torch.save(content, out, **more)
    return out.getvalue()


def old(content: object, protocol: int = 2) -> bytes:
    return saved(content, _use_new_zipfile_serialization=False, pickle_protocol=protocol)


def archive(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as made:
        for name, data in members.items():
            made.writestr(name, data)
    return out.getvalue()


def tar(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as made:
        for name, data in members.items():
            about = tarfile.TarInfo(name)
            about.size = len(data)
            made.addfile(about, io.BytesIO(data))
    return out.getvalue()


def tensors(header: object, body: bytes = b"") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def half(data: bytes) -> bytes:
    return data[: len(data) // 2]


ROW = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
CASES: list[tuple[str, Callable[[], bytes], str]] = [
    *[(f"old {p}", lambda p=p: old({"state_dict": Bomb()}, p), CODE) for p in (1, 2, 3, 4, 5)],
    *[(f"zip {p}", lambda p=p: saved({"x": Bomb()}, pickle_protocol=p), CODE) for p in (1, 2, 3, 4, 5)],
    *[(f"plain {p}", lambda p=p: pickle.dumps({"x": Bomb()}, p), CODE) for p in range(6)],
    ("old after tensors", lambda: half(old([Bomb(), torch.ones(3000)])), CODE),
    ("by hand", lambda: b"cos\nsystem\n(S'false'\ntR.", "os.system"),
    ("a module", lambda: old(torch.nn.Linear(2, 2)), "torch.nn.modules.linear.Linear"),
    *[(f"tensors {p}", lambda p=p: saved(TENSORS, pickle_protocol=p), f"of protocol {p}") for p in (4, 5)],
    *[(f"old tensors {p}", lambda p=p: old(TENSORS, p), f"of protocol {p}") for p in (4, 5)],
    *[(f"list {p}", lambda p=p: pickle.dumps({"x": [1]}, p), "without tensors") for p in range(4)],
    *[(f"numpy {p}", lambda p=p: pickle.dumps({"x": np.ones(3)}, p), "numpy") for p in range(6)],
    ("tar", lambda: tar({"sys_info": b"", "pickle": pickle.dumps(Bomb()), "storages": b"", "tensors": b""}), "2017"),
    ("other tar", lambda: tar({"readme.txt": b"x"}), "is a tar archive"),
    ("cut tar", lambda: tar({"a": bytes(5000)})[:900], "tar archive"),
    ("zip of text", lambda: archive({"readme.txt": b"x"}), "holds no data.pkl"),
    ("empty zip", lambda: archive({}), "holds no data.pkl"),
    ("zip of weights", lambda: archive({"m/wav2lip.pth": saved(TENSORS)}), "m/wav2lip.pth in it"),
    ("npz", lambda: archive({"a.npy": b"x"}), "npz"),
    ("cut zip", lambda: half(saved(TENSORS)), "zip archive's index"),
    ("cut old", lambda: half(old(TENSORS)), "truncated"),
    ("gzip", lambda: gzip.compress(saved(TENSORS)), "gzip"),
    ("json", lambda: b'{"error": "not found"}', "JSON"),
    ("text", lambda: b"Not Found", "a text"),
    ("page", lambda: b"\n<!doctype html><title>Sign in</title>", "web page"),
    ("pointer", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n", "git-lfs pointer"),
    ("zeros", lambda: bytes(5000), "zeros"),
    ("hdf5", lambda: b"\x89HDF\r\n\x1a\n" + bytes(500), "HDF5"),
    ("video", lambda: b"\0\0\0\x20ftypisom" + bytes(50), "video"),
    ("bad header", lambda: tensors(b"{no json" + b" " * 20), "not a safetensors"),
    ("long header", lambda: struct.pack("<Q", 1 << 40) + b"{}", "not a safetensors"),
    ("cut safetensors", lambda: tensors(ROW, bytes(8)), "not a safetensors"),
    ("unknown kind", lambda: tensors({"a": {**ROW["a"], "dtype": "Q9"}}, bytes(16)), "not a safetensors"),
]


@pytest.mark.parametrize(("content", "words"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_true_reason_for_each(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: Callable[[], bytes], words: str
) -> None:
    trace = tmp_path / "was-run"
    monkeypatch.setattr(Bomb, "target", str(trace))
    path = tmp_path / "x.pth"
    path.write_bytes(content())
    with pytest.raises(DependencyError) as caught:
        load_state(path)
    assert caught.value.code == Code.WEIGHTS_REFUSED
    assert words in caught.value.message
    assert (words == CODE) <= ("truncated" not in caught.value.message)
    assert not trace.exists()


def test_safetensors_without_tensors(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(tensors({}))
    with pytest.raises(DependencyError) as caught:
        load_state(path)
    assert caught.value.code == Code.WEIGHTS_LAYOUT


def test_arrays_of_numpy_go_the_way_that_the_hint_says(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    torch.save({"state_dict": {"a": torch.ones(3)}, "best": np.float64(3.5)}, path)
    with pytest.raises(DependencyError, match="numpy") as caught:
        load_state(path)
    assert "models import" in caught.value.hint
    assert read_pickle(path).keys() == {"a"}


@settings(deadline=None, max_examples=examples(60))
@given(st.data())
def test_damaged_pickles_are_refused_or_read(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from([old(TENSORS), saved(TENSORS), pickle.dumps({"x": [1]}, 4)])))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("x") / "x.pth"
    path.write_bytes(bytes(content[: data.draw(st.integers(1, len(content)))]))
    try:
        load_state(path)
    except DependencyError as error:
        assert error.code in (Code.WEIGHTS_REFUSED, Code.WEIGHTS_LAYOUT)
