"""Values of fields that take long to read, if anything that reads them takes time that grows faster than they do.

As a program: `python -m tests.manifests.hostile FIELD,FIELD SIZE FOLDER` reads each value in each field."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from raydub.manifests.read import check_rows


def texts(n: int) -> list[str]:
    """Texts of about n characters."""
    separators = [";" * n, "a=" + ";" * n + "=", "a=b;" * (n // 4), ", " * (n // 2) + "x", "=" * n, "a," * (n // 2)]
    blanks = ["a" + " " * n + "b", " " * n, "a" + "\u3000" * n + "=", "none" + " " * n, "\t" * n + ";a="]
    repeated = ["a" * n, "9" * n, "-" * n, "[" * n, "1 " * (n // 2), "1/" * (n // 2), "." * n, "wav2lip" * (n // 7)]
    odd = ["\ud800" * n, "\u202e" * n, "\0" * n, "\U0001f3b5" * n, "\u0301" * n, "ß" * n]
    faces = ["reference:" + " " * n + "x", "index:" + "1" * n, "reference:" * (n // 10)]
    addresses = [
        "a://" + "b" * n,
        "a" * n + "://b",
        "https://" + "a" * n,
        "https://" + "a." * (n // 2),
        "https://x/" + "%" * n,
        "https://u" + "@" * n + "x",
        "file://" + "/" * n + "%E9",
    ]
    objects = ['{"a":' * (n // 5), "{" * n, '{"' + "a" * n + '": "b"}', '{"a": "' + ";b=" * (n // 3) + '"}']
    paths = ["/" * n + "x.mp4", "../" * (n // 3) + "x.mp4", "a/" * (n // 2) + "x.mp4", "x" * n + ".onnx"]
    return [*blanks, *separators, *repeated, *odd, *faces, *addresses, *objects, *paths]


def values(n: int) -> list[Any]:
    """The texts, alone and in lists and objects, and long lists and objects."""
    some = texts(n)
    few = some[:6]
    inside = [[text] for text in few] + [{"anna": text} for text in few] + [{text: "left"} for text in few]
    many: list[Any] = [["1"] * n, [["a", "b"]] * n, {str(number): "left" for number in range(n)}, [[[[[]]]]] * n]
    return [*some, *inside, *many]


if __name__ == "__main__":
    folder = Path(sys.argv[3])
    for value in values(int(sys.argv[2])):
        for name in sys.argv[1].split(","):
            row = {"video": "a.mp4", "audio": "b.wav", "output": "o.mp4", name: value}
            check_rows([(1, row)], folder, folder)
