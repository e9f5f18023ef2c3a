"""bench/judge.py: its measures tell good films from spoilt ones."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.judging.blind import Blind, Shown, tally
from bench.judging.controls import shifted
from bench.judging.dubbing import names_of
from bench.judging.figures import at_rate, means, met
from bench.judging.looks import MEASURES, own_of
from bench.judging.spoken import RATE, Said, Sound, say, sounds_of
from raydub.stages.evaluate import measures, pixels
from raydub.stages.evaluate.aligned import Place, place_of, turned
from raydub.stages.evaluate.identity import identity
from raydub.stages.evaluate.seen import Seen
from raydub.tts.types import Mark, Utterance
from tests.conftest import REPOSITORY
from tests.stages.test_mask import face

N = 120


def talking(n: int = N, seed: int = 0) -> np.ndarray:
    """Openness of a mouth that speaks, 0.02 where the lips touch."""
    random = np.random.default_rng(seed).normal(size=n + 8)
    slow = np.convolve(random, np.hanning(7), mode="same")[4:-4]
    return 0.02 + 0.08 * np.maximum(slow / slow.std() + 0.3, 0)


@given(st.integers(-5, 5), st.integers(0, 50))
def test_the_delay_of_a_mouth_is_found(delay: int, seed: int) -> None:
    real = talking(seed=seed)
    found = measures.following(np.roll(real, delay), real)
    assert found["delay"] == delay
    assert found["r"] > 0.95


def test_speech_at_the_wrong_time_is_no_better_than_chance() -> None:
    real = talking()
    found = measures.following(np.roll(real, 40), real)
    assert found["r"] < 0.5
    assert found["r_chance"] == pytest.approx(measures.following(real, real)["r_chance"], abs=0.15)


def test_frames_without_a_face_and_short_films_do_not_count() -> None:
    real, drawn = talking(), talking()
    drawn[20:40] = np.nan
    assert measures.following(drawn, real)["r"] == pytest.approx(1)
    assert measures.following(drawn[:15], real)["r"] is None
    assert measures.movement(drawn[:15], real) is None


def test_a_frozen_mouth_does_not_move_and_follows_nothing() -> None:
    real, still = talking(), np.full(N, 0.06)
    assert measures.movement(still, real) == pytest.approx(0, abs=1e-9)
    assert measures.following(still, real)["r"] == 0
    assert measures.movement(1.5 * real, real) == pytest.approx(1.5)


def phonemes(*at: int, kind: str = "b") -> list[Sound]:
    return [Sound(one / 25, (one + 2) / 25, kind) for one in at] + [Sound(0, N / 25, "t")]


def test_closures_are_hit_within_two_frames() -> None:
    drawn = np.full(N, 0.2)
    drawn[[20, 50, 81]] = 0.02
    touch = measures.touching_below(talking())
    sounds = phonemes(17, 50, 84, 100)  # two frames early, in time, one frame too late, never
    found = measures.closures(drawn, sounds, Fraction(25), touch)
    assert (found["closures"], found["closures_hit"]) == (4, 0.5)
    assert found["closures_chance"] < 0.2


def test_lips_that_never_open_hit_every_closure_and_every_chance() -> None:
    found = measures.closures(np.full(N, 0.02), [*phonemes(20, 50), Sound(3, 3.2, "ɑː")], Fraction(25), 0.03)
    assert (found["closures_hit"], found["closures_chance"], found["vowels_open"]) == (1, 1, 0)
    found = measures.closures(np.full(N, 0.2), [*phonemes(20, 50), Sound(3, 3.2, "ɑː")], Fraction(25), 0.03)
    assert (found["closures_hit"], found["closures_chance"], found["vowels_open"]) == (0, 0, 1)


def test_people_who_never_close_their_lips_have_no_wide_touch() -> None:
    assert measures.touching_below(np.full(N, 0.3)) == measures.LARGEST_CLOSED + measures.TOUCH


def test_rounding_wants_a_narrow_mouth() -> None:
    sounds = [Sound(i / 5, (i + 1) / 5, "uː" if i % 2 else "i") for i in range(24)]
    narrow = np.repeat([0.6, 0.5] * 12, 5).astype(float)
    assert measures.rounding(narrow, sounds, Fraction(25)) > 0.8
    assert measures.rounding(-narrow, sounds, Fraction(25)) < -0.8
    assert measures.rounding(narrow, phonemes(20), Fraction(25)) is None


def test_motion_in_silence_is_seen() -> None:
    voiced = np.arange(N) < 60
    drawn = talking()
    quiet = np.where(voiced, drawn, 0.02)
    assert measures.silence(quiet, voiced, 0.02) == {"silence_motion": 0, "silence_open": pytest.approx(0)}
    assert measures.silence(drawn, voiced, 0.02)["silence_motion"] > 0.5
    assert measures.silence(drawn, np.ones(N, bool), 0.02)["silence_motion"] is None


def test_phonemes_last_until_the_next_one() -> None:
    marks = (Mark("word", 0.0, "bow"), Mark("phoneme", 0.1, "b"), Mark("phoneme", 0.2, "ˈoʊ"))
    first, second = sounds_of(Utterance(np.zeros(8000, np.float32), 16000, marks), 2.0)
    assert (first.start, first.stop, first.closes, first.roundness) == (2.1, 2.2, True, 0)
    assert (second.start, second.stop, second.closes, second.roundness) == (2.2, 2.5, False, 1)


def test_lines_are_found_in_the_dubbed_sound() -> None:
    said = say(6.0, 0)
    assert said.srt == say(6.0, 0).srt
    assert len(said.lines) >= 2
    heard = np.zeros(8 * RATE, np.float32)
    for at, spoken in zip((0.4, 3.1), said.utterances, strict=False):
        samples = cv2.resize(spoken.samples[None], (int(spoken.seconds * RATE), 1))[0]
        heard[int(at * RATE) :][: len(samples)] += 0.5 * samples
    two = Said(said.lines[:2], said.utterances[:2])
    starts = [one.start for one in two.sounds_in(heard)]
    for at, spoken in zip((0.4, 3.1), said.utterances, strict=False):
        first = next(mark.seconds for mark in spoken.marks if mark.kind == "phoneme")
        assert min(abs(start - at - first) for start in starts) < 0.005
    with pytest.raises(ValueError, match="not heard"):
        two.sounds_in(np.random.default_rng(0).normal(size=8 * RATE).astype(np.float32))


def still_film(seed: int = 0, n: int = 24) -> tuple[np.ndarray, Place, np.ndarray]:
    """(n, h, w, 3) still faces whose mouth opens and closes, their place and points."""
    points = np.stack([face((70, 35), 76) for _ in range(n)])
    points[:, [36, 45]] = [(35, 35), (105, 35)]
    opening = 76 * 0.5 * talking(n, seed)
    points[:, 65:68, 1] += opening[:, None]
    points[:, 55:60, 1] += opening[:, None]
    there = np.ones(n, bool)
    place = place_of(Seen(Path("x"), Fraction(25), (140, 140), there, points, np.arange(n) > 0))
    texture = cv2.GaussianBlur(np.random.default_rng(1).integers(60, 200, (140, 140, 3)).astype(np.uint8), (0, 0), 1.2)
    faces = []
    for at in range(n):
        picture = texture.copy()
        cv2.fillPoly(picture, [points[at, 48:60].astype(np.int32)], (90, 90, 190))
        cv2.fillPoly(picture, [points[at, 60:68].astype(np.int32)], (20, 20, 40))
        noise = np.random.default_rng(100 * seed + at).normal(0, 1.5, picture.shape)
        faces.append(turned(np.clip(picture + noise, 0, 255).astype(np.uint8), place.matrix[at], place.size))
    return np.stack(faces), place, place.to_still(points)


def spoilt(faces: np.ndarray, box: tuple[slice, slice], how: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    out = faces.copy()
    for picture in out:
        picture[box] = np.clip(how(picture[box].astype(np.float32)), 0, 255)
    return out


def test_pixels_tell_blur_noise_and_pasted_patches_from_the_source() -> None:
    faces, place, points = still_film()
    box = pixels.mouth_box(points, place)
    random = np.random.default_rng(0)

    def figures(new: np.ndarray) -> dict[str, Any]:
        own, drawn = pixels.luma_of(faces), pixels.luma_of(new)
        return {
            **pixels.figures_of(
                pixels.rows_of(zip(map(pixels.Still, own), map(pixels.Still, drawn), strict=True), box, place)
            )
        }

    same = figures(faces)
    assert same["sharpness"] == same["high_frequency"] == same["jitter"] == same["skin_jitter"] == 1
    assert same["seam"] is None
    assert same["changed_frames"] == 0
    blurred = figures(spoilt(faces, box, lambda part: cv2.GaussianBlur(part, (0, 0), 2.0)))
    assert blurred["sharpness"] < 0.6
    assert blurred["jitter"] < 0.9
    noisy = figures(spoilt(faces, box, lambda part: part + random.normal(0, 20, part.shape)))
    assert noisy["jitter"] > 1.1
    assert noisy["high_frequency"] > 1.1
    assert noisy["skin_jitter"] < 1.1
    pasted = figures(spoilt(faces, box, lambda part: part + 25))
    assert pasted["seam"] > 1.3
    assert pasted["seam_tone"] > 1.3
    assert pasted["changed_frames"] == len(faces)
    assert 20 < pasted["light_step"] < 30
    # Where an encoder changed everything the edge of what was drawn is not found, and no step at it.
    rough = np.clip(faces.astype(np.float32) + random.normal(0, 40, faces.shape), 0, 255).astype(np.uint8)
    assert figures(spoilt(rough, box, lambda part: part + 90))["light_step"] is None
    held = figures(np.repeat(faces[:1], len(faces), axis=0))
    assert held["jitter"] < 0.01


def test_the_blind_choice_prefers_the_person_to_spoilt_pictures(tmp_path: Path) -> None:
    faces, place, points = still_film()
    again, _, moved = still_film(seed=5)
    box = pixels.mouth_box(points, place)
    bad = spoilt(again, box, lambda part: cv2.GaussianBlur(part, (0, 0), 3.0) + np.float32([0, 0, 30]))
    there, closed = place.present, np.zeros(len(faces), bool)
    films = {"zorro": Shown(again, moved, there, closed), "anna": Shown(bad, moved, there, closed)}
    verdicts = []
    for name in ("one", "two"):
        blind = Blind(tmp_path / name, seed=3)
        blind.add("pair", faces, place, own_of(faces, points, place), films)
        verdicts.append(blind.verdict())
    assert verdicts[0] == verdicts[1]
    verdict: Any = verdicts[0]
    assert verdict["winner"] == "zorro"
    assert verdict["won"]["zorro"] >= 9
    assert verdict["by_measure"]["colour"] == {"zorro": 12}
    scores = (tmp_path / "one/scores.json").read_text()
    assert "zorro" not in scores
    assert "anna" not in scores
    key = json.loads((tmp_path / "one/key.json").read_text())
    assert {one["A"] for one in key.values()} == {"zorro", "anna"}
    assert len(list((tmp_path / "one").glob("*.png"))) == 24


def test_a_tally_counts_measures_then_frames() -> None:
    even = dict.fromkeys(MEASURES, 1.0)
    better = even | {"seam": 0.5, "shape": 0.5, "colour": 1.05}
    scores = [{"frame": str(at), "pair": "p", "A": better, "B": even} for at in range(2)]
    key = {"0": {"A": "own", "B": "warp"}, "1": {"A": "warp", "B": "own"}}
    found: Any = tally([*scores, {"frame": "1", "pair": "p", "A": even, "B": even}], key)
    assert found["won"] == {"own": 1, "warp": 1, "tie": 1}
    assert found["winner"] is None
    assert found["by_measure"]["colour"] == {"tie": 3}


def test_identity_of_an_unchanged_film_is_zero() -> None:
    own = np.random.default_rng(0).normal(0, 0.05, (8, 128)).astype(np.float32)
    assert identity(own, own)["identity"] == 0
    assert identity(own, own + np.float32(0.05))["identity"] > 0.1


def test_series_of_other_rates_keep_their_time() -> None:
    series = np.arange(30.0)
    assert at_rate(series, Fraction(30), Fraction(25), 25).tolist() == pytest.approx(np.arange(25) * 1.2)
    assert np.isnan(at_rate(series, Fraction(25), Fraction(25), 35)[30:]).all()


def test_means_pool_closures_and_leave_out_what_was_not_measured() -> None:
    rows = [
        {"closures": 9, "closures_hit": 1.0, "r": 0.4, "frames": 10},
        {"closures": 1, "closures_hit": 0.0, "r": None, "frames": 20},
    ]
    found = means(rows)
    assert found == {"closures": 10, "closures_hit": 0.9, "r": 0.4, "frames": 30}
    assert met(found, rows) == {"r": {"mean": False, "films": 0}, "closures_hit": {"mean": True, "films": 0.5}}


def test_speech_is_moved_round_by_a_second() -> None:
    assert shifted(np.arange(32000, dtype=np.float32), 16000)[0] == 16000


@pytest.mark.parametrize("text", ["", "warp,warp", "warp,source", ","])
def test_wrong_engine_names_are_refused(text: str) -> None:
    with pytest.raises(SystemExit, match="engines"):
        names_of(text)


@pytest.mark.media
@pytest.mark.slow
def test_the_judge_tells_spoilt_films_apart(media_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("grid_2.mpg", "grid_5.mpg"):
        shutil.copy(media_dir / "video" / name, tmp_path / "clips")
    command = [sys.executable, "bench/judge.py", "--clips", str(tmp_path / "clips"), "--out", str(tmp_path / "out")]
    command += ["--engines", "warp", "--seconds", "3", "--controls", "--no-cost", "--kinds", "foreign"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    mean = found["means"]
    assert mean["source"]["r"] > 0.9
    assert mean["source"]["changed_frames"] == 0
    assert 0.85 < mean["source"]["sharpness"] < 1.1
    assert mean["shifted"]["r"] < mean["warp"]["r"]
    assert mean["frozen"]["movement_own"] < 0.4 * mean["warp"]["movement_own"]
    assert mean["frozen"]["jitter"] < 0.6
    assert found["blind"]["warp against source"]["winner"] == "source"
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
