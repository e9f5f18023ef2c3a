"""`raydub validate`: check a manifest without touching a single video."""

from __future__ import annotations

from cluster.commands import options
from cluster.output import command, say, say_json, show_error
from raydub.errors import EXIT_OK, EXIT_USAGE


@command
def validate(
    manifest: options.Manifest,
    output_root: options.OutputRoot = None,
    engine: options.Engine = None,
    model: options.Model = None,
    restore: options.Restore = None,
    upscale: options.Upscale = None,
    more: options.Set = None,
    allow_scheme: options.AllowScheme = None,
    allow_private: options.AllowPrivate = False,
    as_json: options.AsJson = False,
) -> int:
    """Check every row of a manifest and report all that is wrong. Exit code 2 when a row is bad."""
    from cluster.manifest import load_manifest

    options.allow_fetching(allow_scheme, allow_private)
    asked = load_manifest(manifest, output_root, options.chosen(engine, model, more, restore, upscale))
    if as_json:
        errors = [error.to_dict() for error in asked.errors]
        say_json({"valid": len(asked.jobs), "bad": len(asked.bad), "errors": errors})
    else:
        for error in asked.errors:
            show_error(error)
        say(f"{len(asked.jobs)} valid rows, {len(asked.bad)} bad rows")
    return EXIT_USAGE if asked.bad else EXIT_OK
