"""`raydub fields`: the manifest's fields, their values and defaults, from the options model."""

from __future__ import annotations

import difflib
from typing import Annotated, Any

import typer

from raydub.cluster.commands import options
from raydub.cluster.commands.fields import default_of, flag_of, is_switch, panel_of
from raydub.cluster.output import command, say, say_json
from raydub.errors import Code, UsageError
from raydub.manifests.options import EXPECTED, FIELDS, choices

_JOB = "The job"
_OWN = {
    "id": "name of the job, unique in the manifest; absent for the output's name without its suffix",
    "video": "path or https address of the video, an image or a folder of images",
    "audio": "path or https address of the new speech; a job has either audio or script",
    "script": "path or https address of the text to speak: .srt, .vtt, .ass, .json, .jsonl or .txt",
    "output": "the dubbed video in the output root: .mp4, .mov or .mkv",
}


@command
def fields(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="One field; default: all.")] = None,
    as_json: options.AsJson = False,
) -> int:
    """List the fields of a manifest row with their values and defaults."""
    rows = [_row(one) for one in (*_OWN, *FIELDS)]
    if name is not None:
        rows = [row for row in rows if row["name"] == _known(name)]
    if as_json:
        say_json({"fields": rows})
    elif name is not None:
        _say_one(rows[0])
    else:
        _say_all(rows)
    return 0


def _row(name: str) -> dict[str, Any]:
    if name in _OWN:
        flag = "" if name == "id" else flag_of(name)
        return {"name": name, "group": _JOB, "default": "", "values": [], "flag": flag, "takes": _OWN[name]}
    flag = f"{flag_of(name)}, --no-{flag_of(name)[2:]}" if is_switch(name) else flag_of(name)
    said = {"name": name, "group": panel_of(name), "default": default_of(name), "values": list(choices(name))}
    return {**said, "flag": flag, "takes": EXPECTED[name]}


def _known(name: str) -> str:
    """The field's canonical name. Raises UsageError FIELD_UNKNOWN."""
    wanted = name.strip().casefold().lstrip("-").replace("-", "_")
    every = (*_OWN, *FIELDS)
    if wanted in every:
        return wanted
    near = difflib.get_close_matches(wanted, every, n=1)
    hint = f"did you mean {near[0]!r}?" if near else "`raydub fields` lists all"
    raise UsageError(Code.FIELD_UNKNOWN, f"there is no field {name!r}", field=name, hint=hint)


def _say_one(row: dict[str, Any]) -> None:
    say(f"{row['name']}: {row['takes']}")
    say(f"  default: {row['default'] or 'absent'}")
    if row["values"]:
        say(f"  values: {', '.join(row['values'])}")
    if row["flag"]:
        say(f"  flag of run and dub: {row['flag']}" if row["group"] != _JOB else f"  flag of dub: {row['flag']}")
    say(f"  group: {row['group']}")


def _say_all(rows: list[dict[str, Any]]) -> None:
    group = ""
    for row in rows:
        if row["group"] != group:
            say(f"{'' if not group else chr(10)}{row['group']}")
            group = row["group"]
        say(f"  {row['name']:<19}{row['default'] or '-':<13}{row['takes']}")
