"""The Python API: dub() and run() do what the commands of these names do, with the same driver, locks, results and work
folders, and return results instead of printing them.

For notebooks and services: nothing is printed, no signal handler is set, the process is not ended and its environment
is restored. A run that cannot start raises a RaydubError; outcomes of jobs are in their results. Calls may come from
any thread; a process runs one at a time, others wait. Ctrl-C (KeyboardInterrupt in the main thread) stops the run:
results are written, then it is raised again. So does an exception of `progress`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

from raydub.cluster.allowed import VARIABLES, accept_licences, allow_fetching, signing_words, use_command
from raydub.cluster.api_arguments import check_numbers, fields_of, path_of, rows_of, text_of, words_of
from raydub.cluster.api_progress import CallersSignals, CallingProgress, Progress
from raydub.cluster.api_results import Result, RunResult
from raydub.cluster.limits import STALL_SECONDS, WAIT_GPU_SECONDS
from raydub.cluster.output import unforeseen
from raydub.errors import Code, RaydubError, UsageError
from raydub.places import WORK_FOLDER, PathLike, path_at, real
from raydub.process import kept_environment
from raydub.stages.marks.signing import use_certificate

if TYPE_CHECKING:
    from raydub.cluster.request import RunReport, RunRequest

__all__ = ["Progress", "Result", "RunResult", "dub", "run"]

Tell = Callable[[Progress], object]
_one = threading.Lock()
_running: list[int] = []  # id of the thread that holds the lock


def dub(
    video: PathLike,
    *,
    output: PathLike,
    audio: PathLike | None = None,
    script: PathLike | None = None,
    work_dir: PathLike | None = None,
    results: PathLike | None = None,
    use_ray: bool = False,
    address: str | None = None,
    workers: int | None = None,
    device: str = "auto",
    wait_gpu: float = WAIT_GPU_SECONDS,
    stall_timeout: float = STALL_SECONDS,
    step_timeout: float | None = None,
    strict: bool = False,
    accept_license: Sequence[str] = (),
    allow_scheme: Sequence[str] = (),
    allow_private: bool = False,
    tts_command: str | None = None,
    c2pa_cert: PathLike | None = None,
    c2pa_key: PathLike | None = None,
    require_consent: bool = False,
    progress: Tell | None = None,
    **options: Any,
) -> Result:
    """Dub one video with one speech, `audio` or `script`; options are manifest fields. Relative paths start at the
    current folder. Repeated calls reuse finished work.

    The other arguments are the flags of `raydub dub`: work_dir defaults to .raydub beside the output; results: path
    without extension of a results manifest; use_ray: run on Ray, by default in worker processes without Ray; address:
    of a Ray cluster; workers: as in run(); device: "auto", "cpu" or "cuda"; step_timeout: seconds, None for limits that
    grow with a step's size; strict: a result that differs from the request is a failure; accept_license, allow_scheme,
    allow_private, tts_command, c2pa_cert and c2pa_key (paths) hold for this call; require_consent: refuse a job without
    `consent`. progress: called with Progress.

    Raises UsageError for invalid arguments and DependencyError if the run cannot start; see also the module. A failed
    job is a result with another status than "ok": Result.raise_for_status().
    """
    from raydub.manifests.naming import check_stem

    place = path_of(output, "output")
    if place is None:
        raise UsageError(Code.FIELD_MISSING, "output is None", field="output", hint="a path for the dubbed video")
    own = {"video": video, "audio": audio, "script": script, "output": place.name}
    with _alone(), _allowing(accept_license, allow_scheme, allow_private, tts_command, c2pa_cert, c2pa_key):
        asked = _consented(_checked([(1, {**own, **options})], place.parent), require_consent)
        if asked.errors:
            problem = asked.errors[0]
            problem.line = None
            raise problem
        job = asked.jobs[0].model_copy(update={"line": None})
        stem = path_of(results, "results")
        if stem is not None:
            check_stem(stem, (job.output,))
        report = _driven(
            progress,
            jobs=(job,),
            bad=(),
            work_dir=path_of(work_dir, "work_dir") or place.parent / WORK_FOLDER,
            results=stem,
            use_ray=use_ray or address is not None,
            address=address,
            workers=workers,
            device=device,
            wait_gpu=wait_gpu,
            stall_timeout=stall_timeout,
            step_timeout=step_timeout,
            strict=strict,
        )
    return Result.of(report.results[0])


def run(
    manifest: PathLike | Iterable[Mapping[str, Any]] | Any,
    *,
    output_root: PathLike | None = None,
    results: PathLike | None = None,
    work_dir: PathLike | None = None,
    use_ray: bool = True,
    address: str | None = None,
    num_cpus: int | None = None,
    workers: int | None = None,
    device: str = "auto",
    wait_gpu: float = WAIT_GPU_SECONDS,
    stall_timeout: float = STALL_SECONDS,
    step_timeout: float | None = None,
    strict: bool = False,
    accept_license: Sequence[str] = (),
    allow_scheme: Sequence[str] = (),
    allow_private: bool = False,
    tts_command: str | None = None,
    c2pa_cert: PathLike | None = None,
    c2pa_key: PathLike | None = None,
    require_consent: bool = False,
    progress: Tell | None = None,
    **options: Any,
) -> RunResult:
    """Dub every row of a manifest: a file, rows as mappings of field to value, or a pandas DataFrame. options are
    manifest fields for rows that do not set them.

    Relative inputs start at the manifest's folder, or at the current one for rows; so does output_root, which must
    contain all outputs. Results manifests are written as by `raydub run` (`results`: path without extension; for rows
    only if it is given). use_ray: on the cluster at `address`, on the Ray that this process is connected to, or on a
    local one with num_cpus cores; False: in worker processes without Ray. workers: per CPU stage on Ray, else
    processes, by default one per core as far as the memory suffices. The other arguments are as in dub().

    Raises UsageError for an unreadable manifest and DependencyError if the run cannot start; see also the module. An
    invalid row is a failed result, as is every failed job: RunResult.raise_for_status().
    """
    from raydub.manifests.naming import check_stem, results_name
    from raydub.manifests.read import read_manifest

    root, stem = path_of(output_root, "output_root"), path_of(results, "results")
    given = [] if isinstance(manifest, (str, os.PathLike)) else rows_of(manifest)
    fields = fields_of(options)
    with _alone(), _allowing(accept_license, allow_scheme, allow_private, tts_command, c2pa_cert, c2pa_key):
        path = None
        if isinstance(manifest, (str, os.PathLike)):
            path = path_of(manifest, "manifest")
            assert path is not None
            asked = read_manifest(path, root, fields)
            stem = stem or path_at(asked.output_root) / results_name(path)
        else:
            rows = [{**fields, **fields_of(row)} for row in given]
            asked = _checked(list(enumerate(rows, 1)), root or Path.cwd())
        asked = _consented(asked, require_consent)
        if stem is not None:
            check_stem(stem, (job.output for job in asked.jobs))
        report = _driven(
            progress,
            jobs=asked.jobs,
            bad=asked.bad,
            work_dir=path_of(work_dir, "work_dir") or path_at(asked.output_root) / WORK_FOLDER,
            results=stem,
            folder=asked.folder,
            use_ray=use_ray,
            address=address,
            num_cpus=num_cpus,
            workers=workers,
            device=device,
            wait_gpu=wait_gpu,
            stall_timeout=stall_timeout,
            step_timeout=step_timeout,
            manifest=path,
            strict=strict,
        )
    return RunResult.of(report)


def _driven(progress: Tell | None, **asked: Any) -> RunReport:
    """Run a request. Raises RaydubErrors, and _CallersOwn for an exception of `progress`."""
    from raydub.cluster.request import RunRequest
    from raydub.cluster.runner import run_jobs

    check_numbers(**asked)
    request: RunRequest = RunRequest(**asked, show="quiet", signing=signing_words())
    stop = CallersSignals()
    views: list[CallingProgress] = []

    def view(jobs: int, earlier: int) -> CallingProgress:
        views.append(CallingProgress(jobs, earlier, progress or _silent, stop))
        return views[-1]

    report = run_jobs(request, stop=stop, view=view)
    problem = views[0].error if views else None
    if problem is not None:
        raise _CallersOwn from problem
    return report


class _CallersOwn(BaseException):
    """Carries an exception of `progress` as its cause."""


def _silent(told: Progress) -> None:
    return None


@contextmanager
def _alone() -> Iterator[None]:
    """One run at a time, because locks on outputs belong to the process. Errors inside are raised as RaydubErrors,
    except those of the caller's `progress`. Raises UsageError FIELD_CONFLICT for a run started by the `progress` of
    another one."""
    me = threading.get_ident()
    if me in _running:
        message = "a run cannot be started by the progress function of another one"
        raise UsageError(Code.FIELD_CONFLICT, message, field="progress", hint="start it after this run has ended")
    with _one:
        _running.append(me)
        try:
            yield
        except RaydubError:
            raise
        except _CallersOwn as carrier:
            raise carrier.__cause__ or carrier from None
        except Exception as error:
            raise unforeseen(error) from error
        finally:
            _running.remove(me)


@contextmanager
def _allowing(
    licences: Sequence[str] | None,
    schemes: Sequence[str] | None,
    private: bool,
    tts_command: str | None,
    cert: PathLike | None,
    key: PathLike | None,
) -> Iterator[None]:
    """Set permissions for one call only. Raises UsageError URI_SCHEME, FIELD_VALUE."""
    with kept_environment(VARIABLES):
        accept_licences(words_of(licences, "accept_license"))
        allow_fetching(words_of(schemes, "allow_scheme"), private)
        use_command(text_of(tts_command, "tts_command"))
        use_certificate(*(None if path is None else os.fspath(path) for path in (cert, key)))
        yield


def _checked(rows: list[tuple[int, dict[str, Any]]], root: PurePath) -> Any:
    from raydub.manifests.read import check_rows

    return check_rows([(line, fields_of(row)) for line, row in rows], Path.cwd(), real(root))


def _consented(asked: Any, wanted: bool) -> Any:
    from raydub.manifests.consent import require_consent

    return require_consent(asked) if wanted else asked
