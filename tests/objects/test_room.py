from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from raydub.errors import Code, StageError, UsageError
from raydub.objects import room
from raydub.objects.counted import counted
from raydub.objects.room import cache_bytes, cache_root, fetch_once, make_room, used

MB = 1_000_000


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("RAYDUB_CACHE_GB", "0.01")
    return cache_root()


def _file(root: Path, name: str, age: float, size: int = 3 * MB) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    used(path)
    when = time.time() - age
    for file in (path, Path(f"{path}.used")):
        os.utime(file, (when, when))
    return path


def test_files_unused_for_longest_go_first(root: Path) -> None:
    old, older, fresh = _file(root, "a/old", 1000), _file(root, "b/older", 2000), _file(root, "fresh", 1)
    make_room(3 * MB)
    assert (old.exists(), older.exists(), fresh.exists()) == (True, False, True)
    assert not Path(f"{older}.used").exists()
    used(old)
    with pytest.raises(StageError) as caught:
        make_room(7 * MB)
    assert caught.value.code is Code.DISK_FULL
    assert "RAYDUB_CACHE_GB" in caught.value.hint
    assert old.exists()


def test_a_digest_goes_with_its_file_and_not_before(root: Path) -> None:
    film, other = _file(root, "film", 1000), _file(root, "other", 2000)
    for path in (film, other):
        digest = Path(f"{path}.sha256")
        digest.write_bytes(b"digest")
        os.utime(digest, (1, 1))
    make_room(6 * MB)
    assert Path(f"{film}.sha256").exists()
    assert not Path(f"{other}.sha256").exists()


def test_notes_on_origins_stay(root: Path) -> None:
    note, film = _file(root, "near/origins/key.json", 5000, size=100), _file(root, "film", 1000)
    make_room(9 * MB)
    assert (note.exists(), film.exists()) == (True, False)
    assert not used(film)
    assert not Path(f"{film}.used").exists()


def test_an_evicted_file_stays_readable_to_who_has_it_open(root: Path) -> None:
    path = _file(root, "film", 1000)
    with path.open("rb") as stream:
        make_room(9 * MB)
        assert not path.exists()
        assert len(stream.read()) == 3 * MB


def test_use_does_not_change_how_a_file_looks(root: Path) -> None:
    path = _file(root, "film", 1000)
    before = path.stat()
    assert fetch_once(path, lambda temp: pytest.fail("it is there")) == path
    assert path.stat() == before or path.stat().st_ctime_ns == before.st_ctime_ns
    assert Path(f"{path}.used").stat().st_mtime > time.time() - 100


def test_of_several_one_downloads(root: Path) -> None:
    calls: list[Path] = []

    def download(temp: Path) -> None:
        calls.append(temp)
        assert temp.stat().st_size == MB
        time.sleep(0.05)
        temp.write_bytes(b"y" * MB)

    before = counted()
    threads = [
        threading.Thread(target=fetch_once, args=(root / "a" / "b", download), kwargs={"size": MB}) for _ in "12345"
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert (root / "a" / "b").read_bytes() == b"y" * MB
    assert sorted(os.listdir(root / "a")) == ["b", "b.used"]
    assert (counted().hits - before.hits, counted().misses - before.misses) == (4, 1)


def test_a_failed_download_leaves_nothing_and_can_be_repeated(root: Path) -> None:
    def fail(temp: Path) -> None:
        temp.write_bytes(b"half")
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fetch_once(root / "film", fail, size=MB)
    assert [name for name in os.listdir(root) if not name.startswith(".locks")] == []
    fetch_once(root / "film", lambda temp: temp.write_bytes(b"whole") and None)
    assert (root / "film").read_bytes() == b"whole"


def test_two_downloads_do_not_count_on_the_same_room(root: Path) -> None:
    def inner(temp: Path) -> None:
        with pytest.raises(StageError) as caught:
            fetch_once(root / "second", lambda temp: None, size=6 * MB)
        assert caught.value.code is Code.DISK_FULL

    fetch_once(root / "first", inner, size=6 * MB)


def test_the_folder_of_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYDUB_CACHE_DIR", raising=False)
    monkeypatch.setattr(room.tempfile, "gettempdir", lambda: str(tmp_path))
    folder = cache_root()
    assert folder.parent == tmp_path
    assert folder.stat().st_mode & 0o777 == 0o700
    folder.chmod(0o770)
    with pytest.raises(StageError, match="others may write"):
        cache_root()
    folder.chmod(0o700)
    folder.rename(tmp_path / "elsewhere")
    folder.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StageError, match="not a folder") as caught:
        cache_root()
    assert "RAYDUB_CACHE_DIR" in caught.value.hint
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "file" / "below"))
    with pytest.raises(StageError, match="the cache folder") as caught:
        cache_root()
    assert "RAYDUB_CACHE_DIR" in caught.value.hint
    monkeypatch.setenv("RAYDUB_CACHE_DIR", str(tmp_path / "file"))
    with pytest.raises(StageError) as caught:
        cache_root()
    assert caught.value.code is Code.STORAGE


@pytest.mark.parametrize("said", ["", "0", "-1", "nan", "many", "1e400"])
def test_sizes_that_are_none(root: Path, monkeypatch: pytest.MonkeyPatch, said: str) -> None:
    monkeypatch.setenv("RAYDUB_CACHE_GB", said)
    with pytest.raises(UsageError, match="RAYDUB_CACHE_GB"):
        cache_bytes()


def test_the_size_of_the_cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_bytes() == 10 * MB
    monkeypatch.delenv("RAYDUB_CACHE_GB")
    free = os.statvfs(root).f_bavail * os.statvfs(root).f_frsize
    assert 0.4 * free < cache_bytes() < 0.6 * free + 10 * MB
