"""Files by their path: what is wrong with them is a reason, never an exception."""

from __future__ import annotations

import subprocess
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydub.manifests.evaluation import Evaluation
from raydub.media.probe import probe_video
from raydub.media.stream_times import stream_times
from raydub.pipeline import evaluating
from raydub.stages.evaluate import outside
from raydub.stages.evaluate.evaluate import Facts, _shown_seconds
from raydub.stages.evaluate.files import evaluate_file, largest_face
from raydub.stages.evaluate.film import NONE, Film, Source
from raydub.stages.evaluate.sound import AROUND, hear
from raydub.stages.evaluate.thresholds import load_thresholds
from raydub.stages.job_plan import save_plan
from tests.ffmpeg import ffmpeg_program
from tests.stages.fakes import PaintEngine, babble, make_plan, write_video, write_wav


def made(path: Path, *words: str) -> str:
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *words, str(path)], check=True)
    return str(path)


def picture(seconds: float, what: str = "testsrc2", rate: int = 25, size: str = "128x96") -> list[str]:
    return ["-f", "lavfi", "-i", f"{what}{'=' if what == 'testsrc2' else ':'}s={size}:r={rate}:d={seconds}"]


def tone(seconds: float) -> list[str]:
    return ["-f", "lavfi", "-i", f"sine=frequency=440:duration={seconds}"]


X264 = ("-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p")


def judged(path: str, **more: Any) -> Evaluation:
    found = evaluate_file(path, Facts("x"), load_thresholds(), **more)
    assert Evaluation.from_json(found.to_json()) == found
    return found


def said(found: Evaluation) -> str:
    return " | ".join(one.message for one in found.reasons)


def test_files_that_are_no_videos(tmp_path: Path) -> None:
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("not a film")
    for name in ("none.mp4", "empty.mp4", "text.mp4", ""):
        found = judged(str(tmp_path / name))
        assert (found.verdict, found.frames, found.figures, found.curves) == ("bad", 0, {}, None)
        assert "cannot be read" in said(found)
    assert judged(str(tmp_path / "text.mp4")).output_sha256


def test_a_film_without_sound_and_face(tmp_path: Path) -> None:
    found = judged(made(tmp_path / "v.mp4", *picture(1), *X264))
    assert found.verdict == "look"
    assert "the file has no sound" in said(found)
    assert "hardly a face" in said(found)
    assert found.figures["face_share"] == 0
    assert found.figures.get("r") is None
    assert found.figures["loudness_lufs"] is None
    assert (found.frames, found.duration) == (25, 1.0)


def test_a_film_whose_sound_is_silence(tmp_path: Path) -> None:
    silence = ("-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-shortest")
    found = judged(made(tmp_path / "v.mp4", *picture(1), *silence, *X264, "-c:a", "aac"))
    assert "nothing is heard" in said(found)
    assert "nothing is heard" not in said(judged(made(tmp_path / "w.mp4", *picture(1), *tone(1), *X264, "-c:a", "aac")))


@pytest.mark.parametrize("seconds", [0.04, 0.08])
def test_a_film_of_a_frame_or_two(tmp_path: Path, seconds: float) -> None:
    found = judged(made(tmp_path / "v.mp4", *picture(seconds), *X264))
    assert found.frames in (1, 2)
    assert found.verdict == "look"


def test_a_black_film_with_its_source(tmp_path: Path) -> None:
    film = made(tmp_path / "v.mp4", *picture(1, "color=black"), *tone(1), *X264, "-c:a", "aac")
    found = judged(film, source=film)
    assert found.figures["psnr_outside"] == 100
    assert found.figures["sharpness"] is None
    assert found.figures["identity"] is None
    assert found.source_figures == {}


def test_another_file_than_the_run_made(tmp_path: Path) -> None:
    film = made(tmp_path / "v.mp4", *picture(0.4), *tone(0.4), *X264, "-c:a", "aac")
    right = probe_video(film).identity
    assert "another file" not in said(judged(film, expected=right))
    changed = judged(film, expected="0" * 64)
    assert "another file is there than the run made" in said(changed)
    assert changed.output_sha256 == right


def test_a_source_that_is_gone_shorter_or_of_another_shape(tmp_path: Path) -> None:
    film = made(tmp_path / "v.mp4", *picture(1), *X264)
    gone = judged(film, source=str(tmp_path / "none.mp4"))
    assert "the source cannot be read" in said(gone)
    assert gone.figures["psnr_outside"] is None
    short = judged(film, source=made(tmp_path / "s.mp4", *picture(0.4), *X264))
    assert short.figures["psnr_outside"] is not None
    wide = judged(film, source=made(tmp_path / "w.mp4", *picture(1, size="256x96"), *X264))
    assert wide.figures["psnr_outside"] is None


def test_an_output_that_lacks_frames(tmp_path: Path) -> None:
    film = made(tmp_path / "v.mp4", *picture(0.4), *X264)
    found = evaluate_file(film, Facts("x", wanted_frames=25), load_thresholds())
    assert found.verdict == "bad"
    assert "lacks 15 of 25 frames" in said(found)


def test_what_changes_outside_faces_is_seen(tmp_path: Path) -> None:
    source = made(tmp_path / "s.mp4", *picture(1), *X264, "-crf", "1")
    same = judged(made(tmp_path / "a.mp4", "-i", source, *X264, "-crf", "18"), source=source)
    grey = judged(made(tmp_path / "b.mp4", "-i", source, "-vf", "eq=brightness=0.15", *X264), source=source)
    assert (same.figures["psnr_outside"] or 0) > 34
    assert (grey.figures["psnr_outside"] or 0) < 22
    assert "the picture outside the faces differs" in said(grey)


def test_frames_of_another_rate_are_found_by_time(tmp_path: Path) -> None:
    film = probe_video(made(tmp_path / "a.mp4", *picture(1, rate=25), *X264))
    source = probe_video(made(tmp_path / "b.mp4", *picture(0.8, rate=50), *X264))
    pair = Film(film, Source(source), largest_face())
    shown = pair.shown(0, 25)
    assert shown[:20].tolist() == list(range(0, 40, 2))
    assert (shown[20:] == NONE).all()
    reader = pair.open_source()
    assert reader is not None
    with reader:
        frames = list(pair.source_frames(reader, 3, 23))
    assert [one.index if one is not None else NONE for one in frames] == shown[3:23].tolist()


def test_time_stamps_of_a_late_sound(tmp_path: Path) -> None:
    maps = ("-map", "0:v", "-map", "1:a", *X264, "-c:a", "flac")
    late = made(tmp_path / "v.mkv", *picture(2), "-itsoffset", "0.25", *tone(1.5), *maps)
    times = stream_times(late)
    assert times.audio_start is not None
    assert times.video_start is not None
    assert times.audio_start - times.video_start == pytest.approx(0.25, abs=0.002)
    found = judged(late)
    assert found.figures["av_start_ms"] == pytest.approx(250, abs=2)
    assert "do not begin together" in said(found)


def test_the_sound_is_heard_where_it_is(tmp_path: Path) -> None:
    path = made(tmp_path / "t.wav", *tone(2.0), "-ar", "48000")
    found = hear(path, Fraction(0), [(0.0, 0.5), (1.0, 3.0)])
    assert found is not None
    assert found.lufs == pytest.approx(-21.8, abs=0.7)
    assert found.peak_dbtp == pytest.approx(-18.06, abs=0.2)
    first, second = found.pieces
    assert (first.first, second.first) == (-round(AROUND * 16000), -16000)
    assert np.abs(first.samples[: -first.first]).max() == 0
    assert np.abs(first.samples[-first.first + 160 :]).max() == pytest.approx(0.125, abs=0.01)
    # The same sample in both pieces.
    at = 16000
    assert first.samples[at - first.first] == second.samples[at - second.first]
    level = found.level_db(Fraction(25), 60)
    assert level[10] == pytest.approx(-21.07, abs=0.3)
    assert level[55] == -90


def test_a_label_is_no_change_but_noise_everywhere_is() -> None:
    made_of = np.random.default_rng(1)
    own = made_of.integers(0, 256, (320, 640)).astype(np.uint8)
    everywhere = outside.outside(own.shape, [])
    assert everywhere.all()
    labelled = own.copy()
    labelled[:32, :256] = 255
    assert outside.squared_error(own, labelled, everywhere) == 0
    assert outside.squared_error(own, labelled[::-1], everywhere) > 100
    assert outside.psnr(outside.squared_error(own, own, everywhere)) == 100
    assert outside.similarity(own, own, everywhere) == pytest.approx(1)
    noisy = np.clip(own + made_of.normal(0, 4, own.shape), 0, 255).astype(np.uint8)
    assert outside.psnr(outside.squared_error(own, noisy, everywhere)) == pytest.approx(36, abs=0.7)
    face = np.array([[200.0, 100.0], [300.0, 200.0]], np.float32)
    without = outside.outside(own.shape, [face])
    assert not without[150 // 32, 250 // 32]
    changed = own.copy()
    changed[100:200, 200:300] = 0
    assert outside.squared_error(own, changed, without) == 0
    assert np.isnan(outside.squared_error(own, changed, np.zeros_like(without)))
    large = own.copy()
    large[200:300, 20:600] = 255
    assert outside.squared_error(own, large, everywhere) > 100
    assert outside.squared_error(own, large, outside.outside(own.shape, [], (20, 200, 600, 300))) == 0


def test_only_what_a_window_shows_is_heard_of_the_source() -> None:
    assert _shown_seconds(np.array([NONE, NONE]), Fraction(25)) == (0, 0)
    assert _shown_seconds(np.arange(50_000, 50_240), Fraction(25)) == (2000, 2009.6)
    assert _shown_seconds(np.array([NONE, 120, 119, 118]), Fraction(25)) == (4.72, 4.84)


def test_the_label_of_a_job_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any size: its box is known from the plan."""
    video, audio = write_video(tmp_path / "v.mp4", 5), write_wav(tmp_path / "a.wav", babble(0.2))
    seen: list[Any] = []
    monkeypatch.setattr(evaluating, "evaluate_file", lambda *given: seen.append(given[3]))
    asked: list[dict[str, Any]] = [{}, {"label": "AI", "label_size": 0.2}]
    for options in asked:
        plan = make_plan(tmp_path, PaintEngine(), video, audio, **options)
        save_plan(plan)
        evaluating.evaluate_job(plan.job, "o.mp4", plan.job_dir, [], load_thresholds())
    assert seen[0].label == ()
    left, top, right, bottom = seen[1].label
    width, height = plan.out_size
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
