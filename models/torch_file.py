"""Tensors of a torch file as numpy arrays, without importing torch, which costs each process 3 s of CPU time.

For files as torch.save writes them for a state dict: the zip archive since torch 1.6, and the stream of pickles before
(in which the Wav2Lip weights were published). Everything else gets None, and torch's own reader decides about it.

The pickle may name an ordered dict and what tensors are rebuilt with, for which functions of this module stand in;
nothing else is looked up, no object's attributes are set, and only text and integers are hashed (hashing deeply nested
tuples ends the process). Python's own unpickler is used rather than the one in C:
its memo is a dict, where that of C grows to any size that a damaged file states. Arrays are read-only views of the
mapped file, after their bounds are checked.
"""

from __future__ import annotations

import io
import math
import mmap
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import IO, Any, ClassVar

import numpy as np

_TYPES = {
    "FloatStorage": np.dtype("<f4"),
    "DoubleStorage": np.dtype("<f8"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
}
_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001  # of the stream of pickles
_LARGEST = 8 << 20  # of a pickle; those of checkpoints have some 100 kB
_LOCAL = struct.Struct("<26xHH")  # of a zip member: lengths of its name and of the extra field behind it


class _Strange(Exception):
    """Not the plain file that this module reads."""


class _Storage:
    """Values in the file. place: offset of the first byte; None until it is known, where data follows the pickles."""

    def __init__(self, kind: Any, count: Any, place: int | None) -> None:
        if type(kind) is not str or type(count) is not int or count < 0:
            raise _Strange
        self.dtype, self.count, self.place = _TYPES[kind], count, place


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...]) -> None:
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self, data: mmap.mmap) -> Any:
        """A read-only view of the mapped file."""
        place, count, dtype = self.storage.place, self.storage.count, self.storage.dtype
        if place is None or place + count * dtype.itemsize > len(data):
            raise _Strange
        if 0 in self.shape:
            return np.zeros(self.shape, dtype)
        last = self.offset + sum((side - 1) * step for side, step in zip(self.shape, self.strides, strict=True))
        # The product: strides of 0 would make any number of values of one.
        if last >= count or math.prod(self.shape) > count:
            raise _Strange
        flat = np.frombuffer(data, dtype, count, place)[self.offset :]
        steps = [step * dtype.itemsize for step in self.strides]
        return np.lib.stride_tricks.as_strided(flat, self.shape, steps, writeable=False)


def _tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> _Tensor:
    if type(storage) is not _Storage or type(shape) is not tuple or type(strides) is not tuple or len(shape) > 8:
        raise _Strange
    if not all(type(number) is int and number >= 0 for number in (offset, *shape, *strides)):
        raise _Strange
    return _Tensor(storage, offset, shape, strides)


def _parameter(tensor: Any, *_: Any) -> Any:
    return tensor


def _ordered() -> Any:
    return OrderedDict()


_NAMES: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
    **{("torch", name): name for name in _TYPES},
}


class _Unpickler(pickle._Unpickler):
    dispatch: ClassVar = dict(pickle._Unpickler.dispatch)

    def __init__(self, stream: IO[bytes], storage: Callable[..., _Storage]) -> None:
        super().__init__(stream, encoding="utf-8")
        self._storage = storage

    def find_class(self, module: str, name: str) -> Any:
        try:
            return _NAMES[module, name]
        except KeyError:
            raise _Strange from None

    def persistent_load(self, saved: Any) -> Any:
        what, kind, key, _, count, *view = saved
        if what != "storage" or view not in ([], [None]) or type(key) is not str:
            raise _Strange
        return self._storage(kind, key, count)

    def load_build(self) -> None:
        """State dicts carry their modules' versions as an attribute, which is left out."""
        self.stack.pop()
        if type(self.stack[-1]) is not OrderedDict:
            raise _Strange

    def load_setitem(self) -> None:
        if type(self.stack[-2]) not in (str, int):
            raise _Strange
        super().load_setitem()

    def load_setitems(self) -> None:
        if any(type(key) not in (str, int) for key in self.stack[::2]):
            raise _Strange
        super().load_setitems()

    dispatch[pickle.BUILD[0]] = load_build
    dispatch[pickle.SETITEM[0]] = load_setitem
    dispatch[pickle.SETITEMS[0]] = load_setitems
    for _code in (pickle.DICT, pickle.EMPTY_SET, pickle.FROZENSET):
        del dispatch[_code[0]]


def read_torch(file: Path, choose: Callable[[Mapping[Any, Any]], Mapping[Any, Any]]) -> dict[str, Any] | None:
    """The arrays, by name, of the dict that `choose` takes from what the file holds; None where only torch can tell."""
    try:
        with file.open("rb") as stream:
            data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
            found = choose(_zipped(stream, data) if data[:2] == b"PK" else _streamed(data))
            return {str(key): value.array(data) for key, value in found.items() if type(value) is _Tensor}
    except Exception:  # damaged pickles raise anything
        return None


def _zipped(stream: IO[bytes], data: mmap.mmap) -> Any:
    with zipfile.ZipFile(stream) as archive:
        members = {member.filename: member for member in archive.infolist()}
        if len(members) < len(archive.infolist()) or any(one.compress_type for one in members.values()):
            raise _Strange
        [name] = [name for name in members if name.endswith("/data.pkl") and name.count("/") == 1]
        folder = name.removesuffix("data.pkl")
        order = members.get(f"{folder}byteorder")
        if members[name].file_size > _LARGEST or (order is not None and archive.read(order) != b"little"):
            raise _Strange

        def storage(kind: Any, key: Any, count: Any) -> _Storage:
            member = members[f"{folder}data/{key}"]
            name, extra = _LOCAL.unpack_from(data, member.header_offset)
            made = _Storage(kind, count, member.header_offset + _LOCAL.size + name + extra)
            if member.file_size < made.count * made.dtype.itemsize:
                raise _Strange
            return made

        return _Unpickler(io.BytesIO(archive.read(name)), storage).load()


def _streamed(data: mmap.mmap) -> Any:
    stream = io.BytesIO(data[:_LARGEST])
    kept: dict[Any, _Storage] = {}

    def storage(kind: Any, key: Any, count: Any) -> _Storage:
        return kept.setdefault(key, _Storage(kind, count, None))

    def load() -> Any:
        return _Unpickler(stream, storage).load()

    if load() != _MAGIC or load() != _PROTOCOL or load()["little_endian"] is not True:
        raise _Strange
    found, keys, place = load(), load(), stream.tell()
    for key in keys:
        if type(key) is not str:
            raise _Strange
        one = kept[key]
        if struct.unpack_from("<q", data, place)[0] != one.count:
            raise _Strange
        one.place = place + 8
        place = one.place + one.count * one.dtype.itemsize
    return found
