"""The worker process of pipeline.supervised: receives orders over a socket, runs them with Steps and sends back the
items. See raydub.child."""

from __future__ import annotations

import dataclasses
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from raydub.bound import die_with_parent
from raydub.child import boot
from raydub.logs import set_up_logging
from raydub.manifests.job import Job
from raydub.pipeline.attempts import this_worker
from raydub.pipeline.context import WorkSettings
from raydub.pipeline.events import Item, Note, Output
from raydub.pipeline.limits import StepLimits
from raydub.pipeline.rows import Row, pack, unpack
from raydub.pipeline.steps import Steps, through_stages
from raydub.pipeline.threads import limit_threads
from raydub.stages.types import Part

BOOT = boot("raydub.pipeline.child")


class Line:
    """Messages to the parent, one JSON object each; any thread may send."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def send(self, **message: Any) -> None:
        """Send a message; exit if the parent has closed the connection."""
        try:
            with self._lock:
                self._connection.send_bytes(json.dumps(message).encode())
        except OSError:
            leave()

    def note(self, note: Note) -> None:
        """See pipeline.events.Reporter."""
        self.send(note=dataclasses.asdict(note))

    def item(self, item: Item) -> None:
        """Send an item. Only plans, chunks, parts and outcomes leave the child; they contain no arrays."""
        self.send(item=without_blob(pack(item)))


def main() -> None:
    """Run orders of the parent until it closes the connection."""
    # A terminal signals its whole process group; the parent decides how to stop the work.
    for signum in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(signum, signal.SIG_IGN)
    # Linux only; on other systems the closed socket ends the child, unless its interpreter hangs.
    die_with_parent()
    os.set_inheritable(int(sys.argv[1]), False)
    connection = Connection(int(sys.argv[1]))
    hello = json.loads(connection.recv_bytes())
    if os.getppid() != hello["parent"]:
        leave()
    settings = settings_of(hello["settings"])
    set_up_logging(settings.verbose, settings.log_format)
    line = Line(connection)
    steps = Steps(settings, hello["stages"], line, worker=this_worker())
    line.send(ready=True)
    for order in _orders(connection):
        for item in _obey(steps, order):
            line.item(item)
        line.send(done=True)


def leave() -> None:
    """End this process now."""
    os._exit(0)


def _obey(steps: Steps, order: Mapping[str, Any]) -> Iterator[Item]:
    limit_threads(order["threads"])
    if "warm" in order:
        steps.warm_up()
        return
    if "chunk" in order:
        yield from through_stages(steps, with_blob(order["chunk"]), ("chunk",))
        return
    job = Job.model_validate(order["job"])
    if "parts" not in order:
        yield from through_stages(steps, job, ("job",))
        return
    found = [part for part in map(with_blob, order["parts"]) if isinstance(part, Part)]
    yield steps.finish(Output(job, order["job_dir"], found))


def _orders(connection: Connection) -> Iterator[dict[str, Any]]:
    """Orders as they arrive. A thread listens, so that the end of the parent is noticed during work."""
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def listen() -> None:
        with suppress(OSError, EOFError):
            while True:
                waiting.put(connection.recv_bytes())
        leave()

    threading.Thread(target=listen, name="listen", daemon=True).start()
    while True:
        yield json.loads(waiting.get())


def settings_of(said: Mapping[str, Any]) -> WorkSettings:
    """Settings from their dataclasses.asdict() form."""
    return WorkSettings(**{**said, "limits": StepLimits(**said["limits"])})


def without_blob(row: Row) -> dict[str, str]:
    """A row without its blob, for JSON. Raises ValueError if it contains arrays."""
    if row["blob"]:
        raise ValueError(f"a {row['kind']} of job {row['job_id']!r} contains arrays and cannot be sent")
    return {name: row[name] for name in ("kind", "job_id", "meta")}


def with_blob(row: Mapping[str, str]) -> Item:
    """The item of a row of without_blob()."""
    return unpack({**row, "blob": b""})
