"""Flags that several commands share, in the words of the manifest's fields."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from raydub.cluster.output import JSON_HELP
from raydub.errors import Code, UsageError
from raydub.media.fetch_policy import PRIVATE_VARIABLE, SCHEMES_VARIABLE, allowed_schemes
from raydub.pipeline.engines import LICENCE_VARIABLE
from raydub.places import WORK_FOLDER
from raydub.tts.engines.find import COMMAND_VARIABLE

Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="JSONL, CSV or Parquet file, one job per row.")]
OutputRoot = Annotated[
    Path | None, typer.Option("--output-root", help="Folder for all outputs; default: the manifest's folder.")
]
WorkDir = Annotated[
    Path | None,
    typer.Option("--work-dir", help="Folder for plans, tracks and parts; default: .raydub in the output root."),
]
Address = Annotated[
    str | None,
    typer.Option("--address", help="Ray cluster: auto (the one running here), host:port; default: a local one."),
]
NoRay = Annotated[bool, typer.Option("--no-ray", help="A plain loop in a process of its own, without Ray.")]
Workers = Annotated[
    int | None, typer.Option("--workers", min=1, help="Workers per CPU stage; default: from the cluster.")
]
Cpus = Annotated[int | None, typer.Option("--cpus", min=1, help="Cores of a local Ray; default: all.")]
WaitGpu = Annotated[
    float,
    typer.Option("--wait-gpu", min=0, metavar="SECONDS", help="With --device cuda: wait so long for a GPU to join."),
]
StallTimeout = Annotated[
    float,
    typer.Option(
        "--stall-timeout", min=1, metavar="SECONDS", help="Give the run up when nothing has moved for so long."
    ),
]
StepTimeout = Annotated[
    float | None,
    typer.Option(
        "--step-timeout",
        min=1,
        metavar="SECONDS",
        help="End a step (a stage of one chunk, a stitch), loading included, after so long; default: minutes, more "
        "for more frames.",
    ),
]
DEVICES = ("auto", "cpu", "cuda")


def _device(text: str) -> str:
    if text.lower() not in DEVICES:
        hint = "; choose the GPU with CUDA_VISIBLE_DEVICES" if text.lower().startswith("cuda") else ""
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(DEVICES)}{hint}")
    return text.lower()


Device = Annotated[
    str,
    typer.Option(
        "--device", metavar="|".join(DEVICES), callback=_device, help="Where networks run: auto, cpu or cuda."
    ),
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", help="Replace files at the outputs' places, whoever made them.")
]
Strict = Annotated[
    bool,
    typer.Option(
        "--strict", help="A job that changed no frame, or whose warnings tell of another result than asked for, fails."
    ),
]
Engine = Annotated[
    str | None, typer.Option("--engine", help="Lip engine of rows that name none: auto, warp or wav2lip.")
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="Checkpoint of rows that name none: a file, or a name of `raydub models list`."),
]
Restore = Annotated[
    str | None,
    typer.Option("--restore", help="Restore faces in rows that do not say: none, gfpgan or codeformer."),
]
Upscale = Annotated[
    str | None,
    typer.Option("--upscale", help="Upscale frames of rows that do not say: none, x2, x4, general or anime."),
]
Tts = Annotated[
    str | None, typer.Option("--tts", help="Speech engine of rows that name none: espeak, piper, kokoro, command, ..")
]
Voice = Annotated[
    str | None,
    typer.Option("--voice", help="Voice of rows that name none, or 'speaker=voice; ..'; see `raydub voices`."),
]
Language = Annotated[
    str | None, typer.Option("--language", help="Language of scripts in rows that name none, such as es or pt-br.")
]
Bed = Annotated[
    str | None, typer.Option("--bed", help="The original sound in rows that do not say: none, duck or mix.")
]
TtsCommand = Annotated[
    str | None,
    typer.Option(
        "--tts-command",
        metavar="COMMAND",
        help="What --tts command runs, with {text_file}, {out_wav}, {language}, {voice}; default: RAYDUB_TTS_COMMAND.",
    ),
]
Set = Annotated[
    list[str] | None, typer.Option("--set", metavar="FIELD=VALUE", help="Any other manifest field, e.g. --set crf=20.")
]
AcceptLicense = Annotated[
    list[str] | None,
    typer.Option("--accept-license", help="Accept the named licence, e.g. wav2lip-noncommercial. Can be repeated."),
]
AllowScheme = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-scheme",
        help="Fetch inputs from this kind of address too: http; https is allowed anyway, none forbids all. "
        "Can be repeated.",
    ),
]
AllowPrivate = Annotated[
    bool, typer.Option("--allow-private", help="Fetch inputs from private and local addresses too.")
]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Log what happens inside, on stderr.")]


def chosen(
    engine: str | None,
    model: str | None,
    more: Sequence[str] | None,
    restore: str | None = None,
    upscale: str | None = None,
    overwrite: bool = False,
    **speech: str | None,
) -> dict[str, str]:
    """Manifest fields from flags; a --model that is a path starts at the current folder. speech: tts, voice,
    language, bed. Raises UsageError FIELD_VALUE for a --set without "="."""
    fields: dict[str, str] = {}
    for pair in more or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(
                Code.FIELD_VALUE, f"--set {pair!r} has no value", field="set", hint="write --set FIELD=VALUE"
            )
        fields[name.strip().replace("-", "_")] = value
    fields |= {"engine": engine} if engine is not None else {}
    fields |= {"overwrite": "true"} if overwrite else {}
    if model is not None:
        from raydub.manifests.weights import is_path

        fields["model"] = os.path.abspath(model) if is_path(model, Path.cwd()) else model
    fields |= {"restore": restore} if restore is not None else {}
    fields |= {"upscale": upscale} if upscale is not None else {}
    return fields | {name: value for name, value in speech.items() if value is not None}


def with_defaults(row: Mapping[str, Any], defaults: Mapping[str, str]) -> dict[str, Any]:
    """The row with flags filled in where the row itself says nothing."""
    said = {name for name, value in row.items() if value is not None and value != ""}
    return {**row, **{name: value for name, value in defaults.items() if name not in said}}


def accept_licences(names: Sequence[str] | None) -> None:
    """Record accepted licences where this process and its Ray workers look for them."""
    if names:
        # By the flag first: of several ways that stand there the first one is told.
        known = [name for name in os.environ.get(LICENCE_VARIABLE, "").split(",") if name]
        os.environ[LICENCE_VARIABLE] = ",".join(dict.fromkeys([*(f"{name}:flag" for name in names), *known]))


def allow_fetching(schemes: Sequence[str] | None, private: bool) -> None:
    """Record what may be fetched where this process looks for it; workers are told (WorkSettings.fetch). Raises
    UsageError URI_SCHEME for a scheme that cannot be fetched."""
    if schemes:
        said = [*os.environ.get(SCHEMES_VARIABLE, "").split(","), *schemes]
        allowed_schemes(said)
        os.environ[SCHEMES_VARIABLE] = ",".join(dict.fromkeys(name for name in said if name))
    if private:
        os.environ[PRIVATE_VARIABLE] = "1"


def use_command(command: str | None) -> None:
    """Record the operator's speech program where this process looks for it; workers are told
    (WorkSettings.tts_command). It never comes from a manifest, which may be a stranger's."""
    if command is not None:
        os.environ[COMMAND_VARIABLE] = command


def work_dir_for(work_dir: Path | None, output_root: str | Path) -> Path:
    """The chosen work folder, or the hidden one in the output root."""
    return work_dir if work_dir is not None else Path(output_root) / WORK_FOLDER
