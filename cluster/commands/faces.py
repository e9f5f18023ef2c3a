"""`raydub faces`: list the people in a video, with the value of the field `face` for each."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import Code, InputError
from raydub.objects.names import is_object
from raydub.present import present

if TYPE_CHECKING:
    from raydub.stages.portraits import People, Person

_MOST = 60
"""Most portraits that are written."""


@command
def faces(
    video: Annotated[str, typer.Argument(metavar="VIDEO", help="Video, image or folder of images.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            parser=options.local,
            help="Folder for the portraits; default: NAME.faces in the current folder.",
        ),
    ] = None,
    samples: Annotated[int, typer.Option("--samples", min=1, help="Number of frames to search.")] = 40,
    detector: Annotated[str, typer.Option("--detector", help="auto, hog, mmod or yunet.")] = "auto",
    speaking: Annotated[
        bool, typer.Option("--speaking", help="Also for how much of the video each person speaks; takes longer.")
    ] = False,
    as_json: options.AsJson = False,
) -> int:
    """Find the people in a video: write a numbered portrait of each and a sheet of all, and print the value of the
    field `face` for each. Exit code 1 if no face is found."""
    from raydub.cluster.written import source
    from raydub.stages.portraits import find_people

    folder = output if output is not None else Path(f"{Path(video).stem or 'video'}.faces")
    inputs = source("the video", video)
    place = present(video) if is_object(video) else video
    if speaking:
        from raydub.media.probe import probe_video
        from raydub.models.active_speaker import require_active_speaker, require_sound

        require_active_speaker()
        require_sound(video, probe_video(place).has_audio)  # before faces are searched and pictures written
    found = find_people(place, samples, detector)
    if not found.people:
        hint = "search more frames with --samples; --detector yunet finds more faces (`raydub models pull yunet`)"
        raise InputError(Code.FACE_NONE, f"no face in {found.sampled} frames of {video}", hint=hint)
    people = found.people[:_MOST]
    paths = _write(people, folder, inputs)
    rows = [_row(person, path, found) for person, path in zip(people, paths, strict=True)]
    if speaking:
        _add_shares(rows, people, place, detector)
    sheet = folder / "sheet.png"
    if as_json:
        said = {"video": video, "frames": found.sampled, "most_at_once": found.most, "sheet": str(sheet)}
        say_json({**said, "people": rows})
        return 0
    for row in rows:
        names = " or ".join(row["face"])
        share = f", speaks {100 * row['speaks']:.0f} %" if speaking else ""
        seen = f"in {row['seen']} of {found.sampled} frames, {row['width']:.0f} px wide{share}"
        say(f"{row['number']:>2}  {seen}: face={names}")
    say(str(sheet))
    return 0


def _add_shares(rows: list[dict[str, Any]], people: tuple[Person, ...], video: str, detector: str) -> None:
    """Add to each row `speaks`, the share of what was listened to in which the person has the word."""
    import tempfile

    from raydub.stages.talkers import listen

    with tempfile.TemporaryDirectory("-raydub") as work:
        shares = listen(video, work, [person.embedding for person in people], detector)
    for row, share in zip(rows, shares, strict=True):
        row["speaks"] = round(share, 3)


def _row(person: Person, path: Path, found: People) -> dict[str, Any]:
    names = [f"reference:{path}"]
    if len(person.ranks) == 1 and found.most > 1:
        names.insert(0, f"index:{min(person.ranks)}")
    if person is max(found.people, key=lambda one: one.width):
        names.insert(0, "largest")
    return {
        "number": found.people.index(person) + 1,
        "face": names,
        "seen": person.seen,
        "width": round(person.width, 1),
        "frame": person.frame,
        "portrait": str(path),
    }


def _write(people: tuple[Person, ...], folder: Path, inputs: Any) -> list[Path]:
    """Write portraits and sheet, and remove other portraits of an earlier call. Raises UsageError as cluster.written
    does."""
    import cv2

    from raydub.cluster.written import check_own, check_written
    from raydub.files import write_atomic
    from raydub.media.marked import is_marked, marked
    from raydub.stages.portraits import sheet_of

    paths = [folder / f"face-{number}.png" for number in range(1, len(people) + 1)]
    pictures = [person.portrait for person in people]
    for path in (*paths, folder / "sheet.png"):
        check_written({"output": path}, inputs)
        check_own("output", path, is_marked)
    for earlier in folder.glob("face-*.png"):
        if earlier not in paths and is_marked(earlier):
            earlier.unlink()
    for path, picture in zip((*paths, folder / "sheet.png"), (*pictures, sheet_of(people)), strict=True):
        write_atomic(path, marked(cv2.imencode(".png", picture)[1].tobytes()))
    return paths
