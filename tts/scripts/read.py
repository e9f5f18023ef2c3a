"""Read a script from a file, or raise an error that says what is wrong with it.

The file's suffix gives the expected format; if the content clearly is in another format, the content decides. Encodings
are not guessed: UTF-8, or UTF-16 with its byte order mark.
"""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import PurePath

from raydub.errors import Code, InputError, RaydubError
from raydub.kinds import NotRegularError
from raydub.manifests.fields import voice_file
from raydub.manifests.job import Job
from raydub.manifests.paths import is_remote
from raydub.objects.names import is_object, join, parent
from raydub.places import PathLike, absolute, path_at
from raydub.present import is_copy
from raydub.regular import read_regular
from raydub.tts.scripts.cue import MAX_BYTES, MAX_LINES, MAX_PROSE, Cue, Notes, unreadable
from raydub.tts.scripts.markup import plain_lines
from raydub.tts.scripts.prose import prose_cues
from raydub.tts.scripts.records import is_jsonl, json_cues, jsonl_cues, why_not_json
from raydub.tts.scripts.settle import settle
from raydub.tts.scripts.substation import ass_cues
from raydub.tts.scripts.subtitles import ARROW, looks_timed, srt_cues, vtt_cues
from raydub.tts.types import Script, Segment

SUFFIXES = {
    ".srt": "SRT",
    ".vtt": "WebVTT",
    ".webvtt": "WebVTT",
    ".ass": "ASS",
    ".ssa": "ASS",
    ".json": "JSON",
    ".jsonl": "JSON lines",
    ".ndjson": "JSON lines",
    ".txt": "plain text",
}
_FORMS = "use .srt, .vtt, .ass, .ssa, .json, .jsonl or .txt"
_UTF_8 = "save it as UTF-8"
_VTT_HEAD = re.compile(r"\s*WEBVTT(?:[ \t\n]|$)")
_ASS_HEAD = re.compile(r"\s*(?:;[^\n]*\n\s*)*\[(?:script info|v4\+? styles|events)\]", re.IGNORECASE)
_ASS_EVENT = re.compile(r"^[ \t]*dialogue[ \t]*:[^\n]*,", re.IGNORECASE | re.MULTILINE)


def read_script(path: str) -> Script:
    """The segments of an SRT, WebVTT, ASS or SSA, JSON, JSON lines or plain text file.

    A segment's number is its place in the file, from 1: cues of SRT and WebVTT (whatever number is printed above them),
    events of ASS (comments counted), segments of JSON, sentences of plain text (which has no times). Speakers are given
    by fields, by WebVTT's <v Name>, or by names before the text (rules: tts.scripts.cue_text). A voice that is a file
    gets an absolute path; relative ones start at the script's folder.

    Raises InputError, with field "script": INPUT_MISSING; SCRIPT_UNREADABLE, also for files that are not text or exceed
    the limits of tts.scripts.cue; SCRIPT_EMPTY; SCRIPT_CUE, which names the cue by its number, and by its line in the
    file if there are lines."""
    notes = Notes()
    text = _decode(_bytes(path_at(path)), path_at(path).name)
    if not text.strip():
        raise InputError(Code.SCRIPT_EMPTY, f"script {path} is empty", hint="write some text", field="script")
    script = settle(_cues(text, path_at(path), notes), notes)
    folder = _folder_of(path)
    return replace(script, segments=tuple(_placed(segment, folder) for segment in script.segments))


def voice_files(path: str) -> tuple[str, ...]:
    """The files of voices that segments of a script name, each with the configuration beside it, whether or not they
    exist; () for a script that cannot be read. Never raises."""
    try:
        written = read_regular(path, MAX_BYTES).replace(b"\0", b"").lower()
        # A quick test, plain or as JSON escapes: few scripts name a file, and many are checked.
        if b"onnx" not in written and b"\\u00" not in written:
            return ()
        named = dict.fromkeys(voice_file(segment.voice) for segment in read_script(path).segments)
    except (OSError, ValueError, RaydubError):
        return ()
    return tuple(f"{file[0]}{end}" for file in named if file is not None for end in ("", ".json"))


def _folder_of(path: PathLike) -> str:
    """Where relative paths in a script start: its folder, of a copy that of the object."""
    text = absolute(path)
    if is_copy(text):
        from raydub.objects.near import origin_of

        origin = origin_of(text)
        text = text if origin is None else origin.uri
    return parent(text) if is_object(text) else os.path.dirname(text)


def _placed(segment: Segment, folder: str) -> Segment:
    file = voice_file(segment.voice)
    if file is None or is_object(file[0]):
        return segment
    if is_object(folder) and not os.path.isabs(file[0]):
        return replace(segment, voice=join(folder, file[0].removeprefix("./"), "voice") + file[1])
    return replace(segment, voice=os.path.normpath(os.path.join(folder, file[0])) + file[1])


def _bytes(path: PurePath) -> bytes:
    try:
        data = read_regular(path, MAX_BYTES + 1)
    except FileNotFoundError:
        message = f"script {path} does not exist"
        raise InputError(Code.INPUT_MISSING, message, hint="check the path", field="script") from None
    except NotRegularError as error:
        raise unreadable(f"script {path} {error.strerror}", _FORMS) from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise unreadable(
            f"script {str(path)!r} cannot be read: {reason}", "check the path and its permissions"
        ) from error
    if len(data) > MAX_BYTES:
        raise unreadable(f"script {path} has more than {MAX_BYTES >> 20} MiB", "split it into several scripts")
    return data


def _decode(data: bytes, name: str) -> str:
    """Text of UTF-8, with or without a byte order mark, or of UTF-16 with one; lines end with \\n."""
    wide = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        where = f"at byte {error.start:,}" if wide else f"in line {line:,}"
        raise unreadable(f"script {name} is not {'UTF-16' if wide else 'UTF-8'} text ({where})", _UTF_8) from None
    if "\0" in text:
        raise unreadable(f"script {name} contains NUL bytes: it is not text, or in another encoding", _UTF_8)
    text = plain_lines(text)
    if text.count("\n") > MAX_LINES:
        raise unreadable(f"script {name} has more than {MAX_LINES:,} lines", "split it into several scripts")
    return text


def _cues(text: str, path: PurePath, notes: Notes) -> Iterator[Cue]:
    """The cues of `text`, by the reader of its form."""
    form = SUFFIXES.get(path.suffix.lower(), "")
    if _VTT_HEAD.match(text):
        return vtt_cues(text.split("\n"), notes)
    if _ASS_HEAD.match(text) or (form == "ASS" and _ASS_EVENT.search(text)):
        return ass_cues(text.split("\n"), notes)
    if text.lstrip()[0] in "[{":
        cues = json_cues(text) or (jsonl_cues(text.split("\n")) if is_jsonl(text) else None)
        if cues is not None:
            return cues
    if looks_timed(text) or (form in ("SRT", "WebVTT") and ARROW in text):
        return srt_cues(text.split("\n"), notes)
    if form == "JSON lines":
        return jsonl_cues(text.split("\n"))
    if form == "JSON":
        raise unreadable(f"script {path.name} is {why_not_json(text)}", "write segments with start, end and text")
    if form == "plain text":
        if len(text) > MAX_PROSE:
            raise unreadable(
                f"script {path.name} has more than {MAX_PROSE:,} characters", "split it into several scripts"
            )
        return prose_cues(text.split("\n"), notes)
    if form:
        raise unreadable(
            f"script {path.name} contains nothing that looks like {form}", "check its format and its suffix"
        )
    raise unreadable(f"script {path.name} has an unknown format", _FORMS)


def script_length(job: Job) -> int:
    """Number of cues of the job's script; 0 without one, and if it is not known yet (a web address, or an unreadable
    script: the speak step reports the error)."""
    if job.script is None or (is_remote(job.script) and not is_object(job.script)):
        return 0
    try:
        return len(read_script(job.script).segments)
    except RaydubError:
        return 0
