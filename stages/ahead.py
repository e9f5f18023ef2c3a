"""Work of one chunk in several threads: what is read ahead of a slow step, and what is written behind it.

Where a network on a card finishes frames, decoding and drawing the next frames and encoding the last ones need cores
only; without threads the card would wait for them. At most a fixed number of items waits on each side. An error in a
thread is raised by whoever takes from it or gives to it, and leaving a block ends its thread in any case.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from contextvars import copy_context
from typing import Generic, TypeVar

T = TypeVar("T")


class _Channel(Generic[T]):
    """A queue of at most `most` items between two threads, that each of them can close."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = self._left = False
        self.error: BaseException | None = None

    def put(self, item: T) -> bool:
        """Wait for room. False once nobody takes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._left or len(self._items) < self._most)
            if not self._left:
                self._items.append(item)
                self._changed.notify_all()
            return not self._left

    def end(self, error: BaseException | None = None) -> None:
        """There are no more items. error: why, for the taker."""
        with self._changed:
            self._ended, self.error = True, self.error or error
            self._changed.notify_all()

    def leave(self, error: BaseException | None = None) -> None:
        """Nobody takes any more: waiting items are dropped. error: why, for the giver."""
        with self._changed:
            self._left, self.error = True, self.error or error
            self._items.clear()
            self._changed.notify_all()

    def __iter__(self) -> Iterator[T]:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._items or self._ended or self._left)
                if self._left or not self._items:
                    break
                item = self._items.popleft()
                self._changed.notify_all()
            yield item
        if self.error is not None:
            raise self.error


@contextmanager
def ahead(items: Generator[T], most: int, name: str) -> Iterator[Iterator[T]]:
    """The items, made in a thread, at most `most` (and the one at work) before they are taken; with 0 without a thread.
    The generator is also closed in that thread. Its exception is raised where its item would have been."""
    if most == 0:
        with closing(items):
            yield items
        return
    channel: _Channel[T] = _Channel(most)

    def work() -> None:
        try:
            try:
                for item in items:
                    if not channel.put(item):
                        break
            finally:
                items.close()
        except BaseException as error:
            channel.end(error)
        else:
            channel.end()

    with _thread(work, name, channel):
        yield iter(channel)


@contextmanager
def behind(take: Callable[[T], None], most: int, name: str) -> Iterator[Callable[[T], None]]:
    """A function that gives an item to `take`, which runs in a thread; at most `most` items wait. Leaving the block
    waits until all were taken, after an exception only for the one at work. take's exception is raised by the function,
    or at the block's end. With 0 it is `take` itself."""
    if most == 0:
        yield take
        return
    channel: _Channel[T] = _Channel(most)

    def work() -> None:
        try:
            for item in channel:
                take(item)
        except BaseException as error:
            channel.leave(error)

    def give(item: T) -> None:
        if not channel.put(item) and channel.error is not None:
            raise channel.error

    with _thread(work, name, channel) as thread:
        yield give
        channel.end()
        thread.join()
    if channel.error is not None:
        raise channel.error


@contextmanager
def _thread(work: Callable[[], None], name: str, channel: _Channel[T]) -> Iterator[threading.Thread]:
    """`work` in a thread with this context's variables (raydub.beat); at the end nobody takes any more."""
    thread = threading.Thread(target=copy_context().run, args=(work,), name=name, daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        channel.leave()
        thread.join()
