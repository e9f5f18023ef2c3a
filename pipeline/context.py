"""What every worker of a run knows, and what it keeps from one item to the next."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raydub.identity import changed
from raydub.manifests.options import Options
from raydub.media.fetch_policy import FetchPolicy
from raydub.pipeline.engines import LICENCE_VARIABLE, engine_key, make_job_engine
from raydub.pipeline.failures import while_loading
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.retry import TRIES
from raydub.store import forget_before
from raydub.tts.engines.find import COMMAND_VARIABLE

if TYPE_CHECKING:
    from raydub.stages.engine import LipEngine, WeightsRecord
    from raydub.stages.prepare import JobPlan

# Engines hold networks (up to 150 MB each): a worker keeps the last few that its jobs asked for.
_KEPT = 2


@dataclass(frozen=True)
class WorkSettings:
    """What every worker of a run must know. Small, because Ray sends it to each of them.

    work_dir: folder of plans, tracks and parts, reachable from every node; run_id: this run; device: where networks
    run, "auto", "cpu" or "cuda"; licences: names of licences that the user has accepted, comma-separated;
    limits: how long steps may take; tries: how often a step that fails with an error that may pass is tried, in all;
    fetch: what may be fetched, in the words of media.fetch_policy, by default as the driver's environment says;
    tts_command: the operator's speech program, by default likewise; fresh: work that was kept before this moment of
    the store (store.moment) is done again, 0 to use all of it.
    """

    work_dir: str
    run_id: str
    device: str = "auto"
    licences: str = ""
    limits: StepLimits = field(default_factory=StepLimits)
    tries: int = TRIES
    fetch: str = field(default_factory=lambda: FetchPolicy.from_environment().words())
    tts_command: str = field(default_factory=lambda: os.environ.get(COMMAND_VARIABLE, ""))
    fresh: int = 0


class WorkerContext:
    """One worker's: the run's settings, the ledger, and the objects (engines, networks) that its stages keep."""

    def __init__(self, settings: WorkSettings) -> None:
        self.settings = settings
        forget_before(settings.work_dir, settings.fresh)
        if settings.licences:
            # Consent was given on the driver's machine; workers on other nodes look for it in their environment.
            os.environ[LICENCE_VARIABLE] = settings.licences
        if settings.tts_command:
            os.environ[COMMAND_VARIABLE] = settings.tts_command
        self._kept: dict[tuple[str, str], Any] = {}

    @cached_property
    def ledger(self) -> Ledger:
        """Finished parts."""
        return Ledger(self.settings.work_dir)

    @property
    def fetch_policy(self) -> FetchPolicy:
        """What may be fetched."""
        return FetchPolicy.from_words(self.settings.fetch)

    def keep(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        """What `make` gave for this kind and key; the last two keys of a kind are kept. What goes wrong in `make` may
        pass, unless it is a RaydubError."""
        known = self._kept.get((kind, key))
        if known is None:
            same = [name for name in self._kept if name[0] == kind]
            for name in same[: max(0, len(same) - _KEPT + 1)]:
                del self._kept[name]
            with while_loading(f"the stage {kind}"):
                known = self._kept[(kind, key)] = make()
        return known

    def engine(self, options: Options, digests: str = "") -> LipEngine:
        """The job's lip engine, not loaded. digests: of the weights that are wanted (weights_of); networks of others
        under the same name are not."""
        return self.keep("engine", engine_key(options) + digests, lambda: make_job_engine(options))  # type: ignore[no-any-return]

    @contextmanager
    def loading(self, kind: str, stage: Any, plan: JobPlan, what: str) -> Iterator[None]:
        """Around the loading of networks of `stage`, which was kept as `kind`: the files are those that the plan was
        made with, before and after it. Raises InputError INPUT_CHANGED; the stage is then forgotten with what it has
        loaded."""
        with while_loading(what):
            try:
                _same_weights(plan, stage.weights())
                yield
                _same_weights(plan, stage.weights())
            except BaseException:
                for name in [name for name in self._kept if name[0] in (kind, "engine")]:
                    del self._kept[name]
                raise


def weights_of(plan: JobPlan) -> str:
    """SHA-256 of each weights file that a plan was made with."""
    return " ".join(record.sha256 for record in plan.weights)


def _same_weights(plan: JobPlan, records: Sequence[WeightsRecord]) -> None:
    wanted = {record.sha256 for record in plan.weights}
    for record in records:
        if record.sha256 not in wanted:
            raise changed(f"weights {record.name}")
