"""`raydub frames`: extract pictures from a video, or remove its frames without a face."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json

app = typer.Typer(
    help="Extract frames, or remove those without a face.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)
Source = Annotated[str, typer.Argument(metavar="VIDEO", help="Video, image or folder of images.")]
Detector = Annotated[str, typer.Option("--detector", help="auto, hog, mmod or yunet.")]


@app.command("extract")
@command
def extract(
    video: Source,
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder for the pictures.")],
    start: Annotated[int, typer.Option("--start", min=0, help="First frame.")] = 0,
    stop: Annotated[int | None, typer.Option("--stop", min=1, help="Frame after the last; default: the end.")] = None,
    every: Annotated[int, typer.Option("--every", min=1, help="Take every N-th frame.")] = 1,
    form: Annotated[str, typer.Option("--format", help="png or jpg.")] = "png",
    as_json: options.AsJson = False,
) -> int:
    """Write frames of a video as numbered pictures."""
    from raydub.cluster.written import check_folder_written, source
    from raydub.stages.clean import extract_frames

    check_folder_written("output", output, (f".{form}",), source("the video", video))
    found = extract_frames(video, str(output), start=start, stop=stop, every=every, form=form)
    if as_json:
        say_json({"folder": str(output), "frames": found})
    else:
        say(f"{found} frames in {output}")
    return 0


@app.command("clean")
@command
def clean(
    video: Source,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Video (.mp4, .mov, .mkv) or folder of pictures to write.")
    ],
    detector: Detector = "auto",
    as_json: options.AsJson = False,
) -> int:
    """Remove the frames without a face. The sound is removed too, because it would be out of sync."""
    from raydub.cluster.written import check_folder_written, check_written, source
    from raydub.stages.clean import VIDEOS, clean_frames

    inputs = source("the video", video)
    if output.suffix.lower() in VIDEOS:
        check_written({"output": output}, inputs)
    else:
        check_folder_written("output", output, (".png",), inputs)
    found = clean_frames(video, str(output), detector=detector)
    if as_json:
        say_json({"output": str(output), **found})
    else:
        say(f"{found['kept']} of {found['frames']} frames kept, {found['removed']} without a face: {output}")
    return 0
