"""The films to judge: each pair through raydub.dub with each engine, and what the run says of its own cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import raydub
from bench.judging import controls
from bench.judging.pairs import Pair, write_sound
from bench.judging.spoken import RATE
from raydub.stages.evaluate.aligned import Place
from raydub.stages.evaluate.seen import Seen

OVERWRITE = {"overwrite": True, "length": "shortest"}


@dataclass(frozen=True)
class Film:
    """A dubbed film. own_speech: it is the source itself, so its own speaker is the reference; told: what the run's
    results say."""

    engine: str
    path: Path
    own_speech: bool = False
    told: Mapping[str, Any] = field(default_factory=dict)


def made(pair: Pair, name: str, folder: Path) -> Film:
    """The pair's film of an earlier call, as it is. ValueError where there is none."""
    path = path_of(pair, name, folder)
    if not path.is_file():
        raise ValueError(f"{path} was not made")
    return Film(name, path, own_speech=name == "source")


def path_of(pair: Pair, name: str, folder: Path) -> Path:
    """Where the film of that name is."""
    return folder / f"{pair.name}--{name}.mp4"


def dubbed(pair: Pair, engine: str, folder: Path, options: Mapping[str, Any], *, shifted: bool = False) -> Film:
    """The pair's film by the product; what is finished from an earlier call is reused. Raises what the job failed
    with."""
    name = "shifted" if shifted else engine
    speech: dict[str, Any] = {"audio": pair.speech}
    if pair.said is not None:
        speech = {"script": pair.speech, "tts": "espeak", "voice": "en-us", "bed": "none"}
    elif shifted:
        assert pair.donor is not None
        moved = controls.shifted(pair.donor.sound, RATE)
        speech = {"audio": write_sound(moved, pair.speech.with_name(f"{pair.speech.stem}--shifted.wav"))}
    output = path_of(pair, name, folder)
    result = raydub.dub(
        pair.video.path,
        output=output,
        work_dir=folder / "work",
        engine=engine,
        workers=1,
        **(OVERWRITE | speech | dict(options)),
    ).raise_for_status()
    return Film(name, output, told=_told(result))


def control(name: str, pair: Pair, source: Seen, place: Place, folder: Path) -> Film:
    """The spoilt film `name`: source or frozen."""
    path = path_of(pair, name, folder)
    if name == "source":
        return Film(name, controls.copied(source, path), own_speech=True)
    return Film(name, controls.frozen(source, place, path))


def _told(result: raydub.Result) -> dict[str, Any]:
    """frames, drawn; drawn_by: of these by engine, where the results say so; draw_encode_ms: wall milliseconds of
    drawing and encoding a frame, None for a film of an earlier run; draw_ms: of drawing alone, where it is measured."""
    seconds = dict(result.record.seconds)
    frames = max(result.frames, 1)
    both, alone = seconds.get("render.draw_encode"), seconds.get("render.draw")
    return {
        "frames": result.frames,
        "drawn": result.synthesised,
        "drawn_by": dict(getattr(result.record, "drawn", {})),
        "draw_encode_ms": None if both is None else round(1000 * both / frames, 2),
        "draw_ms": None if alone is None else round(1000 * alone / max(result.synthesised, 1), 2),
        "warnings": list(result.warnings),
    }


def names_of(text: str) -> Sequence[str]:
    """The names in text such as warp,own. SystemExit for none, for doubles, and for the names of controls."""
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names or len(set(names)) < len(names) or set(names) & set(controls.NAMES):
        raise SystemExit(f"--engines {text}: different names of lip engines, joined by commas, such as warp,own")
    return names
