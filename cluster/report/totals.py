"""Sums over a run: rows by outcome and verdict, minutes, work per stage, price, and failures of the same kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from raydub.cluster.report.gather import Video
from raydub.errors import RaydubError
from raydub.pipeline.capacity import Group, Prices
from raydub.pipeline.registry import STAGES
from raydub.pipeline.run_lookup import RunSeen, runs
from raydub.store import Store

OUTCOMES = ("ok", "failed", "quarantined", "skipped")
VERDICTS = ("good", "look", "bad")


@dataclass(frozen=True)
class Cost:
    """What a run cost. amount: None where its time is not known; cluster: whose time was paid for, "" where only the
    work is priced."""

    amount: float | None
    cluster: str


@dataclass(frozen=True)
class Failures:
    """Rows that ended for the same reason with the same way out."""

    code: str
    hint: str
    rows: tuple[Video, ...]


@dataclass(frozen=True)
class Totals:
    """seconds: of all outputs, where they are known; wall: of the run, None where no record of it is left; stages: core
    seconds of work, in the stages' order; unevaluated: outputs without a verdict."""

    rows: int
    statuses: Mapping[str, int]
    verdicts: Mapping[str, int]
    unevaluated: int
    seconds: float
    frames: int
    wall: float | None
    stages: Mapping[str, float]
    cost: Cost | None
    failures: tuple[Failures, ...]

    @property
    def work(self) -> float:
        """Core seconds of all stages; their parts ("render.verify") are in them."""
        return work_of(self.stages)


def work_of(seconds: Mapping[str, float]) -> float:
    """Core seconds in all. Names with a dot are parts of the stage before it."""
    return sum(value for name, value in seconds.items() if "." not in name)


def totals_of(
    videos: Sequence[Video],
    wall: float | None,
    prices: Prices | None = None,
    cluster: Sequence[Group] | None = None,
) -> Totals:
    """The sums. prices with a cluster: for its time during the run; without: for the work alone, at the price of a
    core."""
    rows = [video.result for video in videos]
    stages: Counter[str] = Counter()
    for row in rows:
        stages.update({name: seconds for name, seconds in row.seconds.items()})
    statuses: Counter[str] = Counter(row.status for row in rows)
    verdicts: Counter[str] = Counter(row.verdict for row in rows if row.verdict)
    done = [video for video in videos if video.result.status == "ok"]
    return Totals(
        rows=len(rows),
        statuses={name: statuses[name] for name in OUTCOMES},
        verdicts={name: verdicts[name] for name in VERDICTS},
        unevaluated=sum(video.result.verdict is None for video in done),
        seconds=sum(video.seconds or 0.0 for video in done),
        frames=sum(video.result.frames for video in done),
        wall=wall,
        stages={name: stages[name] for name in _ordered(stages)},
        cost=_cost(work_of(stages), wall, prices, cluster),
        failures=_failures(videos),
    )


def _ordered(stages: Mapping[str, float]) -> list[str]:
    known = [stage.name for stage in STAGES]

    def place(name: str) -> tuple[int, str, bool, str]:
        stage = name.partition(".")[0]
        return (known.index(stage) if stage in known else len(known), stage, "." in name, name)

    return sorted(stages, key=place)


def _cost(work: float, wall: float | None, prices: Prices | None, cluster: Sequence[Group] | None) -> Cost | None:
    if prices is None:
        return None
    if cluster is None:
        return Cost(work / 3600 * prices.cpu, "")
    paid = None if wall is None else prices.per_hour(cluster) * wall / 3600
    return Cost(paid, ",".join(map(str, cluster)))


def _failures(videos: Sequence[Video]) -> tuple[Failures, ...]:
    """The most frequent first."""
    groups: dict[tuple[str, str], list[Video]] = {}
    for video in videos:
        if video.result.status != "ok":
            said = (video.result.error_code or "", video.result.hint or "")
            groups.setdefault(said, []).append(video)
    found = [Failures(code, hint, tuple(rows)) for (code, hint), rows in groups.items()]
    return tuple(sorted(found, key=lambda one: (-len(one.rows), one.code)))


def wall_seconds(store: Store | None, results: str) -> float | None:
    """Seconds that the last run with this results file took, from its record in the work folder."""
    run = None if store is None else _run_of(store, results)
    found = None if run is None else run.state.get("elapsed")
    return float(found) if isinstance(found, (int, float)) else None


def _run_of(store: Store, results: str) -> RunSeen | None:
    try:
        return next((run for run in runs(store.place) if results in run.state.get("files", ())), None)
    except (RaydubError, OSError):
        return None
