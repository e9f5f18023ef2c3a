"""`raydub train`: train weights of the embedded engine, by the recipe of the included ones."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json, warn
from raydub.errors import Code, InputError, UsageError
from raydub.logs import set_up_logging

_OUTPUT = Path("mouth.safetensors")


@command
def train(
    clips: Annotated[Path, typer.Argument(metavar="CLIPS", help="Folder of talking heads with their own sound.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Weights file to write.")] = _OUTPUT,
    cache: Annotated[
        Path | None, typer.Option("--cache", help="Folder for measured clips; default: measure again each time.")
    ] = None,
    keep_out: Annotated[
        list[str] | None, typer.Option("--keep-out", help="File name of a clip for evaluation only. Can be repeated.")
    ] = None,
    leave_out: Annotated[
        list[str] | None, typer.Option("--leave-out", help="File name of a clip to ignore. Can be repeated.")
    ] = None,
    landmarks: Annotated[
        str, typer.Option("--landmarks", help="What measures the clips: mesh, or dlib (not for commercial use).")
    ] = "mesh",
    utterances: Annotated[
        int | None, typer.Option("--utterances", min=0, help="Texts spoken by espeak-ng for closures; 0: none.")
    ] = None,
    steps: Annotated[int | None, typer.Option("--steps", min=1, help="Training steps of each network.")] = None,
    members: Annotated[int | None, typer.Option("--members", min=1, help="Networks in the ensemble.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Random seed.")] = 0,
    threads: Annotated[int, typer.Option("--threads", min=1, help="CPU threads for the networks.")] = 1,
    report: Annotated[Path | None, typer.Option("--report", help="Write the report as JSON here.")] = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Train the speech-to-mouth network of the embedded engine. Use the result with --engine warp --model FILE."""
    set_up_logging(verbose)
    if not clips.is_dir():
        message = f"the folder {str(clips)!r} does not exist"
        raise InputError(Code.INPUT_MISSING, message, field="clips", hint="check the path")
    if output.suffix != ".safetensors":
        hint = "give a file name that ends in .safetensors"
        raise UsageError(Code.FIELD_VALUE, f"{output.name!r} is not a weights file", field="output", hint=hint)
    if landmarks not in ("mesh", "dlib"):
        hint = "mesh or dlib"
        raise UsageError(Code.FIELD_VALUE, f"unknown landmarks {landmarks!r}", field="landmarks", hint=hint)
    _check_written(clips, output, report)
    from raydub.cluster.speaking import speaker
    from raydub.models.mouth.train.fit import FitConfig
    from raydub.models.mouth.train.recipe import TrainConfig
    from raydub.models.mouth.train.recipe import train as run_recipe

    with tempfile.TemporaryDirectory(prefix="raydub-train-") as scratch:
        config = TrainConfig(
            clips=clips,
            output=output,
            cache=cache or Path(scratch),
            keep_out=tuple(keep_out or ()),
            leave_out=tuple(leave_out or ()),
            landmarks=landmarks,
            fit=FitConfig() if steps is None else FitConfig(steps=steps),
            seed=seed,
            threads=threads,
            **({} if members is None else {"members": members}),
            **({} if not utterances else {"utterances": utterances}),
        )
        speak = None if utterances == 0 else speaker()
        if speak is None and utterances != 0:
            warn("espeak-ng is not installed: the network will learn how far and how wide mouths open, but no closures")
            warn("pip install 'raydub[espeak]' adds it; --utterances 0 avoids this message")
        found = run_recipe(config, None if as_json else _tell, speak)
    document = found.model_dump(mode="json")
    from raydub.files import write_atomic

    if report is not None:
        write_atomic(report, json.dumps(document, indent=2).encode())
    if as_json:
        say_json(document)
        return 0
    say(f"{found.output}: {len(found.trained_on)} clips, {found.frames} frames, {found.seconds:.0f} s")
    say(f"loss {found.first_loss:.3f} -> {found.loss:.3f}; sha256 {found.sha256}")
    for name, score in (("clips not seen", found.unseen), ("kept-out clips", found.kept_out)):
        if score is not None:
            say(f"{name}: r = {score.openness:.3f}")
    if found.closures:
        mean = found.closures[-1]
        say(f"closures on kept-out clips: {mean.hit:.0%} of them right, {mean.found:.0%} found, AUC {mean.auc:.2f}")
    return 0


def _check_written(clips: Path, output: Path, report: Path | None) -> None:
    from raydub.cluster.written import check_own, check_written
    from raydub.places import Inputs

    inputs = Inputs()
    for clip in clips.iterdir():
        inputs.add(f"the clip {clip.name!r}", clip)
    check_written({"output": output, "report": report}, inputs)
    if output == _OUTPUT:
        check_own("output", output, _is_trained)


def _is_trained(path: Path) -> bool:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return "config" in (file.metadata() or {})
    except (OSError, SafetensorError):
        return False


def _tell(step: str, done: int, total: int, note: str) -> None:
    warn(f"{step} {done}/{total}: {note}")
