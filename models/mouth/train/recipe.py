"""The training recipe: a folder of talking heads in, a weights file and its report out. `raydub train` calls `train`.

Steps: measure every clip (cached) → refuse unsuitable clips → train a few small networks, each without a share of the
clips → evaluate each on its share → scale movement to that of real mouths → write → evaluate the file on kept-out
people.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from safetensors.torch import save_file

from raydub.errors import Code, InputError
from raydub.files import discard, publish, temp_beside
from raydub.models.mouth.embedded import LANDMARKS_KEY
from raydub.models.mouth.infer import MouthConfig, MouthShapes, ShapeStatistics
from raydub.models.mouth.layout import NetworkConfig
from raydub.models.mouth.network import Ensemble, MouthNetwork
from raydub.models.mouth.train.clips import Clip, prepare_clips
from raydub.models.mouth.train.evaluate import Predictor, Score, evaluate
from raydub.models.mouth.train.fit import FitConfig, fit
from raydub.models.mouth.train.material import SPEEDS, Lesson, lesson_of, z_scored
from raydub.models.mouth.train.screen import screen
from raydub.models.mouth.train.shapes import LEARNED_FROM

SUFFIXES = frozenset({".mp4", ".mov", ".avi", ".mkv", ".mpg", ".webm"})

REFERENCE_KEEP_OUT = (
    "address_2_512_25.mp4",
    "address_5_512_25.mp4",
    "expressive_d9.mp4",
    "grid_2.mpg",
    "source_s18.mp4",
    "studio_portrait_1080x1920_25.mp4",
    "talk_retalking_5.mp4",
    "webcam_en_720p30.mp4",
)
REFERENCE_LEAVE_OUT = ("moving_camera_crowd_360p2997.mp4", "two_speakers_side_by_side_1024x512_25.mp4")
"""Clips kept out, and not used, when the embedded weights were made. See MODEL_CARD.md."""

Progress = Callable[[str, int, int, str], None]
"""(step of the recipe, done, total, note); steps are clips, screen, train, evaluate."""


class TrainConfig(BaseModel):
    """What to train on and how. clips: folder of talking heads with their own sound; output: weights file to write;
    cache: folder for measured clips; keep_out: file names that are neither trained on nor used for any choice, only
    evaluated at the end; leave_out: file names not used at all (further clips of kept-out people, clips known to be
    bad); members: networks in the ensemble; threads: CPU threads for the networks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Path
    output: Path
    cache: Path
    keep_out: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    network: NetworkConfig = NetworkConfig()
    fit: FitConfig = FitConfig()
    members: int = Field(4, ge=1)
    speeds: tuple[tuple[int, int], ...] = SPEEDS
    seed: int = 0
    threads: int = Field(1, ge=1)


class TrainReport(BaseModel):
    """The result. loss: mean of the last tenth of every member's steps; unseen: each member evaluated on the clips it
    did not see, None with one member; kept_out: the written file evaluated on kept-out clips, None without any."""

    model_config = ConfigDict(frozen=True)

    output: Path
    sha256: str
    trained_on: tuple[str, ...]
    refused: dict[str, str]
    moved: dict[str, float]
    frames: int
    first_loss: float
    loss: float
    unseen: Score | None
    kept_out: Score | None
    config: MouthConfig
    seconds: float


def train(config: TrainConfig, on_progress: Progress | None = None) -> TrainReport:
    """Run the recipe. Raises InputError if no clip can be used. Writes config.output atomically; same clips, seed and
    torch build give the same file."""
    started = time.monotonic()
    tell = on_progress or (lambda step, done, total, note: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        return _train(config, tell, started)
    finally:
        torch.set_num_threads(threads)


def _train(config: TrainConfig, tell: Progress, started: float) -> TrainReport:
    clips, refused = _measured(config, tell)
    kept_out = [clip for clip in clips if clip.name in config.keep_out and clip.usable.any()]
    screened = screen([clip for clip in clips if clip.name not in config.keep_out])
    teachers = list(screened.clips)
    tell("screen", len(teachers), len(clips), f"{len(screened.refused)} refused, {len(screened.moved)} moved into sync")
    if not teachers:
        raise InputError(
            Code.INPUT_UNREADABLE,
            f"no clip in {config.clips} can be used for training: {refused | screened.refused}",
            hint="use clips of one speaking face each, with their own sound",
        )
    lessons = {clip.name: [lesson_of(clip, ratio) for ratio in config.speeds] for clip in teachers}
    members, judged, losses = _members(config, teachers, lessons, tell)
    mouth = MouthConfig(
        network=config.network,
        members=config.members,
        gain=_gain(members, judged, [lessons[clip.name][0] for clip in teachers]),
        openness=_statistics(teachers, 0),
        width=_statistics(teachers, 1),
    )
    _save(config.output, mouth, members)
    shapes = MouthShapes.load(config.output)
    score = evaluate(kept_out, shapes.at) if kept_out else None
    note = f"r = {score.openness:.3f} on kept-out clips" if score else "no clips were kept out"
    tell("evaluate", len(kept_out), len(kept_out), note)
    tenth = max(1, config.fit.steps // 10)
    return TrainReport(
        output=config.output,
        sha256=shapes.sha256,
        trained_on=tuple(clip.name for clip in teachers),
        refused=refused | screened.refused,
        moved=screened.moved,
        frames=int(sum(clip.usable.sum() for clip in teachers)),
        first_loss=float(np.mean([one[0] for one in losses])),
        loss=float(np.mean([one[-tenth:] for one in losses])),
        unseen=Score.of([clip for _, score in judged for clip in score.clips]) if judged else None,
        kept_out=score,
        config=mouth,
        seconds=time.monotonic() - started,
    )


def _measured(config: TrainConfig, tell: Progress) -> tuple[list[Clip], dict[str, str]]:
    paths = sorted(
        path for path in config.clips.iterdir() if path.suffix.lower() in SUFFIXES and path.name not in config.leave_out
    )
    done = itertools.count(1)
    return prepare_clips(
        paths, config.cache, lambda name, note: tell("clips", next(done), len(paths), f"{name} {note}")
    )


def _members(
    config: TrainConfig, teachers: Sequence[Clip], lessons: dict[str, list[Lesson]], tell: Progress
) -> tuple[list[MouthNetwork], list[tuple[float, Score]], list[list[float]]]:
    """The networks, each trained without its share of the clips; (width movement, score) by share; losses by step."""
    members: list[MouthNetwork] = []
    judged: list[tuple[float, Score]] = []
    losses: list[list[float]] = []
    total = config.members * config.fit.steps
    for k in range(config.members):
        unseen = list(teachers[k :: config.members]) if 1 < config.members <= len(teachers) else []
        names = {clip.name for clip in unseen}
        material = [one for clip in teachers if clip.name not in names for one in lessons[clip.name]]
        curve: list[float] = []

        def on_step(step: int, loss: float, curve: list[float] = curve, k: int = k) -> None:
            curve.append(loss)
            if step % 25 == 24:
                note = f"network {k + 1}, loss {np.mean(curve[-25:]):.3f}"
                tell("train", k * config.fit.steps + step + 1, total, note)

        members.append(fit(material, config.network, config.fit, config.seed + k, on_step))
        losses.append(curve)
        if unseen:
            judged.append(_judge(members[-1], unseen))
    return members, judged, losses


def _judge(member: MouthNetwork, unseen: Sequence[Clip]) -> tuple[float, Score]:
    said = [_curve(member, lesson_of(clip).mel) for clip in unseen]
    return float(np.mean([curve[1].std() for curve in said])), evaluate(unseen, _predictor(member))


def _predictor(network: MouthNetwork) -> Predictor:
    """A network before it is written, as a Predictor without gain."""

    def at(mel: np.ndarray, times: np.ndarray) -> np.ndarray:
        curve = _curve(network, mel)
        columns = np.arange(curve.shape[1])
        return np.stack([np.interp(times * 80, columns, row) for row in curve], axis=1).astype(np.float32)

    return at


def _curve(network: MouthNetwork, mel: np.ndarray) -> np.ndarray:
    """(80, T) → (2, T), silence beyond the ends."""
    reach = network.config.reach
    padded = np.pad(mel, ((0, 0), (reach, reach)), constant_values=-4)
    with torch.inference_mode():
        return np.asarray(network(torch.from_numpy(padded)[None])[0].numpy())


def _gain(
    members: Sequence[MouthNetwork], judged: Sequence[tuple[float, Score]], seen: Sequence[Lesson]
) -> tuple[float, float]:
    """Factors that scale the ensemble's movement on unseen speech to that of real mouths (1 in z-scores). A member's
    movement on unseen clips is measured; averaging reduces it further, which is measured on the clips seen."""
    single = np.mean([[_curve(one, s.mel).std(axis=1) for one in members] for s in seen], axis=(0, 1))
    together = np.mean([np.mean([_curve(one, s.mel) for one in members], axis=0).std(axis=1) for s in seen], axis=0)
    unseen = single
    if judged:
        unseen = np.array([np.mean([score.movement for _, score in judged]), np.mean([width for width, _ in judged])])
    movement = np.maximum(unseen * together / np.maximum(single, 1e-3), 0.2)
    return float(1 / movement[0]), float(1 / movement[1])


def _statistics(clips: Sequence[Clip], k: int) -> ShapeStatistics:
    means, stds = zip(*[(z_scored(clip)[1][k], z_scored(clip)[2][k]) for clip in clips], strict=True)
    return ShapeStatistics(mean=float(np.median(means)), std=float(np.median(stds)), spread=float(np.std(means)))


def _save(path: Path, config: MouthConfig, members: Sequence[MouthNetwork]) -> None:
    """Half precision on disk (half the size; r changes in the fifth digit), single precision in use."""
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in Ensemble(list(members)).state_dict().items()
    }
    draft = temp_beside(path)
    try:
        save_file(state, draft, metadata={"config": config.model_dump_json(), LANDMARKS_KEY: LEARNED_FROM})
        os.chmod(draft, 0o644)
        publish(draft, path)
    finally:
        discard(draft)
