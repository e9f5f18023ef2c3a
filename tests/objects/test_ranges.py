from __future__ import annotations

import io
import os
import random
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydub.errors import Code, InputError
from raydub.objects import ranges
from raydub.objects.bucket import Bucket, Meta, bucket_of
from raydub.objects.counted import counted
from raydub.objects.ranges import ENOUGH, SMALL, RangeFile, whole_or_ranges

CONTENT = random.Random(1).randbytes(100_003)


@pytest.fixture
def bucket(s3: str, monkeypatch: pytest.MonkeyPatch) -> Bucket:
    monkeypatch.setattr(ranges, "BLOCK", 10_000)
    return bucket_of(s3)


@pytest.fixture
def meta(bucket: Bucket) -> Meta:
    bucket.put("film", CONTENT)
    found = bucket.head("film")
    assert found is not None
    return found


def test_it_reads_as_a_file_does(bucket: Bucket, meta: Meta) -> None:
    chance = random.Random(2)
    plain = io.BytesIO(CONTENT)
    with RangeFile(bucket, meta) as stream:
        for _ in range(300):
            if chance.random() < 0.5:
                place, whence = chance.choice(
                    [(chance.randrange(120_000), os.SEEK_SET), (-chance.randrange(100_003), os.SEEK_END)]
                )
                assert stream.seek(place, whence) == plain.seek(place, whence)
            wanted = chance.choice([0, 1, 100, 9_999, 10_001, 30_000])
            got = stream.read(wanted)
            assert got == plain.read(len(got))
            assert len(got) == min(wanted, 10_000 - (stream.tell() - len(got)) % 10_000) or stream.tell() >= len(
                CONTENT
            )
        stream.seek(0)
        assert stream.readall() == CONTENT
        with pytest.raises(ValueError):
            stream.seek(-1)


def test_blocks_are_shared_and_only_what_is_read_is_fetched(bucket: Bucket, meta: Meta) -> None:
    before = counted()
    with RangeFile(bucket, meta) as stream:
        stream.seek(50_500)
        stream.read(10)
    assert counted().bytes_read - before.bytes_read == 10_000
    with RangeFile(bucket, meta) as stream:
        assert stream.readall() == CONTENT
    assert counted().bytes_read - before.bytes_read == len(CONTENT)
    with RangeFile(bucket, meta) as stream:
        assert stream.readall() == CONTENT
    assert counted().bytes_read - before.bytes_read == len(CONTENT)


def test_another_process_uses_the_same_blocks(bucket: Bucket, meta: Meta, s3: str) -> None:
    with RangeFile(bucket, meta) as stream:
        stream.readall()
    bucket.delete("film")
    script = (
        "import sys; from raydub.objects import ranges; from raydub.objects.bucket import Meta, bucket_of\n"
        f"ranges.BLOCK = 10_000; print(len(ranges.RangeFile(bucket_of(sys.argv[1]), {meta!r}).readall()))"
    )
    done = subprocess.run([sys.executable, "-c", script, s3], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == str(len(CONTENT)), done.stderr


def test_damaged_blocks_are_fetched_again(bucket: Bucket, meta: Meta) -> None:
    with RangeFile(bucket, meta) as stream:
        stream.readall()
        blocks = sorted(path for path in stream._folder.iterdir() if path.suffix != ".used")
    blocks[0].write_bytes(bytes(len(blocks[0].read_bytes())))
    blocks[1].write_bytes(b"")
    with RangeFile(bucket, meta) as stream:
        assert stream.readall() == CONTENT


def test_an_object_that_changes_is_noticed(bucket: Bucket, meta: Meta) -> None:
    with RangeFile(bucket, meta) as stream:
        assert stream.read(10) == CONTENT[:10]
        bucket.put("film", CONTENT[::-1])
        stream.seek(70_000)
        with pytest.raises(InputError) as caught:
            stream.read(10)
    assert caught.value.code is Code.INPUT_CHANGED


def test_a_film_is_decoded_from_its_ranges(bucket: Bucket, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    with av.open(str(path), "w") as made:
        video = made.add_stream("libx264", rate=25, options={"crf": "20", "g": "10"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        pictures = np.random.default_rng(1).integers(0, 255, (60, 48, 64, 3), dtype=np.uint8)
        for picture in pictures:
            made.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        made.mux(video.encode())
    bucket.put_file("film.mp4", path)
    meta = bucket.head("film.mp4")
    assert meta is not None

    def frames(source: object) -> list[bytes]:
        with av.open(source) as container:
            container.seek(container.duration // 2)
            return [frame.to_ndarray().tobytes() for frame in container.decode(video=0)]

    with RangeFile(bucket, meta) as stream:
        assert frames(stream) == frames(str(path))


@given(st.integers(0, 1 << 42), st.floats(0, 1), st.integers(0, 1 << 42))
def test_whole_or_ranges(size: int, share: float, room: int) -> None:
    way = whole_or_ranges(size, share, room)
    if way == "whole":
        assert size <= room // 2
        assert size <= SMALL or share >= ENOUGH
        assert whole_or_ranges(size, 1.0, room) == "whole"
    else:
        assert size > room // 2 or (size > SMALL and share < ENOUGH)
        assert whole_or_ranges(size, 0.0, room) == "ranges"
