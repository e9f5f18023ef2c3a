"""What a run left behind: each row of the results with its evaluation, its plan, and the state of its output now."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, Literal

from raydub.cluster.report.texts import bytes_of_name
from raydub.errors import Code, RaydubError, UsageError
from raydub.identity import identify, known_identity
from raydub.manifests.evaluation import FORMAT, Curves, Evaluation
from raydub.manifests.results import JobResult, read_results
from raydub.objects.names import is_object
from raydub.pipeline.finished import recorded_digest
from raydub.places import PathLike, exists, path_at
from raydub.regular import read_regular
from raydub.stages.job_plan import JobPlan, load_plan
from raydub.store import Store

Output = Literal["here", "unchecked", "missing", "changed", "none"]
"""Of the file at the output's path: the one that the run made; one that was not compared; none any more; another one.
"none": the job made no output."""
_EVALUATION_BYTES = 256 << 20


@dataclass(frozen=True)
class Video:
    """One row. number: from 1, in the order of the results; output: where its file is now; evaluation: None with a
    sentence in `note`, which is empty where none was asked for, and always without its curves, which are as long as the
    film: they are read again for its page; levels: whether they have the level of the sound; document: where it is;
    plan: None if the work folder does not have it."""

    number: int
    result: JobResult
    output: Output
    path: str | None = None
    sha256: str = ""
    evaluation: Evaluation | None = None
    note: str = ""
    plan: JobPlan | None = None
    document: str = ""
    levels: bool = False

    def curves(self) -> Curves | None:
        """The curves of the evaluation, None without any, or if its document is another one or gone by now."""
        if self.evaluation is None:
            return None
        try:
            found, _ = _understood(read_regular(self.document, _EVALUATION_BYTES))
        except (OSError, ValueError, RaydubError):
            return None
        if found is None or found.model_copy(update={"curves": None}) != self.evaluation:
            return None
        return found.curves

    @property
    def seconds(self) -> float | None:
        """Length of the output, if it is known."""
        if self.evaluation is not None:
            return self.evaluation.duration
        if self.plan is not None and self.result.frames:
            return float(self.result.frames / self.plan.rate)
        return None


def read_rows(path: PathLike) -> list[JobResult]:
    """The rows of a results manifest. Raises UsageError MANIFEST_UNREADABLE or MANIFEST_EMPTY."""
    hint = "give the results of a run (.results.jsonl or .results.parquet) as this version of raydub writes them"
    try:
        rows = read_results(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        said = [line.strip() for line in str(error).splitlines()]
        why = " ".join(said[1:3] if len(said) > 2 and "validation error" in said[0] else said[:1])[:300]
        raise UsageError(Code.MANIFEST_UNREADABLE, f"{path} is not a results manifest: {why}", hint=hint) from error
    if not rows:
        raise UsageError(Code.MANIFEST_EMPTY, f"{path} has no rows", hint=hint)
    return rows


def work_folder(rows: Sequence[JobResult], results: PurePath) -> Store | None:
    """The work folder of the run, if it is still there: a job's folder is <work folder>/refs/jobs/<key>."""
    folders = (path_at(bytes_of_name(row.job_dir)).parents for row in rows if row.job_dir)
    named = (above[2] for above in folders if len(above) > 2)
    for folder in (next(named, None), results.parent / ".raydub"):
        try:
            if folder is not None and Store(folder).is_tagged:
                return Store(folder)
        except (RaydubError, OSError):
            continue
    return None


def gather(rows: Sequence[JobResult], results: PurePath, store: Store | None, *, read: bool) -> list[Video]:
    """All rows with what is known of them. read: compare outputs byte for byte; without, only where that needs no
    reading."""
    return [_video(number, row, results, store, read) for number, row in enumerate(rows, 1)]


def _video(number: int, row: JobResult, results: PurePath, store: Store | None, read: bool) -> Video:
    if row.status != "ok" or row.output is None:
        return Video(number, row, "none")
    evaluation, note, document = _evaluation(row, results)
    plan = _plan(row)
    path = bytes_of_name(row.output) if plan is None else plan.job.output
    digest = "" if evaluation is None else evaluation.output_sha256
    if not digest and store is not None:
        digest = recorded_digest(path, store.place) or ""
    state, place, found = _look(path, digest, results, store, read)
    levels = evaluation is not None and evaluation.curves is not None and bool(evaluation.curves.speech_db)
    kept = None if evaluation is None else evaluation.model_copy(update={"curves": None})
    return Video(number, row, state, place, found or digest, kept, note, plan, document, levels)


def _look(path: str, digest: str, results: PurePath, store: Store | None, read: bool) -> tuple[Output, str | None, str]:
    """State, present path and digest of an output. One that was moved together with the results is found there."""
    beside = os.path.join(results.parent, os.path.basename(path))
    for place in dict.fromkeys((path, beside)):
        try:
            if not exists(place):
                continue
            cache = None if store is None else store.identities
            seen = identify(place, cache, what="output") if read else known_identity(place, cache)
        except (OSError, RaydubError):
            continue
        if seen is None:
            return "unchecked", place, ""
        if seen.sha256 == digest:
            return "here", place, seen.sha256
        if place == path:
            return ("changed" if digest else "unchecked"), place, seen.sha256
    return "missing", None, ""


def _plan(row: JobResult) -> JobPlan | None:
    try:
        return load_plan(bytes_of_name(row.job_dir)) if row.job_dir else None
    except (RaydubError, OSError, ValueError):
        return None  # cleaned, or of another version


def _evaluation(row: JobResult, results: PurePath) -> tuple[Evaluation | None, str, str]:
    """The evaluation, or a sentence why there is none, and the place of the document."""
    if row.evaluation is None:
        return None, "", ""
    named = bytes_of_name(row.evaluation)
    places = [named] if is_object(named) else [named, os.path.join(results.parent, os.path.basename(named))]
    for place in places:
        try:
            content = read_regular(place, _EVALUATION_BYTES)
        except (OSError, ValueError, RaydubError) as error:
            problem = getattr(error, "strerror", None) or str(error)
            continue
        found, note = _understood(content)
        if place == named or found is None or found.id == row.id:
            return found, note, place
        problem = "the one beside the results is of another video"  # files of the same name in different folders
    return None, f"its evaluation cannot be read: {problem}", ""


def _understood(content: bytes) -> tuple[Evaluation | None, str]:
    try:
        said: Any = json.loads(content)
        form = said.get("format") if isinstance(said, Mapping) else None
        if isinstance(form, int) and form > FORMAT:
            return None, f"its evaluation has format {form}; this version of raydub reads up to {FORMAT}"
        return Evaluation.from_json(content), ""
    except (ValueError, RecursionError):
        return None, "its evaluation is damaged, or of another version: run `raydub evaluate` again"
