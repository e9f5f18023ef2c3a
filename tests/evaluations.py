"""Evaluations and results rows with made-up figures, for tests and benches of what reads them."""

from __future__ import annotations

import math
import random
from pathlib import Path

from raydub.manifests.evaluation import Curves, Evaluation, Moment, Reason, Segment, Verdict
from raydub.manifests.results import JobResult, write_results

FIGURES = {
    "r": 0.7,
    "delay_ms": 20.0,
    "movement": 0.9,
    "silence_motion": 0.3,
    "sharpness": 0.9,
    "jitter": 1.0,
    "flicker": 1.5,
    "seam": 1.1,
    "light_step": 2.0,
    "psnr_outside": 46.0,
    "identity": 0.02,
    "loudness_lufs": -16.0,
    "true_peak_dbtp": -2.1,
    "av_start_ms": 0.0,
    "speech_share": 0.7,
}


def evaluation(
    name: str,
    output: str = "out.mp4",
    sha256: str = "0" * 64,
    frames: int = 125,
    rate: float = 25.0,
    verdict: Verdict = "good",
    seed: int = 0,
    curves: bool = True,
) -> Evaluation:
    """An evaluation with all parts filled. The same seed gives the same one."""
    dice = random.Random(seed)
    seconds = frames / rate
    speech = [abs(math.sin(at / rate * 2.3 + seed)) * abs(math.sin(at / rate * 9)) for at in range(frames)]
    drawn = [round(min(1.0, max(0.0, 0.85 * value + dice.gauss(0, 0.04))), 3) for value in speech]
    figures: dict[str, float | None] = {
        name: round(value * dice.uniform(0.8, 1.2) if value else dice.uniform(-40, 40), 3)
        for name, value in FIGURES.items()
    }
    figures["closures_hit"] = None
    reasons = []
    if verdict != "good":
        late = figures["delay_ms"] = 120.0 if verdict == "bad" else 70.0
        message = f"the mouth is {late:.0f} ms late between {seconds / 3:.1f} and {seconds / 2:.1f} s"
        reasons.append(
            Reason(figure="delay_ms", value=late, limit=60.0, verdict=verdict, message=message,
                   start=seconds / 3, stop=seconds / 2)
        )  # fmt: skip
    steps = max(1, round(seconds))
    segments = [
        Segment(
            start=at * seconds / steps,
            stop=(at + 1) * seconds / steps,
            verdict=verdict if at == steps // 3 else "good",
            figures={"r": round(dice.uniform(0.5, 0.9), 3), "delay_ms": round(dice.gauss(20, 25), 1)},
        )
        for at in range(steps)
    ]
    worst = [
        Moment(frame=frame, seconds=frame / rate, figure="seam", message="the seam below the mouth is visible")
        for frame in sorted(dice.sample(range(frames), min(6, frames)))
    ]
    return Evaluation(
        id=name,
        output=output,
        output_sha256=sha256,
        frames=frames,
        duration=seconds,
        verdict=verdict,
        reasons=tuple(reasons),
        figures=figures,
        source_figures={"r": 0.74, "delay_ms": 12.0},
        segments=tuple(segments),
        worst=tuple(worst),
        curves=None if not curves else Curves(
            rate=rate,
            wanted=tuple(round(value, 3) for value in speech),
            drawn=tuple(drawn),
            source=tuple(round(abs(math.sin(at / rate * 5)) * 0.6, 3) for at in range(frames)),
            speech_db=tuple(round(20 * math.log10(value * 0.3 + 1e-4), 1) for value in speech),
            gate=tuple(1.0 if value > 0.1 else 0.0 for value in speech),
            delay_ms=tuple(round(dice.gauss(20, 25), 1) if dice.random() > 0.1 else None for _ in range(steps)),
        ),
        thresholds="f" * 64,
        seconds=1.5,
    )  # fmt: skip


def run_of(folder: Path, rows: int, seed: int = 0) -> Path:
    """Results of a run with so many rows below a folder, with evaluations, without any media: one in twelve failed."""
    dice = random.Random(seed)
    found = []
    for number in range(rows):
        name = f"lesson-{number:04}.{dice.choice(('de', 'es', 'fr', 'it', 'pt-br'))}"
        if number % 12 == 11:
            found.append(
                JobResult(id=name, status="failed", error_code="E_INPUT_MISSING", line=number + 1,
                          error_message=f"video {name}.mp4 does not exist", hint="check the path")
            )  # fmt: skip
            continue
        verdict: Verdict = dice.choices(("good", "look", "bad"), (16, 3, 1))[0]
        frames = dice.randrange(200, 2000)
        said = evaluation(
            name, str(folder / f"{name}.mp4"), frames=frames, verdict=verdict, seed=number, curves=number < 20
        )
        path = folder / f"{name}.evaluation.json"
        path.write_bytes(said.to_json())
        work = {"prepare": 1.5, "track": frames / 40, "lipsync": frames / 90, "render": frames / 30, "stitch": 0.8}
        found.append(
            JobResult(
                id=name,
                status="ok",
                video=f"{name}.src.mp4",
                audio=f"{name}.wav",
                output=said.output,
                frames=frames,
                synthesised=frames // 2,
                untouched=frames - frames // 2,
                drawn={"own": frames // 2},
                engine="own",
                seconds=work,
                wall_seconds=frames / 12,
                attempts=1,
                line=number + 1,
                verdict=verdict,
                evaluation=str(path),
                reasons=tuple(one.message for one in said.reasons),
            )
        )
    path = folder / "lessons.results.jsonl"
    write_results(found, path, None)
    return path
