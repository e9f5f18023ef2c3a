"""`raydub models`: the weights catalogue and its files on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json, show_error, warn
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, Code, DependencyError, RaydubError, UsageError

if TYPE_CHECKING:
    from raydub.models.catalogue import Entry

app = typer.Typer(
    help="Weights: list, download, verify, import.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
Names = Annotated[list[str] | None, typer.Argument(metavar="[NAME]...", help="Names of `raydub models list`.")]


@app.command("list")
@command
def list_weights(as_json: options.AsJson = False) -> int:
    """List the files of the catalogue and imported files, and which of them are on this machine."""
    from raydub.models.catalogue import ENTRIES, LICENCES, custom_entries
    from raydub.models.store.consent import consent_for
    from raydub.models.store.folders import weights_folders
    from raydub.models.store.seen import look

    rows: list[dict[str, Any]] = []
    for entry in (*ENTRIES, *custom_entries()):
        terms = LICENCES.get(entry.licence)
        needs = terms is not None and terms.consent
        rows.append(
            {
                **{"name": entry.name, "state": look(entry), "bytes": entry.size, "licence": entry.licence},
                **{
                    "class": terms.kind if terms else "custom",
                    "accepted": consent_for(entry.licence) if needs else None,
                },
                **{"purpose": entry.purpose, "file": entry.file, "sha256": entry.sha256, "urls": list(entry.urls)},
                **{"notes": entry.notes, "aliases": list(entry.aliases)},
            }
        )
    if as_json:
        say_json({"folders": [str(folder) for folder in weights_folders()], "weights": rows})
        return EXIT_OK
    table = [("NAME", "STATE", "SIZE", "LICENCE", "PURPOSE")]
    for row in rows:
        licence = row["licence"] + (" *" if row["accepted"] == "" else "")
        table.append((row["name"], row["state"], _size(row["bytes"]), licence, row["purpose"]))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    for name, state, size, licence, purpose in table:
        cells = (
            name.ljust(widths[0]),
            state.ljust(widths[1]),
            size.rjust(widths[2]),
            licence.ljust(widths[3]),
            purpose,
        )
        say("  ".join(cells))
    say(f"folder: {weights_folders()[0]}")
    if any(row["accepted"] == "" for row in rows):
        say("*: not accepted; use `raydub models accept LICENCE`, or --accept-license LICENCE for one run")
    return EXIT_OK


@app.command("pull")
@command
def pull(
    names: Names = None,
    feature: Annotated[
        list[str] | None,
        typer.Option(
            "--for",
            help="Files for wav2lip, gfpgan, codeformer, x2, x4, general, anime, detector, landmarks, active, kokoro.",
        ),
    ] = None,
    accept_license: Annotated[
        list[str] | None,
        typer.Option("--accept-license", help="Accept the named licence permanently. Can be repeated."),
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Download weights, resuming interrupted downloads. Proxies, RAYDUB_MIRROR (a server to try first) and
    RAYDUB_OFFLINE are read from the environment. Exit code 3 if a download failed."""
    from raydub.cluster.downloads import refuse_without_network, showing
    from raydub.models.store.consent import remember
    from raydub.models.store.pull import pull as fetch

    asked = _asked(names, feature)
    if not asked:
        raise UsageError(Code.FIELD_MISSING, "no weights were named", hint="raydub models pull NAME, or --for gfpgan")
    for licence in accept_license or ():
        remember(_licence(licence))
    done: list[dict[str, Any]] = []
    for entry in asked:
        try:
            refuse_without_network(entry)
            with showing(entry.file, entry.size, quiet=as_json) as progress:
                path = fetch(entry, progress=progress)
        except RaydubError as error:
            done.append({"name": entry.name, "path": None, "error": error.to_dict()})
            show_error(error)
            continue
        done.append({"name": entry.name, "path": str(path), "error": None})
        if not as_json:
            say(f"{entry.name}: {path}")
    if as_json:
        say_json({"weights": done})
    return EXIT_DEPENDENCY if any(row["error"] for row in done) else EXIT_OK


@app.command("verify")
@command
def verify(names: Names = None, as_json: options.AsJson = False) -> int:
    """Hash the files on this machine again; without names, all of them. Exit code 3 if one is absent or differs from
    the catalogue."""
    from raydub.models.catalogue import ENTRIES, custom_entries
    from raydub.models.store.folders import find_file
    from raydub.models.store.state import digest_of

    asked = _asked(names, None)
    done: list[dict[str, Any]] = []
    every = asked or [*ENTRIES, *custom_entries()]
    for entry in [one for main in every for one in (main, *main.companions)]:
        path = find_file(entry.file)
        if path is None and not asked:
            continue
        state = "absent" if path is None else "ok" if digest_of(path, anew=True) == entry.sha256 else "wrong"
        done.append({"name": entry.name, "state": state, "path": str(path) if path else None})
        if not as_json:
            say(f"{state:<8}{entry.name}" + (f"  {path}" if path else ""))
    if as_json:
        say_json({"weights": done})
    elif not done:
        say("no weights on this machine; `raydub models list` shows the catalogue")
    wrong = [row["name"] for row in done if row["state"] == "wrong"]
    if wrong and not as_json:
        warn(f"wrong: {', '.join(wrong)}; `raydub models pull NAME` replaces a file of the catalogue")
    return EXIT_OK if all(row["state"] == "ok" for row in done) else EXIT_DEPENDENCY


@app.command("path")
@command
def path(name: Annotated[str, typer.Argument(metavar="NAME", help="Name of `raydub models list`.")]) -> int:
    """Print the path of a file after checking it; nothing is downloaded. Exit code 3 if it is not on this machine."""
    from raydub.models.catalogue import get
    from raydub.models.store.locate import present

    entry = get(name)
    found = present(entry)
    if found is None:
        hint = f"raydub models pull {entry.name}"
        raise DependencyError(Code.WEIGHTS_MISSING, f"{entry.file} is not on this machine", hint=hint)
    say(str(found))
    return EXIT_OK


@app.command("import")
@command
def import_weights(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Weights: .pth, .pt, .safetensors, .onnx of a voice.")],
    as_name: Annotated[
        str | None, typer.Option("--as", metavar="NAME", help="Require this file of the catalogue.")
    ] = None,
    to_name: Annotated[
        str | None, typer.Option("--to", metavar="NAME", help="Name of a custom file; default: its stem.")
    ] = None,
    commercial: Annotated[
        str | None,
        typer.Option("--commercial", metavar="WHY", help="Licence or contract that allows you commercial use of it."),
    ] = None,
    as_json: options.AsJson = False,
) -> int:
    """Import a weights file: as a file of the catalogue if its digest is known, else as custom. Custom pickles are
    converted to safetensors without executing them."""
    from raydub.models.store.importing import import_file
    from raydub.models.store.state import declare

    entry, place = import_file(file, as_name=as_name, to_name=to_name)
    if commercial is not None:
        if not entry.custom:
            message = f"{entry.name} is a file of the catalogue, under {entry.licence}"
            raise UsageError(Code.FIELD_VALUE, message, hint="--commercial is for files that are not in it")
        declare(place, commercial.strip())
    if as_json:
        said = {"name": entry.name, "path": str(place), "sha256": entry.sha256, "licence": entry.licence}
        say_json({**said, "custom": entry.custom})
    else:
        what = "custom: not in the catalogue, licence unknown" if entry.custom else f"licence {entry.licence}"
        what = f"custom, commercial by: {commercial}" if commercial is not None else what
        say(f"{entry.name}: {place} ({what})")
    return EXIT_OK


@app.command("accept")
@command
def accept(
    licence: Annotated[str, typer.Argument(metavar="LICENCE", help="Name of a licence of `raydub models list`.")],
) -> int:
    """Accept a licence on this machine permanently."""
    from raydub.models.catalogue import LICENCES
    from raydub.models.store.consent import remember

    terms = LICENCES[_licence(licence)]
    place = remember(terms.name)
    say(f"{terms.name}: {terms.terms} ({terms.url})")
    say(f"accepted; recorded in {place}")
    return EXIT_OK


def _asked(names: Sequence[str] | None, features: Sequence[str] | None) -> list[Entry]:
    from raydub.models.catalogue import SETS, get, nearest

    wanted = list(names or ())
    for feature in features or ():
        if feature not in SETS:
            near = nearest(feature, SETS)
            guess = f"did you mean {near!r}? " if near else ""
            hint = f"{guess}one of {', '.join(SETS)}"
            raise UsageError(Code.FIELD_VALUE, f"unknown feature {feature!r}", field="for", hint=hint)
        wanted += SETS[feature]
    return list({entry.name: entry for entry in map(get, wanted)}.values())


def _licence(name: str) -> str:
    from raydub.models.catalogue import LICENCES, nearest

    needed = [licence.name for licence in LICENCES.values() if licence.consent]
    if name in needed:
        return name
    near = nearest(name, needed)
    guess = f"did you mean {near!r}? " if near else ""
    text = f"{name!r} needs no consent" if name in LICENCES else f"unknown licence {name!r}"
    raise UsageError(Code.FIELD_VALUE, text, hint=f"{guess}one of {', '.join(needed)}")


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
