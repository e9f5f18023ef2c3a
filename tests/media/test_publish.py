"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.files import publish, sweep, temp_beside, write_atomic, writer_tag


def test_publishing_replaces_in_one_step(tmp_path: Path) -> None:
    final = tmp_path / "new" / "film.mp4"
    temp = temp_beside(final)
    assert Path(temp).parent == final.parent
    assert temp.endswith(".mp4")
    assert temp != temp_beside(final)
    Path(temp).write_bytes(b"one")
    publish(temp, final)
    write_atomic(final, b"two")
    assert final.read_bytes() == b"two"
    assert os.listdir(final.parent) == ["film.mp4"]


@pytest.mark.parametrize(("number", "code"), [(errno.ENOSPC, Code.DISK_FULL), (errno.EIO, Code.STORAGE)])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: Code
) -> None:
    final = tmp_path / "marker.json"
    write_atomic(final, b"old")

    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StageError) as caught:
        write_atomic(final, b"new")
    assert caught.value.code == code
    assert final.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["marker.json"]


@pytest.mark.parametrize("name", ["write", "fsync", "replace"])
def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    final = tmp_path / "marker.json"
    write_atomic(final, b"old")

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, name, stop)
    with pytest.raises(KeyboardInterrupt):
        write_atomic(final, b"new")
    assert final.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["marker.json"]


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError) as caught:
        write_atomic(tmp_path / "file" / "below.json", b"x")
    assert caught.value.code == Code.STORAGE


def test_long_names_in_any_script_have_room_for_the_tag(tmp_path: Path) -> None:
    for stem in ("界" * 83, "x" * 250, "e\u0301" * 80):
        write_atomic(tmp_path / f"{stem}.mp4", b"x")


def test_a_short_write_is_continued(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.write
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, content[:3]))
    write_atomic(tmp_path / "a.json", b"0123456789")
    assert (tmp_path / "a.json").read_bytes() == b"0123456789"


DIES = """
import os, sys
from raydub.files import temp_beside, writer_tag
for path in (temp_beside(sys.argv[1] + "/a.mp4"), temp_beside(sys.argv[1] + "/.hidden.json")):
    open(path, "w").close()
os.mkdir(sys.argv[1] + "/join-" + writer_tag())
os._exit(9)
"""


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_only_what_dead_writers_left_is_swept(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", DIES, str(tmp_path)], cwd=Path(__file__).parents[2], check=False)
    left = set(os.listdir(tmp_path))
    assert len(left) == 3
    (tmp_path / "join-" / "deeper").mkdir(parents=True)
    mine, kept = Path(temp_beside(tmp_path / "mine.mp4")), tmp_path / "a.tmp.mp4"
    far, gone = tmp_path / f"far{writer_tag()}", tmp_path / f"gone{writer_tag()}"
    far, gone = (Path(str(path).replace(path.name.split(".")[1][:12], "0" * 12)) for path in (far, gone))
    for path in (mine, kept, far, gone):
        path.write_bytes(b"x")
    os.utime(gone, (time.time() - 2 * 86400,) * 2)
    assert set(sweep(tmp_path)) == left | {gone.name}
    assert set(os.listdir(tmp_path)) == {"join-", mine.name, kept.name, far.name}
    assert sweep(tmp_path / "nowhere") == []
