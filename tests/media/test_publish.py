"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from media.publish import publish, temp_beside, write_atomic
from raydub.errors import Code, StageError


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


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StageError) as caught:
        write_atomic(tmp_path / "file" / "below.json", b"x")
    assert caught.value.code == Code.STORAGE
