"""Reading a one-hour film from an object store: once whole into the machine's cache, or by ranges.

Four readers of one machine each decode their chunks of 10 s twice, as track and render do; with `--share 0.02` the
machine gets every fiftieth chunk. Local disk is the third way, for comparison. Prints a line of JSON for each way
and share.

    python bench/objects.py --folder /large/folder --share 1 0.25 0.1 0.02
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import resource
import shutil
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from raydub.objects import ranges
from raydub.objects.bucket import bucket_of
from raydub.objects.counted import counted
from raydub.objects.room import cache_root, fetch_once
from tests.objects import servers

MINUTE = 60
RATE = 25
CHUNK = 10
READERS = 4
FILM = "s3://films/film.mp4"


def make_film(path: Path, minutes: int) -> None:
    """One minute of 640x360 with noise, 2.2 Mbit/s, and a tone, repeated."""
    one = path.with_suffix(".minute.mp4")
    random = np.random.default_rng(1)
    noise = random.integers(0, 40, (8, 360, 640, 3), dtype=np.uint8)
    ramp = (np.add.outer(np.arange(360), np.arange(640)) // 5).astype(np.uint8)[..., None]
    with av.open(str(one), "w") as made:
        video = made.add_stream("libx264", rate=RATE, options={"preset": "ultrafast", "g": "50"})
        video.width, video.height, video.pix_fmt, video.bit_rate = 640, 360, "yuv420p", 2_200_000
        sound = made.add_stream("aac", rate=48000, layout="mono")
        for number in range(MINUTE * RATE):
            frame = av.VideoFrame.from_ndarray(noise[number % 8] + np.roll(ramp, number, 1), format="rgb24")
            made.mux(video.encode(frame))
            times = np.arange(1920) + number * 1920
            tone = (0.2 * np.sin(times * 0.05)).astype(np.float32)[None]
            samples = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            samples.sample_rate, samples.pts, samples.time_base = 48000, number * 1920, Fraction(1, 48000)
            made.mux(sound.encode(samples))
        made.mux(video.encode())
        made.mux(sound.encode())
    with av.open(str(path), "w") as made:
        with av.open(str(one)) as source:
            goal = {stream.index: made.add_stream_from_template(stream) for stream in source.streams}
        for minute in range(minutes):
            with av.open(str(one)) as source:
                for packet in source.demux():
                    if packet.dts is None or not 0 <= packet.dts * packet.time_base < MINUTE:
                        continue
                    shift = int(minute * MINUTE / packet.time_base)
                    packet.pts += shift
                    packet.dts += shift
                    packet.stream = goal[packet.stream.index]
                    made.mux(packet)
    one.unlink()


def read_chunks(source: Any, chunks: list[int], decode: bool) -> int:
    """Decode each chunk twice, opening the film each time as the stages do. Returns the frames."""
    frames = 0
    for chunk in chunks:
        for _ in ("track", "render"):
            opened = source()
            with av.open(opened) as container:
                video = container.streams.video[0]
                begin, end = (int(at * CHUNK / video.time_base) for at in (chunk, chunk + 1))
                container.seek(begin, stream=video)
                for shown in container.decode(video) if decode else container.demux(video):
                    if shown.pts is None or shown.pts >= end:
                        break
                    frames += shown.pts >= begin
            if not isinstance(opened, str):
                opened.close()
    return frames


def reader(way: str, local: str, chunks: list[int], block: int, decode: bool) -> tuple[int, ...]:
    """One process: what it read, and what that cost."""
    ranges.BLOCK = block
    if way == "local":
        frames = read_chunks(lambda: local, chunks, decode)
    else:
        bucket = bucket_of(FILM)
        meta = bucket.head("film.mp4")
        assert meta is not None
        if way == "whole":
            path = fetch_once(
                cache_root() / "film.mp4", lambda temp: bucket.download("film.mp4", temp, meta) and None, size=meta.size
            )
            frames = read_chunks(lambda: str(path), chunks, decode)
        else:
            frames = read_chunks(lambda: ranges.RangeFile(bucket, meta), chunks, decode)
    counts, spent = counted(), resource.getrusage(resource.RUSAGE_SELF)
    cpu_ms = round(1000 * (spent.ru_utime + spent.ru_stime))
    return frames, counts.bytes_read, counts.requests, cpu_ms, spent.ru_maxrss


def measure(way: str, share: float, film: Path, minutes: int, block: int, decode: bool) -> dict[str, Any]:
    """All readers of a machine that gets this share of the chunks."""
    every = max(1, round(1 / share))
    chunks = list(range(0, minutes * MINUTE // CHUNK, every))
    quarter = -(-len(chunks) // READERS)
    spawned = multiprocessing.get_context("spawn")
    with tempfile.TemporaryDirectory(dir=film.parent) as cache:
        os.environ["RAYDUB_CACHE_DIR"] = cache
        began = time.perf_counter()
        with ProcessPoolExecutor(READERS, mp_context=spawned, max_tasks_per_child=1) as pool:
            asked = [
                pool.submit(reader, way, str(film), chunks[n * quarter : (n + 1) * quarter], block, decode)
                for n in range(READERS)
            ]
            got = [one.result() for one in asked]
        wall = time.perf_counter() - began
        kept = sum(path.stat().st_size for path in Path(cache).rglob("*") if path.is_file())
    frames, read, requests, cpu, memory = (list(column) for column in zip(*got, strict=True))
    return {
        "way": way,
        "share": share,
        "chunks": len(chunks),
        "frames": sum(frames),
        "bytes_read": sum(read),
        "of_film": round(sum(read) / film.stat().st_size, 3),
        "requests": sum(requests),
        "wall_s": round(wall, 1),
        "cpu_s": sum(cpu) / 1000,
        "rss_mib": max(memory) >> 10,
        "cache_bytes": kept,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()), help="for the film and the server")
    parser.add_argument("--minutes", type=int, default=60)
    parser.add_argument("--share", type=float, nargs="+", default=[1.0, 0.25, 0.1, 0.02])
    parser.add_argument("--ways", nargs="+", default=["local", "whole", "ranges"])
    parser.add_argument("--block", type=int, default=ranges.BLOCK, help="bytes of a block")
    parser.add_argument("--no-decode", action="store_true", help="read the chunks' packets only: what fetching costs")
    given = parser.parse_args()
    given.folder = given.folder.resolve()
    given.folder.mkdir(parents=True, exist_ok=True)
    film = given.folder / f"film{given.minutes}.mp4"
    if not film.exists():
        make_film(film, given.minutes)
    os.environ.update(servers.ENVIRONMENT)
    data = Path(tempfile.mkdtemp(dir=given.folder))
    try:
        with servers.seaweed(data) as url:
            os.environ["AWS_ENDPOINT_URL"] = url
            servers.make_signed_bucket(url, "films")
            bucket_of(FILM).put_file("film.mp4", film)
            for share in given.share:
                for way in given.ways:
                    row = measure(way, share, film, given.minutes, given.block, not given.no_decode)
                    print(json.dumps({**row, "block": given.block, "decoded": not given.no_decode}), flush=True)
    finally:
        shutil.rmtree(data)


if __name__ == "__main__":
    main()
