"""Settings that every worker of a run gets, and objects that a worker keeps between items."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

from raydub.forgotten import forget_before
from raydub.identity import changed
from raydub.manifests.options import Options
from raydub.media.fetch_policy import FetchPolicy
from raydub.pipeline.engines import LICENCE_VARIABLE, engine_key, make_job_engine
from raydub.pipeline.failures import while_loading
from raydub.pipeline.ledger import Ledger
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.retry import TRIES
from raydub.present import expect_share
from raydub.stages.marks.signing import CERT_VARIABLE, KEY_VARIABLE, Signing
from raydub.stages.marks.signing import signer as signer_error
from raydub.tts.engines.find import COMMAND_VARIABLE

if TYPE_CHECKING:
    from raydub.stages.engine import LipEngine, WeightsRecord
    from raydub.stages.marks.certificate import Signer
    from raydub.stages.prepare import JobPlan

# Engines contain networks (up to 150 MB each): a worker keeps the last few.
_KEPT = 2


@dataclass(frozen=True)
class WorkSettings:
    """Settings of a run for its workers. Small, because Ray sends it to each of them.

    work_dir: folder of plans, tracks and parts, reachable from every node, or an address in a bucket; run_id: this run;
    device: where networks run, "auto", "cpu" or "cuda"; licences: accepted licences, comma-separated; limits: time
    limits of steps; tries: total tries of a step with retryable errors; fetch: fetch policy in the form of
    media.fetch_policy, by default from the environment; tts_command: the operator's speech program, by default from the
    environment; fresh: do work again that was stored before this time (store.moment), 0 to reuse all of it; verbose:
    log debug messages too; nodes: how many machines share the work, and so each input;
    log_format: see raydub.logs; signing: how outputs are signed, as stages.marks.signing words it, "" for not at all;
    thresholds: text of a file for evaluations, "" for raydub's own.
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
    verbose: bool = False
    nodes: int = 1
    log_format: str = "text"
    signing: str = ""
    thresholds: str = ""


class WorkerContext:
    """State of one worker: settings, ledger, and the objects (engines, networks) that its stages keep."""

    def __init__(self, settings: WorkSettings) -> None:
        self.settings = settings
        forget_before(settings.work_dir, settings.fresh)
        expect_share(1 / max(1, settings.nodes))
        if settings.licences:
            # Consent is given on the driver's machine; workers on other nodes read it from their environment.
            os.environ[LICENCE_VARIABLE] = settings.licences
        if settings.tts_command:
            os.environ[COMMAND_VARIABLE] = settings.tts_command
        self._kept: dict[tuple[str, str], Any] = {}

    @cached_property
    def ledger(self) -> Ledger:
        """Finished parts."""
        return Ledger(self.settings.work_dir)

    def signer(self) -> Signer | None:
        """The signer of the run's outputs, checked, None if they are not signed. Raises DependencyError SIGNER if it
        cannot sign here, or is not the one that the run was started with."""
        asked = Signing.of(self.settings.signing)
        if asked is None:
            return None
        from raydub.stages.marks.certificate import find_signer

        asked.use()
        found = find_signer()
        if found is None or found.signing.sha256 != asked.sha256:
            here = "no certificate here" if found is None else "another certificate here"
            raise signer_error(
                f"there is {here} than the one that the run began with",
                f"give every node that joins videos the same {CERT_VARIABLE} and {KEY_VARIABLE}, or the same files",
            )
        return found

    @property
    def fetch_policy(self) -> FetchPolicy:
        """Which addresses may be fetched."""
        return FetchPolicy.from_words(self.settings.fetch)

    def keep(self, kind: str, key: str, make: Callable[[], Any]) -> Any:
        """The object of this kind and key, created by `make` if needed; the last two keys of a kind are kept. Errors of
        `make` are retryable, except RaydubErrors."""
        known = self._kept.get((kind, key))
        if known is None:
            same = [name for name in self._kept if name[0] == kind]
            for name in same[: max(0, len(same) - _KEPT + 1)]:
                del self._kept[name]
            with while_loading(f"the stage {kind}"):
                known = self._kept[(kind, key)] = make()
        return known

    def engine(self, options: Options, digests: str = "") -> LipEngine:
        """The job's lip engine, not loaded. digests: of the plan's weights (weights_of), so that an engine with changed
        weights is not reused."""
        return self.keep("engine", engine_key(options) + digests, lambda: make_job_engine(options))  # type: ignore[no-any-return]

    @contextmanager
    def loading(self, kind: str, stage: Any, plan: JobPlan, what: str) -> Iterator[None]:
        """Check before and after loading networks of `stage`, kept as `kind`, that the weights are those of the plan.
        Raises InputError INPUT_CHANGED; the stage and what it has loaded are then discarded."""
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
    """The SHA-256 values of a plan's weights files, separated by spaces."""
    return " ".join(record.sha256 for record in plan.weights)


def _same_weights(plan: JobPlan, records: Sequence[WeightsRecord]) -> None:
    wanted = {record.sha256 for record in plan.weights}
    for record in records:
        if record.sha256 not in wanted:
            raise changed(f"weights {record.name}")
