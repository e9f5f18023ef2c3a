"""The media of a report: those that an earlier report made, and the rest, made in parallel by child processes."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raydub import files
from raydub.child import ChildProcess
from raydub.cluster.report.maker import BOOT
from raydub.cluster.report.orders import Order
from raydub.errors import RaydubError
from raydub.store import Store
from raydub.texts import strict_json

_DYING = 5.0
_SECONDS, _SECONDS_A_FRAME = 120.0, 0.25
"""Time limit of an order: a frame of 4K takes a tenth of a second on a slow core."""


@dataclass(frozen=True)
class Made:
    """A finished order. path: of its file; about: what preview said of it; problem: why there is none."""

    path: str = ""
    about: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""


class Shelf:
    """Finished media by key: in the store of a work folder, or else in a folder that lives as long as the report."""

    def __init__(self, store: Store | None, folder: Path) -> None:
        self._store, self._folder = store, folder

    def find(self, order: Order) -> Made | None:
        """What an earlier report made, if it is undamaged."""
        if self._store is None:
            return None
        try:
            kept = self._store.get(_name(order))
        except (RaydubError, OSError):
            return None
        return None if kept is None else Made(kept.path, kept.about)

    def temp(self, order: Order) -> str:
        """Where to write the result of an order."""
        if self._store is not None:
            try:
                return str(self._store.temp(order.suffix))
            except (RaydubError, OSError):
                self._store = None  # a work folder that may not be written
        return str(self._folder / f"{order.key}{order.suffix}")

    def keep(self, order: Order, temp: str, about: Mapping[str, Any]) -> Made:
        """Keep a result. Raises StageError STORAGE or DISK_FULL."""
        if self._store is None or Path(temp).parent == self._folder:
            return Made(temp, about)
        return Made(self._store.put_file(_name(order), temp, about, durable=False).path, about)


def _name(order: Order) -> str:
    return f"previews/{order.key[:2]}/{order.key}"


def make_all(
    orders: Sequence[Order], shelf: Shelf, workers: int, told: Callable[[int, int], None]
) -> dict[tuple[int, str], Made]:
    """The results of all orders, by video and name; a failed one has a problem. told: gets (done, all) on the way."""
    found: dict[tuple[int, str], Made] = {}
    waiting: queue.SimpleQueue[Order] = queue.SimpleQueue()
    todo: dict[str, list[Order]] = {}
    for order in orders:
        kept = shelf.find(order) if order.key not in todo else None
        if kept is not None:
            found[order.video, order.name] = kept
        else:
            todo.setdefault(order.key, []).append(order)
            if len(todo[order.key]) == 1:
                waiting.put(order)
    lock, total = threading.Lock(), len(todo)
    done = 0

    makers = [Maker() for _ in range(min(workers, total))]

    def work(maker: Maker) -> None:
        nonlocal done
        while True:
            try:
                order = waiting.get_nowait()
            except queue.Empty:
                return
            made = _made(maker, order, shelf)
            with lock:
                found.update({(same.video, same.name): made for same in todo[order.key]})
                done += 1
                told(done, total)

    if makers:
        with ThreadPoolExecutor(len(makers)) as pool:
            try:
                for ended in [pool.submit(work, maker) for maker in makers]:
                    ended.result()
            finally:
                # Also when the user stops the command: nobody waits for films that nobody wants.
                with contextlib.suppress(queue.Empty):
                    while True:
                        waiting.get_nowait()
                for maker in makers:
                    maker.close()
    return found


def _made(maker: Maker, order: Order, shelf: Shelf) -> Made:
    temp = shelf.temp(order)
    try:
        answer = maker.ask(order, temp)
        if "problem" in answer:
            return Made(problem=str(answer["problem"]))
        if order.what == "levels":
            files.write_new(temp, strict_json(answer["done"]).encode())
            return shelf.keep(order, temp, {})
        return shelf.keep(order, temp, answer["done"])
    except (RaydubError, OSError) as error:
        return Made(problem=str(error))
    finally:
        if Path(temp).parent.name == "tmp":
            files.discard(temp)


class Maker:
    """A child that makes media; a new one after its end."""

    def __init__(self) -> None:
        self._child: ChildProcess | None = None
        self._closed = False

    def close(self) -> None:
        """End the child, whatever it does; from any thread."""
        child, self._closed = self._child, True
        if child is not None:
            child.kill()
            child.wait(_DYING)

    def ask(self, order: Order, out: str) -> dict[str, Any]:
        """The child's answer; its death or its silence are a problem of the order."""
        if self._closed:
            return {"problem": "stopped"}
        if self._child is None:
            self._child = ChildProcess(BOOT, {})
        try:
            self._child.send({"what": order.what, "said": dict(order.said), "out": out})
            answer = self._child.receive(_SECONDS + _SECONDS_A_FRAME * order.frames)
        except (OSError, EOFError, ValueError):
            answer, why = None, "the reader of this file crashed"
        else:
            why = "reading it took too long"
        if answer is not None:
            return answer
        child, self._child = self._child, None
        child.kill()
        child.end(0)
        return {"problem": why}


def placed(made: Made, folder: Path, key: str) -> Path:
    """A copy of a result in a folder of the report; one that is already there stays. Raises StageError STORAGE or
    DISK_FULL."""
    goal = folder / f"{key[:24]}{Path(made.path).suffix}"
    if goal.exists() and goal.stat().st_size == os.stat(made.path).st_size:
        return goal
    temp = files.temp_beside(goal)
    try:
        shutil.copyfile(made.path, temp)
        files.publish(temp, goal)
    except OSError as error:
        raise files.storage_error(error, str(goal)) from error
    finally:
        files.discard(temp)
    return goal


def by_video(found: Mapping[tuple[int, str], Made]) -> dict[int, dict[str, Made]]:
    """The results of each video by name."""
    grouped: dict[int, dict[str, Made]] = {}
    for (number, name), made in sorted(found.items()):
        grouped.setdefault(number, {})[name] = made
    return grouped
