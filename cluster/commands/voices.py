"""`raydub voices`: speech engines, their voices and languages."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from raydub.cluster.allowed import use_command
from raydub.cluster.commands import options
from raydub.cluster.output import command, say, say_json
from raydub.errors import EXIT_DEPENDENCY, EXIT_OK, DependencyError, RaydubError


@command
def voices(
    tts: Annotated[
        str | None, typer.Option("--tts", help="One engine only: espeak, piper, kokoro, command, ..; default: all.")
    ] = None,
    language: Annotated[
        str | None, typer.Option("--language", help="Only voices of this language, such as es or pt-br.")
    ] = None,
    tts_command: options.TtsCommand = None,
    as_json: options.AsJson = False,
) -> int:
    """List speech engines and their voices. Exit code 3 if the engine of --tts cannot be used."""
    from raydub.tts.engines.find import engine_names
    from raydub.tts.engines.voices import speaks

    use_command(tts_command)
    rows: list[dict[str, Any]] = []
    absent: list[RaydubError] = []
    for name in [tts] if tts is not None else engine_names():
        try:
            rows += _of(name)
        except RaydubError as error:
            # An unusable engine does not hide the others, unless it was requested.
            if tts is not None and not isinstance(error, DependencyError):
                raise
            absent.append(error)
    if language is not None:
        rows = [row for row in rows if not row["languages"] or speaks(row["languages"], language)]
    if as_json:
        say_json({"voices": rows, "absent": [error.to_dict() for error in absent]})
    else:
        for row in rows:
            note = "  ".join(filter(None, (row["gender"], row["note"])))
            tags = ", ".join(row["languages"]) or "any language"
            say(f"{row['engine']:<9}{row['voice']:<28}{tags:<22}{note}".rstrip())
        for one in absent:
            say(f"{one.message}: {one.hint}")
    return EXIT_DEPENDENCY if absent and tts is not None else EXIT_OK


def _of(name: str) -> list[dict[str, Any]]:
    from raydub.tts.engines.find import check_engine
    from raydub.tts.engines.host import HostedEngine

    check_engine(name)
    engine = HostedEngine(name)
    try:
        return [
            {"engine": name, "voice": voice.name, "languages": list(voice.languages)}
            | {"gender": voice.gender, "note": voice.note}
            for voice in engine.voices()
        ]
    finally:
        engine.close()
