"""What a file is: every byte counts, and a look is relied on only where no change can hide from it."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

import raydub.identity as identity_module
from raydub.errors import Code, InputError
from raydub.identity import (
    COARSE_TICK_NS,
    FINE_TICK_NS,
    backdate,
    identify,
    is_settled,
    known_identity,
    look_of,
    open_regular,
    tick_of,
)
from raydub.store import Store


@pytest.fixture(autouse=True)
def _forget() -> None:
    identity_module._memo.clear()


def old(path: Path, content: bytes) -> Path:
    """A file whose times lie far enough back, as far as a user can set them."""
    path.write_bytes(content)
    backdate(path)
    return path


@given(size=st.integers(1, 1 << 16), at=st.integers(0, (1 << 16) - 1))
def test_every_byte_counts(tmp_path_factory: pytest.TempPathFactory, size: int, at: int) -> None:
    path = tmp_path_factory.getbasetemp() / "bytes"
    content = bytearray(size)
    path.write_bytes(content)
    before = identify(path).sha256
    content[at % size] ^= 1
    path.write_bytes(content)
    assert identify(path).sha256 != before


def test_one_byte_in_the_middle_of_a_large_file(tmp_path: Path) -> None:
    path = old(tmp_path / "large", bytes(24 << 20))
    before = identify(path)
    with path.open("r+b") as stream:
        stream.seek(13_000_001)
        stream.write(b"\x01")
    assert identify(path).sha256 != before.sha256


def test_a_settled_file_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, store = old(tmp_path / "a", b"content"), Store(tmp_path / "work")
    read: list[str] = []
    real = open_regular
    monkeypatch.setattr(identity_module, "open_regular", lambda name: read.append(str(name)) or real(name))
    monkeypatch.setattr(identity_module, "is_settled", lambda state: True)
    first = identify(path, store.identities)
    assert first.look == look_of(path)
    assert identify(path) == first
    identity_module._memo.clear()  # another process
    assert known_identity(path) is None
    assert known_identity(path, store.identities) == first
    assert identify(path, store.identities) == first
    assert len(read) == 1
    assert identify(path, anew=True) == first
    assert len(read) == 2


def test_what_changed_within_a_tick_is_read_each_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same size, and on a coarse clock the same times and inode: only the content tells."""
    path, store = tmp_path / "a", Store(tmp_path / "work")
    path.write_bytes(b"first")
    monkeypatch.setattr(identity_module, "_look", lambda state: "the same look")
    monkeypatch.setattr(identity_module, "is_settled", lambda state: False)
    first = identify(path, store.identities)
    assert first.look == ""
    path.write_bytes(b"other")
    assert identify(path, store.identities).sha256 != first.sha256
    assert known_identity(path, store.identities) is None


def test_when_a_look_can_be_relied_on() -> None:
    def state(age_ns: int, fraction: bool) -> os.stat_result:
        when = time.time_ns() - age_ns
        when = when // 10**9 * 10**9 + (1 if fraction else 0)
        return os.stat_result((0, 0, 0, 0, 0, 0, 5, 0, when / 1e9, 0), {"st_mtime_ns": when, "st_ctime_ns": when - 1})

    assert is_settled(state(5 * 10**9, fraction=True))
    assert is_settled(state(5 * 10**9, fraction=False))
    assert is_settled(state(int(1.5 * 10**9), fraction=True))
    assert not is_settled(state(int(1.2 * 10**9) - 10**9, fraction=False))
    assert not is_settled(state(-60 * 10**9, fraction=True)), "a time in the future says nothing"
    assert (tick_of(10**18), tick_of(10**18 + 1)) == (COARSE_TICK_NS, FINE_TICK_NS)


def test_whoever_writes_to_a_backdated_file_changes_its_look(tmp_path: Path) -> None:
    path = old(tmp_path / "a", b"one")
    before = look_of(path)
    for content in (b"two", b"one"):
        path.write_bytes(content)
        assert look_of(path) != before


def test_renaming_and_times_that_are_set_back_change_the_look(tmp_path: Path) -> None:
    path = old(tmp_path / "a", b"one")
    state, before = os.stat(path), look_of(path)
    time.sleep(0.05)  # the clock of ctime has ticks of some ms
    old(tmp_path / "b", b"two")
    os.utime(tmp_path / "b", ns=(state.st_atime_ns, state.st_mtime_ns))
    os.replace(tmp_path / "b", path)
    assert os.stat(path).st_mtime_ns == state.st_mtime_ns
    assert look_of(path) != before


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    for path in (tmp_path / "pipe", tmp_path / "folder", tmp_path / "loop", Path("/dev/zero"), tmp_path / "absent"):
        with pytest.raises(OSError):
            identify(path)


def test_a_file_that_does_not_come_to_rest_is_a_named_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"0")
    real, writes = hashlib.file_digest, iter(range(1, 100))

    def while_somebody_writes(stream: BinaryIO, name: str) -> object:
        found = real(stream, name)  # type: ignore[arg-type]
        if next(writes) <= disturbances:
            with path.open("ab") as other:
                other.write(b"0")
        return found

    monkeypatch.setattr(hashlib, "file_digest", while_somebody_writes)
    disturbances = 2
    assert identify(path).sha256 == hashlib.sha256(b"000").hexdigest()
    writes, disturbances = iter(range(1, 100)), 99
    with pytest.raises(InputError) as caught:
        identify(path, what="video")
    assert caught.value.code is Code.INPUT_CHANGED
    assert str(path) in caught.value.message
