"""Flags shared by several commands. Flags of manifest fields are in commands/fields.py."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Annotated, Any

import typer

from raydub.cluster.allowed import accept_licences, allow_fetching, signing_words, use_command
from raydub.cluster.commands import signed
from raydub.cluster.commands.flags import group_of
from raydub.cluster.limits import DEVICES, STALL_SECONDS, WAIT_GPU_SECONDS
from raydub.cluster.output import JSON_HELP
from raydub.errors import Code, UsageError
from raydub.logs import FORMATS, VARIABLE, set_up_logging
from raydub.manifests.paths import is_remote
from raydub.places import WORK_FOLDER, PathLike, path_at
from raydub.stages.marks.signing import use_certificate

_WHERE, _HOW, _ALLOWED = "Where it runs", "How it runs", "What is allowed"


def place(text: str) -> PurePath:
    """A path, or an address in a bucket."""
    try:
        return path_at(text)
    except UsageError as error:
        raise typer.BadParameter(f"{text[:80]!r}: {error.message}") from error


def local(text: str) -> Path:
    """A path of this machine: an address would become a folder `s3:` here."""
    found = place(text)
    if not isinstance(found, Path) or is_remote(text):
        raise typer.BadParameter(f"{text[:80]!r} is an address; give a path of this machine")
    return found


Manifest = Annotated[
    PurePath,
    typer.Argument(metavar="MANIFEST", parser=place, help="JSONL, CSV or Parquet file or object, one job per row."),
]
OutputRoot = Annotated[
    PurePath | None,
    typer.Option(
        "--output-root",
        metavar="FOLDER",
        parser=place,
        help="Folder, or s3://bucket/prefix, for all outputs; default: the manifest's folder.",
    ),
]


def work_folder_of_run(default: str) -> Any:
    """The option --work-dir of commands that look at a run."""
    return typer.Option(
        "--work-dir",
        metavar="FOLDER",
        parser=place,
        help=f"Work folder of the run, also in a bucket; default: {default}.",
    )


NoRay = Annotated[bool, typer.Option("--no-ray", help="Run a plain loop in a child process, without Ray.")]
TtsCommand = Annotated[
    str | None,
    typer.Option(
        "--tts-command",
        metavar="COMMAND",
        help="Program of --tts command, with {text_file}, {out_wav}, {language}, {voice}; default: RAYDUB_TTS_COMMAND.",
        rich_help_panel=_ALLOWED,
    ),
]
AllowScheme = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-scheme",
        help="Also fetch inputs with this URL scheme: http; https is always allowed, none forbids all. "
        "Can be repeated.",
        rich_help_panel=_ALLOWED,
    ),
]
AllowPrivate = Annotated[
    bool,
    typer.Option(
        "--allow-private", help="Also fetch inputs from private and local addresses.", rich_help_panel=_ALLOWED
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help=JSON_HELP)]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Write debug logs to stderr.")]


def _device(text: str) -> str:
    if text.lower() not in DEVICES:
        hint = "; choose the GPU with CUDA_VISIBLE_DEVICES" if text.lower().startswith("cuda") else ""
        raise typer.BadParameter(f"{text!r} is not one of {', '.join(DEVICES)}{hint}")
    return text.lower()


def thresholds_text(path: PathLike | None) -> str:
    """The text of a thresholds' file, "" without one. Raises what stages.evaluate.thresholds.load_thresholds raises."""
    if path is None:
        return ""
    from raydub.stages.evaluate.thresholds import load_thresholds

    return load_thresholds(path).text


@dataclass(frozen=True)
class RunFlags:
    """Flags of the commands that dub."""

    work_dir: Annotated[
        PurePath | None,
        typer.Option(
            "--work-dir",
            metavar="FOLDER",
            parser=place,
            help="Folder, or s3://bucket/prefix, for plans, tracks and parts; default: .raydub in the output root.",
        ),
    ] = None
    results: Annotated[
        PurePath | None,
        typer.Option(
            "--results",
            metavar="PATH",
            parser=place,
            help="Results manifest, without extension; default: jobs.results in the output root for jobs.jsonl, "
            "jobs.csv.results for jobs.csv; for `dub` one row in the folder `results` of the work folder.",
        ),
    ] = None
    as_json: AsJson = False
    json_progress: Annotated[
        bool,
        typer.Option(
            "--json-progress",
            help="Progress for programs: one JSON object a line on stdout, instead of text (docs/progress.md).",
        ),
    ] = False
    verbose: Verbose = False
    log_format: Annotated[
        str | None,
        typer.Option(
            "--log-format",
            metavar="|".join(FORMATS),
            help=f"Lines on stderr, of all processes of the run; default: {VARIABLE}, or text.",
        ),
    ] = None
    use_ray: Annotated[
        bool | None,
        typer.Option(
            "--ray/--no-ray",
            help="Run on Ray, or a plain loop in a child process; default: Ray for `run`, and for `dub` only with "
            "--address, because a single job is faster without Ray.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    address: Annotated[
        str | None,
        typer.Option(
            "--address",
            help="Ray cluster: auto (the one running here), host:port; default: a local one.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    cpus: Annotated[
        int | None,
        typer.Option("--cpus", min=1, help="Cores of a local Ray; default: all.", rich_help_panel=_WHERE),
    ] = None
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            min=1,
            help="On Ray: workers per CPU stage; default: from the cluster. Without Ray: worker processes; default: "
            "one per core, as far as the memory suffices.",
            rich_help_panel=_WHERE,
        ),
    ] = None
    device: Annotated[
        str,
        typer.Option(
            "--device",
            metavar="|".join(DEVICES),
            callback=_device,
            help="Where networks run: auto, cpu, or cuda, which fails without a usable GPU. The embedded engine always "
            "runs on the CPU.",
            rich_help_panel=_WHERE,
        ),
    ] = "auto"
    wait_gpu: Annotated[
        float,
        typer.Option(
            "--wait-gpu",
            min=0,
            metavar="SECONDS",
            help="With --device cuda: wait this many seconds for a GPU to join.",
            rich_help_panel=_WHERE,
        ),
    ] = WAIT_GPU_SECONDS
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Do all work again: reuse only downloaded inputs of earlier runs.",
            rich_help_panel=_HOW,
        ),
    ] = False
    thresholds: Annotated[
        PurePath | None,
        typer.Option(
            "--thresholds",
            metavar="FILE",
            parser=place,
            help="TOML file of the verdicts of --evaluate; default: raydub's own (docs/evaluate.md).",
            rich_help_panel=_HOW,
        ),
    ] = None
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help="Fail a job that changed no frame, or whose warnings mean that the result differs from the request.",
            rich_help_panel=_HOW,
        ),
    ] = False
    stall_timeout: Annotated[
        float,
        typer.Option(
            "--stall-timeout",
            min=1,
            metavar="SECONDS",
            help="Stop the run after this many seconds without progress.",
            rich_help_panel=_HOW,
        ),
    ] = STALL_SECONDS
    step_timeout: Annotated[
        float | None,
        typer.Option(
            "--step-timeout",
            min=1,
            metavar="SECONDS",
            help="Time limit of a step (a stage of one chunk, a stitch), including loading; default: minutes, "
            "more for more frames.",
            rich_help_panel=_HOW,
        ),
    ] = None
    accept_license: Annotated[
        list[str] | None,
        typer.Option(
            "--accept-license",
            help="Accept the named licence, e.g. wav2lip-noncommercial. Can be repeated.",
            rich_help_panel=_ALLOWED,
        ),
    ] = None
    allow_scheme: AllowScheme = None
    allow_private: AllowPrivate = False
    tts_command: TtsCommand = None

    c2pa_cert: signed.Certificate = None
    c2pa_key: signed.Key = None
    require_consent: signed.RequireConsent = False

    def begin(self) -> None:
        """Set up logging and record permissions (cluster.allowed). Raises UsageError: FIELD_CONFLICT for contradicting
        flags, URI_SCHEME."""
        set_up_logging(self.verbose, self.log_format)
        if self.as_json and self.json_progress:
            message, hint = (
                "--json and --json-progress both write to stdout",
                "leave out one: the last line has the counts",
            )
            raise UsageError(Code.FIELD_CONFLICT, message, field="json-progress", hint=hint)
        cluster = self.address or os.environ.get("RAY_ADDRESS")
        if self.cpus is not None and cluster not in (None, "", "local"):
            hint = "leave out --cpus; use --workers to limit the use of a cluster"
            message = f"--cpus is for a local Ray only, but the run joins the cluster at {cluster!r}"
            raise UsageError(Code.FIELD_CONFLICT, message, field="cpus", hint=hint)
        if self.address is not None and self.use_ray is False:
            message = "--address needs Ray, but --no-ray is set"
            raise UsageError(Code.FIELD_CONFLICT, message, field="address", hint="leave out one of the two")
        accept_licences(self.accept_license)
        allow_fetching(self.allow_scheme, self.allow_private)
        use_command(self.tts_command)
        use_certificate(self.c2pa_cert, self.c2pa_key)

    def asked(self) -> dict[str, Any]:
        """The fields of a RunRequest that depend on these flags only. Raises as allowed.signing_words does."""
        same = (
            "address",
            "workers",
            "device",
            "wait_gpu",
            "stall_timeout",
            "step_timeout",
            "verbose",
            "strict",
            "fresh",
        )
        show = "json" if self.json_progress else "quiet" if self.as_json else "auto"
        own = {"num_cpus": self.cpus, "show": show, "signing": signing_words()}
        own["thresholds"] = thresholds_text(self.thresholds)
        return {**{name: getattr(self, name) for name in same}, **own}


RUN_FLAGS = group_of(RunFlags)


def work_dir_for(work_dir: PurePath | None, output_root: PathLike) -> PurePath:
    """The chosen work folder, or the default one in the output root."""
    return work_dir if work_dir is not None else path_at(output_root) / WORK_FOLDER
