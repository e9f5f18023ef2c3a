"""Does `raydub evaluate` find films that were spoilt on purpose, and leave good ones alone?

    python bench/spoilt.py --clips FOLDER --out FOLDER [--only NAME,NAME] [--seconds S] [--again]

Each clip is cut to S seconds and dubbed with the sound of the next clip that has speech in it, by own and by warp in
turn. Good films are
these dubs, and the clips themselves, encoded again. Spoilt films are made of the dubs:

  late3, late6, late10   the sound begins so many frames earlier: the mouth is late
  frozen                 one mouth in all frames
  language               the sound of a third clip instead of that which was dubbed
  mouth, face            the mouth, or all of the face, of another clip's person, frame by frame
  blur                   the mouth blurred by 0.08 eye distances
  flicker                the mouth brighter and darker by 12 of 255 in turn

Clips are divided into two halves by their place in the list: thresholds were chosen on the first, third, .. clip
(calibration), the others confirm. A spoilt film is found if its verdict is not good; a good one is a false alarm if it
is not. Prints the tables as JSON, with the reasons of every film; evaluations that are there are used again, unless
--again.
"""

from __future__ import annotations

import argparse
import functools
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402
import numpy as np  # noqa: E402
from imageio_ffmpeg import get_ffmpeg_exe  # noqa: E402

import raydub  # noqa: E402
from bench.judging import controls  # noqa: E402
from bench.judging.seen import see  # noqa: E402
from bench.report import report  # noqa: E402
from raydub.arrays import F32, U8  # noqa: E402
from raydub.manifests.evaluation import Evaluation  # noqa: E402
from raydub.media.frames import Frame  # noqa: E402
from raydub.media.probe import probe_video  # noqa: E402
from raydub.media.yuv import from_bgr, to_bgr  # noqa: E402
from raydub.stages.evaluate.aligned import Place, place_of, still  # noqa: E402
from raydub.stages.evaluate.evaluate import Facts  # noqa: E402
from raydub.stages.evaluate.figures import STILL  # noqa: E402
from raydub.stages.evaluate.files import evaluate_file  # noqa: E402
from raydub.stages.evaluate.sound import hear  # noqa: E402
from raydub.stages.evaluate.thresholds import load_thresholds  # noqa: E402
from raydub.stages.evaluate.verdict import judged as judge_segments  # noqa: E402
from raydub.stages.evaluate.verdict import overall, reasons_of  # noqa: E402
from raydub.stages.evaluate.wanted import wanted  # noqa: E402

LATE = (3, 6, 10)
SPOILS = (*(f"late{n}" for n in LATE), "frozen", "language", "mouth", "face", "blur", "flicker")
ENGINES = ("own", "warp")
BLUR, FLICKER = 0.08, 12.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of films of talking people")
    parser.add_argument("--out", type=Path, required=True, help="never the repository")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="these files of the folder, in this order")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--again", action="store_true", help="evaluate again what was evaluated before")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    names = [name for name in options.only.split(",") if name]
    clips = [options.clips / name for name in names] or sorted(options.clips.glob("*.mp4"))
    sources = [cut(clip, options.out, options.seconds) for clip in clips]
    rows = []
    for number, source in enumerate(sources):
        half = ("calibration", "confirmation")[number % 2]
        for name, film in films_of(number, sources, options.out):
            found = judged(film, source, options.out, again=options.again)
            reasons = [f"{one.verdict}: {one.message}" for one in found.reasons]
            row = {"clip": source.stem, "half": half, "film": name, "verdict": found.verdict, "reasons": reasons}
            rows.append(row | {"figures": dict(found.figures)})
            sys.stderr.write(f"{source.stem} {name}: {found.verdict} {reasons}\n")
    settings = {"clips": [one.name for one in clips], "seconds": options.seconds}
    report({"settings": settings, **tables(rows), "films": rows}, options.out / "spoilt.json")
    return 0


def tables(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """found: spoilt films by kind and half, as "found of all"; bad: of these as bad; false_alarms: good ones that are
    not judged good."""
    halves = ("calibration", "confirmation")

    def count(film: str, half: str, verdicts: tuple[str, ...]) -> str:
        here = [row for row in rows if row["half"] == half and row["film"] == film]
        return f"{sum(row['verdict'] in verdicts for row in here)} of {len(here)}"

    return {
        "found": {film: {half: count(film, half, ("look", "bad")) for half in halves} for film in SPOILS},
        "bad": {film: {half: count(film, half, ("bad",)) for half in halves} for film in SPOILS},
        "false_alarms": {
            film: {half: count(film, half, ("look", "bad")) for half in halves} for film in ("real", *ENGINES)
        },
    }


def films_of(number: int, sources: list[Path], out: Path) -> list[tuple[str, Path]]:
    """The good and the spoilt films of a clip, made where they are absent."""
    source, after = sources[number], [*sources[number + 1 :], *sources[:number]]
    donor, third = [one for one in after if speaks(one)][:2]
    engine = ENGINES[number // 2 % 2]
    dub = dubbed(source, donor, engine, out)
    films = [("real", source), (engine, dub)]
    for spoil in SPOILS:
        path = out / f"{source.stem}--{spoil}.mp4"
        if not path.exists():
            spoilt(spoil, dub, third, path)
        films.append((spoil, path))
    return films


def judged(film: Path, source: Path, out: Path, *, again: bool) -> Evaluation:
    """The film's evaluation."""
    kept = out / f"{film.stem}.evaluation.json"
    if kept.exists() and not again:
        known, limits = Evaluation.from_json(kept.read_bytes()), load_thresholds()
        segments, parts = judge_segments(known.segments, limits)
        reasons = reasons_of(known.figures, limits)
        verdict = overall(reasons, parts, segments)
        return known.model_copy(update={"verdict": verdict, "reasons": (*reasons, *parts), "segments": tuple(segments)})
    found = evaluate_file(str(film), Facts(film.stem, source=str(source)), load_thresholds(), str(source))
    kept.write_bytes(found.to_json())
    return found


@functools.cache
def speaks(source: Path) -> bool:
    """Does the clip's sound want a moving mouth?"""
    info = probe_video(str(source))
    sound = hear(str(source), Fraction(info.start_time), [(0.0, float(info.duration))])
    if sound is None:
        return False
    asked = wanted(sound.pieces[0], np.arange(info.n_frames), float(info.rate))
    return float(asked[sound.voiced(info.rate, info.n_frames)].std()) >= STILL


def cut(clip: Path, out: Path, seconds: float) -> Path:
    """The first seconds of a clip, encoded again as the product does by default."""
    path = out / f"{clip.stem}.mp4"
    if not path.exists():
        coded = ("-c:v", "libx264", "-crf", "18", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-c:a", "aac")
        _ffmpeg("-i", clip, "-t", seconds, "-map", "0:v:0", "-map", "0:a:0", *coded, "-b:a", "160k", path)
    return path


def dubbed(source: Path, donor: Path, engine: str, out: Path) -> Path:
    """The clip with the donor's sound, by an engine."""
    path = out / f"{source.stem}--{engine}.mp4"
    if not path.exists():
        raydub.dub(
            source, audio=donor, output=path, work_dir=out / "work", engine=engine, length="shortest", workers=1
        ).raise_for_status()
    return path


def spoilt(spoil: str, dub: Path, other: Path, path: Path) -> None:
    """The dub spoilt in this way. other: a clip of another person, with other speech."""
    rate = float(probe_video(str(dub)).rate)
    if spoil.startswith("late"):
        early = int(spoil.removeprefix("late")) / rate
        _ffmpeg("-i", dub, "-ss", early, "-i", dub, "-map", "0:v", "-map", "1:a", "-c:v", "copy", "-c:a", "aac", path)
        return
    if spoil == "language":
        _ffmpeg("-i", dub, "-i", other, "-map", "0:v", "-map", "1:a", "-c", "copy", "-shortest", path)
        return
    silent = path.with_suffix(".silent.mp4")
    info = probe_video(str(dub))
    seen = see(dub, info.n_frames)
    place = place_of(seen)
    if spoil == "frozen":
        controls.frozen(seen, place, silent)
    else:
        controls.written(seen, silent, _drawn(spoil, seen.present, place, other))
    _ffmpeg("-i", silent, "-i", dub, "-map", "0:v", "-map", "1:a", "-c", "copy", path)
    silent.unlink()


def _drawn(spoil: str, present: Any, place: Place, other: Path) -> Callable[[Frame], Frame]:
    """What draws a spoilt frame."""
    soft = controls.soft(place) if spoil != "face" else _whole(place)
    faces = _faces_of(other, place) if spoil in ("mouth", "face") else None

    def drawn(frame: Frame) -> Frame:
        if not present[frame.index]:
            return frame
        bgr = to_bgr(frame)
        back = cv2.invertAffineTransform(place.matrix[frame.index])
        alpha = cv2.warpAffine(soft, back, frame.size)[..., None]
        if faces is not None:
            new = cv2.warpAffine(faces[frame.index % len(faces)], back, frame.size).astype(np.float32)
        elif spoil == "blur":
            eyes = place.unit / float(np.hypot(*place.matrix[frame.index][:, 0]))
            new = cv2.GaussianBlur(bgr, (0, 0), BLUR * eyes).astype(np.float32)
        else:
            new = np.clip(bgr.astype(np.float32) + (FLICKER if frame.index % 2 else -FLICKER), 0, 255)
        return from_bgr(np.rint(bgr + alpha * (new - bgr)).astype(np.uint8), frame.colour, frame.index)

    return drawn


def _faces_of(other: Path, place: Place) -> list[U8]:
    """Another person's face, in the still picture of this one."""
    seen = see(other, probe_video(str(other)).n_frames)
    theirs = place_of(seen)
    faces = still(other, theirs)[seen.present]
    return [np.asarray(cv2.resize(face, place.size, interpolation=cv2.INTER_AREA), np.uint8) for face in faces]


def _whole(place: Place) -> F32:
    """(h, w): 1 on the face, 0 beyond, with a soft edge."""
    mask = np.zeros(place.size[::-1], np.uint8)
    cv2.fillConvexPoly(mask, cv2.convexHull(np.rint(place.shape[:27]).astype(np.int32)), 255)
    return np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 0.05 * place.unit), np.float32)


def _ffmpeg(*words: Any) -> None:
    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-y", *map(str, words)], check=True)


if __name__ == "__main__":
    sys.exit(main())
