"""A flag for every manifest field, generated from the options model: names, values, defaults and help texts are the
model's."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from raydub.cluster.commands.flags import Group
from raydub.errors import Code, UsageError
from raydub.manifests.options import EXPECTED, FIELDS, Options, choices

_PANELS = {
    "masking": "Which frames get a new mouth",
    "length": "Length of the output",
    "tts": "Speech from a script",
    "bed": "Sound under the speech",
    "engine": "Lip engine",
    "detector": "Face detection",
    "crop": "Picture",
    "restore": "Restore faces",
    "upscale": "Upscale frames",
    "codec": "Output file",
    "mark_synthetic": "Marks",
    "commercial": "The run",
}
"""Titles of help panels, by the first of their fields in the model's order."""
_TRUTH = "true or false: "
_SET_PANEL = "Fields by name"


def panel_of(name: str) -> str:
    """The help panel of a field."""
    reached = FIELDS[: FIELDS.index(name) + 1]
    return next(_PANELS[first] for first in reversed(reached) if first in _PANELS)


def flag_of(name: str) -> str:
    """The flag of a field, such as --mel-offset-frames."""
    return f"--{name.replace('_', '-')}"


def default_of(name: str) -> str:
    """The default of a field as in a manifest; "" for an absent value."""
    default = Options.model_fields[name].default
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else "" if default is None else str(default)


def is_switch(name: str) -> bool:
    """Whether the field is true or false."""
    return isinstance(Options.model_fields[name].default, bool)


def _parameter(name: str) -> inspect.Parameter:
    default, text = default_of(name), EXPECTED[name]
    if is_switch(name):
        kind: Any = bool | None
        flags = (f"{flag_of(name)}/--no-{flag_of(name)[2:]}",)
        text, metavar = text.removeprefix(_TRUTH), None
    else:
        words = choices(name) if name not in ("preset", "face") else ()
        kind, flags = str | None, (flag_of(name),)
        metavar = "|".join(words) or {"face": "FACE", "preset": "PRESET"}.get(name, "VALUE")
    said = f"{text}; default: {default}" if default else text
    option = typer.Option(
        *flags,
        metavar=metavar,
        help=said,
        rich_help_panel=panel_of(name),
        show_default=False,
        autocompletion=_completion(name),
    )
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _completion(name: str) -> Callable[[str], list[str]] | None:
    """Shell completion for the values of a flag; None if it has no fixed values."""
    words = [word for word in choices(name) if word.islower()]

    def complete(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return complete if words else None


def _set_parameter() -> inspect.Parameter:
    option = typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set a field by its manifest name, for scripts: --set crf=20 is --crf 20. Can be repeated.",
        rich_help_panel=_SET_PANEL,
    )
    return inspect.Parameter(
        "more", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[list[str] | None, option]
    )


def chosen(given: Mapping[str, str | bool | None], more: Sequence[str] | None = None) -> dict[str, str]:
    """Manifest fields from flags (None: not given) and from --set; the field's own flag has priority. Relative paths in
    flags start at the current folder, those of --set at the manifest's folder. Raises UsageError FIELD_VALUE for a
    --set without "="."""
    fields: dict[str, str] = {}
    for pair in more or ():
        name, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(
                Code.FIELD_VALUE, f"--set {pair!r} has no value", field="set", hint="write --set FIELD=VALUE"
            )
        fields[name.strip().replace("-", "_")] = value
    for name, said in given.items():
        if said is not None:
            fields[name] = str(said).lower() if isinstance(said, bool) else _from_here(name, said)
    return fields


def _from_here(name: str, value: str) -> str:
    from raydub.manifests.placed import with_paths

    return with_paths(name, value, os.getcwd())


def _build(given: Mapping[str, Any]) -> dict[str, str]:
    return chosen({name: value for name, value in given.items() if name != "more"}, given["more"])


def field_flags(names: Sequence[str]) -> Group:
    """The flags of these fields, and --set. The command gets the given fields as text."""
    return Group((*map(_parameter, names), _set_parameter()), _build)


FIELD_FLAGS = field_flags(FIELDS)
