"""The folder of a Ray session: nobody else's, short enough for sockets, gone afterwards."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydub.cluster.session import private
from raydub.cluster.session.private import PREFIX, PrivateFolder, private_folder
from raydub.errors import Code, DependencyError
from tests.conftest import REPOSITORY


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is shorter than pytest's."""
    with tempfile.TemporaryDirectory(prefix="r", dir="/tmp") as path:
        yield Path(path)


def test_only_its_user_may_enter(short: Path) -> None:
    before = os.umask(0)
    try:
        folder = PrivateFolder([str(short)])
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    (folder.path / "r").mkdir()
    (folder.path / "r" / "log").write_text("x")
    folder.remove()
    assert not list(short.iterdir())
    folder.remove()


def test_a_long_place_is_passed_over(tmp_path: Path) -> None:
    long = tmp_path / ("x" * 60)
    long.mkdir()
    folder = PrivateFolder([str(long), str(tmp_path / "absent"), "/tmp"])
    try:
        assert folder.path.parent == Path("/tmp")
        name = "r/session_2026-12-31_23-59-59_999999_4194304/sockets/plasma_store"
        assert len(os.fsencode(folder.path / name)) <= 107
    finally:
        folder.remove()


def test_no_place_at_all(tmp_path: Path) -> None:
    with pytest.raises(DependencyError) as caught:
        PrivateFolder([str(tmp_path / "absent"), "/proc"])
    assert caught.value.code is Code.CLUSTER_UNREACHABLE
    assert caught.value.hint


def test_what_a_killed_owner_left_is_swept_and_a_living_ones_is_not(
    short: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(private, "_YOUNG", 0.0)
    code = f"""
from raydub.cluster.session.private import PrivateFolder
import sys, time
one = PrivateFolder([{str(short)!r}])
print(one.path, flush=True)
time.sleep(300)
"""
    owners = [
        subprocess.Popen([sys.executable, "-c", code], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True,
                         env={**os.environ, "PYTHONPATH": str(REPOSITORY)})
        for _ in range(2)
    ]  # fmt: skip
    try:
        paths = [Path(owner.stdout.readline().strip()) for owner in owners if owner.stdout is not None]
        owners[0].kill()
        owners[0].wait()
        (short / f"{PREFIX}link").symlink_to(Path(__file__).parent)
        (short / f"{PREFIX}file").touch()
        (short / f"{PREFIX}halfmade").mkdir(mode=0o700)
        with private_folder() as elsewhere:
            assert elsewhere.is_dir()
        mine = PrivateFolder([str(short)])
        assert not paths[0].exists()
        assert paths[1].is_dir()
        assert not (short / f"{PREFIX}halfmade").exists()
        assert Path(__file__).exists()
        mine.remove()
        assert not elsewhere.exists()
    finally:
        for owner in owners:
            owner.kill()
            owner.wait()
            assert owner.stdout is not None
            owner.stdout.close()


def test_folders_of_the_user_are_not_swept(short: Path) -> None:
    """Named like ours, private and old, but not made by us: an output root, say."""
    theirs = [short / "raydub-ray-results", short / "raydub-ray-abcdefgh"]
    for folder in theirs:
        folder.mkdir(mode=0o700)
        (folder / "talk.mp4").write_bytes(b"precious")
        os.utime(folder, (1, 1))
    PrivateFolder([str(short)]).remove()
    assert all((folder / "talk.mp4").exists() for folder in theirs)
