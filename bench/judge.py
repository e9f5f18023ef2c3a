"""Judge lip engines on a folder of clips: figures per engine and clip as JSON, sheets of pictures, a blind choice.

    python bench/judge.py --clips FOLDER --engines warp,own --out FOLDER [--only NAME,NAME]
        [--speech FOLDER] [--seconds S] [--kinds foreign,script] [--landmarks dlib|mesh] [--controls]
        [--made] [--set FIELD=VALUE ..]

Each clip is dubbed by raydub.dub with each engine: with the speech of another clip's speaker (or the next file of
--speech), and with lines spoken by espeak-ng. Everything is measured on the decoded films, against the source clip and
against the one who really spoke. Pairs, frames and lots are the same for the same folder. A pair that fails is named
under "failed", and the exit code is 1.

Following (the new speech)
  r, delay, r_now   openness of the drawn mouth with that of the speech's own speaker, as the same landmarks measure it:
                    best correlation within ±5 frames, frames by which the drawn mouth is late there, and without delay
  r_chance          what the search within ±5 frames finds on average where the speaker is moved by 15 frames or more
  r_covered         correlation with the mouth of the source that was covered: near 0 where speech decides
  rounding          foreign: correlation of the mouths' widths; script: of narrowness with rounded and spread phonemes
  movement          standard deviation of openness over the speaker's; movement_own: over that of the person's source
  closures_hit      share of p, b, m (script pairs, exact times) in which the lips touch within ±2 frames. They touch
                    where openness is within 0.012 eye distances of the person's own closed lips (5 % quantile)
  closures_chance   the same at any other time: lips that are always closed hit all of both; vowels_open: share of open
                    vowels with lips apart
  silence_motion    change of openness from frame to frame in silence over that in speech; silence_open: openness there
                    above closed lips
Looking (against the source, 1 is the same)
  sharpness, high_frequency, jitter, skin_jitter, seam, seam_tone: see stages/evaluate/pixels.py
  identity          distance of dlib's embeddings above identity_spread, that of the person's own frames
Cost
  draw_ms           processor milliseconds of drawing a frame, on the engine's first clip (bench/render.py's measure)
  draw_encode_ms    wall milliseconds of drawing and encoding in the run itself

Which landmarks: those that did not steer the drawing are the fairer judge, since an engine can please the detector that
it is steered by; `--landmarks` chooses, and the JSON (judge-dlib.json, judge-mesh.json) says which were used. `--made`
judges films again that are there, by other landmarks or with other measures.
--controls adds three films: `source` (encoded again, judged by its own speech: the bound of what can be measured),
`frozen` (one mouth in all frames), `shifted` (the first engine, speech moved by 1 s).
The blind choice (bench/judging/blind.py, measures in bench/judging/looks.py) is between the first two engines; with
--controls also between the first one and the source, which must win.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import cv2  # noqa: E402

from bench.judging import pairs as pairing  # noqa: E402
from bench.judging.blind import Blind, Shown  # noqa: E402
from bench.judging.controls import NAMES as CONTROLS  # noqa: E402
from bench.judging.dubbing import Film, control, dubbed, made, names_of  # noqa: E402
from bench.judging.figures import GOALS, Reference, figures, judged_frames, means, met  # noqa: E402
from bench.judging.looks import own_of  # noqa: E402
from bench.judging.pairs import Pair  # noqa: E402
from bench.judging.seen import LANDMARKS  # noqa: E402
from bench.judging.sheet import sheet  # noqa: E402
from bench.judging.spoken import RATE  # noqa: E402
from bench.render import measure as measure_render  # noqa: E402
from bench.report import report  # noqa: E402
from raydub.cluster.commands.fields import chosen  # noqa: E402
from raydub.errors import RaydubError, UsageError  # noqa: E402
from raydub.media.audio import decode_speech  # noqa: E402

KINDS = ("foreign", "script")
SEED = 1


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, required=True, help="folder of films of talking people")
    parser.add_argument("--engines", required=True, help="names as in the field engine, joined by commas")
    parser.add_argument("--out", type=Path, required=True, help="films, pictures and judge.json; never the repository")
    parser.add_argument("--only", default="", metavar="NAME,NAME", help="these files of the folder; default: all")
    parser.add_argument("--speech", type=Path, help="folder of speech instead of the other clips' own")
    parser.add_argument("--seconds", type=float, default=6.0, help="of each clip and speech")
    parser.add_argument("--kinds", default=",".join(KINDS), help="kinds of pairs, joined by commas")
    parser.add_argument("--landmarks", choices=LANDMARKS, default="dlib", help="by which mouths are measured")
    parser.add_argument("--controls", action="store_true", help="judge spoilt films too")
    parser.add_argument("--seed", type=int, default=SEED, help="of the blind choice")
    parser.add_argument("--no-cost", action="store_true", help="leave out draw_ms")
    parser.add_argument("--made", action="store_true", help="judge again the films in --out, dub nothing")
    parser.add_argument("--set", action="append", default=[], metavar="FIELD=VALUE", help="fields of all jobs")
    options = parser.parse_args()
    if unknown := set(listed(options.kinds)) - set(KINDS):
        parser.error(f"--kinds: {', '.join(sorted(unknown))} is none of {', '.join(KINDS)}")
    if not options.clips.is_dir():
        parser.error(f"--clips {options.clips} is no folder")
    return options


def listed(text: str) -> list[str]:
    """ "a,b" as names."""
    return [name.strip() for name in text.split(",") if name.strip()]


def pairs_of(options: argparse.Namespace) -> tuple[list[Pair], dict[str, str]]:
    """The pairs of all kinds, and why clips were left out."""
    speech = options.out / "speech"
    speech.mkdir(parents=True, exist_ok=True)
    clips, left = pairing.clips_in(options.clips, options.seconds, options.landmarks, listed(options.only))
    pairs: list[Pair] = []
    kinds = listed(options.kinds)
    if "foreign" in kinds:
        if options.speech is not None:
            pairs = pairing.given_pairs(clips, options.speech, speech)
        else:
            pairs, without = pairing.foreign_pairs(clips, speech)
            left |= without
    if "script" in kinds:
        pairs += pairing.script_pairs(clips, speech)
    if not pairs:
        raise SystemExit(f"--clips {options.clips}: no pair of a clip and a speech; left out: {left}")
    return pairs, left


def films_of(pair: Pair, engines: Sequence[str], fields: Mapping[str, Any], options: argparse.Namespace) -> list[Film]:
    """The films of a pair: the engines', then the controls'."""
    if options.made:
        controls = CONTROLS if pair.donor is not None else CONTROLS[:2]
        return [made(pair, name, options.out) for name in (*engines, *(controls if options.controls else ()))]
    films = [dubbed(pair, engine, options.out, fields) for engine in engines]
    if options.controls:
        n = judged_frames(pair, films)
        place = Reference.of(pair, n).place
        films += [control(name, pair, pair.video.seen.first(n), place, options.out) for name in CONTROLS[:2]]
        if pair.donor is not None:
            films.append(dubbed(pair, engines[0], options.out, fields, shifted=True))
    return films


def judge(pair: Pair, films: Sequence[Film], blinds: Mapping[tuple[str, str], Blind], out: Path) -> dict[str, Any]:
    """One pair's figures by film, its sheet, and its frames for the blind choices, by the names of their two films."""
    reference = Reference.of(pair, judged_frames(pair, films))
    heard = decode_speech(str(films[0].path))
    sounds = pair.said.sounds_in(heard) if pair.said is not None else ()
    found: dict[str, dict[str, Any]] = {}
    shown: dict[str, Shown] = {}
    for film in films:
        found[film.engine], shown[film.engine] = figures(film, reference, heard, sounds)
    n, rate = len(reference.faces), pair.video.seen.rate
    closing = [int((one.start + one.stop) / 2 * rate) for one in sounds if one.closes]
    rows = {"source": reference.shown, **{film.engine: shown[film.engine] for film in films if not film.own_speech}}
    sheet(rows, reference.place, out / f"{pair.name}.png", [at for at in closing if at < n])
    own = own_of(reference.faces, reference.points, reference.place) if blinds else None
    for names, blind in blinds.items():
        if own is not None and set(names) <= set(shown):
            blind.add(pair.name, reference.faces, reference.place, own, {name: shown[name] for name in names})
    return {
        "pair": pair.name,
        "kind": pair.kind,
        "video": pair.video.path.name,
        "speech": pair.speech.name,
        "lines": list(pair.said.lines) if pair.said is not None else [],
        "reference": "phoneme times" if pair.said else pair.donor.path.name if pair.donor else None,
        "films": found,
    }


def draw_ms(pair: Pair, engine: str, options: argparse.Namespace) -> float:
    """Processor milliseconds of drawing a frame of the pair's clip."""
    speech = str((pair.donor or pair.video).path.absolute())
    fields = [*options.set, f"engine={engine}"]
    told: Any = measure_render(str(pair.video.path.absolute()), speech, fields, 60, 2, options.out / "cost")
    return float(told["cpu_ms_per_frame"]["draw"])


def main() -> int:
    options = arguments()
    cv2.setNumThreads(1)
    engines = names_of(options.engines)
    fields = chosen({}, options.set)
    options.out.mkdir(parents=True, exist_ok=True)
    pairs, left = pairs_of(options)
    opponents = [*engines[1:2], *(["source"] if options.controls else [])]
    blinds = {
        (engines[0], other): Blind(options.out / "blind" / f"{engines[0]}-{other}", options.seed) for other in opponents
    }
    judged, failed = [], {}
    for pair in pairs:
        try:
            judged.append(judge(pair, films_of(pair, engines, fields, options), blinds, options.out))
        except UsageError as error:
            raise SystemExit(str(error)) from error
        except (RaydubError, ValueError) as error:
            failed[pair.name] = str(error)
    names = list(dict.fromkeys(name for one in judged for name in one["films"]))
    rows = {name: [one["films"][name] for one in judged if name in one["films"]] for name in names}
    mean = {name: means(rows[name]) for name in names}
    if judged and not (options.no_cost or options.made):
        (options.out / "cost").mkdir(exist_ok=True)
        for engine in engines:
            mean[engine]["draw_ms"] = draw_ms(pairs[0], engine, options)
    result = {
        "settings": {
            "engines": engines,
            "seconds": options.seconds,
            "landmarks": options.landmarks,
            "fields": fields,
            "speech_rate": RATE,
        },
        "left_out": left,
        "failed": failed,
        "pairs": judged,
        "means": mean,
        "goals": {name: {"at_least": low, "at_most": high} for name, (low, high) in GOALS.items()},
        "met": {engine: met(mean[engine], rows[engine]) for engine in engines if engine in mean},
        "blind": {" against ".join(names): blind.verdict() for names, blind in blinds.items()},
    }
    report(result, options.out / f"judge-{options.landmarks}.json")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
