"""Scripts that take long to read, if anything that reads them takes time that grows faster than they do.

As a program: `python -m tests.tts.hostile_scripts SIZE FOLDER` writes and reads them all."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from raydub.errors import InputError
from raydub.tts.scripts.read import read_script

_SPAN = "00:00:00.000 --> 00:00:02.000"
_EVENTS = "[Events]\nFormat: Layer, Start, End, Style, Name, Text\nDialogue: 0,"


def scripts(n: int) -> dict[str, str]:
    """File name to text of about n characters."""
    blank = " " * n
    keys = ",".join(f'"k{number}":1' for number in range(n // 12))
    said = {
        "spaces_in_times.srt": f"1\n00:00:00,000 -->{blank}x\nhello\n",
        "spaces_before_arrow.srt": f"1\n00:00:00,000{blank}x-->\nhello\n",
        "signs.srt": f"1\n{'-' * n}>\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "digits.srt": f"1\n{'1' * n}:00 --> 00:00:01,000\nhello\n",
        "dashes.srt": f"1\n00:00:00 {'-' * n} {blank}\nhello\n",
        "settings.srt": f"1\n{_SPAN}{' A:1' * (n // 4)} B\nhello\n",
        "tag.vtt": f"WEBVTT\n\n{_SPAN}\nhello <a{blank}x\n",
        "tags.vtt": f"WEBVTT\n\n{_SPAN}\nhello {'<a ' * (n // 3)}\n",
        "class.vtt": f"WEBVTT\n\n{_SPAN}\nhello <v{'.a' * (n // 2)}{blank}x\n",
        "ruby.vtt": f"WEBVTT\n\n{_SPAN}\nhello {'<rt>' * (n // 4)}\n",
        "override.srt": f"1\n{_SPAN}\n{{{chr(92)}{'{' * n}\n",
        "blocks.ass": f"{_EVENTS}0:00:00.00,0:00:01.00,a,b,{'{' * n}\n",
        "spaces.ass": f"{_EVENTS}{blank}x,0:00:01.00,a,b,hello\n",
        "format.ass": f"[Events]\nFormat: {'a,' * (n // 2)}Start, End, Text\nDialogue: 0\n",
        "comments.ass": f";{chr(10)}" * (min(n, 800_000) // 2) + "x",
        "spaces_in_time.json": json.dumps([{"start": f"{blank}:", "end": 1, "text": "hello"}]),
        "twice.json": f'[{{"start": 0, "end": 1, "text": "hello", {keys}, "k{n // 12 - 1}": 1}}]',
        "keys.json": f'[{{"star": 0, "end": 1, "text": "hello", {keys}}}]',
        "digits.json": f'[{{"start": {"1" * n}.5, "end": 1, "text": "hello"}}]',
        "deep.json": "[" * n,
        "brackets.txt": "(" * n + " hello",
        "quotes.txt": "." * n + '"' * n + "x",
        "names.txt": "Anna: " * (n // 6),
        "lines.txt": "a\n" * (min(n, 900_000) // 2),
        "marks.txt": "a" + "\u0301" * n,
        "short.txt": "a. " * (min(n, 50_000) // 3),
        "lower.txt": "hello\n" * (min(n, 900_000) // 6),
        "entities.txt": "&#1" * (n // 3),
    }
    return said


if __name__ == "__main__":
    for name, text in scripts(int(sys.argv[1])).items():
        path = Path(sys.argv[2]) / name
        path.write_text(text, encoding="utf-8")
        try:
            read_script(str(path))
            outcome = "read"
        except InputError as error:
            outcome = str(error.code)
        sys.stdout.write(f"{name} {outcome}\n")
        sys.stdout.flush()
