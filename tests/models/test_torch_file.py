"""torch files read without torch: the same arrays, and nothing from files that are not plain."""

from __future__ import annotations

import collections
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from raydub.models.load import load_arrays, load_state
from raydub.models.torch_file import read_torch
from tests.conftest import REPOSITORY

FORMS = [pytest.param(True, id="zip"), pytest.param(False, id="old")]


def all_of(found: Any) -> Any:
    return found


class Call:
    """Pickles as a call of `function` with `arguments`, and with an attribute state."""

    def __init__(self, function: Callable[..., Any], *arguments: Any, state: Any = None) -> None:
        self.made = (function, arguments, state) if state is not None else (function, arguments)

    def __reduce__(self) -> Any:
        return self.made


class Stored:
    """A storage of four floats."""


class _Pickler(pickle._Pickler):  # type: ignore[name-defined,misc]
    def persistent_id(self, obj: Any) -> Any:
        return ("storage", torch.FloatStorage, "0", "cpu", 4) if isinstance(obj, Stored) else None


def rebuilt(offset: Any, shape: Any, strides: Any, state: Any = None) -> Call:
    arguments = (Stored(), offset, shape, strides, False, collections.OrderedDict())
    return Call(torch._utils._rebuild_tensor_v2, *arguments, state=state)


def archive(path: Path, content: Any, compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as made:
        with made.open("x/data.pkl", "w") as stream:
            _Pickler(stream, protocol=2).dump(content)
        made.writestr("x/byteorder", b"little")
        made.writestr("x/data/0", np.arange(4, dtype=np.float32).tobytes())
    return path


@pytest.mark.parametrize("zipped", FORMS)
def test_the_same_arrays_as_torch_reads(tmp_path: Path, zipped: bool) -> None:
    whole = torch.arange(24, dtype=torch.float32).reshape(2, 3, 4)
    state: dict[str, torch.Tensor] = {
        "module.whole": whole,
        "module.turned": whole.permute(2, 0, 1),
        "module.part": whole[1, 1:],
        "module.empty": torch.zeros(0, 3),
        "module.scalar": torch.tensor(7),
        "module.half": torch.rand(5).half(),
        "module.double": torch.rand(5).double(),
        "module.learned": torch.nn.Parameter(torch.rand(3)),
    }
    linear = torch.nn.Linear(2, 2).state_dict()  # an ordered dict with versions as an attribute
    linear.update(state)
    path = tmp_path / "x.pth"
    torch.save(
        {"optimizer": {"steps": [torch.ones(2)]}, "state_dict": linear}, path, _use_new_zipfile_serialization=zipped
    )
    found = read_torch(path, lambda content: content["state_dict"])
    assert found is not None
    expected, loaded = load_state(path), load_arrays(path)
    assert loaded.keys() == expected.keys() == {name.removeprefix("module.") for name in found}
    for name, value in expected.items():
        assert np.array_equal(loaded[name], value.detach().numpy())
        assert loaded[name].dtype == value.detach().numpy().dtype
        assert not loaded[name].flags.writeable or loaded[name].size == 0


@pytest.mark.parametrize("zipped", FORMS)
def test_types_that_numpy_lacks_are_read_by_torch(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.ones(3, dtype=torch.bfloat16)}, path, _use_new_zipfile_serialization=zipped)
    assert read_torch(path, all_of) is None
    assert load_arrays(path)["a"].tolist() == [1.0, 1.0, 1.0]


def test_a_plain_archive_made_by_hand_is_read(tmp_path: Path) -> None:
    """So that the archives of the tests below are refused for what is wrong with them."""
    found = read_torch(archive(tmp_path / "x.pth", {"a": rebuilt(0, (2, 2), (1, 2))}), all_of)
    assert found is not None
    assert found["a"].tolist() == [[0, 2], [1, 3]]


@pytest.mark.parametrize(
    "tensor",
    [
        rebuilt(0, (5,), (1,)),
        rebuilt(1, (4,), (1,)),
        rebuilt(0, (2, 2), (1_000_000, 1)),
        rebuilt(-1, (2,), (1,)),
        rebuilt(0, (2,), (-1,)),
        rebuilt(0, (1 << 40,), (0,)),
        rebuilt(0, (2,), (1, 1)),
        rebuilt(0, (True,), (1,)),
        rebuilt(0, (2,), (1,), state={"strides": (1_000_000,)}),
        rebuilt(0, (2,), (1,), state=(None, {"shape": (1_000_000,)})),
    ],
)
def test_tensors_beyond_their_values_are_not_read(tmp_path: Path, tensor: Call) -> None:
    assert read_torch(archive(tmp_path / "x.pth", {"a": tensor}), all_of) is None


def test_code_is_neither_found_nor_run(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    for call in (Call(Path.touch, mark), Call(exec, f"open({str(mark)!r}, 'w')"), Call(getattr, "", "join")):
        assert read_torch(archive(tmp_path / "x.pth", {"a": rebuilt(0, (2,), (1,)), "b": call}), all_of) is None
    assert not mark.exists()


def test_compressed_members_are_not_read(tmp_path: Path) -> None:
    content = {"a": rebuilt(0, (2,), (1,))}
    assert read_torch(archive(tmp_path / "x.pth", content, zipfile.ZIP_DEFLATED), all_of) is None


@pytest.mark.parametrize("zipped", FORMS)
def test_cut_files_are_not_read(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "x.pth"
    torch.save({"a": torch.rand(100)}, path, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        assert read_torch(path, all_of) is None


def test_nested_tuples_are_not_hashed(tmp_path: Path) -> None:
    """That ends the process: as keys, in sets, as the name of a type, as the key of a storage."""
    deep = b"N" + b"\x85" * 300_000
    word = b"X\x07\x00\x00\x00storage"
    floats, place = b"ctorch\nFloatStorage\n", b"X\x03\x00\x00\x00cpuK\x04tQ"
    old = b"".join(pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}))
    for number, body in enumerate(
        [
            b"}" + deep + b"K\x01s",
            b"}(" + deep + b"K\x01u",
            b"(" + deep + b"K\x01d",
            b"(" + deep + b"\x91",
            b"\x8f(" + deep + b"\x90",
            b"ccollections\nOrderedDict\n](" + deep + b"K\x01\x86e\x85R",
            b"(" + word + floats + deep + place,
            b"(" + word + deep + b"X\x01\x00\x00\x000" + place,
        ]
    ):
        path = tmp_path / f"{number}.pth"
        path.write_bytes(old + b"\x80\x04" + body + b".")
    code = "import sys; from pathlib import Path; from raydub.models.torch_file import read_torch\n"
    code += "for path in sys.argv[1:]: print(path, read_torch(Path(path), lambda found: found), flush=True)"
    done = subprocess.run(
        [sys.executable, "-c", code, *sorted(tmp_path.iterdir())],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout.count(" None")) == (0, 8), done.stdout
