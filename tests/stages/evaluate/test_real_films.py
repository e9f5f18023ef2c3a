"""Real clips: what was done to them is found, and by how much."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from raydub.manifests.evaluation import Evaluation
from raydub.stages.evaluate.evaluate import Facts
from raydub.stages.evaluate.files import evaluate_file
from raydub.stages.evaluate.thresholds import load_thresholds
from tests.ffmpeg import ffmpeg_program

pytestmark = [pytest.mark.slow]

CODED = ("-c:v", "libx264", "-preset", "ultrafast", "-crf", "18", "-pix_fmt", "yuv420p", "-c:a", "aac")


def made(path: Path, *words: object) -> Path:
    subprocess.run([ffmpeg_program(), "-v", "error", "-y", *map(str, words), str(path)], check=True)
    return path


@pytest.fixture(scope="module")
def clip(media_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of somebody who speaks."""
    folder = tmp_path_factory.mktemp("films")
    return made(folder / "clip.mp4", "-i", media_dir / "video" / "address_2_512_25.mp4", "-t", 4, *CODED)


def judged(film: Path, source: Path | None = None) -> Evaluation:
    return evaluate_file(str(film), Facts("x"), load_thresholds(), None if source is None else str(source))


@pytest.fixture(scope="module")
def own(clip: Path) -> Evaluation:
    """The clip beside itself."""
    return judged(clip, clip)


def test_an_undubbed_clip_is_good_and_like_itself(own: Evaluation) -> None:
    assert own.verdict == "good"
    assert own.figures["r"] is not None
    assert own.figures["r"] > 0.4
    for name, value in {"sharpness": 1, "jitter": 1, "identity": 0, "face_lost": 0, "changed_share": 0}.items():
        assert own.figures[name] == pytest.approx(value, abs=1e-6)
    assert own.source_figures["delay_ms"] == pytest.approx(own.figures["delay_ms"], abs=1)


def test_a_mouth_that_is_late_is_found_to_be(clip: Path, own: Evaluation, tmp_path: Path) -> None:
    maps = ("-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac")
    late = judged(made(tmp_path / "late.mp4", "-i", clip, "-ss", 6 / 25, "-i", clip, *maps), clip)
    assert late.verdict == "bad"
    assert late.figures["delay_ms"] is not None
    assert own.figures["delay_ms"] is not None
    assert late.figures["delay_ms"] - own.figures["delay_ms"] == pytest.approx(240, abs=40)


def test_a_blurred_film_is_found_to_be(clip: Path, tmp_path: Path) -> None:
    blurred = judged(made(tmp_path / "blurred.mp4", "-i", clip, "-vf", "gblur=sigma=4", *CODED), clip)
    assert blurred.verdict == "bad"
    assert "sharpness" in {one.figure for one in blurred.reasons}


def test_an_enlarged_film_is_compared_all_the_same(clip: Path, tmp_path: Path) -> None:
    """As after upscaling: the picture is the source's in another size."""
    large = judged(made(tmp_path / "large.mp4", "-i", clip, "-vf", "scale=1024:-2:flags=lanczos", *CODED), clip)
    assert large.verdict == "good"
    assert large.figures["sharpness"] == pytest.approx(1, abs=0.15)
    assert large.figures["identity"] == pytest.approx(0, abs=0.03)
    assert large.figures["psnr_outside"] is None
