"""Publish files below a fixed root folder, even if a folder on the way is replaced by a symlink in the meantime.

Outputs are checked when the manifest is read, which may be hours before they are published. Publishing therefore walks
from the root to the file again, by folder handles that follow no symlink. Symlinks above the root are allowed: nodes
may mount the same disk in different ways.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from raydub.errors import Code, StageError
from raydub.files import discard, refuse_special, storage_error

# O_PATH needs no permission to list the folder; Linux only.
_WALK = os.O_DIRECTORY | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)


def make_folder(goal: str | Path, root: str | Path) -> None:
    """Create the folder of `goal` inside `root`, which is created too. Raises what publish_inside raises."""
    with _folder(goal, root):
        pass


def publish_inside(
    temp: str | Path, goal: str | Path, root: str | Path, mine: Callable[[str], bool] = lambda path: True
) -> None:
    """fsync `temp`, which lies in the folder of `goal`, and rename it to `goal`, inside `root` and nowhere else. A
    symlink at `goal` itself is replaced, not followed.

    mine: may the existing file at this path be replaced? Called only if there is one. Raises StageError: OUTPUT_ESCAPES
    (a folder on the way is a symlink now, or is not the one that holds `temp`), OUTPUT_EXISTS, STORAGE (also for a
    pipe, device, .. at `goal`), DISK_FULL; `temp` is removed then."""
    name, source = Path(goal).name, Path(temp).name
    try:
        with _folder(goal, root) as folder:
            with open(temp, "rb+") as stream:
                os.fsync(stream.fileno())
                there, here = os.fstat(stream.fileno()), _look(source, folder)
            if here is None or (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                raise _escapes(str(goal), str(Path(goal).parent))
            refuse_special(goal, folder)
            if _look(name, folder) is None:
                _move_to_free_name(source, name, folder, str(goal))
            elif mine(str(goal)):
                os.replace(source, name, src_dir_fd=folder, dst_dir_fd=folder)
            else:
                raise exists(str(goal))
            # Some network file systems refuse fsync on a folder; the rename itself stands.
            with contextlib.suppress(OSError):
                handle = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=folder)
                try:
                    os.fsync(handle)
                finally:
                    os.close(handle)
    except OSError as error:
        discard(temp)
        raise storage_error(error, str(goal)) from error
    except StageError:
        discard(temp)
        raise


def exists(goal: str) -> StageError:
    """OUTPUT_EXISTS for an output path that another file occupies."""
    return StageError(
        Code.OUTPUT_EXISTS,
        f"{goal} already exists and was not made by this job",
        hint="move it, choose another output, or pass --overwrite",
        field="output",
    )


def _move_to_free_name(source: str, name: str, folder: int, goal: str) -> None:
    """Rename within a folder, where no file may be replaced: a hard link appears only at a free name."""
    try:
        os.link(source, name, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except FileExistsError:
        raise exists(goal) from None
    except OSError:
        # File systems without hard links: a file may appear between the check and the rename.
        os.replace(source, name, src_dir_fd=folder, dst_dir_fd=folder)
        return
    os.unlink(source, dir_fd=folder)


@contextmanager
def _folder(goal: str | Path, root: str | Path) -> Iterator[int]:
    """A handle of the folder of `goal`, reached from `root` without following a symlink; missing folders are made."""
    try:
        steps = Path(goal).parent.relative_to(root).parts
    except ValueError:
        raise _escapes(str(goal), str(root)) from None
    if ".." in steps:
        raise _escapes(str(goal), str(root))
    try:
        os.makedirs(root, exist_ok=True)
        handle = os.open(root, _WALK)
    except OSError as error:
        raise storage_error(error, str(root)) from error
    try:
        at = Path(root)
        for step in steps:
            at = at / step
            handle = _descend(handle, step, str(goal), str(at))
        yield handle
    finally:
        os.close(handle)


def _descend(handle: int, step: str, goal: str, shown: str) -> int:
    """The handle of the folder `step` in `handle`, which is closed; made where it is missing."""
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(step, dir_fd=handle)
        found = os.open(step, _WALK | os.O_NOFOLLOW, dir_fd=handle)
    except OSError as error:
        seen = _look(step, handle)
        if seen is not None and stat.S_ISLNK(seen.st_mode):
            raise _escapes(goal, shown) from error
        raise storage_error(error, shown) from error
    os.close(handle)
    return found


def _look(name: str, folder: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=folder, follow_symlinks=False)
    except OSError:
        return None


def _escapes(goal: str, place: str) -> StageError:
    return StageError(
        Code.OUTPUT_ESCAPES,
        f"{goal} would be written outside the output root: {place} has changed since the manifest was read",
        hint="remove symlinks below the output root, or name the real folder",
    )
