"""The training recipe: a folder of talking heads and a speech engine in, a weights file and its report out. `raydub
train` calls `train`.

Steps: measure every clip (cached) → refuse unsuitable clips → let the speech engine speak → train a few small networks,
each without a share of the clips → evaluate each on its share → scale movement to that of real mouths and closures to
touching lips → write → evaluate the file on kept-out people.
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
from raydub.models.mouth.layout import OUTPUTS, SHAPES, NetworkConfig
from raydub.models.mouth.network import Ensemble, MouthNetwork
from raydub.models.mouth.train.clips import Clip, Landmarks, prepare_clips
from raydub.models.mouth.train.closures import ClosureScore, closure_scores
from raydub.models.mouth.train.evaluate import Predictor, Score, evaluate
from raydub.models.mouth.train.fit import FitConfig
from raydub.models.mouth.train.material import SPEEDS, Lesson, lesson_of, z_scored
from raydub.models.mouth.train.members import (
    ArticulatorScore,
    Member,
    articulator_scores,
    closure_bias,
    listener_of,
    movement_gain,
    predictor_of,
    train_member,
)
from raydub.models.mouth.train.screen import screen
from raydub.models.mouth.train.uttered import Speak, uttered

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
"""(step of the recipe, done, total, note); steps are clips, screen, speak, train, evaluate."""


class TrainConfig(BaseModel):
    """What to train on and how. clips: folder of talking heads with their own sound; output: weights file to write;
    cache: folder for measured clips and trained networks; keep_out: file names that are neither trained on nor used for
    any choice, only evaluated at the end; leave_out: file names not used at all (further clips of kept-out people,
    clips known to be bad); landmarks: that measure the clips; second: others, by which kept-out clips are evaluated
    too; utterances: spoken by the engine, of which an eighth as many more are kept out; members: networks in the
    ensemble; threads: CPU threads for the networks."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: Path
    output: Path
    cache: Path
    keep_out: tuple[str, ...] = ()
    leave_out: tuple[str, ...] = ()
    landmarks: Landmarks = "mesh"
    second: Landmarks | None = None
    utterances: int = Field(700, ge=8)
    network: NetworkConfig = NetworkConfig(outputs=OUTPUTS)
    fit: FitConfig = FitConfig()
    members: int = Field(4, ge=1)
    speeds: tuple[tuple[int, int], ...] = SPEEDS
    seed: int = 0
    threads: int = Field(1, ge=1)


class TrainReport(BaseModel):
    """The result. uttered: minutes of synthetic speech, 0 without a speech engine (the network then has no
    articulators); loss: mean of the last tenth of every member's steps; unseen, unseen_closures: each member evaluated
    on the clips it did not see, None and () with one member; kept_out, closures: the written file evaluated on kept-out
    clips; kept_out_second: the same measured by the other landmarks; articulators: on utterances that were kept out."""

    model_config = ConfigDict(frozen=True)

    output: Path
    sha256: str
    trained_on: tuple[str, ...]
    refused: dict[str, str]
    moved: dict[str, float]
    frames: int
    uttered: float
    first_loss: float
    loss: float
    unseen: Score | None
    unseen_closures: tuple[ClosureScore, ...]
    kept_out: Score | None
    kept_out_second: Score | None
    closures: tuple[ClosureScore, ...]
    articulators: tuple[ArticulatorScore, ...]
    config: MouthConfig
    seconds: float


def train(config: TrainConfig, on_progress: Progress | None = None, speak: Speak | None = None) -> TrainReport:
    """Run the recipe. speak: a speech engine; without one the network learns openness and width only. Raises InputError
    if no clip can be used, DependencyError for absent landmarks. Writes config.output atomically; same clips, seed,
    speech engine and torch build give the same file. A run that was stopped continues with the next network."""
    started = time.monotonic()
    tell = on_progress or (lambda step, done, total, note: None)
    threads = torch.get_num_threads()
    torch.set_num_threads(config.threads)
    try:
        return _train(config, tell, speak, started)
    finally:
        torch.set_num_threads(threads)


def _train(config: TrainConfig, tell: Progress, speak: Speak | None, started: float) -> TrainReport:
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
    taught, unheard = _spoken(config, tell, speak)
    members = _members(config, teachers, taught, tell)
    networks = [member.network for member in members]
    mouth = MouthConfig(
        network=networks[0].config,
        members=config.members,
        gain=movement_gain(members, [lesson_of(clip) for clip in teachers]),
        bias=(closure_bias(members) if taught else 0.0, 0.0, 0.0),
        openness=_statistics(teachers, 0),
        width=_statistics(teachers, 1),
    )
    _save(config, mouth, networks)
    shapes = MouthShapes.load(config.output)
    score = evaluate(kept_out, _written(shapes)) if kept_out else None
    note = f"r = {score.openness:.3f} on kept-out clips" if score else "no clips were kept out"
    tell("evaluate", len(kept_out), len(kept_out), note)
    tenth = max(1, config.fit.steps // 10)
    judged = [clip for one in members if one.unseen for clip in evaluate(one.unseen, predictor_of(one.network)).clips]
    return TrainReport(
        output=config.output,
        sha256=shapes.sha256,
        trained_on=tuple(clip.name for clip in teachers),
        refused=refused | screened.refused,
        moved=screened.moved,
        frames=int(sum(clip.usable.sum() for clip in teachers)),
        uttered=sum(lesson.mel.shape[1] for lesson in taught) / 80 / 60,
        first_loss=float(np.mean([one.losses[0] for one in members])),
        loss=float(np.mean([one.losses[-tenth:] for one in members])),
        unseen=Score.of(judged) if judged else None,
        unseen_closures=_unseen_closures(members, mouth.bias[0]) if taught else (),
        kept_out=score,
        kept_out_second=_second(config, shapes),
        closures=closure_scores(kept_out, shapes.at) if taught else (),
        articulators=articulator_scores(networks, unheard),
        config=mouth,
        seconds=time.monotonic() - started,
    )


def _measured(config: TrainConfig, tell: Progress) -> tuple[list[Clip], dict[str, str]]:
    paths = sorted(
        path for path in config.clips.iterdir() if path.suffix.lower() in SUFFIXES and path.name not in config.leave_out
    )
    done = itertools.count(1)
    return prepare_clips(
        paths,
        config.cache,
        lambda name, note: tell("clips", next(done), len(paths), f"{name} {note}"),
        config.landmarks,
    )


def _spoken(config: TrainConfig, tell: Progress, speak: Speak | None) -> tuple[list[Lesson], list[Lesson]]:
    """Utterances to train on, and those that are kept out."""
    if speak is None or config.network.outputs == SHAPES:
        return [], []
    kept_out = config.utterances // 8
    total = config.utterances + kept_out

    def on_done(number: int) -> None:
        if number % 50 == 0:
            tell("speak", number, total, "utterances")

    taught = uttered(config.utterances, config.seed, speak, config.cache, on_done)
    unheard = config.seed + 1_000_000
    return taught, uttered(kept_out, unheard, speak, config.cache, lambda n: on_done(config.utterances + n))


def _members(config: TrainConfig, teachers: Sequence[Clip], taught: Sequence[Lesson], tell: Progress) -> list[Member]:
    network = config.network if taught else config.network.model_copy(update={"outputs": SHAPES})
    lessons = {clip.name: [lesson_of(clip, ratio) for ratio in config.speeds] for clip in teachers}
    members: list[Member] = []
    total = config.members * config.fit.steps
    for k in range(config.members):

        def on_step(step: int, loss: float, k: int = k) -> None:
            if step % 25 == 24:
                tell("train", k * config.fit.steps + step + 1, total, f"network {k + 1}, loss {loss:.3f}")

        share = (k, config.members)
        seed = config.seed + k
        members.append(train_member(teachers, lessons, taught, share, network, config.fit, seed, config.cache, on_step))
        tell("train", (k + 1) * config.fit.steps, total, f"network {k + 1} ready")
    return members


def _unseen_closures(members: Sequence[Member], bias: float) -> tuple[ClosureScore, ...]:
    found = (closure_scores(one.unseen, listener_of(one.network, bias)) for one in members)
    return tuple(score for scores in found for score in scores if score.clip != "mean")


def _second(config: TrainConfig, shapes: MouthShapes) -> Score | None:
    """The file judged by other landmarks than it learned from."""
    if config.second is None:
        return None
    paths = [config.clips / name for name in config.keep_out if (config.clips / name).is_file()]
    clips = [clip for clip in prepare_clips(paths, config.cache, None, config.second)[0] if clip.usable.any()]
    return evaluate(clips, _written(shapes)) if clips else None


def _written(shapes: MouthShapes) -> Predictor:
    def at(mel: np.ndarray, times: np.ndarray) -> np.ndarray:
        spoken = shapes.at(mel, times)
        return np.stack([spoken.open, spoken.width], axis=1)

    return at


def _statistics(clips: Sequence[Clip], k: int) -> ShapeStatistics:
    means, stds = zip(*[(z_scored(clip)[1][k], z_scored(clip)[2][k]) for clip in clips], strict=True)
    return ShapeStatistics(mean=float(np.median(means)), std=float(np.median(stds)), spread=float(np.std(means)))


def _save(config: TrainConfig, mouth: MouthConfig, networks: Sequence[MouthNetwork]) -> None:
    """Half precision on disk (half the size; r changes in the fifth digit), single precision in use. The landmarks that
    measured the mouths are named, because dlib's exclude commercial use."""
    state = {
        name: value.half().contiguous() if value.is_floating_point() else value
        for name, value in Ensemble(list(networks)).state_dict().items()
    }
    draft = temp_beside(config.output)
    try:
        save_file(state, draft, metadata={"config": mouth.model_dump_json(), LANDMARKS_KEY: config.landmarks})
        os.chmod(draft, 0o644)
        publish(draft, config.output)
    finally:
        discard(draft)
