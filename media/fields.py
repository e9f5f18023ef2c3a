"""Deinterlacing at the same rate: each interlaced frame keeps its first field, and libavfilter's bwdif makes the lines
of the other one from the frame and its two neighbours. Frames that are not marked as interlaced stay as decoded, sample
for sample.

A frame depends on three frames of the file only, so reading decodes one more frame on either side, and frames are the
same wherever reading starts.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from av.filter import Graph

from raydub.errors import Code, InputError
from raydub.media.decode import Decoder

_SMALLEST = (3, 4)
"""Fewer columns or lines are not deinterlaced."""


def is_interlaced(picture: Any) -> bool:
    """Is an av.VideoFrame marked as interlaced, and large enough to be deinterlaced?"""
    return bool(picture.interlaced_frame) and picture.width >= _SMALLEST[0] and picture.height >= _SMALLEST[1]


def progressive(decoder: Decoder, path: str, start: int, stop: int, total: int) -> Iterator[tuple[int, Any]]:
    """Yield (number, av.VideoFrame) for the file's frames start..stop-1 of `total`, deinterlaced.

    Raises InputError as Decoder.read does, VIDEO_DIMENSIONS when the frame size changes; av.error.FFmpegError.
    """
    first, last = max(0, start - 1), min(total, stop + 1)
    graph: Any = None
    shape: tuple[Any, ...] = ()
    waiting: deque[int] = deque()
    for number, picture in decoder.read(first, last):
        if graph is None:
            graph, shape = _graph(picture), _shape(picture)
        elif _shape(picture) != shape:
            message = f"video {path} changes its frames from {shape} to {_shape(picture)} in frame {number}"
            raise InputError(Code.VIDEO_DIMENSIONS, message, hint="convert it to one size first")
        waiting.append(number)
        graph.push(picture)
        yield from _made(graph, waiting, start, stop)
    if graph is not None:
        graph.push(None)
        yield from _made(graph, waiting, start, stop)


def _made(graph: Any, waiting: deque[int], start: int, stop: int) -> Iterator[tuple[int, Any]]:
    while True:
        try:
            picture = graph.pull()
        except (BlockingIOError, EOFError):
            return
        number = waiting.popleft()
        if start <= number < stop:
            yield number, picture


def _shape(picture: Any) -> tuple[Any, ...]:
    return picture.width, picture.height, picture.format.name


def _graph(picture: Any) -> Any:
    graph = Graph()
    source = graph.add_buffer(
        width=picture.width, height=picture.height, format=picture.format, time_base=picture.time_base
    )
    filter_ = graph.add("bwdif", mode="send_frame", parity="auto", deint="interlaced")
    sink = graph.add("buffersink")
    graph.link_nodes(source, filter_, sink).configure()
    return graph
