"""Publishing below the root, also when folders turn into symlinks after the manifest was checked."""

from __future__ import annotations

import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raydub.errors import Code, StageError
from raydub.files import publish, write_atomic
from raydub.media import confine
from raydub.media.confine import make_folder, publish_inside

SPECIAL = ["pipe", "socket", "device", "folder", "link to a pipe", "link to a folder"]


def special(path: Path, kind: str) -> Path:
    """Something at `path` that is no file. Skips where the system makes none."""
    if kind.startswith("link"):
        path.symlink_to(special(path.with_name("far"), kind.rpartition(" ")[2]))
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(os.path.relpath(path))  # a socket's name has a hundred bytes
    elif kind == "device":
        try:
            os.mknod(path, 0o600 | stat.S_IFCHR, os.makedev(1, 3))
        except OSError:
            pytest.skip("no leave to make a device")
    else:
        path.mkdir()
    return path


def temp_in(folder: Path) -> Path:
    temp = folder / ".film.tmp.mp4"
    temp.write_bytes(b"film")
    return temp


def test_missing_folders_are_made_and_the_file_appears(tmp_path: Path) -> None:
    goal = tmp_path / "root" / "a" / "b" / "o.mp4"
    make_folder(goal, tmp_path / "root")
    publish_inside(temp_in(goal.parent), goal, tmp_path / "root")
    assert goal.read_bytes() == b"film"
    assert os.listdir(goal.parent) == ["o.mp4"]


@pytest.mark.parametrize("kind", SPECIAL)
@pytest.mark.parametrize(
    "write",
    [
        lambda goal: publish_inside(temp_in(goal.parent), goal, goal.parent),
        lambda goal: publish(temp_in(goal.parent), goal),
        lambda goal: write_atomic(goal, b"film"),
    ],
    ids=["inside", "plainly", "whole"],
)
def test_what_is_no_file_is_not_replaced_in_the_last_moment(
    kind: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    goal = special(tmp_path / "o.mp4", kind)
    before = os.lstat(goal)
    with pytest.raises(StageError, match=f"{goal}: it is a .*, not a file") as refused:
        write(goal)
    assert refused.value.code is Code.STORAGE
    assert (os.lstat(goal).st_mode, os.lstat(goal).st_ino) == (before.st_mode, before.st_ino)
    assert not list(tmp_path.glob(".*"))


def test_a_link_that_leads_nowhere_is_replaced(tmp_path: Path) -> None:
    goal = tmp_path / "o.mp4"
    goal.symlink_to("nowhere")
    publish(temp_in(tmp_path), goal)
    assert goal.read_bytes() == b"film"


@pytest.mark.parametrize("swapped", ["a", "a/b"])
def test_a_folder_that_became_a_symlink_is_not_followed(tmp_path: Path, swapped: str) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    goal = root / "a" / "b" / "o.mp4"
    (outside / "b").mkdir(parents=True)
    make_folder(goal, root)
    shutil.rmtree(root / swapped)
    (root / swapped).symlink_to(outside)
    with pytest.raises(StageError) as refused:
        make_folder(goal, root)
    assert refused.value.code is Code.OUTPUT_ESCAPES
    # The muxer has written by path, through the link.
    temp = temp_in(goal.parent)
    with pytest.raises(StageError) as refused:
        publish_inside(temp, goal, root)
    assert refused.value.code is Code.OUTPUT_ESCAPES
    assert [path for path in outside.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("over", [False, True])
def test_a_folder_that_is_swapped_in_the_last_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, over: bool
) -> None:
    """The rename goes by handle: a swap after the walk changes nothing."""
    root, outside = tmp_path / "root", tmp_path / "outside"
    outside.mkdir()
    goal = root / "a" / "o.mp4"
    make_folder(goal, root)
    temp = temp_in(goal.parent)
    if over:
        goal.write_bytes(b"former film")
    # A free name is taken by a hard link, an older film is replaced by a rename.
    name = "replace" if over else "link"
    real = getattr(os, name)

    def swap(*names: Any, **handles: Any) -> None:
        (root / "a").rename(root / "moved")
        (root / "a").symlink_to(outside)
        real(*names, **handles)

    monkeypatch.setattr(confine.os, name, swap)
    publish_inside(temp, goal, root)
    assert (root / "moved" / "o.mp4").read_bytes() == b"film"
    assert os.listdir(outside) == []


def test_another_folder_in_the_place_of_the_first(tmp_path: Path) -> None:
    goal = tmp_path / "a" / "o.mp4"
    make_folder(goal, tmp_path)
    temp = temp_in(goal.parent)
    (tmp_path / "other").mkdir()
    moved = temp.rename(tmp_path / "other" / temp.name)
    with pytest.raises(StageError) as refused:
        publish_inside(moved, goal, tmp_path)
    assert refused.value.code is Code.OUTPUT_ESCAPES
    assert not goal.exists()
    assert not moved.exists()


def test_another_file_of_the_same_name_is_not_published(tmp_path: Path) -> None:
    goal = tmp_path / "a" / "o.mp4"
    make_folder(goal, tmp_path)
    temp_in(goal.parent).write_bytes(b"planted")
    (tmp_path / "other").mkdir()
    with pytest.raises(StageError) as refused:
        publish_inside(temp_in(tmp_path / "other"), goal, tmp_path)
    assert refused.value.code is Code.OUTPUT_ESCAPES
    assert not goal.exists()


def test_a_symlink_at_the_goal_is_replaced(tmp_path: Path) -> None:
    victim = tmp_path / "victim.mp4"
    victim.write_bytes(b"dear")
    goal = tmp_path / "root" / "o.mp4"
    goal.parent.mkdir()
    goal.symlink_to(victim)
    publish_inside(temp_in(goal.parent), goal, goal.parent)
    assert victim.read_bytes() == b"dear"
    assert not goal.is_symlink()
    assert goal.read_bytes() == b"film"


def test_a_hard_link_to_an_input_leaves_the_input_alone(tmp_path: Path) -> None:
    source = tmp_path / "in.mp4"
    source.write_bytes(b"dear")
    os.link(source, tmp_path / "o.mp4")
    publish_inside(temp_in(tmp_path), tmp_path / "o.mp4", tmp_path)
    assert source.read_bytes() == b"dear"
    assert (tmp_path / "o.mp4").read_bytes() == b"film"


@pytest.mark.parametrize("goal", ["/etc/o.mp4", "../o.mp4", "a/../../o.mp4"])
def test_goals_outside(tmp_path: Path, goal: str) -> None:
    with pytest.raises(StageError) as refused:
        make_folder(os.path.join(tmp_path, goal), tmp_path)
    assert refused.value.code is Code.OUTPUT_ESCAPES


def test_a_file_in_the_way_and_a_folder_at_the_goal(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    with pytest.raises(StageError) as refused:
        make_folder(tmp_path / "a" / "o.mp4", tmp_path)
    assert refused.value.code is Code.STORAGE
    (tmp_path / "o.mp4").mkdir()
    temp = temp_in(tmp_path)
    with pytest.raises(StageError) as refused:
        publish_inside(temp, tmp_path / "o.mp4", tmp_path)
    assert refused.value.code is Code.STORAGE
    assert not temp.exists()


def test_a_root_behind_a_symlink_is_the_administrators_business(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to(tmp_path / "disk")
    goal = tmp_path / "root" / "a" / "o.mp4"
    make_folder(goal, tmp_path / "root")
    publish_inside(temp_in(goal.parent), goal, tmp_path / "root")
    assert (tmp_path / "disk" / "a" / "o.mp4").read_bytes() == b"film"
