"""From what a user has chosen to a manifest row, its errors in the user's words, and the command that does the same."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raydub.cluster.ui.rooms import Kept
from raydub.cluster.ui.words import asked
from raydub.errors import Code, RaydubError, UsageError
from raydub.manifests.read import check_rows
from raydub.tts.scripts.read import read_script, voice_files

MOST_TEXT = 20_000
"""Characters of a typed text."""


@dataclass(frozen=True)
class Speech:
    """The new speech: a kept file with sound, or a script, with the voice that speaks it."""

    file: Kept
    language: str = ""
    voice: str = ""
    tts: str = ""


def row_of(video: Path, speech: Speech, face: str, answers: Mapping[str, Any], name: str) -> dict[str, Any]:
    """The manifest row. face: of the field `face`; answers: values by field, of the questions of cluster.ui.words;
    name: of the output, without a folder."""
    row: dict[str, Any] = {"id": Path(name).stem, "video": str(video)}
    if speech.file.kind == "script":
        row["script"] = str(speech.file.path)
        told = {"tts": speech.tts, "voice": _no_path(speech.voice, "voice"), "language": speech.language.strip()}
        row |= {field: value for field, value in told.items() if value}
    else:
        row["audio"] = str(speech.file.path)
    row["output"] = name
    if face and face != "largest":
        row["face"] = face
    for one in asked():
        value = answers.get(one.name, one.default)
        if value not in ("", None) and value != one.default:
            row[one.name] = value
    return row


def check(row: Mapping[str, Any], folder: Path) -> list[str]:
    """What is wrong with a row, in words; [] if it can run."""
    labels = {one.name: one.label for one in asked()}
    found = check_rows([(1, dict(row))], folder, folder)
    wrong = []
    if row.get("script"):
        wrong += _wrong_in_script(str(row["script"]))
    for error in found.errors:
        hint = f" ({error.hint})" if error.hint else ""
        wrong.append(f"{labels.get(error.field or '', error.field or 'The job')}: {error.message}{hint}")
    return wrong


def _wrong_in_script(path: str) -> list[str]:
    try:
        read_script(path)
    except RaydubError as error:
        hint = f" ({error.hint})" if error.hint else ""
        return [f"{error.message.replace(path, Path(path).name)}{hint}"]
    if voice_files(path):
        # A segment may name a voice by its path, and would make the page read that file of the server.
        return ["The script names files as voices; write names of voices, or leave `voice` out"]
    return []


def output_name(video: Kept | Path, speech: Speech) -> str:
    """A name for the result: of the video, with the language or "dubbed"."""
    stem = Path(video.name).stem
    language = "".join(one for one in speech.language.strip() if one.isalnum() or one == "-")
    return f"{stem}.{language or 'dubbed'}.mp4"


def command_of(row: Mapping[str, Any], flags: list[str]) -> str:
    """The command that does the same."""
    words = ["raydub", "dub"]
    for name, value in row.items():
        if name in ("id",):
            continue
        flag = f"--{name.replace('_', '-')}"
        words += [flag] if value is True else [flag, str(value)]
    return shlex.join([*words, *(flag for flag in flags if flag != "--no-ray")])


def shown_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a user's own manifest would have it: with names of files instead of places on this server."""
    shown = dict(row)
    for name in ("video", "audio", "script"):
        if name in shown:
            shown[name] = Path(str(shown[name])).name
    face = str(shown.get("face", ""))
    if face.startswith("reference:"):
        shown["face"] = f"reference:{Path(face.removeprefix('reference:')).name}"
    return shown


def _no_path(text: str, field: str) -> str:
    """Raises UsageError FIELD_VALUE for a value that names a file of the server."""
    text = text.strip()
    if "/" in text or "\\" in text or ".onnx" in text.lower():
        hint = "`raydub voices` lists names"
        raise UsageError(Code.FIELD_VALUE, f"{text[:40]!r} is not the name of a voice", field=field, hint=hint)
    return text
