"""Why a file cannot be read as weights, from its bytes; nothing in it is run or unpickled.

torch's restricted reader refuses many things with similar messages: a pickle with code, one of an unknown protocol,
torch's own format of before 2017, an archive of something else. They are told apart here by first bytes, names in
archives, and the names that a pickle would call, which `pickletools` lists without calling them.
"""

from __future__ import annotations

import json
import pickletools
import re
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.errors import Code, DependencyError

AGAIN = "delete it and download the file itself again, not the web page about it"
_ALONE = "save only its state_dict, or convert it to safetensors"
_UNPACK = "unpack it and give the path of the weights file inside"
_PAGES = (b"<!doctype", b"<html", b"<?xml", b"<head")
_POINTER = b"version https://git-lfs"
_OTHERS = {
    b"\x1f\x8b\x08": "a gzip archive",
    b"BZh": "a bzip2 archive",
    b"\xfd7zXZ\0": "an xz archive",
    b"\x28\xb5\x2f\xfd": "a zstd archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"Rar!": "a rar archive",
    b"\x89HDF\r\n": "an HDF5 file (Keras)",
    b"GGUF": "a GGUF file",
    b"\x93NUMPY": "a numpy array",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"%PDF": "a PDF document",
    b"\x7fELF": "a program",
    b"MZ": "a program",
    b"#!": "a program",
}
_SUFFIXES = (".pth", ".pt", ".ckpt", ".bin", ".safetensors", ".pkl")
# What pickles of tensors call; all else is taken for code.
_HARMLESS = re.compile(
    r"torch(\.cuda)? \w*Storage|torch\.storage \w+|torch\._utils _rebuild_\w+|torch\._tensor _rebuild_from_type_v2"
    r"|torch\.nn\.parameter Parameter|torch Size|torch device|torch Tensor|torch u?(int|float|bfloat|complex)\w*"
    r"|torch (bool|half|double|long|short)"
    r"|collections (OrderedDict|defaultdict)|_codecs encode|builtins (set|dict|list|bytearray|complex)|__builtin__ set"
)
_NUMPY = re.compile(r"numpy(\._?core)?(\.\w+)? (_reconstruct|scalar|ndarray|dtype|_frombuffer)|numpy\.dtypes \w+")
_LONGEST = 1 << 28
_NEWEST = 3
_PICKLES = 5
_OPCODES = 20_000_000


def no_weights(head: bytes) -> str | None:
    """What a file is, if its first bytes (512 are enough) show that it is not a weights file; else None."""
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if not head:
        return "empty"
    if text.startswith(_PAGES):
        return "a web page, not weights"
    if text.startswith(_POINTER):
        return "a git-lfs pointer, not weights"
    if head[8:9] == b"{" and head[5:8] == bytes(3):
        return None  # safetensors, whose first bytes are a number
    found = next((name for magic, name in _OTHERS.items() if head.startswith(magic)), None)
    if found is None and head[4:8] == b"ftyp":
        found = "a video"
    if found is None and len(head) == 512 and not head.strip(b"\0"):
        found = "a file of zeros (an incomplete download)"
    return f"{found}, not weights" if found else None


@dataclass(frozen=True)
class Pickled:
    """The content of a file's pickles. calls: "module name" of everything that they would call or build, in order;
    protocol: the highest; whole: do they end? count: number of complete pickles."""

    calls: tuple[str, ...]
    protocol: int
    whole: bool
    count: int


class _Bounded:
    """The first 256 MiB of a stream: damaged bytes may state any length."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._left = _LONGEST

    def read(self, count: int) -> bytes:
        return self._taken(self._stream.read(min(count, self._left + 1)))

    def readline(self) -> bytes:
        return self._taken(self._stream.readline(self._left + 1))

    def _taken(self, data: bytes) -> bytes:
        self._left -= len(data)
        if self._left < 0:
            raise EOFError
        return data


def refused(file: Path, error: Exception) -> DependencyError:
    """WEIGHTS_REFUSED for a file that torch or safetensors cannot read, with the reason."""
    with file.open("rb") as stream:
        head = stream.read(512)
        if head[:2] == b"PK":
            return _archive(file, error)
        if is_tar(head):
            return _tar(file)
        if head[8:9] == b"{" or file.suffix == ".safetensors":
            return _error(file, f"is truncated or not a safetensors file: {_first(error)}", AGAIN)
        if _is_text(head):
            said = "a JSON text" if head.lstrip()[:1] in (b"{", b"[") and _is_json(file) else "a text"
            if not _pickle_like(head):
                return _error(file, f"is truncated or not a weights file: it is {said}", AGAIN)
        stream.seek(0)
        found = scan(_Bounded(stream))
    return _pickle(file, found, error)


def is_tar(head: bytes) -> bool:
    """A tar archive, by the mark that all of them since 1988 have."""
    return head[257:262] == b"ustar"


def scan(stream: Any) -> Pickled:
    """List what the pickles at the stream's place would call: up to five, one after the other, as torch wrote before
    2020. Reads opcodes only."""
    calls: list[str] = []
    protocol, done, count = 0, 0, 0
    try:
        while done < _PICKLES:
            texts: list[str] = []
            memo: dict[int, str] = {}
            for opcode, argument, _ in pickletools.genops(stream):
                count += 1
                if count > _OPCODES:
                    return Pickled(tuple(calls), protocol, True, done)
                name = opcode.name
                if name == "PROTO":
                    protocol = max(protocol, int(argument or 0))
                elif name in ("GLOBAL", "INST"):
                    calls.append(str(argument))
                elif name == "STACK_GLOBAL":
                    calls.append(" ".join(texts[-2:]) if len(texts) > 1 else "something unnamed")
                elif name == "MEMOIZE":
                    memo[len(memo)] = texts[-1] if texts else ""
                elif name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int):
                    memo[argument] = texts[-1] if texts else ""
                elif name in ("GET", "BINGET", "LONG_BINGET") and isinstance(argument, int):
                    texts.append(memo.get(argument, ""))
                elif isinstance(argument, str):
                    texts.append(argument)
                del texts[:-2]
            done += 1
    # Damaged bytes raise any of these: the pickles end here.
    except (ValueError, EOFError, UnicodeDecodeError, IndexError, OverflowError, MemoryError, AttributeError):
        return Pickled(tuple(calls), protocol, False, done)
    return Pickled(tuple(calls), protocol, True, done)


def _pickle(file: Path, found: Pickled, error: Exception) -> DependencyError:
    code = [call for call in found.calls if not _HARMLESS.fullmatch(call) and not _NUMPY.fullmatch(call)]
    if code:
        named = ", ".join(dict.fromkeys(call.replace(" ", ".") for call in code[:3]))
        return _error(file, f"holds objects other than tensors ({named}), which could run code", _ALONE)
    if any(_NUMPY.fullmatch(call) for call in found.calls):
        return _error(
            file, "is a pickle with numpy arrays or numbers beside tensors", "import it with `raydub models import`"
        )
    if not found.count:
        return _error(file, f"is truncated or not a weights file: {_first(error)}", AGAIN)
    if found.protocol > _NEWEST:
        message = f"is a pickle of protocol {found.protocol}, which the restricted reader does not know"
        return _error(file, message, "save it again with torch.save, which writes protocol 2, or as safetensors")
    if not found.calls and found.count == 1:
        message = f"{file} is a pickle without tensors, and not one of torch's"
        return DependencyError(Code.WEIGHTS_REFUSED, message, hint=_ALONE)
    return _error(file, f"is truncated or not a weights file: {_first(error)}", AGAIN)


def _archive(file: Path, error: Exception) -> DependencyError:
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            records = [name for name in names if name.rsplit("/", 1)[-1] == "data.pkl"]
            if records:
                if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
                    return _error(file, "is a TorchScript program, which is code", _ALONE)
                if archive.getinfo(records[0]).file_size > _LONGEST:
                    return _error(file, "has an index of more than 256 MiB", _ALONE)
                with archive.open(records[0]) as stream:
                    found = scan(_Bounded(stream))
                return _pickle(file, found, error)
    except (zipfile.BadZipFile, OSError, ValueError, RuntimeError):
        return _error(file, "is truncated or damaged: the zip archive's index, at its end, is missing or broken", AGAIN)
    inside = [name for name in names if name.lower().endswith(_SUFFIXES)]
    if inside:
        return _error(file, f"is a zip archive with {inside[0]} in it, not weights itself", _UNPACK)
    if names and all(name.endswith(".npy") for name in names):
        return _error(file, "is an archive of numpy arrays (npz)", "save them as safetensors")
    return _error(file, "is a zip archive of something else: it holds no data.pkl, which torch writes", AGAIN)


def _tar(file: Path) -> DependencyError:
    try:
        with tarfile.open(file, "r:") as archive:
            names = set()
            for member in archive:
                names.add(member.name)
                if len(names) > 100:
                    break
    except (tarfile.TarError, OSError, EOFError):
        return _error(file, "is a truncated or damaged tar archive", AGAIN)
    if {"pickle", "storages", "tensors"} <= names:
        hint = "load it with the program that made it and save its state_dict again, or convert it to safetensors"
        return _error(file, "is in torch's tar format of before 2017, which can only be read by running code", hint)
    return _error(file, "is a tar archive, not weights", _UNPACK)


def _is_text(head: bytes) -> bool:
    return all(byte >= 32 or byte in b"\t\r\n" for byte in head) and head.isascii()


def _is_json(file: Path) -> bool:
    if file.stat().st_size > 1 << 20:
        return True
    try:
        json.loads(file.read_bytes())
    except ValueError:
        return False
    return True


def _pickle_like(head: bytes) -> bool:
    """Pickles of protocol 0 are text: their first opcodes are marks, globals and numbers in lines of their own."""
    return re.match(rb"\(|c[\w.]+\n[\w.]+\n|[ILFSV].*\n", head) is not None


def _first(error: Exception) -> str:
    line = (str(error) or type(error).__name__).splitlines()[0]
    if line.startswith("Weights only load failed"):  # followed by a page of advice, some of it unsafe
        return "it is not a pickle of tensors"
    return line.split(" In PyTorch 2.6")[0][:160]


def _error(file: Path, message: str, hint: str) -> DependencyError:
    return DependencyError(Code.WEIGHTS_REFUSED, f"{file} {message}", hint=hint)
