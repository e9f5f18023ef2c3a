"""`raydub validate`: check a manifest and its files, without decoding them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from raydub.cluster.allowed import allow_fetching
from raydub.cluster.commands import options, signed
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_USAGE, Code, RaydubError

if TYPE_CHECKING:
    from raydub.cluster.glance import Glance
    from raydub.manifests.job import Job


@command
@takes(fields=FIELD_FLAGS)
def validate(
    manifest: options.Manifest,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
    probe: Annotated[
        bool,
        typer.Option("--probe/--no-probe", help="Check that the files of the rows exist."),
    ] = True,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    require_consent: signed.RequireConsent = False,
    as_json: options.AsJson = False,
) -> int:
    """Check every row of a manifest, its scripts, its files, and with commercial=true its licences; report all errors.
    Exit code 2 if a row is invalid. Nothing is decoded, and inputs at web addresses are not checked."""
    from raydub.cluster.glance import Glance
    from raydub.manifests.consent import require_consent as with_consent
    from raydub.manifests.read import read_manifest

    allow_fetching(allow_scheme, allow_private)
    asked = read_manifest(manifest, output_root, fields)
    if require_consent:
        asked = with_consent(asked)
    glance = Glance(options.work_dir_for(None, asked.output_root), here=True) if probe else None
    unusable = [error for job in asked.jobs for error in _errors_of(job, glance)]
    errors: list[RaydubError] = [*asked.errors, *unusable]
    bad = len(asked.bad) + len(unusable)
    if as_json:
        found = [error.to_dict() for error in errors]
        say_json({"valid": len(asked.jobs) - len(unusable), "bad": bad, "errors": found})
    else:
        for error in errors:
            show_error(error)
        say(f"{len(asked.jobs) - len(unusable)} valid rows, {bad} bad rows")
    return EXIT_USAGE if bad else EXIT_OK


def _errors_of(job: Job, glance: Glance | None) -> list[RaydubError]:
    return (
        _script_errors(job)
        or _face_errors(job)
        or _label_errors(job)
        or _file_errors(job, glance)
        or _licence_errors(job)
    )


def _face_errors(job: Job) -> list[RaydubError]:
    """The error of a job that asks who speaks, on a machine that cannot tell."""
    from raydub.manifests.options import asks_who_speaks
    from raydub.models.active_speaker import require_active_speaker

    try:
        if asks_who_speaks(job.options):
            require_active_speaker()
    except RaydubError as error:
        return [error.at(job=job.id, line=job.line)]
    return []


def _file_errors(job: Job, glance: Glance | None) -> list[RaydubError]:
    problem = glance.problem(job) if glance is not None else None
    return [] if problem is None else [problem]


def _label_errors(job: Job) -> list[RaydubError]:
    """Errors of a job's label, as far as its font is here."""
    from raydub.stages.marks.label import check_label

    try:
        check_label(job.options)
    except RaydubError as error:
        return [error.at(job=job.id, line=job.line)]
    return []


def _script_errors(job: Job) -> list[RaydubError]:
    """Errors of a job's script or its speech engine; scripts at web addresses are not checked."""
    if job.script is None:
        return []
    from raydub.manifests.paths import is_remote
    from raydub.tts.engines.find import check_engine
    from raydub.tts.scripts.read import read_script

    try:
        check_engine(job.options.tts)
        if not is_remote(job.script):
            read_script(job.script)
    except RaydubError as error:
        return [error.at(job=job.id, line=job.line)]
    return []


def _licence_errors(job: Job) -> list[RaydubError]:
    """What a commercial job may not use. Weights that are absent are no error here: a run downloads them."""
    if not job.options.commercial:
        return []
    from raydub.pipeline.components import parts_of, refuse_non_commercial

    try:
        refuse_non_commercial(job, parts_of(job))
    except RaydubError as error:
        return [error.at(job=job.id, line=job.line)] if error.code is Code.LICENCE else []
    return []
