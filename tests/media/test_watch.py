"""Inputs under watch: nothing is made of a mixture of two contents."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from raydub.errors import Code, InputError
from raydub.media.frames import open_frames
from raydub.media.probe import probe_video
from raydub.media.watch import Input, Watch, identify_source, look_of_source
from raydub.store import Store
from tests.media.films import film


def code_of(error: pytest.ExceptionInfo[InputError]) -> tuple[Code, bool]:
    return error.value.code, error.value.retryable


def watched(path: Path, settled: bool = True) -> tuple[Watch, Input]:
    seen = identify_source(str(path))
    look = look_of_source(str(path)) if settled else ""
    one = Input("video", str(path), seen.sha256, look)
    return Watch([one]), one


@pytest.mark.parametrize("settled", [True, False])
def test_a_change_on_the_way_is_told(tmp_path: Path, settled: bool) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"first")
    watch, one = watched(path, settled)
    watch.check()
    time.sleep(0.02)
    path.write_bytes(b"other")
    with pytest.raises(InputError) as caught:
        watch.check()
    assert code_of(caught) == (Code.INPUT_CHANGED, True)
    # Whoever starts with the other content is told so, and that another try does not help.
    with pytest.raises(InputError) as late:
        Watch([one])
    assert code_of(late) == (Code.INPUT_CHANGED, False)
    assert "video" in late.value.message
    path.unlink()
    with pytest.raises(InputError) as gone:
        Watch([one])
    assert gone.value.code is Code.INPUT_MISSING


def test_a_film_that_is_swapped_and_put_back_is_told(tmp_path: Path) -> None:
    """What was read in between was of the other one, although the first is there again."""
    path, other, aside = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    path.write_bytes(b"first")
    other.write_bytes(b"other")
    watch, _ = watched(path)
    time.sleep(0.02)
    os.rename(path, aside)
    os.rename(other, path)
    os.replace(aside, path)
    with pytest.raises(InputError) as caught:
        watch.check()
    assert code_of(caught) == (Code.INPUT_CHANGED, True)
    watched(path)[0].check()


def test_a_copy_with_other_times_is_the_same_content(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"first")
    _, one = watched(path)
    os.utime(path, ns=(1, 1))
    Watch([one]).check()


def test_folders_of_pictures(tmp_path: Path) -> None:
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(name.encode())
    first = identify_source(str(tmp_path)).sha256
    watch, _ = watched(tmp_path)
    (tmp_path / "notes.txt").write_text("no picture")
    watch.check()
    assert identify_source(str(tmp_path)).sha256 == first
    (tmp_path / "3.png").write_bytes(b"3")
    with pytest.raises(InputError):
        watch.check()
    (tmp_path / "3.png").unlink()
    (tmp_path / "1.png").rename(tmp_path / "0.png")
    assert identify_source(str(tmp_path)).sha256 != first


def test_frames_come_from_the_film_that_was_probed(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", range(20))
    info = probe_video(str(path), store=Store(tmp_path / "work"))
    with open_frames(info) as reader:
        assert len(list(reader.frames(0, 10))) == 10
        reader.check()
        time.sleep(0.02)
        os.replace(film(tmp_path / "b.mp4", range(100, 120)), path)
        with pytest.raises(InputError) as caught:
            reader.check()
        assert code_of(caught) == (Code.INPUT_CHANGED, True)
    with open_frames(info) as reader, pytest.raises(InputError) as late:
        next(iter(reader.frames(0, 1)))
    assert code_of(late) == (Code.INPUT_CHANGED, False)


def test_a_film_that_changes_while_it_is_probed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = film(tmp_path / "a.mp4", range(20))
    other = film(tmp_path / "b.mp4", range(100, 130))
    import raydub.media.probe as probe

    real = probe.build_index

    def late(*args: object, **more: object) -> object:
        os.replace(other, path)
        return real(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(probe, "build_index", late)
    with pytest.raises(InputError) as caught:
        probe_video(str(path))
    assert code_of(caught) == (Code.INPUT_CHANGED, True)
