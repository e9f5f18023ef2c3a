"""Convert one manifest row to a Job, or to all its errors."""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any, NamedTuple

from pydantic import ValidationError

from raydub.errors import Code, UsageError
from raydub.manifests.engine import engine_conflicts
from raydub.manifests.fields import REFERENCE, asks_nothing, by_speaker, voice_file, words_of
from raydub.manifests.job import Job
from raydub.manifests.options import (
    EXPECTED,
    FIELDS,
    SCRIPT_FIELDS,
    Options,
    choices,
)
from raydub.manifests.paths import confine_output, folded, resolve_file, resolve_media
from raydub.manifests.values import MAX_TEXT, refused
from raydub.manifests.weights import WEIGHT_FIELDS, resolve_weights
from raydub.places import real
from raydub.texts import escaped

OWN = ("id", "video", "audio", "script", "output")
_SWITCHED = {
    main: tuple(name for name in FIELDS if name.startswith(f"{main}_") or (main, name) == ("upscale", "outscale"))
    for main in ("restore", "upscale", "label")
}
"""Fields that have no effect while their main field is "none" or absent."""
KNOWN = (*OWN, *FIELDS)
NOTES = ("error_code", "error_message", "error_hint")
"""The fields that say why a row failed, in lists of failed rows. Ignored when read, so that such a list is a
manifest."""
_MAX_ID, _SHOWN = 200, 80


class BadRow(NamedTuple):
    """An invalid row. line: as in the manifest; id: its own or a generated one; row: the values as read, {} if the text
    could not be read as a row; errors: one or more, each with line and field."""

    line: int
    id: str
    row: Mapping[str, Any]
    errors: tuple[UsageError, ...]


def parse_row(
    row: Mapping[str, Any], folder: PurePath, output_root: PurePath, line: int | None = None
) -> Job | list[UsageError]:
    """The Job of `row`, or all its errors (at least one), each with its line, field and job.

    Relative inputs start at `folder`; the output must lie in `output_root`. None and empty text mean "absent"."""
    given = {name: value for name, value in row.items() if name not in NOTES and not _absent(value)}
    if asks_nothing(given.get("script")):
        given.pop("script", None)
    errors: list[UsageError] = [_unknown(name, KNOWN) for name in given if name not in KNOWN]
    own: dict[str, str] = {}
    for name in OWN:
        if name in given:
            try:
                if (problem := refused(name, given[name])) is not None:
                    raise problem
                own[name] = _own(name, given[name], folder, output_root)
            except UsageError as error:
                errors.append(error)
    errors += _missing(given)
    options, more = parse_options({name: given[name] for name in FIELDS if name in given}, folder)
    errors += more
    if options is not None:
        options, more = _settle_speech(options, "script" in given)
        errors += more
    job_id = own.get("id") or _default_id(given) or (f"line-{line}" if line is not None else "job")
    if errors or options is None:
        for problem in errors:
            problem.at(job=job_id, line=line)
        return errors
    job = Job(
        id=job_id,
        video=own["video"],
        audio=own.get("audio"),
        script=own.get("script"),
        output=own["output"],
        options=options,
        line=line,
        output_root=str(real(output_root)),
    )
    if job.output in job.inputs().values():
        message = "the output would overwrite an input"
        problem = UsageError(Code.FIELD_CONFLICT, message, field="output", hint="choose another name")
        problem.at(job=job_id, line=line)
        return [problem]
    return job


def parse_options(given: Mapping[str, Any], folder: PurePath) -> tuple[Options | None, list[UsageError]]:
    """Options from values (text or typed), or all their errors. Relative paths in options start at `folder`."""
    errors: list[UsageError] = [_unknown(name, FIELDS) for name in given if name not in FIELDS]
    values = {name: value for name, value in given.items() if name in FIELDS and not _absent(value)}
    for name in list(values):
        if (problem := refused(name, values[name])) is not None:
            errors.append(problem)
            del values[name]
    try:
        options = Options.model_validate(values)
    except ValidationError as failed:
        for name in dict.fromkeys(str(problem["loc"][0]) for problem in failed.errors(include_url=False)):
            errors.append(_wrong(name, values[name]))
        return None, errors
    errors += _conflicts(options)
    settled, more = _settle(options, folder)
    errors += more
    return (None, errors) if errors else (settled, [])


def _settle(options: Options, folder: PurePath) -> tuple[Options, list[UsageError]]:
    """Make paths absolute and names of weights canonical. Fields without effect (restore_area without restore, ..) get
    their defaults, so that they change no key."""
    changes: dict[str, Any] = {}
    errors: list[UsageError] = []
    for main in _SWITCHED:
        if getattr(options, main) in ("none", None):
            changes |= {name: Options.model_fields[name].default for name in _SWITCHED[main]}
    for name in WEIGHT_FIELDS:
        text = getattr(options, name)
        if text is not None and name not in changes:
            try:
                changes[name] = resolve_weights(text, folder, name)
            except UsageError as error:
                errors.append(error)
    try:
        changes["face"] = _placed(options.face, folder, "face")
        faces = {name: _placed(face, folder, "speakers") for name, face in options.faces_of().items()}
        changes["speakers"] = words_of(faces) if faces else None
        if options.bed_audio is not None:
            changes["bed_audio"] = resolve_media(options.bed_audio, folder, "bed_audio")
        if options.label_font is not None and "label_font" not in changes:
            changes["label_font"] = resolve_media(options.label_font, folder, "label_font")
        if options.voice is not None:
            voices = by_speaker(options.voice).items()
            changes["voice"] = words_of({name: _placed_voice(voice, folder) for name, voice in voices})
    except UsageError as error:
        errors.append(error)
    return options.model_copy(update=changes), errors


def _placed(face: str, folder: PurePath, field: str) -> str:
    """A face choice with the path of its reference picture made absolute."""
    if not face.startswith(REFERENCE):
        return face
    return REFERENCE + resolve_media(face.removeprefix(REFERENCE), folder, field)


def _placed_voice(voice: str, folder: PurePath) -> str:
    """A voice with its path made absolute, if it is a model file; other names unchanged."""
    model = voice_file(voice)
    return voice if model is None else resolve_file(model[0], folder, "voice") + model[1]


def _settle_speech(options: Options, script: bool) -> tuple[Options, list[UsageError]]:
    """Check the speech options against each other. Without a script, script fields get their defaults, so that a column
    or flag meant for other rows changes no key. `speakers` without a script is an error."""
    problem: tuple[str, str, str] | None = None
    if options.speakers is not None and not script:
        problem = ("speakers", "speakers are given, but there is no script", "add a 'script', or leave 'speakers' out")
    elif options.speakers is not None and (options.box is not None or options.face == "all"):
        other = "box" if options.box is not None else "face"
        problem = ("speakers", f"'speakers' and {other!r} both choose whose mouths move", "leave one of the two out")
    elif options.bed_audio is not None and "bed" not in options.model_fields_set:
        problem = ("bed_audio", "bed_audio is given, but bed is not", "set bed=duck or bed=mix, or leave it out")
    elif options.no_face == "drop" and (options.bed != "none" or options.speakers is not None):
        what = "bed" if options.bed != "none" else "speakers"
        hint = "use no_face=keep, which keeps all frames"
        problem = ("no_face", f"no_face=drop changes the timing of the video, which {what} needs unchanged", hint)
    if problem is not None:
        field, message, hint = problem
        return options, [UsageError(Code.FIELD_CONFLICT, message, field=field, hint=hint)]
    unused = set() if script else set(SCRIPT_FIELDS)
    unused |= {"bed_audio"} if options.bed == "none" else set()
    return options.model_copy(update={name: Options.model_fields[name].default for name in unused}), []


def _conflicts(options: Options) -> list[UsageError]:
    found = engine_conflicts(options)
    found += _sharper_conflicts(options)
    for name in ("box", "crop"):
        sides = getattr(options, name)
        if sides is not None and not _ordered(sides, open_end=name == "crop"):
            found.append(_wrong(name, sides))
    if options.box is not None and options.face not in ("largest",):
        hint = "leave one of the two out"
        message = "'box' sets a constant face box, so no face can be chosen"
        found.append(UsageError(Code.FIELD_CONFLICT, message, field="face", hint=hint))
    return found


def _sharper_conflicts(options: Options) -> list[UsageError]:
    """Contradictions of restoring and upscaling. A row may have restore=none beside restore_model, so that a column or
    flag can serve other rows; restore_model without `restore` is an error."""
    found: list[tuple[str, str, str]] = []
    for main, first in (("restore", "gfpgan"), ("upscale", "general")):
        name = f"{main}_model"
        if getattr(options, name) is not None and main not in options.model_fields_set:
            found.append((name, f"{name} is given, but {main} is not", f"set {main}={first}, or leave {name!r} out"))
    if options.upscale == "none" and options.outscale not in (None, 1.0):
        hint = "choose a network in 'upscale', or leave 'outscale' out (resize_height makes pictures smaller)"
        found.append(("outscale", f"outscale={options.outscale:g} needs an upscaler", hint))
    if options.upscale not in ("none", "general") and options.upscale_denoise < 1:
        hint = "set upscale=general, or leave 'upscale_denoise' out"
        found.append(("upscale_denoise", f"upscale={options.upscale} has no denoise strength", hint))
    if options.restore == "gfpgan" and options.restore_fidelity != Options.model_fields["restore_fidelity"].default:
        hint = "set restore=codeformer, or use 'restore_strength'"
        found.append(("restore_fidelity", "restore=gfpgan has no fidelity", hint))
    return [UsageError(Code.FIELD_CONFLICT, message, field=name, hint=hint) for name, message, hint in found]


def _ordered(sides: tuple[int, int, int, int], open_end: bool) -> bool:
    top, bottom, left, right = sides
    fits = [(end == -1 and open_end) or end > start for start, end in ((top, bottom), (left, right))]
    return all(fits) and top >= 0 and left >= 0


def _absent(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _own(name: str, value: Any, folder: PurePath, output_root: PurePath) -> str:
    if not isinstance(value, str):
        raise _wrong(name, value, "text")
    if name == "id":
        text = value.strip()
        if (
            len(text) > _MAX_ID
            or any(unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") for c in text)
            or not folded(text)
        ):
            raise _wrong(name, value, f"at most {_MAX_ID} printable characters")
        return text
    return confine_output(value, output_root) if name == "output" else resolve_media(value, folder, name)


def _missing(given: Mapping[str, Any]) -> list[UsageError]:
    """Exactly one of audio and script; video and output always."""
    needs = {"video": "the video to dub", "output": "where the dubbed video goes"}
    found = [
        UsageError(Code.FIELD_MISSING, f"{what} is missing", field=name, hint=f"every job needs {name!r}")
        for name, what in needs.items()
        if name not in given
    ]
    if "audio" not in given and "script" not in given:
        hint = "set 'audio' to a sound file, or 'script' to a text file"
        found.append(UsageError(Code.FIELD_MISSING, "the new speech is missing", field="audio", hint=hint))
    if "audio" in given and "script" in given:
        hint = "give exactly one of 'audio' and 'script'"
        found.append(UsageError(Code.FIELD_CONFLICT, "the speech is given twice", field="script", hint=hint))
    return found


def _unknown(name: Any, known: tuple[str, ...]) -> UsageError:
    text = escaped(str(name)[:_SHOWN])
    near = difflib.get_close_matches(text.strip().casefold().replace("-", "_"), known, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]!r}?" if near else f"known fields: {', '.join(known)}"
    return UsageError(Code.FIELD_UNKNOWN, f"there is no field {text!r}", field=text, hint=hint)


def _wrong(name: str, value: Any, expected: str | None = None) -> UsageError:
    hint = f"expected {expected or EXPECTED[name]}"
    if isinstance(value, str):
        near = difflib.get_close_matches(
            value.strip().casefold()[:_SHOWN], choices(name) if name in FIELDS else (), n=1
        )
        hint += f"; did you mean {near[0]!r}?" if near else ""
    return UsageError(Code.FIELD_VALUE, f"{_show(value)} is not a value of {name!r}", field=name, hint=hint)


def _show(value: Any) -> str:
    text = repr(value[:_SHOWN] if isinstance(value, (str, bytes)) else value)
    return text if len(text) <= _SHOWN + 10 else text[:_SHOWN] + ".."


def _default_id(given: Mapping[str, Any]) -> str:
    """The output's stem, or "" if it is not usable."""
    output = given.get("output")
    stem = Path(output.replace("\0", "")).stem if isinstance(output, str) and len(output) <= MAX_TEXT else ""
    printable = "".join(c for c in stem if unicodedata.category(c) not in ("Cc", "Cs", "Zl", "Zp")).strip()
    return printable[:_MAX_ID]
