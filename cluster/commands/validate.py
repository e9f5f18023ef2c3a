"""`raydub validate`: check a manifest without touching a single video."""

from __future__ import annotations

from typing import TYPE_CHECKING

from raydub.cluster.commands import options
from raydub.cluster.commands.fields import FIELD_FLAGS
from raydub.cluster.commands.flags import takes
from raydub.cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_USAGE, RaydubError

if TYPE_CHECKING:
    from raydub.manifests.job import Job


@command
@takes(fields=FIELD_FLAGS)
def validate(
    manifest: options.Manifest,
    fields: dict[str, str],
    output_root: options.OutputRoot = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
) -> int:
    """Check every row of a manifest, and its scripts, and report all that is wrong. Exit code 2 when a row is bad."""
    from raydub.cluster.manifest import load_manifest

    options.allow_fetching(allow_scheme, allow_private)
    asked = load_manifest(manifest, output_root, fields)
    scripts = [error for job in asked.jobs for error in _script_errors(job)]
    errors: list[RaydubError] = [*asked.errors, *scripts]
    bad = len(asked.bad) + len(scripts)
    if as_json:
        found = [error.to_dict() for error in errors]
        say_json({"valid": len(asked.jobs) - len(scripts), "bad": bad, "errors": found})
    else:
        for error in errors:
            show_error(error)
        say(f"{len(asked.jobs) - len(scripts)} valid rows, {bad} bad rows")
    return EXIT_USAGE if bad else EXIT_OK


def _script_errors(job: Job) -> list[RaydubError]:
    """What is wrong with a job's script, or its speech engine; scripts at web addresses are not looked at."""
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
