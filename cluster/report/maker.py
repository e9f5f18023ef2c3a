"""The child process that makes the media of a report, one order after another: files that a codec cannot digest end it
and not the command. See cluster.report.media and raydub.child."""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from raydub.bound import end_with_parent
from raydub.child import boot
from raydub.errors import RaydubError

BOOT = boot("raydub.cluster.report.maker")


def main() -> None:
    """Answer orders until the parent closes the connection."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal; the parent ends this process
    os.set_inheritable(int(sys.argv[1]), False)
    line = Connection(int(sys.argv[1]))
    end_with_parent(json.loads(line.recv_bytes())["parent"])
    with suppress(EOFError, OSError):
        while True:
            order = json.loads(line.recv_bytes())
            line.send_bytes(json.dumps(_answer(order)).encode())


def _answer(order: dict[str, Any]) -> dict[str, Any]:
    import cv2

    from raydub.cluster.report import preview

    cv2.setNumThreads(1)
    try:
        if order["what"] == "levels":
            return {"done": preview.levels(order["said"])}
        make = preview.make_preview if order["what"] == "film" else preview.make_strip
        return {"done": make(order["said"], order["out"])}
    except RaydubError as error:
        return {"problem": error.message}
    except Exception as error:
        return {"problem": f"{type(error).__name__}: {error}"[:500]}


if __name__ == "__main__":
    main()
