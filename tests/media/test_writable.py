"""Whether a file can be put somewhere is found by trying, and nothing stays of it."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.errors import Code, StageError
from raydub.media import writable
from raydub.media.writable import check_folder, check_writable
from tests.media.test_confine import SPECIAL, special

REPOSITORY = Path(__file__).resolve().parents[2]
NOBODY = 65534


def test_new_files_and_old_ones_in_folders_that_are_there_or_not(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("x")
    for name in ("new", "old", "not/yet/here/new"):
        check_writable(tmp_path / name)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["old"]


@pytest.mark.parametrize(("name", "why"), [("file/new", "a part of its path is a file"), ("folder", "it is a folder")])
def test_places_where_no_file_can_be(name: str, why: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StageError, match=why) as found:
        check_writable(tmp_path / name)
    assert found.value.code is Code.STORAGE
    assert not found.value.retryable
    assert found.value.hint


@pytest.mark.parametrize("kind", SPECIAL)
def test_what_is_no_file_is_not_replaced(kind: str, tmp_path: Path) -> None:
    goal = special(tmp_path / "o.wav", kind)
    before = os.lstat(goal).st_mode
    with pytest.raises(StageError, match=f"{goal}: it is a .*, not a file") as found:
        check_writable(goal)
    assert (found.value.code, found.value.retryable) == (Code.STORAGE, False)
    assert os.lstat(goal).st_mode == before


@pytest.mark.parametrize(
    ("number", "code", "words"),
    [
        (errno.EACCES, Code.STORAGE, "you may not write there"),
        (errno.EROFS, Code.STORAGE, "read-only file system"),
        (errno.ENOSPC, Code.DISK_FULL, "no space left"),
        (errno.EDQUOT, Code.DISK_FULL, "no space left"),
        (errno.EIO, Code.STORAGE, "Input/output error"),
    ],
)
def test_the_system_says_no(
    number: int, code: Code, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(writable.os, "open", refuse)
    with pytest.raises(StageError, match=words) as found:
        check_folder(tmp_path)
    assert found.value.code is code


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users reach; those of pytest are its own user's."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user(open_folder: Path) -> None:
    """A folder without leave, and somebody else's file in a folder such as /tmp."""
    code = (
        "import os, sys\nfrom raydub.media.writable import check_writable\nfrom raydub.errors import StageError\n"
        f"os.setuid({NOBODY})\n"
        "for path in sys.argv[1:]:\n"
        "    try:\n        check_writable(path)\n        print('ok')\n"
        "    except StageError as error:\n        print(error.message)\n"
    )
    shut, sticky = open_folder / "shut", open_folder / "sticky"
    shut.mkdir(mode=0o755)
    sticky.mkdir()
    sticky.chmod(0o1777)
    (sticky / "theirs").write_text("x")
    paths = [str(shut / "new"), str(sticky / "theirs"), str(sticky / "new")]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, cwd=REPOSITORY, timeout=60
    )
    assert done.returncode == 0, done.stderr
    first, second, third = done.stdout.splitlines()
    assert "you may not write there" in first
    assert "you may not write there" in second
    assert third == "ok"
