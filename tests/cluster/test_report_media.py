"""Previews of a report: frame by frame the same moment as the output, made in children, kept for the next report."""

from __future__ import annotations

import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raydub.cluster.report.media import Made, Shelf, make_all
from raydub.cluster.report.orders import Order, links_of, plays
from raydub.cluster.report.preview import LONG, SHORT, evenly, levels, make_preview, make_strip, preview_size
from raydub.media.frames import open_frames
from raydub.media.mux import assemble
from raydub.media.probe import probe_video
from raydub.media.sound import sound_blocks
from raydub.stages.source_timeline import Timeline
from raydub.stages.types import Span
from raydub.store import Store
from tests.media.films import film, number_of, sound, tone

RATE = Fraction(25)


def numbers(path: Path) -> list[int]:
    info = probe_video(str(path))
    with open_frames(info) as reader:
        return [number_of(frame) for frame in reader.frames(0, info.n_frames)]


@pytest.mark.parametrize(
    "timeline",
    [
        Timeline(n_out=30, n_src=12, extend="pingpong"),
        Timeline(n_out=20, n_src=12, extend="loop"),
        Timeline(n_out=7, n_src=12),
        Timeline(n_out=8, n_src=12, kept=(Span(0, 3), Span(6, 11))),
    ],
)
def test_a_source_is_shown_as_the_output_shows_it(tmp_path: Path, timeline: Timeline) -> None:
    source = film(tmp_path / "source.mp4", range(12), RATE)
    said = {"video": probe_video(str(source)).model_dump(mode="json"), "timeline": timeline.model_dump(mode="json")}
    told = make_preview({**said, "rate": "25"}, str(tmp_path / "p.mp4"))
    assert told["frames"] == timeline.n_out
    assert numbers(tmp_path / "p.mp4") == [timeline.source(frame) for frame in range(timeline.n_out)]


@pytest.mark.parametrize(("suffix", "codec"), [(".mkv", "libx265"), (".mpg", "mpeg1video"), (".avi", "mpeg4")])
def test_what_no_browser_plays_becomes_h264_in_mp4(tmp_path: Path, suffix: str, codec: str) -> None:
    other = film(tmp_path / f"v{suffix}", range(20), RATE, codec=codec)
    assert not plays(str(other))
    make_preview({"path": str(other)}, str(tmp_path / "p.mp4"))
    assert plays(str(tmp_path / "p.mp4"))
    assert numbers(tmp_path / "p.mp4") == list(range(20))


def test_sound_and_picture_begin_together(tmp_path: Path) -> None:
    part = film(tmp_path / "part.mp4", range(50), RATE)
    samples = np.concatenate([np.zeros(16000), tone(1.0)])  # from the frame 25 on
    speech = sound(tmp_path / "s.wav", samples)
    assemble([str(part)], [50], RATE, str(tmp_path / "v.mp4"), str(speech), {})
    told = make_preview({"path": str(tmp_path / "v.mp4")}, str(tmp_path / "p.mp4"))
    assert told["sound"]
    heard = np.concatenate(list(sound_blocks(str(tmp_path / "p.mp4"), 16000, 1, Fraction(0))))[:, 0]
    begin = np.flatnonzero(np.abs(heard) > 0.1)[0] / 16000
    assert abs(begin - 1.0) < 0.025
    found = levels({"path": str(tmp_path / "v.mp4"), "rate": "25", "frames": 50})["speech_db"]
    assert len(found) == 50
    assert all(value is None or value < -40 for value in found[:24])
    assert found[26:49] == pytest.approx([20 * np.log10(0.5 / np.sqrt(2))] * 23, abs=1.0)


@given(st.integers(16, 8000), st.integers(16, 8000))
def test_previews_are_small_even_and_in_proportion(width: int, height: int) -> None:
    wide, high = preview_size(width, height)
    assert wide % 2 == high % 2 == 0
    assert min(wide, high) <= SHORT
    assert max(wide, high) <= LONG
    assert wide <= width + 1
    assert high <= height + 1
    if min(width, height) > 200 and max(width, height) / min(width, height) < 3:
        assert wide / high == pytest.approx(width / height, rel=0.03)


@given(st.integers(0, 5000), st.integers(1, 12))
@example(2, 3)
def test_moments_are_spread_over_the_output(frames: int, count: int) -> None:
    found = evenly(frames, count)
    assert len(set(found)) == min(frames, count)
    assert all(0 <= number < frames for number in found)


def test_a_strip_has_the_source_above_the_output(tmp_path: Path) -> None:
    dark = film(tmp_path / "a.mp4", [0] * 30, RATE, size=(128, 96))
    light = film(tmp_path / "b.mp4", [4095] * 30, RATE, size=(128, 96))
    said = {"before": {"path": str(dark)}, "after": {"path": str(light)}, "frames": [3, 20]}
    told = make_strip(said, str(tmp_path / "s.jpg"))
    picture = cv2.imread(str(tmp_path / "s.jpg"), cv2.IMREAD_GRAYSCALE)
    assert picture is not None
    assert picture.shape == (told["height"], 2 * told["width"])
    half = told["height"] // 2
    for column in range(2):
        part = picture[:, column * told["width"] : (column + 1) * told["width"]]
        assert part[20:50].mean() < 60
        assert part[half + 20 : half + 50].mean() > 180


def order(name: str, path: Path, key: str, what: str = "film") -> Order:
    return Order(1, name, what, {"path": str(path)}, key * 64, 10)


def test_children_make_media_and_survive_bad_files(tmp_path: Path) -> None:
    good = film(tmp_path / "good.mp4", range(10), RATE)
    (tmp_path / "bad.mp4").write_bytes(b"no film at all" * 100)
    orders = [order("after", good, "a"), order("before", tmp_path / "bad.mp4", "b"), order("strip", good, "a")]
    shelf = Shelf(Store(tmp_path / "work"), tmp_path)
    told: list[tuple[int, int]] = []
    found = make_all(orders, shelf, 2, lambda done, total: told.append((done, total)))
    assert told[-1] == (2, 2)  # the same film is made once
    assert found[1, "after"].path == found[1, "strip"].path
    assert numbers(Path(found[1, "after"].path)) == list(range(10))
    assert "cannot be read" in found[1, "before"].problem
    assert not list((tmp_path / "work" / "tmp").iterdir())
    again = make_all(orders[:1], shelf, 2, lambda done, total: told.append((0, 0)))
    assert again == {(1, "after"): found[1, "after"]}
    assert told[-1] == (2, 2)


def test_a_crash_of_a_reader_costs_one_preview(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = film(tmp_path / "good.mp4", range(10), RATE)
    # A child that dies at its first order, as it does where a codec crashes.
    boot = (
        "import json, os, sys; sys.path[:] = json.loads(sys.argv[2])\n"
        "import raydub.cluster.report.maker as maker\n"
        "plain = maker._answer\n"
        "maker._answer = lambda order: os.abort() if order['said']['path'].endswith('crash.mp4') else plain(order)\n"
        "maker.main()"
    )
    monkeypatch.setattr("raydub.cluster.report.media.BOOT", boot)
    orders = [order("before", tmp_path / "crash.mp4", "b"), order("after", good, "a")]
    found = make_all(orders, Shelf(None, tmp_path), 1, lambda *_: None)
    assert found[1, "before"] == Made(problem="the reader of this file crashed")
    assert found[1, "after"].path


def test_stopping_ends_the_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does: an exception in the thread that waits, while children work."""
    boot = (
        "import json, sys; sys.path[:] = json.loads(sys.argv[2])\n"
        "import time, raydub.cluster.report.maker as maker\n"
        "maker._answer = lambda order: {'problem': ''} if order['said']['path'] == 'quick' else time.sleep(60)\n"
        "maker.main()"
    )
    monkeypatch.setattr("raydub.cluster.report.media.BOOT", boot)

    def told(done: int, total: int) -> None:
        raise KeyboardInterrupt

    orders = [order("after", Path("quick"), "a"), *(order(name, Path("slow"), name[0]) for name in ("before", "copy"))]
    begin = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        make_all(orders, Shelf(None, tmp_path), 2, told)
    assert time.monotonic() - begin < 20


def test_a_damaged_preview_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good = film(tmp_path / "good.mp4", range(10), RATE)
    calls: list[str] = []

    def ask(self: object, one: Order, out: str) -> dict[str, Any]:
        calls.append(one.name)
        return {"done": make_preview(one.said, out)}

    monkeypatch.setattr("raydub.cluster.report.media.Maker.ask", ask)
    shelf = Shelf(Store(tmp_path / "work"), tmp_path)
    first = make_all([order("after", good, "a")], shelf, 1, lambda *_: None)
    Path(first[1, "after"].path).write_bytes(b"spoilt")
    second = make_all([order("after", good, "a")], shelf, 1, lambda *_: None)
    assert calls == ["after", "after"]
    assert numbers(Path(second[1, "after"].path)) == list(range(10))


def test_a_source_is_linked_only_if_it_is_the_unchanged_one(tmp_path: Path) -> None:
    from raydub.cluster.report.gather import gather, read_rows
    from tests.cluster.report_runs import dubbed, results_of

    path = results_of(tmp_path, dubbed(tmp_path, frames=10))
    (video,) = gather(read_rows(path), path, None, read=True)
    assert set(links_of(video)) == {"before", "after"}
    with open(tmp_path / "source.mp4", "ab") as file:
        file.write(b"more")
    assert set(links_of(video)) == {"after"}
