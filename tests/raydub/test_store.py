"""The store: what was put comes back whole or not at all, whatever happened to the files in between."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydub.blobs import verified
from raydub.errors import Code, StageError
from raydub.files import temp_beside
from raydub.forgotten import forget_before
from raydub.sealed import key_of
from raydub.store import Store, moment
from tests.examples import examples
from tests.kept import blob_of, files_in, record_of


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "work")


def test_bytes_come_back_under_their_name_and_content(store: Store) -> None:
    kept = store.put("a/b", b"content", ".bin", {"why": "naïve \ud800", "n": [1, 2.5]})
    digest = hashlib.sha256(b"content").hexdigest()
    assert kept.path == str(store.root / "blobs" / digest[:2] / f"{digest}.bin")
    found = store.get("a/b")
    assert found == kept
    assert found is not None
    assert (Path(found.path).read_bytes(), found.size) == (b"content", 7)
    assert verified(kept.path) == Path(kept.path)
    assert (store.get("a"), store.get("a/c"), store.record("x")) == (None, None, None)


def test_files_are_moved(store: Store) -> None:
    temp = store.temp(".mp4")
    temp.write_bytes(b"film")
    kept = store.put_file("parts/1", temp, {"frames": 3})
    assert not temp.exists()
    assert kept.path.endswith(".mp4")
    assert store.get("parts/1") == kept
    store.tell("parts/1", {"frames": 4})
    assert store.get("parts/1") is not None
    assert dict(store.get("parts/1").about) == {"frames": 4}  # type: ignore[union-attr]
    store.remove("parts/1")
    assert store.get("parts/1") is None


def test_equal_bytes_are_kept_once(store: Store) -> None:
    for name in ("a", "b", "c/d"):
        store.put(name, b"same", ".x")
    assert len(list((store.root / "blobs").rglob("*.x"))) == 1
    assert store.names("") == ["a", "b", "c/d"]
    assert store.names("c") == ["c/d"]
    assert store.names("absent") == []


def test_whatever_is_damaged_counts_as_absent(store: Store) -> None:
    for find in (blob_of, record_of):
        store.put("n", bytes(range(40)), ".x")
        path = find(store.root, "n")
        whole = path.read_bytes()
        damaged = [whole[:cut] for cut in (0, 1, len(whole) - 1)]
        damaged += [whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :] for at in range(len(whole))]
        damaged += [whole + b"0", b"[" * 100_000, b"null", b"{}"]
        for content in damaged:
            path.write_bytes(content)
            assert store.get("n") is None, content
        if find is blob_of:
            with pytest.raises(StageError, match="damaged"):
                verified(path)
        path.unlink()
        assert store.get("n") is None
        path.mkdir()
        assert store.get("n") is None
        path.rmdir()
        # Made anew, it is there again.
        store.put("n", bytes(range(40)), ".x")
        assert store.get("n") is not None


words = st.text(st.sampled_from('ab \u00e9\ud800\U0001f600\n"'), max_size=4)


@settings(suppress_health_check=list(HealthCheck), deadline=None, max_examples=examples(50))
@given(
    value=st.dictionaries(
        words,
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | words | st.lists(words),
        max_size=4,
    )
)
def test_records_are_what_was_said(store: Store, value: dict[str, object]) -> None:
    value.pop("seal", None)
    store.put_record("r", value)
    assert store.record("r") == value
    assert key_of(value) == key_of(dict(reversed(value.items())))


def test_a_pipe_in_the_place_of_a_record_is_no_record(store: Store) -> None:
    store.put_record("a/b", {"x": 1})
    path = record_of(store.root, "a/b")
    path.unlink()
    os.mkfifo(path)
    assert store.record("a/b") is None
    assert store.get("a/b") is None
    with pytest.raises(StageError) as caught:
        store.put_record("a/b", {"x": 2})
    assert "is a named pipe" in caught.value.message


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/../b", "/etc/x", "a//b", "a\0b", "a/"])
def test_no_name_leads_out(store: Store, name: str) -> None:
    for use in (lambda: store.put(name, b"x"), lambda: store.get(name), lambda: store.put_record(name, {})):
        with pytest.raises(ValueError):
            use()


def test_what_dead_writers_left_is_swept(store: Store, tmp_path: Path) -> None:
    alive = store.temp(".x")
    # Its writer is a process that cannot be: pids end far below.
    dead = alive.with_name(re.sub(r"_\d+_(\d+)_", r"_4194999_\1_", alive.name))
    beside = Path(temp_beside(tmp_path / "out" / "a.mp4"))
    also = beside.with_name(re.sub(r"_\d+_(\d+)_", r"_4194999_\1_", beside.name))
    for path in (alive, dead, also):
        path.write_bytes(b"half")
    assert set(store.sweep([tmp_path / "out", tmp_path / "absent"])) == {dead.name, also.name}
    assert alive.exists()


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, Code.DISK_FULL), (errno.EIO, Code.STORAGE)])
@pytest.mark.parametrize("call", ["open", "write", "replace", "utime"])
def test_trouble_with_the_disk_has_a_code_and_leaves_no_name(
    store: Store, monkeypatch: pytest.MonkeyPatch, call: str, number: int, code: Code
) -> None:
    store.temp()

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        patch.setattr(os, call, fail)
        with pytest.raises(StageError) as caught:
            store.put("a", b"content", ".x")
    assert caught.value.code == code
    assert store.get("a") is None
    assert [path.name for path in files_in(store.root) if ".tmp" in path.name] == []


def test_identities_are_kept_by_path_and_look(store: Store) -> None:
    cache = store.identities
    cache.put("/a/b", "look", "00")
    assert cache.get("/a/b", "look") == "00"
    assert cache.get("/a/b", "another") is None
    assert cache.get("/a/c", "look") is None
    cache.put("/odd/\udcff", "look", "11")
    assert cache.get("/odd/\udcff", "look") == "11"


def test_work_before_a_moment_can_be_forgotten(tmp_path: Path) -> None:
    """Of this store and in this process only; what is owned, fetched or known of files stays."""
    store, other = Store(tmp_path / "a"), Store(tmp_path / "b")
    for one in (store, other):
        one.put("parts/x", b"old")
        one.put_record("owners/x", {"made": []})
    time.sleep(0.02)
    since = moment(store.root)
    assert list((store.root / "tmp").iterdir()) == []
    forget_before(store.root, since)
    try:
        assert store.get("parts/x") is None
        assert store.record("owners/x") == {"made": []}
        assert other.get("parts/x") is not None
        store.put("parts/x", b"new")
        assert store.get("parts/x") is not None
    finally:
        forget_before(store.root, 0)
    assert store.get("parts/x") is not None
